"""Rules of other people's clusters: what OpenShift does with user ids, what a mesh adds to pods, and a quota."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo import objects
from demo.cluster import Cluster, Object

FIRST_ID: Final = 1000650000
LAST_ID: Final = 1000659999
NAME: Final = "graft-e2e-cluster-rules"
"""Of the namespace of the webhook, and of everything outside namespaces."""
NEIGHBOUR: Final = "mesh-proxy"
NEVER_ENDS: Final = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"

WEBHOOK: Final = """
import base64, http.server, json, os, ssl

def patches(pod):
    spec = pod["spec"]
    context = spec.get("securityContext", {})
    given = {name: int(os.environ["FIRST_ID"]) for name in ("runAsUser", "fsGroup") if name not in context}
    yield {"op": "add", "path": "/spec/securityContext", "value": given | context}
    if pod["metadata"].get("labels", {}).get("graft.dev/component") in ("training", "import"):
        yield {"op": "add", "path": "/spec/containers/-", "value": json.loads(os.environ["NEIGHBOUR"])}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = base64.b64encode(json.dumps(list(patches(review["request"]["object"]))).encode()).decode()
        answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps(review | {"response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRules:
    """Gives ids to the pods of a namespace, puts a container that never ends beside trainers and imports, and refuses
    pods with ids of their own."""

    cluster: Cluster
    namespace: str
    image: str

    def begin(self) -> None:
        """Have the rules hold."""
        certificate, key = self._certificate()
        self.cluster.apply(objects.namespace(NAME), *self._webhook(certificate, key))
        self.cluster.kubectl("wait", "-n", NAME, f"pod/{NAME}", "--for=condition=Ready", "--timeout=120s")
        self.cluster.apply(self._mutation(certificate), *self._validation(), self._quota())

    def end(self) -> None:
        """Have them hold no more."""
        for kind in (
            "mutatingwebhookconfiguration",
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
            "namespace",
        ):
            self.cluster.delete(kind, NAME)

    def _certificate(self) -> tuple[bytes, bytes]:
        host = f"{NAME}.{NAME}.svc"
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = (Path(folder) / name for name in ("tls.crt", "tls.key"))
            made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}")
            names = ("-addext", f"subjectAltName=DNS:{host}")
            self.cluster.run(*made, *names, "-keyout", str(key), "-out", str(certificate))
            return certificate.read_bytes(), key.read_bytes()

    def _webhook(self, certificate: bytes, key: bytes) -> list[Object]:
        pod = objects.client_pod(NAME, NAME, self.image)
        [container] = pod["spec"]["containers"]
        container["command"] = ["python3", "-c", WEBHOOK]
        container["env"] = [
            {"name": "FIRST_ID", "value": str(FIRST_ID)},
            {"name": "NEIGHBOUR", "value": neighbour(self.image)},
        ]
        container["readinessProbe"] = {"tcpSocket": {"port": 8443}, "periodSeconds": 1}
        container["volumeMounts"] = [{"name": "tls", "mountPath": "/tls", "readOnly": True}]
        pod["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "tls"}}]
        data = {"tls.crt": certificate.decode(), "tls.key": key.decode()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tls", "namespace": NAME},
            "stringData": data,
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": 8443}]},
        }
        return [secret, pod, service]

    def _mutation(self, certificate: bytes) -> Object:
        hook = {
            "name": "pods.cluster-rules.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "namespaceSelector": self._selector(),
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "clientConfig": {
                "service": {"name": NAME, "namespace": NAME, "path": "/"},
                "caBundle": base64.b64encode(certificate).decode(),
            },
        }
        api = "admissionregistration.k8s.io/v1"
        return {
            "apiVersion": api,
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [hook],
        }

    def _validation(self) -> list[Object]:
        """Return the policy in OpenShift's words, and its binding."""
        api = "admissionregistration.k8s.io/v1"
        context = "object.spec.?securityContext"
        inside = f"{{id}} >= {FIRST_ID} && {{id}} <= {LAST_ID}"
        held = " && ".join(
            inside.format(id=f"{context}.{field}.orValue({FIRST_ID})") for field in ("runAsUser", "fsGroup")
        )
        ids = f"must be in the ranges: [{FIRST_ID}, {LAST_ID}]"
        message = f"unable to validate against any security context constraint: runAsUser: Invalid value: {ids}"
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        policy = {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": NAME},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": self._selector()},
                "validations": [{"expression": held, "message": message}],
            },
        }
        binding = {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        }
        return [policy, binding]

    def _quota(self) -> Object:
        hard = {"limits.cpu": "24", "limits.memory": "32Gi", "requests.cpu": "16", "requests.memory": "32Gi"}
        metadata = {"name": "compute", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}

    def _selector(self) -> Object:
        return {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}


def neighbour(image: str) -> str:
    """Return the container that a mesh would add, as JSON."""
    container = {
        "name": NEIGHBOUR,
        "image": image,
        "command": ["python3", "-c", NEVER_ENDS],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "100m", "memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
        },
    }
    return json.dumps(container)
