"""What the serving agents report. Read only; the wanted set travels through a ConfigMap instead.

`followers` keeps the newest state of each pod, which it asks through `client` within the `budget` of the pod's
namespace; `documents` reads what comes, and `news` says who should look.
"""

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.documents import AgentState
from graft_operator.agents.followers import Agents
from graft_operator.agents.news import AgentNews

__all__ = ["AgentNews", "AgentState", "Agents", "PodAddress", "Unreachable"]
