"""Tokens of ServiceAccounts as a real API server signs them, and the right to read the keys for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from tests.chart.conftest import Render
from tests.control_plane import ApiClient, ControlPlane, Kind, etcd_and_api_server

from graft_operator.manifests.workloads.access import peer_audience
from graft_serving.cluster_api import ApiAccess
from graft_serving.peers.signing_keys import SigningKeys
from graft_serving.peers.tokens import PeerGroup, TokenRefusedError, verify

ACCOUNTS: Final = Kind("v1", "serviceaccounts")
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
PLURALS: Final = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"}
AUDIENCE: Final = peer_audience("BaseModel", "team-a", "tiny")
ACCOUNTS_THERE: Final = (("team-a", "graft-tiny-serving"), ("team-a", "other"), ("team-b", "graft-tiny-serving"))
GROUP: Final = PeerGroup(audience=AUDIENCE, subject="system:serviceaccount:team-a:graft-tiny-serving")


@dataclass(frozen=True, slots=True)
class Issuer:
    """An API server, and somebody with all rights there."""

    plane: ControlPlane
    people: ApiClient

    async def token(self, account: str = "graft-tiny-serving", namespace: str = "team-a", audience: str = "") -> str:
        """Return a token of an account; without an audience it is for the API server itself."""
        spec: dict[str, Any] = {"expirationSeconds": 3600, **({"audiences": [audience]} if audience else {})}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.people.request("POST", ACCOUNTS.path(namespace, account, "token"), body=body)
        return str(answer["status"]["token"])

    @contextlib.asynccontextmanager
    async def keys(self, folder: Path) -> AsyncIterator[SigningKeys]:
        """The keys as the agent of a serving pod fetches them, with nothing but what its pod has."""
        own = folder / "token"
        own.write_text(await self.token())
        certificate = self.plane.folder / "certificates/apiserver.crt"
        keys = SigningKeys(ApiAccess(url=self.plane.url, token_file=own, ca_file=certificate))
        running = asyncio.create_task(keys.run())
        try:
            await keys.renewed()
            yield keys
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with etcd_and_api_server(crds=False) as plane, plane.client() as people:
        for namespace, name in (
            ("team-a", "graft-tiny-serving"),
            ("team-a", "other"),
            ("team-b", "graft-tiny-serving"),
        ):
            await people.ensure_namespace(namespace)
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            await people.create(ACCOUNTS, namespace, account)
        yield Issuer(plane, people)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_agent_s_own_rights_are_enough_to_know_another_pod_of_the_base(
    issuer: Issuer, tmp_path: Path
) -> None:
    async with issuer.keys(tmp_path) as keys:
        verify(await issuer.token(audience=AUDIENCE), GROUP, keys.known, leeway_seconds=0)
        others = {
            "for the API server": await issuer.token(),
            "for another base": await issuer.token(audience=peer_audience("BaseModel", "team-a", "other")),
            "of another account": await issuer.token(account="other", audience=AUDIENCE),
            "of another namespace": await issuer.token(namespace="team-b", audience=AUDIENCE),
        }
        for token in others.values():
            with pytest.raises(TokenRefusedError):
                verify(token, GROUP, keys.known, leeway_seconds=0)


async def test_the_chart_gives_the_right_to_the_keys_back_where_it_was_taken_away(
    issuer: Issuer, tmp_path: Path, render: Render
) -> None:
    await issuer.people.request("DELETE", f"{RBAC}/clusterrolebindings/system:service-account-issuer-discovery")
    await asyncio.sleep(1)  # for the authorizer to have heard of it
    async with issuer.keys(tmp_path) as keys:
        without = dict(keys.known)
    for manifest in render({"rbac": {"issuerDiscovery": True}}):
        if manifest["kind"] in PLURALS and manifest["metadata"]["name"].endswith("issuer-discovery"):
            await issuer.people.request("POST", f"{RBAC}/{PLURALS[manifest['kind']]}", body=manifest)
    await asyncio.sleep(1)
    async with issuer.keys(tmp_path) as keys:
        verify(await issuer.token(audience=AUDIENCE), GROUP, keys.known, leeway_seconds=0)
    assert without == {}


async def test_nobody_is_given_the_right_unless_it_is_asked_for(render: Render) -> None:
    assert not [item for item in render() if item["metadata"]["name"].endswith("issuer-discovery")]
