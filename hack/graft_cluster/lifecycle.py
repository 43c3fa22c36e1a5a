"""`up`, `down` and `images`: the order in which things are done."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from graft_cluster import ways
from graft_cluster.addons import network_policies
from graft_cluster.addons.gitops.tools import GitopsTools
from graft_cluster.addons.kueue import image as kueue_image
from graft_cluster.addons.kueue import release
from graft_cluster.addons.object_store import BUCKET, IN_CLUSTER, REGION, ObjectStore
from graft_cluster.cache import Cache
from graft_cluster.docker import host
from graft_cluster.docker.client import Docker
from graft_cluster.docker.engine import DockerEngine
from graft_cluster.images import catalogue, local_registry, prebuilt
from graft_cluster.images.builder import ImageBuilder, write_references
from graft_cluster.images.debian import ensure_debian
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.kind import system_images
from graft_cluster.kind.cluster import Cluster
from graft_cluster.kind.config import NODES, Stores
from graft_cluster.kind.template import Template
from graft_cluster.programs import golang
from graft_cluster.reports import facts
from graft_cluster.steps import StepFailed, Steps, say
from graft_cluster.ways import Way

PUBLIC_PYTHON = "python:3.11-slim-bookworm"
#: What an image is called to the people who install the chart.
PROGRAMS = (*catalogue.PROGRAMS, "versitygw")


class Lifecycle:
    """One cluster from nothing to ready and back."""

    def __init__(self, cache: Cache, checkout: Path) -> None:
        """Choose the way; nothing is started yet."""
        self.cache = cache
        self.steps = Steps(cache)
        chosen = Prebuilt.from_environment()  # before anything is pulled: it may be no such place
        self.way = ways.choose(cache)
        self._checkout = checkout
        self._engine = DockerEngine(cache, self.steps)
        path = {"PATH": f"{cache.binaries}:{os.environ['PATH']}"}
        own = self.way is Way.OWN
        self._prebuilt = None if own else chosen
        self.docker = Docker(self._engine.environment if own else path, host_network=own)
        self.cluster = Cluster(cache, self.steps, self.docker)

    def up(self, *, light: bool) -> None:
        """Make everything that is missing, and say how to use it."""
        say(f"Using {self.way.value}.")
        if self.way is Way.EXISTING:
            facts.write(self.cache.cluster_env, self._existing_facts())
            return
        # Binaries are compiled while images are built: one waits for the
        # processor, the other for network and disk.
        with ThreadPoolExecutor(max_workers=1) as compiling:
            compiled = {build: compiling.submit(self._compile, build) for build in self._builds()}
            try:
                self._start_daemon()
                known = self._images(light=light)
                for build in golang.NODE_PARTS:
                    if build in compiled:
                        compiled[build].result()
                self._start_cluster(known)
            except BaseException:
                compiling.shutdown(wait=False, cancel_futures=True)
                raise
            for compilation in compiled.values():
                compilation.result()

    def images(self, *, light: bool) -> dict[str, str]:
        """Build and push what changed, for a cluster that is up or will be."""
        if self.way is Way.EXISTING:
            raise StepFailed("images are built for local clusters only")
        self._start_daemon()
        return self._images(light=light)

    def publish_images(self, place: Prebuilt) -> None:
        """Push what ``images`` has made to where others pull it from."""
        if self.way is Way.EXISTING:
            raise StepFailed("images are published from local clusters only; `make publish` is for your own")
        local = self.images(light=False)
        # Whoever pulls starts from the public image, so that is what its tags tell of.
        public = catalogue.references(self._checkout, {"python": PUBLIC_PYTHON})
        for name in PROGRAMS:
            with self.steps.step(f"publish the {name} image") as step:
                published = place.reference(public.get(name, local[name]))
                say(f"  {place.push(step, self.docker, local[name], published)}")

    def kueue(self, *, wanted: bool) -> None:
        """Install Kueue in the cluster that is up, or take it away again."""
        if self.way is Way.EXISTING:
            raise StepFailed("Kueue is installed in local clusters only; in your own, whoever runs it does")
        if not wanted:
            release.remove(self.steps, self.cluster)
            return
        kueue_image.ensure(self.cache, self.steps, self.docker)
        release.install(self.cache, self.steps, self.cluster)

    def gitops_tools(self, wanted: Collection[str]) -> Path:
        """Make the images of the GitOps tools; return the folder with their manifests."""
        if self.way is Way.EXISTING:
            raise StepFailed("Flux and Argo CD are made for local clusters only: yours has its own")
        self._start_daemon()
        own = self.way is Way.OWN
        local_registry.ensure_registry(self.cache, self.steps, self.docker, can_pull=not own)
        debian = ensure_debian(self.cache, self.steps, self.docker) if own else PUBLIC_PYTHON
        return GitopsTools(self.cache, self.steps, self.docker, self._checkout, debian).ensure(wanted)

    def down(self) -> None:
        """Delete the cluster and stop all that was started for it."""
        if self.way is Way.EXISTING:
            say("Nothing to do: that cluster is not ours.")
            return
        if self.way is Way.OWN and not self._engine.is_running():
            self._engine.stop()
            say("Nothing is running.")
            return
        self.cluster.delete()
        with self.steps.step("stop what was started") as step:
            self.docker.run(step, "rm", "--force", local_registry.CONTAINER)
            if self.way is Way.OWN:
                self.docker.run(step, "network", "rm", local_registry.NETWORK)
                self._engine.stop()
        self.cache.cluster_env.unlink(missing_ok=True)
        ways.forget(self.cache)

    def _start_cluster(self, known: dict[str, str]) -> None:
        if not self.cluster.is_up():
            self._create(known)
        else:
            self.cluster.connect(without_cni=self.way is Way.OWN)
        manifests = self._checkout / "hack" / "manifests"
        if self.way is Way.OWN:
            network_policies.enforce(self.cache, self.steps, self.docker, self.cluster, manifests)
        store = ObjectStore(self.cache, self.steps, self.docker)
        endpoint = store.apply(self.cluster, manifests, published=self.way is Way.DOCKER)
        facts.write(self.cache.cluster_env, self._facts(store, endpoint))

    def _start_daemon(self) -> None:
        if self.way is Way.OWN:
            self._engine.start()
        elif not host.docker_answers({}):
            raise StepFailed("this machine's Docker does not answer")
        ways.remember(self.cache, self.way)

    def _builds(self) -> list[golang.GoBuild]:
        """The programs that this way needs and nobody has installed."""
        if self.way is Way.OWN:
            return list(golang.ALL)
        tools = golang.TOOLS if self._prebuilt is None else golang.CLUSTER_TOOLS
        return [build for build in tools if not golang.is_on_path(self.cache, build)]

    def _compile(self, build: golang.GoBuild) -> None:
        golang.ensure(self.cache, self.steps, build)

    def _images(self, *, light: bool) -> dict[str, str]:
        own = self.way is Way.OWN
        local_registry.ensure_registry(self.cache, self.steps, self.docker, can_pull=not own)
        if own and os.environ.get(prebuilt.VARIABLE):
            say(f"! {prebuilt.VARIABLE} has no effect here: nodes of an own Docker Engine start with images built here")
        roots = {"debian": ensure_debian(self.cache, self.steps, self.docker)} if own else {"python": PUBLIC_PYTHON}
        mirrors = {PUBLIC_PYTHON: os.environ.get("PYTHON_BASE") or PUBLIC_PYTHON}
        builder = ImageBuilder(self.cache, self.steps, self.docker, self._prebuilt, mirrors)
        known = builder.ensure(self._checkout, roots, light=light)
        store = ObjectStore(self.cache, self.steps, self.docker)
        known["versitygw"] = store.ensure_image(self._prebuilt)
        programs = {name: known[name] for name in PROGRAMS if name in known}
        write_references(self.cache, programs)
        return known

    def _create(self, known: dict[str, str]) -> None:
        self.cluster.delete()
        if self.way is not Way.OWN:
            self.cluster.create(ways.node_image(), None, without_cni=False)
            return
        debian = ensure_debian(self.cache, self.steps, self.docker)
        node_image = system_images.ensure_system_images(self.cache, self.steps, self.docker, debian, self._checkout)
        template = Template(
            self.cache,
            self.steps,
            self.docker,
            system_images.ALL,
            [known[name] for name in catalogue.PREPARED if name in known],
        )
        filled = template.ensure(node_image)
        stores = Stores(filled, template.stores(filled, NODES))
        self.cluster.create(node_image, stores, without_cni=True)

    def _facts(self, store: ObjectStore, endpoint: str) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.cache.kubeconfig),
            "GRAFT_CACHE": str(self.cache.root),
            "GRAFT_BIN": str(self.cache.binaries),
            "GRAFT_IMAGES": str(self.cache.images_json),
            "GRAFT_VOLUMES": str(self.cache.volumes),
            "GRAFT_S3_ENDPOINT": endpoint,
            "GRAFT_S3_ENDPOINT_IN_CLUSTER": IN_CLUSTER,
            "GRAFT_S3_BUCKET": BUCKET,
            "GRAFT_S3_REGION": REGION,
            "GRAFT_S3_ACCESS_KEY": store.credentials.access_key,
            "GRAFT_S3_SECRET_KEY": store.credentials.secret_key,
            **({"GRAFT_DOCKER_HOST": self.docker.environment["DOCKER_HOST"]} if self.way is Way.OWN else {}),
        }

    def _existing_facts(self) -> dict[str, str]:
        """What the user's environment says about a cluster that is not ours."""
        names = ("KUBECONFIG", "GRAFT_IMAGES", "GRAFT_S3_ENDPOINT")
        more = ("IN_CLUSTER", "BUCKET", "REGION", "ACCESS_KEY", "SECRET_KEY")
        every = (*names, "GRAFT_S3_ENDPOINT_IN_CLUSTER", *(f"GRAFT_S3_{m}" for m in more))
        return {name: os.environ[name] for name in every if name in os.environ}
