"""The part of a pod's settings that users may choose. No hostPath, no privileges, no command: on purpose.

``placement`` says where a pod runs (with ``affinity``), ``settings`` what the rules of a cluster ask of it besides, and
``preparation`` where rows are prepared before a training asks for its GPU.
"""

from graft_operator.api.pods.placement import Placement, Quantity, QueueName, QueuePriority, Resources, Toleration
from graft_operator.api.pods.preparation import Preparation
from graft_operator.api.pods.settings import Annotations, PodSettings

__all__ = [
    "Annotations",
    "Placement",
    "PodSettings",
    "Preparation",
    "Quantity",
    "QueueName",
    "QueuePriority",
    "Resources",
    "Toleration",
]
