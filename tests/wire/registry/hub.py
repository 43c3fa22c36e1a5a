"""A Hugging Face hub in small: the API paths that downloads of models and datasets use, over real HTTP."""

import hashlib
import http.server
import json
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

TOKEN = "hf_token_of_a_reader"


@dataclass
class Repository:
    """A model, or a dataset where it is filed as ``datasets/<name>``."""

    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, COMMIT: COMMIT})
    gated: bool = False


class HubServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.repositories: dict[str, Repository] = {}
        self.downloaded: list[str] = []
        self.broken = False
        self.tells_sizes = True
        """As mirrors do not that ignore ``blobs=true``."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubHandler(http.server.BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if self.server.broken:
            self._answer(503, b"")
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif parts[:2] == ["api", "datasets"]:
            self._api("/".join(parts[1:4]), parts[4:])
        elif len(parts) >= 6 and parts[0] == "datasets" and parts[3] == "resolve":
            self._file("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def _repository(self, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif revision not in repository.revisions:
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            return repository, repository.revisions[revision]
        return None

    def _api(self, name: str, rest: list[str]) -> None:
        found = self._repository(name, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return
        repository, commit = found
        if rest[:1] == ["tree"]:
            document: object = [
                {"type": "file", "path": path, "size": len(data), "oid": _git_blob_id(data)}
                for path, data in repository.files.items()
            ]
        else:
            siblings = [_sibling(path, data) for path, data in repository.files.items()]
            if not self.server.tells_sizes:
                siblings = [{"rfilename": path} for path in repository.files]
            document = {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False}
        self._answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self._repository(name, revision)
        if found is None:
            return
        repository, commit = found
        if path not in repository.files:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = repository.files[path]
        if self.command == "GET":
            self.server.downloaded.append(path)
        self._answer(200, data, {"ETag": f'"{_git_blob_id(data)}"', "X-Repo-Commit": commit})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _sibling(path: str, data: bytes) -> dict[str, object]:
    """Describe a file as the hub does with ``blobs=true``: it has hashed the content of large ones alone."""
    if not path.endswith(".safetensors"):
        return {"rfilename": path, "size": len(data), "blobId": _git_blob_id(data)}
    sha256 = hashlib.sha256(data).hexdigest()
    return {"rfilename": path, "size": len(data), "lfs": {"sha256": sha256, "size": len(data), "pointerSize": 130}}


def _git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
