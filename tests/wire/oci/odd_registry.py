"""A registry that answers as it is told to: what no real one does on request."""

from __future__ import annotations

import http.server
import json
from dataclasses import dataclass, field
from typing import Any

from tests.wire.oci.pushing import OCI_MANIFEST, TITLE, Files, digest


@dataclass
class Answer:
    """``length`` is what is claimed, where that isn't what is sent."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class OddRegistry(http.server.ThreadingHTTPServer):
    """Answers by path, the last answer of each again and again; ``seen`` holds what was asked, with its login."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), OddHandler)
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[tuple[str, str, str | None]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def blob(self, data: bytes, *answers: Answer) -> str:
        name = digest(data)
        self.answers[f"/v2/team/adapter/blobs/{name}"] = list(answers) or [Answer(data)]
        return name

    def artifact(self, files: Files, **fields: Any) -> dict[str, Any]:
        """Serve an artifact of plain files under ``v1`` and return its manifest."""
        layers = [
            {
                "mediaType": "application/octet-stream",
                "digest": self.blob(data),
                "size": len(data),
                "annotations": {TITLE: name},
            }
            for name, data in files.items()
        ]
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": self.blob(b"{}"), "size": 2}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers} | fields
        self.serve(document)
        return document

    def serve(self, document: object) -> None:
        content = json.dumps(document).encode()
        headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest(content)}
        self.manifest(Answer(content, headers=headers))

    def manifest(self, *answers: Answer) -> None:
        self.answers["/v2/team/adapter/manifests/v1"] = list(answers)


class OddHandler(http.server.BaseHTTPRequestHandler):
    server: OddRegistry

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        waiting = self.server.answers.get(self.path, [Answer(b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', 404)])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        self.send_response(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        for name, value in {"Content-Length": str(length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
