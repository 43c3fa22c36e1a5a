"""One life: an operator behind two proxies, and people who change their minds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.chaos.api_proxy import ApiProxy
from tests.chaos.checks import answering, complaints
from tests.chaos.faults import Fault, Faults
from tests.chaos.s3_proxy import S3Proxy
from tests.chaos.script import API_VERSION, FIRST, WORSENED, Act, Script
from tests.control_plane import ADAPTERS, BASES, ApiClient, until
from tests.simulator import OperatorProcess, World, operator_environment

RESYNC_SECONDS: Final = 10
"""The shortest that the operator takes."""
LONGEST_WAIT_SECONDS: Final = 20.0
STAYS_SECONDS: Final = 4.0
"""So long the end must stay right."""
KINDS: Final = {"BaseModel": BASES, "LoraAdapter": ADAPTERS}


@dataclass(slots=True)
class Outcome:
    """How a life ended."""

    seed: int
    complaints: list[str]
    seconds: float
    settled_after: float
    """Seconds from the end of the faults to the right end."""
    faults: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    acts: int = 0
    trainings: int = 0

    def line(self) -> str:
        """Return one line about it."""
        verdict = "wrong" if self.complaints else "right"
        told = f"{self.acts} acts, {self.trainings} trainings, {self.faults.total()} faults, {self.restarts} restarts"
        return f"seed {self.seed}: {verdict} {self.settled_after:.0f} s after the faults ({self.seconds:.0f} s, {told})"


@dataclass(slots=True)
class Supervised:
    """The operator and who starts it again, as the kubelet does."""

    environment: dict[str, str]
    log: Path
    running: OperatorProcess | None = None
    starts: int = 0

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Keep an operator running until the block ends."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    def kill(self) -> None:
        """Lose the process."""
        if self.running is not None:
            self.running.kill()

    async def _keep(self) -> None:
        while True:
            async with OperatorProcess.start(self.environment, self.log) as self.running:
                self.starts += 1
                await self.running.process.wait()
            await asyncio.sleep(0.5)


async def live(
    world: World, seed: int, *, patience: float, folder: Path, only: frozenset[Fault] = frozenset(Fault)
) -> Outcome:
    """Live one life and return how it ended; everything of it is removed afterwards."""
    namespace, began = f"chaos-{seed}", time.monotonic()
    await world.client.ensure_namespace(namespace)
    faults = {"api": Faults(f"api {seed}", only), "s3": Faults(f"s3 {seed}", only)}
    script, log = Script(seed), folder / f"{namespace}.log"
    log.write_bytes(b"")
    async with AsyncExitStack() as stack:
        _, api_url = await stack.enter_async_context(ApiProxy.before(world.plane.url, faults["api"]))
        _, s3_url = await stack.enter_async_context(S3Proxy.before(world.registry.endpoint or "", faults["s3"]))
        operator = Supervised(environment(world, namespace, api_url, s3_url, seed), log)
        try:
            async with operator.alive():
                acts = await lived(world, namespace, script, operator)
                ended = time.monotonic()
                for each in faults.values():
                    each.end()
                found = await until_right(world, namespace, script, patience)
                settled = time.monotonic() - ended
        finally:
            for each in faults.values():
                each.end()
    trainings = [item for item in world.simulator.publisher.trained if item[0] == namespace]
    await world.client.remove_everything(namespace)
    happened = Counter({f"{name} {fault}": n for name, each in faults.items() for fault, n in each.happened.items()})
    return Outcome(seed, found, time.monotonic() - began, settled, happened, operator.starts - 1, acts, len(trainings))


def environment(world: World, namespace: str, api_url: str, s3_url: str, seed: int) -> dict[str, str]:
    """Return the operator's environment: every other life watches its namespace alone."""
    kubeconfig = world.plane.kubeconfig(namespace, api_url)
    registry = world.registry.model_copy(update={"endpoint": s3_url})
    settings = {"resync_seconds": str(RESYNC_SECONDS), "lease_namespace": namespace}
    if seed % 2:
        settings["watch_namespaces"] = namespace
    return operator_environment(kubeconfig, registry, **settings)


async def lived(world: World, namespace: str, script: Script, operator: Supervised) -> int:
    """Do what the script says, and lose the operator once in every other life; return how many acts there were."""
    random = Random(f"kills {script.seed}")
    killed_at = random.randrange(4, 20) if random.random() < 0.5 else -1
    count = 0
    for act in script.acts():
        await asyncio.sleep(act.pause)
        if act.what == "worsen":
            # What has never answered need not go on answering.
            script.good_answered = await until(partial(good_answers, world, namespace), LONGEST_WAIT_SECONDS)
        await do(world.client, namespace, act)
        count += 1
        if count == 1 + len(FIRST):
            # On a busy machine an operator takes longer to begin than all acts together.
            await until(partial(is_seen, world.client, namespace), LONGEST_WAIT_SECONDS)
        if count == killed_at:
            operator.kill()
    return count


async def is_seen(client: ApiClient, namespace: str) -> bool:
    """Whether the operator has looked at any adapter."""
    return any(item.get("status", {}).get("conditions") for item in (await client.list(ADAPTERS, namespace))[0])


async def good_answers(world: World, namespace: str) -> bool:
    """Whether the adapter that will become worse answers."""
    return bool(answering(world, namespace, WORSENED))


async def do(client: ApiClient, namespace: str, act: Act) -> None:
    """Do one act, by a way of one's own that no fault befalls."""
    kind = KINDS[act.kind]
    if act.spec is None:
        await client.delete(kind, namespace, act.name)
        return
    while True:
        live = await client.get(kind, namespace, act.name)
        if live is None:
            body = {"apiVersion": API_VERSION, "kind": act.kind, "metadata": {"name": act.name}, "spec": act.spec}
            await client.create(kind, namespace, body)
            return
        if "deletionTimestamp" not in live["metadata"]:
            await client.patch(kind, namespace, act.name, {"spec": with_removals(act.spec, live["spec"])})
            return
        # A deletion that waits for the operator must end before the same name can be created again.
        await asyncio.sleep(0.5)


def with_removals(spec: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """Return a merge patch to a spec: what the live one has at its top beyond that goes."""
    optional = {"version", "suspend"} & (live.keys() - spec.keys())
    return spec | dict.fromkeys(optional)


async def until_right(world: World, namespace: str, script: Script, patience: float) -> list[str]:
    """Wait until the end is right and stays so; return what is wrong where it never is."""
    deadline, right_since = time.monotonic() + patience, None
    found: list[str] = []
    while time.monotonic() < deadline:
        found = await complaints(world, namespace, script)
        now = time.monotonic()
        right_since = None if found else right_since or now
        if right_since is not None and now - right_since >= STAYS_SECONDS:
            return []
        await asyncio.sleep(1)
    return found or ["it does not stay right"]
