"""The two processes, started and stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.control_plane.client import ApiClient, ApiError
from tests.ports import free_port

BINARIES = Path(os.environ.get("GRAFT_CACHE", Path.home() / ".cache/graft")) / "bin"
"""Where `make cluster-up` leaves what it builds."""
CRDS = Path(__file__).resolve().parents[2] / "crds"
TOKEN = "control-plane-of-a-test"
START_SECONDS = 90


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running API server. ``url`` speaks TLS with a certificate of its own making."""

    url: str
    folder: Path
    pids: dict[str, int]

    def client(self, *, impersonate: str = "", group: str = "system:masters") -> ApiClient:
        """Return a client, of the user that is named and of a group with all rights; use it as a context manager."""
        return ApiClient(self.url, TOKEN, impersonate=impersonate, group=group)

    def kubeconfig(self, name: str = "operator", url: str = "") -> Path:
        """Write a kubeconfig with all rights, for the server itself or for a proxy at ``url``."""
        return write_kubeconfig(self.folder / f"{name}.kubeconfig", url or self.url)


def write_kubeconfig(path: Path, url: str) -> Path:
    """Write a kubeconfig for a server whose certificate nobody checks, and return its path."""
    names = {"cluster": "test", "user": "test"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": names}],
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def etcd_and_api_server(*, crds: bool = True, plugins: str = "") -> AsyncIterator[ControlPlane]:
    """Start both, install Graft's CRDs, and stop both at the end. Raises RuntimeError where one does not come up.

    ``plugins``: of admission, beside the usual ones.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graft-control-plane-")))
        etcd_url = f"http://127.0.0.1:{free_port()}"
        etcd = stack.enter_context(process("etcd", etcd_arguments(folder, etcd_url), folder))
        port = free_port()
        write_credentials(folder)
        arguments = [*api_server_arguments(folder, etcd_url, port), f"--enable-admission-plugins={plugins}"]
        api_server = stack.enter_context(process("kube-apiserver", arguments, folder))
        pids = {"etcd": etcd.pid, "kube-apiserver": api_server.pid}
        plane = ControlPlane(f"https://127.0.0.1:{port}", folder, pids)
        async with plane.client() as client:
            await until_ready(client, api_server, folder)
            if crds:
                await install_crds(client)
        yield plane


@contextmanager
def process(name: str, arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of the local cluster until the block ends; its output is in ``folder``."""
    program = BINARIES / name
    found = str(program) if program.exists() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{program} is not there; `make cluster-up` builds it")
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen([found, *arguments], stdout=log, stderr=log, cwd=folder) as running,
    ):
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()


def write_credentials(folder: Path) -> None:
    """Write the key that service account tokens are signed with, and the one user."""
    command = ["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{TOKEN},test,test,"system:masters"\n')


def etcd_arguments(folder: Path, url: str) -> list[str]:
    """Return a single member that forgets everything with its folder, so it need not wait for the disk."""
    peers = f"http://127.0.0.1:{free_port()}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def api_server_arguments(folder: Path, etcd_url: str, port: int) -> list[str]:
    """Return a server of its own, with the usual admission but for what needs controllers that nobody runs."""
    return [
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.key'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--endpoint-reconciler-type=none",
        # Nobody makes the accounts' tokens here, nor default accounts.
        "--disable-admission-plugins=ServiceAccount",
        "--v=1",
    ]


async def until_ready(client: ApiClient, running: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the server answers. Raises RuntimeError with the end of its log."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while running.poll() is None:
                if await client.is_ready():
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        pass
    tail = (folder / "kube-apiserver.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"kube-apiserver does not come up:\n{tail}")


async def install_crds(client: ApiClient) -> None:
    """Apply Graft's CRDs and wait until both kinds are served."""
    for path in sorted(CRDS.glob("*.yaml")):
        body = yaml.safe_load(path.read_text())
        await client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=body)
        served = body["spec"]
        collection = f"/apis/{served['group']}/{served['versions'][0]['name']}/{served['names']['plural']}"
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await client.request("GET", collection)
                    break
                except ApiError:
                    await asyncio.sleep(0.1)
