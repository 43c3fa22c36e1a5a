"""What reaches what: connections and requests that are tried from inside a pod."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from demo.cluster import Cluster, Object

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open")
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silent")
"""
COMPLETE = """
import json, sys, urllib.error, urllib.request
url, model, key = sys.argv[1:]
body = json.dumps({"model": model, "prompt": "1", "max_tokens": 1}).encode()
headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
try:
    answer = urllib.request.urlopen(urllib.request.Request(url + "/v1/completions", body, headers), timeout=60)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "version": answer.headers["X-Graft-Version"], "body": json.load(answer)}))
"""

ASK_AS_PEER = """
import json, pathlib, sys, urllib.error, urllib.request
host, name, token, key = sys.argv[1:]
if token.startswith("/"):
    token = pathlib.Path(token).read_text().strip()
headers = {"Content-Type": "application/json", "X-Graft-Pod": name, "Authorization": f"Bearer {key}"}
headers |= {"X-Graft-Peer": token} if token else {}
body = json.dumps({"model": "tiny", "prompt": "1", "max_tokens": 1}).encode()
address = f"[{host}]" if ":" in host else host
request = urllib.request.Request(f"http://{address}:8002/v1/completions", body, headers)
try:
    print(urllib.request.urlopen(request, timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A container of a pod, in which Python programs are run."""

    cluster: Cluster
    namespace: str
    pod: str
    container: str

    def connects(self, pod: Object, port: int) -> str:
        """Return what a connection to a port of a pod finds: ``open``, ``refused``, or ``silent``."""
        return self.run(CONNECT, pod["status"]["podIP"], str(port)).strip()

    def complete(self, url: str, model: str, key: str = "") -> dict[str, Any]:
        """Return status, X-Graft-Version and body of the answer to a request for one token."""
        answer: dict[str, Any] = json.loads(self.run(COMPLETE, url, model, key))
        return answer

    def ask_as_peer(self, pod: Object, token: str = "", key: str = "") -> int:
        """Return the status of a request to the port on which a pod answers other pods.

        ``token``: what is shown there; of a path, what is in that file of the container.
        """
        where = (pod["status"]["podIP"], pod["metadata"]["name"])
        return int(self.run(ASK_AS_PEER, *where, token, key))

    def run(self, program: str, *arguments: str) -> str:
        """Run a Python program in the container."""
        where = ("exec", "-n", self.namespace, self.pod, "-c", self.container, "--")
        return self.cluster.kubectl(*where, "python3", "-c", program, *arguments)

    def has_token(self) -> bool:
        """Whether there is a token for the Kubernetes API anywhere in the container's usual places."""
        script = "import pathlib; print(any(pathlib.Path('/var/run/secrets').rglob('token')))"
        return self.run(script).strip() == "True"
