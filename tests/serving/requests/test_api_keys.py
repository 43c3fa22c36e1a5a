"""Who may ask: everybody, or whoever knows one of the keys in the file."""

import asyncio
from pathlib import Path

import pytest
from tests.serving.conftest import Pod
from tests.serving.published import wanted_adapter, wanted_set
from tests.serving.requests.test_api import OtherService

RIGHT = {"Authorization": "Bearer first-key"}


@pytest.fixture
def key_file(pod: Pod, tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("first-key\n\n  second-key \n")
    pod.settings = pod.settings.model_copy(update={"api_key_file": path})
    return path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no key"),
        pytest.param({"Authorization": "Bearer third-key"}, 401, id="a wrong key"),
        pytest.param({"Authorization": "Bearer"}, 401, id="an empty key"),
        pytest.param({"Authorization": "Basic first-key"}, 401, id="another scheme"),
        pytest.param({"X-Api-Key": "first-key"}, 200, id="in Anthropic's header"),
        pytest.param({"X-Api-Key": "third-key"}, 401, id="a wrong one in Anthropic's header"),
        pytest.param({"Authorization": "Bearer third-key", "X-Api-Key": "first-key"}, 401, id="two that differ"),
        pytest.param({"Authorization": "Bearer first-ke\u00fd"}, 401, id="not ASCII"),
        pytest.param(RIGHT, 200, id="the first key"),
        pytest.param({"Authorization": "bearer second-key"}, 200, id="the second key, the scheme in small letters"),
    ],
)
async def test_only_a_key_of_the_file_opens_the_api(
    pod: Pod, key_file: Path, headers: dict[str, str], status: int
) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        answer = await pod.ask("tiny", headers=headers)
        async with pod.client.get(f"{pod.url}/v1/models", headers=headers) as models:
            assert models.status == status
    assert answer.status == status
    if status == 401:
        error = answer.body["error"]
        assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["X-Graft-Version"] == "none"


@pytest.mark.parametrize(
    "content",
    [
        b"first-key\r\nsecond-key\r\n",
        b"\n\n  first-key\t\n",
        b"second-key\nfirst-key",
        b"\xef\xbb\xbffirst-key\r\n",
        "first-key\r\n".encode("utf-16"),
        b"\xfe\xff" + "first-key\n".encode("utf-16-be"),
        b"caf\xe9\nfirst-key\n",
    ],
)
async def test_a_key_is_found_in_a_file_of_any_system(pod: Pod, key_file: Path, content: bytes) -> None:
    await asyncio.to_thread(key_file.write_bytes, content)
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        statuses = [(await pod.ask("tiny", headers=headers)).status for headers in (RIGHT, {})]
    assert statuses == [200, 401]


async def test_keys_are_rotated_without_a_restart(pod: Pod, key_file: Path) -> None:
    async with pod.agent():
        pod.want(wanted_set(pod.base))
        await pod.until_ready()
        statuses = [(await pod.ask("tiny", headers=RIGHT)).status]
        incoming = key_file.with_name("incoming")
        incoming.write_text("third-key")
        incoming.replace(key_file)
        statuses += [(await pod.ask("tiny", headers=RIGHT)).status]
        statuses += [(await pod.ask("tiny", headers={"Authorization": "Bearer third-key"})).status]
        await asyncio.to_thread(key_file.unlink)
        statuses += [(await pod.ask("tiny", headers={"Authorization": "Bearer third-key"})).status]
    assert statuses == [200, 401, 200, 401]


async def test_a_key_never_leaves_its_pod(pod: Pod, key_file: Path, tmp_path: Path) -> None:
    async with OtherService().running() as other, pod.agent():
        pod.want(wanted_set(pod.base, wanted_adapter("support", [], forward_to=other.url)))
        await pod.until_ready()
        await pod.ask("support", headers=RIGHT)
        await pod.ask("tiny", headers=RIGHT)
        await pod.ask("support", headers={"X-Api-Key": "first-key"})
    sent_on = [headers for _, headers, _ in other.requests]
    own_token = (tmp_path / "peer-token").read_text()
    assert len(sent_on) == 2
    for headers in (*sent_on, pod.engine.last_headers):
        assert "first-key" not in str(headers)
    assert all(headers["X-Graft-Peer"] == own_token for headers in sent_on)
    assert "X-Graft-Peer" not in pod.engine.last_headers
