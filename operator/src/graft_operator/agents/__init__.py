"""What the serving agents report. Read only; the wanted set travels through a ConfigMap instead.

`followers` keeps the newest `state` of each pod, which it asks through `client`, at its `address` and within the
`budget` of the pod's namespace; `state_parser` reads what comes, and `state_diff` says who should look.
"""

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.followers import Agents
from graft_operator.agents.state import AgentState
from graft_operator.agents.state_diff import AgentNews

__all__ = ["AgentNews", "AgentState", "Agents", "PodAddress", "Unreachable"]
