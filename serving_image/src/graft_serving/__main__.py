"""Composition root: settings from the environment, then the agent until SIGTERM. No logic."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator

import uvloop

from graft_registry.config import RegistryConfig
from graft_serving.adapters.credentials import RegistryStore
from graft_serving.agent import Agent
from graft_serving.settings import Settings
from graft_serving.wanted.configmap import ApiAccess, ConfigMapWatch
from graft_serving.wanted.file import wanted_sets_of_file

CONFIGURATION_ERROR = 64


def wanted_sets(settings: Settings) -> AsyncIterator[bytes]:
    """The wanted sets, from where the settings say."""
    if settings.wanted_file is not None:
        return wanted_sets_of_file(settings.wanted_file)
    assert settings.wanted_configmap is not None
    watch = ConfigMapWatch(ApiAccess.in_cluster(), namespace=settings.namespace, name=settings.wanted_configmap)
    return watch.wanted_sets()


async def serve(settings: Settings, registry: RegistryStore) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with (
        Agent.composed(settings, open_store=registry.open, wanted_sets=wanted_sets(settings)) as agent,
        agent.running(),
    ):
        await stop.wait()


def main() -> int:
    """Run the agent; the exit code says whether its configuration was usable."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_environment()
        registry = RegistryStore(RegistryConfig.from_environment(), settings.registry_keys_dir)
        registry.open()
    except ValueError as error:
        logging.getLogger(__name__).error("the configuration is not usable: %s", error)
        return CONFIGURATION_ERROR
    # What has been imported stays until the end: without it a full collection is over before a client notices.
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(settings, registry))
    return 0


if __name__ == "__main__":
    sys.exit(main())
