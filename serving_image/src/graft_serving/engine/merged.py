"""Client of an engine whose model is a version that was merged into its base: there is nothing to load."""

from collections.abc import Mapping
from dataclasses import replace

from graft_serving.engine.client import EngineClient, EngineModels
from graft_serving.errors import EngineRejectedError, EngineTimeoutError, EngineUnreachableError


class MergedEngineClient(EngineClient):
    """Shows the engine's model as an adapter from when it is asked for, so that it is proven as every adapter is.

    An engine that was away may be a new process: its model has to be asked for, and proven, again.
    """

    _loaded: Mapping[str, str] = {}

    async def models(self) -> EngineModels:
        """List the engine's model, and as an adapter if it was asked for since the engine came up."""
        try:
            models = await super().models()
        except EngineTimeoutError:
            raise
        except EngineUnreachableError:
            self._loaded = {}
            raise
        return replace(models, adapters={name: path for name, path in self._loaded.items() if name == models.base})

    async def load(self, name: str, path: str) -> None:
        """Show the engine's model as the adapter `name`, which has to be its own name for it."""
        served = (await super().models()).base
        if name != served:
            raise EngineRejectedError(409, f"its model is {served} and it loads no other")
        self._loaded = {name: path}

    async def unload(self, name: str) -> None:
        """Show the engine's model as an adapter no more."""
        self._loaded = {}
