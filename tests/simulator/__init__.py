"""Everything of a cluster that is neither API server nor operator, played by one process.

`Simulator` watches what the operator makes and does what the world would do with it:

* Deployments get pods (`serving`). Each pod has an address of the loopback network and an agent that answers `/state`
  over HTTP on port 8090 (`agent`, `agent_server`), from the wanted set in its ConfigMap (docs/contracts.md §6 and §7).
* Jobs run (`jobs`): an import resolves a base, a training publishes a version with the registry's own code on a real S3
  server (`publishing`), and the Job gets the status that the Job controller would give it.

It knows the operator (`operator_process`) from outside only: by its objects and by docs/contracts.md. Labels and
annotations are spelled out here on purpose, so that a change of them is seen. `world` puts everything together.
"""

from tests.simulator.agent import Agent, HostileAgent
from tests.simulator.operator_process import OperatorProcess, operator_environment
from tests.simulator.publishing import Publisher
from tests.simulator.world import Simulator, World, world

__all__ = [
    "Agent",
    "HostileAgent",
    "OperatorProcess",
    "Publisher",
    "Simulator",
    "World",
    "operator_environment",
    "world",
]
