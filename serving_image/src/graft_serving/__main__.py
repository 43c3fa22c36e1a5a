"""Composition root: settings from the environment, then the agent until SIGTERM. No logic."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable

import uvloop

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore
from graft_serving.adapters.credentials import RegistryStore
from graft_serving.agent import Agent
from graft_serving.cluster_api import ApiAccess
from graft_serving.settings import Settings
from graft_serving.wanted.configmap import ConfigMapWatch
from graft_serving.wanted.file import wanted_sets_of_file

CONFIGURATION_ERROR = 64
YOUNG_OBJECTS = 20_000
"""The collector's threshold for its youngest generation, in container objects: those of some fifty requests."""


def wanted_sets(settings: Settings) -> AsyncIterator[bytes]:
    """The wanted sets, from where the settings say."""
    if settings.wanted_file is not None:
        return wanted_sets_of_file(settings.wanted_file)
    assert settings.wanted_configmap is not None
    watch = ConfigMapWatch(ApiAccess.in_cluster(), namespace=settings.namespace, name=settings.wanted_configmap)
    return watch.wanted_sets()


def open_registry(settings: Settings) -> Callable[[], ObjectStore]:
    """A function that opens the registry's store. A pod of a merged version has no registry, and needs none.

    Raises:
        ValueError: it can't be opened; the message names the variable.
    """
    if settings.merged_manifest is not None:
        return no_registry
    registry = RegistryStore(RegistryConfig.from_environment(), settings.registry_keys_dir)
    registry.open()
    return registry.open


def no_registry() -> ObjectStore:
    """Stands in for the store on a pod of a merged version, where nothing is ever fetched."""
    raise AssertionError("a pod whose version is merged has no registry")


async def serve(settings: Settings, open_store: Callable[[], ObjectStore]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = ApiAccess.in_cluster() if settings.peer_audience is not None else None
    async with (
        Agent.composed(settings, open_store=open_store, wanted_sets=wanted_sets(settings), api=api) as agent,
        agent.running(),
    ):
        await stop.wait()


def main() -> int:
    """Run the agent; the exit code says whether its configuration was usable."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_environment()
        open_store = open_registry(settings)
    except ValueError as error:
        logging.getLogger(__name__).error("the configuration is not usable: %s", error)
        return CONFIGURATION_ERROR
    # Modules live until the end. Without them a full collection is short enough for clients not to notice.
    gc.freeze()
    # A request makes hundreds of objects and hardly a cycle. By default the collector would run at every request.
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(settings, open_store))
    return 0


if __name__ == "__main__":
    sys.exit(main())
