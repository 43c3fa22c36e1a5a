"""What a pod shows and believes while time passes and the API server is away: no network, the clock is the test's."""

import json
import time
from pathlib import Path

import pytest
from tests.serving.token_api import AUDIENCE, SUBJECT, claims, rsa_key

from graft_serving.cluster_api import ApiAccess
from graft_serving.peers.identity import LONGEST_OUTAGE_SECONDS, PeerIdentity, TokenFile
from graft_serving.peers.signing_keys import REFRESH_SECONDS, SigningKeys
from graft_serving.peers.tokens import PeerGroup, PublicKeys, public_keys, verify

GROUP = PeerGroup(audience=AUDIENCE, subject=SUBJECT)
HOUR = 3600
time_now = time.time


class KeysOfBefore(SigningKeys):
    """Keys that were fetched so many seconds ago."""

    def __init__(self, keys: PublicKeys, seconds: float) -> None:
        now = [0.0]
        super().__init__(ApiAccess(url="http://127.0.0.1:9", token_file=Path("/none"), ca_file=None), lambda: now[0])
        self._take(keys)
        now[0] = seconds


def identity(seconds_since_fetch: float, own: Path = Path("/none")) -> PeerIdentity:
    keys = public_keys(json.dumps({"keys": [rsa_key().public]}).encode())
    return PeerIdentity(GROUP, KeysOfBefore(keys, seconds_since_fetch), TokenFile(own))


@pytest.mark.parametrize(
    ("expired", "away", "taken"),
    [
        pytest.param(-HOUR, 0, True, id="good"),
        pytest.param(0.5 * HOUR, REFRESH_SECONDS, False, id="over, and the API is there"),
        pytest.param(0.5 * HOUR, HOUR, True, id="over since the API is away, so nobody has a newer one"),
        pytest.param(3 * HOUR, HOUR, False, id="over since before that"),
        pytest.param(LONGEST_OUTAGE_SECONDS + HOUR, 10 * LONGEST_OUTAGE_SECONDS, False, id="not for ever"),
    ],
)
async def test_tokens_stay_good_while_nobody_can_renew_them(expired: float, away: float, *, taken: bool) -> None:
    token = rsa_key().sign(claims(exp=int(time.time() - expired), iat=None, nbf=None))
    assert (await identity(away).why_refused(token) is None) is taken


async def test_a_token_that_was_good_once_is_refused_once_it_ends_or_its_key_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []

    def counted(token: str, group: PeerGroup, keys: PublicKeys, *, leeway_seconds: float) -> float:
        verified.append(token)
        return verify(token, group, keys, leeway_seconds=leeway_seconds)

    monkeypatch.setattr("graft_serving.peers.identity.verify", counted)
    pod, token = identity(0), rsa_key().sign(claims())
    assert [await pod.why_refused(token) for _ in range(5)] == [None] * 5
    assert len(verified) == 1, "a signature is no work for each request"
    with monkeypatch.context() as later:
        later.setattr("graft_serving.peers.identity.time.time", lambda: time_now() + 2 * HOUR)
        await pod.why_refused(token)
    assert len(verified) == 2
    pod._keys.known = public_keys(json.dumps({"keys": [rsa_key(9).public]}).encode())
    pod._keys._tried_at = 0.0
    assert await pod.why_refused(token) == "signed by no key that the Kubernetes API shows"


@pytest.mark.parametrize("token", [None, ""])
async def test_no_token_is_refused(token: str | None) -> None:
    assert await identity(0).why_refused(token) == "there is none"


async def test_refusals_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    pod = identity(0)
    for _ in range(100):
        await pod.why_refused("nonsense")
    assert len([record for record in caplog.records if "no pod of this base" in record.message]) == 1


def test_the_own_token_is_read_again_when_it_changes_and_none_while_it_is_gone(tmp_path: Path) -> None:
    path, linked = tmp_path / "token", tmp_path / "..data"
    pod, found = identity(0, path), []
    found.append(pod.own_token())
    # As the kubelet does it: a link to a link to a folder, of which the last is exchanged.
    for number in (1, 2):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "token").write_text(f"token-{number}\n")
        incoming = tmp_path / "incoming"
        incoming.symlink_to(folder)
        incoming.replace(linked)
        if number == 1:
            path.symlink_to("..data/token")
        found.append(pod.own_token())
    for content in (b"", b"\xff\xfe"):
        (tmp_path / "..2" / "token").write_bytes(content)
        found.append(pod.own_token())
    path.unlink()
    found.append(pod.own_token())
    assert found == [None, "token-1", "token-2", None, None, None]
