"""What the serving agents report. Read only; the wanted set travels through a ConfigMap instead."""

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.client import Agents
from graft_operator.agents.documents import AgentState
from graft_operator.agents.news import Reader

__all__ = ["AgentState", "Agents", "PodAddress", "Reader", "Unreachable"]
