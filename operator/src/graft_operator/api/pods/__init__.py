"""The part of a pod's settings that users may choose. No hostPath, no privileges, no command: on purpose.

``placement`` says where a pod runs (with ``affinity``), ``settings`` what the rules of a cluster ask of it besides.
"""

from graft_operator.api.pods.placement import Placement, Quantity, Resources, Toleration
from graft_operator.api.pods.settings import Annotations, PodSettings

__all__ = ["Annotations", "Placement", "PodSettings", "Quantity", "Resources", "Toleration"]
