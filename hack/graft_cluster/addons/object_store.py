"""The S3 endpoint inside the cluster, its credentials and its first bucket."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from graft_cluster import versions
from graft_cluster.addons.sigv4 import signed_headers
from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.local_registry import ADDRESS
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.kind.cluster import Cluster
from graft_cluster.kind.config import LOOPBACK, NODE_PORT
from graft_cluster.programs import golang
from graft_cluster.steps import Step, StepFailed, Steps

NAMESPACE = "graft-s3"
BUCKET = "graft"
REGION = "us-east-1"
IN_CLUSTER = f"http://s3.{NAMESPACE}.svc:7070"
IMAGE = f"{ADDRESS}/graft/versitygw:{versions.VERSITYGW}"


@dataclass(frozen=True)
class Credentials:
    """The root account of the endpoint, random and kept in the cache."""

    access_key: str
    secret_key: str

    @classmethod
    def ensure(cls, cache: Cache) -> Credentials:
        """Read them, or make them."""
        path = cache.folder() / "s3-credentials.json"
        if not path.exists():
            path.touch(mode=0o600)
            made = cls(f"GRAFT{secrets.token_hex(8).upper()}", secrets.token_hex(20))
            path.write_text(json.dumps(made.__dict__))
        return cls(**json.loads(path.read_text()))


class ObjectStore:
    """versitygw, as a Deployment that `up` applies."""

    def __init__(self, cache: Cache, steps: Steps, docker: Docker) -> None:
        """Nothing is applied yet."""
        self._cache = cache
        self._steps = steps
        self._images = LocalImages(cache, steps, docker)
        self.credentials = Credentials.ensure(cache)

    def ensure_image(self, prebuilt: Prebuilt | None = None) -> str:
        """Pull the static image or make it, and push it."""
        if prebuilt is None or not self._images.ensure_pulled(IMAGE, prebuilt):
            golang.ensure(self._cache, self._steps, golang.VERSITYGW)
            self._images.ensure_program(IMAGE, self._cache.binaries / "versitygw")
        return IMAGE

    def apply(self, cluster: Cluster, manifests: Path, *, published: bool) -> str:
        """Apply it, wait until it answers, and return the address for this machine.

        ``published``: the node's port is one of this machine, too, which may not reach the node otherwise.
        """
        data = self._cache.folder("volumes", "s3")
        data.chmod(0o777)
        text = (manifests / "s3.yaml").read_text().replace("$(IMAGE)", IMAGE)
        with self._steps.step("start the S3 endpoint") as step:
            cluster.kubectl(step, "apply", "-f", "-", stdin=self._secret())
            cluster.kubectl(step, "apply", "-f", "-", stdin=text)
            rollout = ("rollout", "status", "deployment/s3", "--timeout=120s")
            cluster.kubectl(step, "-n", NAMESPACE, *rollout)
            host = f"{LOOPBACK if published else cluster.address(step)}:{NODE_PORT}"
            self._make_bucket(step, host)
        return f"http://{host}"

    def _secret(self) -> str:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE},
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "credentials", "namespace": NAMESPACE},
            "stringData": {
                "ROOT_ACCESS_KEY": self.credentials.access_key,
                "ROOT_SECRET_KEY": self.credentials.secret_key,
            },
        }
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, secret]})

    def _make_bucket(self, step: Step, host: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                status = self._put(host, f"/{BUCKET}")
            except urllib.error.HTTPError as error:
                status = error.code
            except OSError as error:
                step.note(f"{host}: {error}")
                status = 0
            if status in {200, 409}:  # made now, or there already
                return
            if time.monotonic() > deadline:
                raise StepFailed(f"the bucket could not be made at http://{host}: status {status}")
            time.sleep(0.5)

    def _put(self, host: str, path: str) -> int:
        keys = (self.credentials.access_key, self.credentials.secret_key)
        headers = signed_headers("PUT", host, path, *keys, datetime.now(UTC))
        request = urllib.request.Request(f"http://{host}{path}", method="PUT", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as answer:
            return int(answer.status)
