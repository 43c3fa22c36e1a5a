"""Plays the Job controller and what runs in the Jobs: imports and trainings."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from tests.control_plane import JOBS, PODS, ApiClient, ApiError
from tests.simulator.publishing import Publisher, content_of

Object = dict[str, Any]
COMPONENT: Final = "graft.dev/component"
RUN: Final = "graft.dev/run"
RECIPE: Final = "graft.dev/recipe"
OWNER: Final = "graft.dev/owner-name"
PUBLISHERS: Final = 4
Seen = Callable[[str, str, float], None]


class Jobs:
    """Runs every Job once, after ``seconds``."""

    def __init__(self, client: ApiClient, publisher: Publisher, *, seconds: float) -> None:
        self._client = client
        self._publisher = publisher
        self._threads = ThreadPoolExecutor(PUBLISHERS)
        self._running: dict[str, asyncio.Task[None]] = {}
        self.seconds = seconds
        self.on_training: Seen = lambda namespace, adapter, at: None
        """Is told of each training Job when it is first seen: namespace, adapter, monotonic seconds."""
        self.made: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        """(namespace, adapter, recipe) → uids of the training Jobs that there have been."""
        self.errors: list[str] = []

    async def observe(self, event: str, job: Object) -> None:
        """Take one event of the watch."""
        metadata = job["metadata"]
        uid = metadata["uid"]
        if event == "DELETED" or "deletionTimestamp" in metadata:
            if (task := self._running.pop(uid, None)) is not None:
                task.cancel()
            if event != "DELETED" and metadata.get("finalizers"):
                await self._let_go(metadata)
            return
        self._tell(metadata)
        if job["spec"].get("suspend") and not ended(job):
            await self._hold(job)
        if uid not in self._running and not ended(job) and not job["spec"].get("suspend"):
            self._running[uid] = asyncio.create_task(self._run(job))

    def _tell(self, metadata: Object) -> None:
        if metadata["labels"].get(COMPONENT) != "training":
            return
        adapter = metadata["annotations"][OWNER]
        uids = self.made[metadata["namespace"], adapter, metadata["annotations"][RECIPE]]
        if metadata["uid"] not in uids:
            uids.add(metadata["uid"])
            self.on_training(metadata["namespace"], adapter, time.monotonic())

    def stop(self) -> None:
        """End what runs."""
        for task in self._running.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _hold(self, job: Object) -> None:
        """Stop what runs, and say that the Job is suspended, as the Job controller does."""
        metadata = job["metadata"]
        if (task := self._running.pop(metadata["uid"], None)) is not None:
            task.cancel()
        known = job.get("status", {}).get("conditions") or ()
        if any(item["type"] == "Suspended" and item["status"] == "True" for item in known):
            return
        told = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}
        told |= {"lastTransitionTime": now(), "lastProbeTime": now()}
        await self._patch_status(metadata, {"conditions": [told]})

    async def _let_go(self, metadata: Object) -> None:
        # What the garbage collector does for a foreground deletion, after the pods are gone.
        try:
            patch = {"metadata": {"finalizers": None}}
            await self._client.patch(JOBS, metadata["namespace"], metadata["name"], patch)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def _run(self, job: Object) -> None:
        started = now()
        await asyncio.sleep(self.seconds)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._work, job)
        except Exception as error:  # noqa: BLE001 -- a run that breaks the simulator must be seen in its report
            self.errors.append(f"{job['metadata']['name']}: {error!r}")
            return
        if job["metadata"]["labels"].get(COMPONENT) == "resolve":
            await self._tell_content(job)
        await self._complete(job, started)

    async def _tell_content(self, job: Object) -> None:
        """Make the pod that says what an adapter's source holds."""
        metadata, template = job["metadata"], job["spec"]["template"]
        container = template["spec"]["containers"][0]
        asked = next(item["value"] for item in container["env"] if item["name"] == "GRAFT_ADAPTER_SOURCE")
        name = f"{metadata['name']}-{metadata['uid'][:5]}"
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod_metadata = {
            "name": name,
            "labels": template["metadata"]["labels"] | {"job-name": metadata["name"]},
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [owner | {"controller": True}],
        }
        said = json.dumps({"outcome": "Resolved", "digest": content_of(json.loads(asked))})
        ended = {"exitCode": 0, "reason": "Completed", "message": said, "finishedAt": now()}
        own = {"name": container["name"], "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        status = {"phase": "Succeeded", "containerStatuses": [own | {"image": container["image"], "imageID": ""}]}
        namespace = metadata["namespace"]
        try:
            await self._client.create(PODS, namespace, {"metadata": pod_metadata, "spec": template["spec"]})
            await self._client.patch(PODS, namespace, name, {"status": status}, subresource="status")
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def _work(self, job: Object) -> None:
        template = job["spec"]["template"]
        component = job["metadata"]["labels"].get(COMPONENT)
        if component == "training":
            self._publisher.train(json.loads(template["metadata"]["annotations"][RUN]))
        elif component == "import":
            environment = template["spec"]["containers"][0]["env"]
            request = next(item["value"] for item in environment if item["name"] == "GRAFT_BASE_IMPORT")
            self._publisher.import_base(json.loads(request))
        # Whoever prepares rows leaves nothing that the operator looks at, and neither does a look at a source.

    async def _complete(self, job: Object, started: str) -> None:
        metadata, done = job["metadata"], now()
        pods, indexed = job["spec"].get("completions", 1), job["spec"].get("completionMode") == "Indexed"
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": done, "lastProbeTime": done, "reason": reason}
            for kind, reason in (("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached"))
        ]
        status = {"startTime": started, "completionTime": done, "succeeded": pods, "conditions": conditions}
        if indexed:
            status["completedIndexes"] = f"0-{pods - 1}" if pods > 1 else "0"
        await self._patch_status(metadata, status)

    async def _patch_status(self, metadata: Object, status: Object) -> None:
        try:
            await self._client.patch(
                JOBS, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
            )
        except ApiError as error:
            if error.status != 404:
                self.errors.append(f"{metadata['name']}: {error}")


def ended(job: Object) -> bool:
    """Whether the Job has come to an end."""
    conditions = job.get("status", {}).get("conditions") or ()
    return any(item["type"] in ("Complete", "Failed") and item["status"] == "True" for item in conditions)


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
