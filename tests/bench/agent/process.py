"""The agent as a process of its own, as in its container: what its environment says."""

from __future__ import annotations

import os
from pathlib import Path

from tests.serving.published import NAMESPACE

from graft_registry.config import RegistryConfig


def agent_environment(
    folder: Path, registry: RegistryConfig, *, engine: int, state: int, api: int = 0
) -> dict[str, str]:
    """Return the environment of an agent that keeps its files in `folder`, which holds ``base`` and ``wanted.json``.

    The others are ports of the loopback interface: of the engine, of the agent's state, and of its API (0: any).
    """
    return {
        **os.environ,
        "GRAFT_NAMESPACE": NAMESPACE,
        "GRAFT_POD": "bench-0",
        "GRAFT_REGISTRY": registry.model_dump_json(by_alias=True),
        "GRAFT_WANTED_FILE": str(folder / "wanted.json"),
        "GRAFT_ENGINE_URL": f"http://127.0.0.1:{engine}",
        "GRAFT_BASE_DIR": str(folder / "base"),
        "GRAFT_ADAPTERS_DIR": str(folder / "adapters"),
        "GRAFT_LISTEN": "127.0.0.1",
        "GRAFT_API_PORT": str(api),
        "GRAFT_PEER_PORT": "0",
        "GRAFT_ADMIN_PORT": str(state),
        "GRAFT_DRAIN_SECONDS": "0",
    }
