"""The registry's commands, run as a container runs them, and the files that they are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graft_registry.__main__ import main
from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore


class Container:
    """Runs a command as a container would: with arguments, variables and a termination log."""

    def __init__(self, config: RegistryConfig, directory: Path) -> None:
        self._environ = {
            "GRAFT_REGISTRY": config.model_dump_json(),
            "GRAFT_TERMINATION_LOG": str(directory / "termination-log"),
        }
        self._workspace = directory

    def run(self, *argv: str, **variables: Any) -> tuple[int, dict[str, Any]]:
        environ = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
        code = main(argv, {**self._environ, **environ})
        return code, json.loads(Path(self._environ["GRAFT_TERMINATION_LOG"]).read_text())

    def import_base(self, source: dict[str, Any], path: str = "/claim", **variables: str) -> tuple[int, dict[str, Any]]:
        request = {"namespace": "team-a", "name": "tiny", "source": source, "path": path}
        return self.run("import-base", "--workspace", str(self._workspace), GRAFT_BASE_IMPORT=request, **variables)

    def fetch_base(self, digest: str, destination: Path, *flags: str, **more: Any) -> tuple[int, dict[str, Any]]:
        request = {"namespace": "team-a", "name": "tiny", "digest": digest, **more}
        return self.run("fetch-base", "--destination", str(destination), *flags, GRAFT_BASE=request)


def put_files(store: ObjectStore, prefix: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        store.put(f"{prefix}{name}", data)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
