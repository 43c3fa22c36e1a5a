"""A team's Git repository: the example of the documentation with one stage more, changed by commits as people do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from demo.cluster import Object

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "gitops"
STAGE = "models/e2e"
BASE, ADAPTER = "qwen", "support"
"""What the example's objects are called."""
IDENTITY = {"NAME": "Graft", "EMAIL": "graft@example.com"}


@dataclass(frozen=True, slots=True)
class Repository:
    """A clone on this machine; each change is one commit, pushed at once. Its methods return the new commit."""

    folder: Path
    url: str
    """Of the server, as this machine reaches it."""

    @classmethod
    def start(cls, folder: Path, url: str, namespace: str) -> Repository:
        """Copy the example, add an empty stage for a namespace, and push it."""
        shutil.copytree(EXAMPLE, folder)
        repository = cls(folder, url)
        repository._git("init", "--quiet", "--initial-branch=main")
        stage = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": ["../base"],
            "patches": [{"target": {"name": name}, "path": f"{name}.yaml"} for name in (BASE, ADAPTER)],
        }
        repository._write(f"{STAGE}/kustomization.yaml", stage)
        for name in (BASE, ADAPTER):
            repository.set_spec(name, {})
        about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "about"}}
        repository._write("models/base/about.yaml", about)
        repository.list_objects()
        repository.commit("Nothing yet")
        return repository

    def list_objects(self, *names: str) -> None:
        """Have these objects in what all stages share, beside a ConfigMap: kustomize refuses to render nothing."""
        path = "models/base/kustomization.yaml"
        shared = yaml.safe_load((self.folder / path).read_text())
        self._write(path, shared | {"resources": [f"{name}.yaml" for name in ("about", *names)]})

    def set_spec(self, name: str, spec: Object) -> None:
        """Give an object of the stage its spec, in place of the example's, whose GPUs and data are not here."""
        self._write(f"{STAGE}/{name}.yaml", [{"op": "replace", "path": "/spec", "value": spec}])

    def commit(self, message: str) -> str:
        """Commit and push everything."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        return self._push()

    def revert(self) -> str:
        """Revert the newest commit."""
        self._git("revert", "--no-edit", "HEAD")
        return self._push()

    def merge(self, branch: str, message: str) -> str:
        """Commit everything on a branch of its own, and merge it as a pull request is merged."""
        self._git("switch", "--quiet", "--create", branch)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("switch", "--quiet", "main")
        self._git("merge", "--quiet", "--no-ff", "--no-edit", branch)
        return self._push()

    def _push(self) -> str:
        self._git("push", "--quiet", self.url, "main")
        return self._git("rev-parse", "HEAD").strip()

    def _write(self, path: str, content: object) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        # JSON is YAML, and says which numbers are texts.
        file.write_text(json.dumps(content, indent=2) + "\n")

    def _git(self, *arguments: str) -> str:
        """Run git as nobody in particular: the settings of whoever runs the tests don't matter."""
        people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
        environment = os.environ | people | {"GIT_CONFIG_GLOBAL": os.devnull, "no_proxy": "*", "NO_PROXY": "*"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout
