"""The part of a hub's API by which repositories are made and committed to, besides that by which they are read."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import unquote, urlsplit

from tests.wire.registry.hub import TOKEN, HubHandler, HubServer, Repository


class WritableHub(HubServer):
    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = WritableHandler
        self.private: set[str] = set()
        self.messages: list[str] = []


class WritableHandler(HubHandler):
    server: WritableHub

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if self.server.broken:
            self._json(503, {})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json(401, {"error": "Invalid credentials in Authorization header"})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            self._json(200, {"errors": [], "warnings": []})
        elif parts[:2] == ["api", "models"] and parts[4] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": self._oid(parts, file)}
                for file in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif parts[:2] == ["api", "models"] and parts[4] == "commit":
            self._commit("/".join(parts[2:4]), body)
        else:
            self._json(404, {})

    def _create(self, request: dict[str, str]) -> None:
        name = f"{request['organization']}/{request['name']}"
        url = {"url": f"{self.server.url}/{name}", "name": name, "id": name}
        if name in self.server.repositories:
            self._json(409, {**url, "error": "You already created this model repo"})
            return
        self.server.repositories[name] = Repository({})
        if request.get("visibility") == "private" or request.get("private"):
            self.server.private.add(name)
        self._json(200, url)

    def _oid(self, parts: list[str], file: dict[str, str]) -> str | None:
        data = self.server.repositories["/".join(parts[2:4])].files.get(file["path"])
        return None if data is None else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.server.repositories[name]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "header":
                self.server.messages.append(line["value"]["summary"])
            elif line["key"] == "file":
                repository.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = hashlib.sha1(body).hexdigest()
        repository.revisions |= {"main": commit, commit: commit}
        self._json(
            200, {"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit, "success": True}
        )

    def _json(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
