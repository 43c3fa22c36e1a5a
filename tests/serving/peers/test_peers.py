"""Who may ask on the port for other pods: pods of the same base, by their tokens, with API keys or without."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from tests.serving.conftest import Pod, eventually, pod_named
from tests.serving.published import wanted_adapter, wanted_set
from tests.serving.token_api import AUDIENCE, TokenApi, claims, elliptic_key, rsa_key

from graft_registry.s3.store import ObjectStore

BODY = {"model": "tiny", "prompt": "hello", "max_tokens": 1}
TOKENS: dict[str, tuple[Callable[[TokenApi], str | None], int]] = {
    "a pod of the base": (lambda api: api.token(), 200),
    "nobody": (lambda api: None, 401),
    "an empty header": (lambda api: "", 401),
    "an API key": (lambda api: "first-key", 401),
    "a pod of another base": (lambda api: api.token(aud=["graft-peers.team-a.basemodel.other"]), 401),
    "a token for the Kubernetes API": (lambda api: api.token(aud=["https://kubernetes.default.svc"]), 401),
    "a token for others, too": (lambda api: api.token(aud=[AUDIENCE, "vault"]), 401),
    "another account": (lambda api: api.token(sub="system:serviceaccount:team-a:default"), 401),
    "another namespace": (lambda api: api.token(sub="system:serviceaccount:team-b:graft-tiny-serving"), 401),
    "a token that is over": (lambda api: api.token(exp=1_700_000_000), 401),
    "another cluster": (lambda api: rsa_key(9).sign(claims(), kid=api.keys[-1].name), 401),
    "a key that nobody has": (lambda api: rsa_key(9).sign(claims()), 401),
    "no signature": (lambda api: jwt.encode(claims(), "", "none", headers={"kid": api.keys[-1].name}), 401),
    "nonsense": (lambda api: "\u00fd" * 300, 401),
}


async def asked_by(pod: Pod, token: str | None, **headers: str) -> int:
    shown = {} if token is None else {"X-Graft-Peer": token}
    sent = {"X-Graft-Pod": pod.settings.pod, **shown, **headers}
    async with pod.client.post(f"{pod.peer_url}/v1/completions", json=BODY, headers=sent) as answer:
        if answer.status == 401:
            assert (await answer.json())["error"]["code"] == "invalid_peer_token"
            assert answer.headers["X-Graft-Version"] == "none"
        return answer.status


@contextlib.asynccontextmanager
async def ready(pod: Pod) -> AsyncIterator[None]:
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        yield


@pytest.mark.parametrize("with_keys", [False, True], ids=["without API keys", "with API keys"])
async def test_only_pods_of_the_base_are_answered(pod: Pod, tmp_path: Path, *, with_keys: bool) -> None:
    if with_keys:
        (tmp_path / "keys").write_text("first-key")
        pod.settings = pod.settings.model_copy(update={"api_key_file": tmp_path / "keys"})
    found, others = {}, {"Authorization": "Bearer first-key"}
    async with ready(pod):
        for name, (make, _) in TOKENS.items():
            found[name] = await asked_by(pod, make(pod.token_api), **others)
    assert found == {name: status for name, (_, status) in TOKENS.items()}


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/metrics", "/anything"])
async def test_nothing_on_that_port_is_open(pod: Pod, path: str) -> None:
    async with ready(pod), pod.client.get(pod.peer_url + path, headers={"X-Graft-Pod": "tiny-0"}) as answer:
        assert answer.status == 401


async def test_whoever_means_another_pod_is_told_so_once_he_is_known(pod: Pod) -> None:
    async with ready(pod):
        found = [await asked_by(pod, token, **{"X-Graft-Pod": "tiny-1"}) for token in (None, pod.token_api.token())]
    assert found == [401, 421]


async def test_a_pod_without_tokens_takes_no_request_of_others(pod: Pod) -> None:
    none = {"peer_audience": None, "peer_account": None, "peer_token_file": None}
    pod.settings = pod.settings.model_copy(update=none)
    async with ready(pod):
        assert await asked_by(pod, pod.token_api.token()) == 401


async def test_what_a_pod_has_sent_to_the_service_needs_no_key_of_a_client(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first-key")
    pod.settings = pod.settings.model_copy(update={"api_key_file": tmp_path / "keys"})
    async with ready(pod):
        tokens = (pod.token_api.token(), pod.token_api.token(aud=["another"]), "first-key")
        answers = [await pod.ask("tiny", headers={"X-Graft-Peer": token}) for token in tokens]
    assert [answer.status for answer in answers] == [200, 401, 401]
    assert [answer.body["error"]["code"] for answer in answers[1:]] == ["invalid_api_key"] * 2


async def test_a_new_key_of_the_api_server_is_known_as_soon_as_a_token_names_it(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_serving.peers.signing_keys.SHORTEST_SECONDS", 0.0)
    async with ready(pod):
        old = pod.token_api.token()
        before = await asked_by(pod, old)
        pod.token_api.keys.append(elliptic_key())
        new = await asked_by(pod, pod.token_api.token())
        pod.token_api.keys.pop(0)
        await asked_by(pod, rsa_key(9).sign(claims()))
        taken_back = await asked_by(pod, old)
    assert (before, new, taken_back) == (200, 200, 401)


async def test_made_up_keys_do_not_make_the_agent_ask_the_api_server_each_time(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft_serving.peers.signing_keys.SHORTEST_SECONDS", 3600.0)
    async with ready(pod):
        assert await asked_by(pod, pod.token_api.token()) == 200
        made_up = [rsa_key(9).sign(claims(), kid=f"key-{number}") for number in range(50)]
        assert set(await asyncio.gather(*(asked_by(pod, token) for token in made_up))) == {401}
        assert await asked_by(pod, pod.token_api.token()) == 200
    assert pod.token_api.fetches <= 2


@pytest.mark.parametrize("status", [None, 403, 503], ids=["away", "forbidden", "ill"])
async def test_without_the_keys_of_the_api_server_nobody_is_known_until_they_are_there(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    monkeypatch.setattr("graft_serving.cluster_api.SHORTEST_PAUSE_SECONDS", 0.02)
    if status is None:
        await pod.token_api.stop()
    else:
        pod.token_api.status = status
    token = pod.token_api.token()
    async with ready(pod):
        before = await asked_by(pod, token)
        by_client = await pod.ask("tiny")
        pod.token_api.status = 200
        if status is None:
            await pod.token_api.start()

        async def is_known() -> bool:
            return await asked_by(pod, token) == 200

        await eventually(is_known)
    assert (before, by_client.status) == (401, 200)


@pytest.fixture
async def pods(tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession) -> AsyncIterator[list[Pod]]:
    """Three pods of one base, whose agents are yet to be started."""
    async with contextlib.AsyncExitStack() as stack:
        pods: list[Pod] = []
        for number in range(3):
            publisher = pods[0].publisher if pods else None
            one = pod_named(f"tiny-{number}", tmp_path / str(number), store, client, publisher)
            pods.append(await stack.enter_async_context(one))
        yield pods


@contextlib.asynccontextmanager
async def placed(pods: list[Pod]) -> AsyncIterator[None]:
    """Run the pods; all but the first hold the adapter."""
    entry = wanted_adapter("support", [pods[0].publisher.publish("support")]) | {"pods": ["tiny-1", "tiny-2"]}
    peers = [{"name": pod.settings.pod, "url": pod.peer_url} for pod in pods]
    async with contextlib.AsyncExitStack() as stack:
        for pod in pods:
            await stack.enter_async_context(pod.agent())
            pod.want(wanted_set(pod.base, entry) | {"peers": peers})
        for pod in pods:
            await pod.until_ready()
        yield


async def series(pod: Pod, name: str) -> float:
    async with pod.client.get(f"{pod.admin_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


async def asked_as(pod: Pod, users: int) -> list[Any]:
    return [await pod.ask("support", user=f"user-{number}") for number in range(users)]


async def test_a_pod_that_does_not_know_the_sender_is_followed_by_one_that_does(pods: list[Pod]) -> None:
    # As a pod is that can't read the keys of the API server any more, and knows former ones.
    pods[1].token_api.keys[:] = [rsa_key(7)]
    async with placed(pods):
        answers = await asked_as(pods[0], 20)
        refused = await series(pods[1], 'graft_rejected_total{code="invalid_peer_token"}')
        outcomes = [
            await series(pods[0], f'graft_forwards_total{{outcome="{name}"}}') for name in ("refused", "answered")
        ]
    assert {(answer.status, answer.headers["X-Graft-Version"]) for answer in answers} == {(200, "support@v1")}
    assert refused > 0
    assert outcomes == [refused, 20]


async def test_a_pod_shows_the_token_that_the_kubelet_has_put_there_last(pods: list[Pod]) -> None:
    own = pods[0].settings.peer_token_file
    assert own is not None
    statuses = []
    async with placed(pods):
        for text in (None, pods[0].token_api.token(exp=1_700_000_000), pods[0].token_api.token()):
            await asyncio.to_thread(put, own, text)
            statuses.append({answer.status for answer in await asked_as(pods[0], 2)})
    assert statuses == [{503}, {503}, {200}]


def put(path: Path, text: str | None) -> None:
    """Replace the file as the kubelet does, or remove it."""
    if text is None:
        path.unlink()
        return
    incoming = path.with_name("incoming")
    incoming.write_text(text)
    incoming.replace(path)
