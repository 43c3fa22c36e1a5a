"""State documents of agents, given as plain values."""

import msgspec

from graft_operator.agents.state import AgentState
from graft_operator.agents.state_parser import read_state


def state_of(document: object) -> AgentState:
    """Return what the operator reads from a document. Raises as `read_state` does."""
    return read_state(msgspec.json.encode(document))
