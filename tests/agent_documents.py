"""State documents of agents, given as plain values."""

import msgspec

from graft_operator.agents.state import AgentState
from graft_operator.agents.state_diff import Comparable, comparable
from graft_operator.agents.state_parser import read_state


def state_of(document: object) -> AgentState:
    """Return what the operator reads from a document. Raises as `read_state` does."""
    return read_state(msgspec.json.encode(document))


def said_of(state: AgentState, adapter: str) -> Comparable:
    """Return what decisions about an adapter depend on, without counters; None where the pod doesn't know it."""
    found = state.adapter(adapter)
    return None if found is None else comparable(found, ())
