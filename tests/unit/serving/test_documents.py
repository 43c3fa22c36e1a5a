"""Wanted sets that can't be applied are rejected with the field and the fix."""

import json
from typing import Any

import pytest

from graft_serving.errors import WantedSetError
from graft_serving.settings import Settings
from graft_serving.wanted.documents import parse_wanted_set

DIGEST = "sha256:" + "a" * 64


def document(**adapter: Any) -> dict[str, Any]:
    entry = {
        "name": "support",
        "versions": [{"number": 1, "manifestDigest": DIGEST}],
        "route": [{"number": 1, "weight": 100}],
        "forwardTo": None,
        **adapter,
    }
    base = {"name": "tiny", "digest": DIGEST, "forwardTo": None}
    return {"schema": "graft.dev/wanted/v1", "base": base, "adapters": [entry]}


def test_unknown_fields_of_a_newer_writer_are_ignored() -> None:
    wanted = parse_wanted_set(json.dumps({**document(newer=1), "newer": 2}).encode())
    assert wanted.adapters[0].desired_route[0].version.engine_name == "support--v1-aaaaaaaa"


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (document(versions=[]), "add them to versions"),
        (document(versions=[{"number": 1, "manifestDigest": DIGEST}] * 2), "list each version once"),
        (document(route=[{"number": 1, "weight": 0}]), "give one version a weight"),
        (document(name="../etc"), "adapters.0.name"),
        (document(name="tiny"), "occur twice"),
        (document(versions=[{"number": 1, "manifestDigest": "sha256:../x"}]), "manifestDigest"),
        (document(forwardTo="file:///etc/passwd"), "forwardTo"),
        ({**document(), "schema": "graft.dev/wanted/v2"}, "schema"),
        ({"schema": "graft.dev/wanted/v1"}, "base: Field required"),
    ],
)
def test_a_bad_wanted_set_is_rejected(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(WantedSetError, match=complaint.replace(".", r"\.")):
        parse_wanted_set(json.dumps(raw).encode())


def test_bytes_that_are_not_json_are_rejected() -> None:
    with pytest.raises(WantedSetError):
        parse_wanted_set(b"{")


def test_settings_come_from_the_environment() -> None:
    environment = {
        "GRAFT_NAMESPACE": "team-a",
        "GRAFT_POD": "tiny-0",
        "GRAFT_WANTED_CONFIGMAP": "wanted-tiny",
        "GRAFT_MAX_RANK": "32",
        "GRAFT_PEER_SERVICE_URL": "",
    }
    settings = Settings.from_environment(environment)
    assert settings.max_rank == 32
    assert settings.peer_service_url is None


def test_settings_need_one_source_of_the_wanted_set() -> None:
    environment = {"GRAFT_NAMESPACE": "team-a", "GRAFT_POD": "tiny-0"}
    with pytest.raises(ValueError, match="GRAFT_WANTED_CONFIGMAP and GRAFT_WANTED_FILE"):
        Settings.from_environment(environment)


def test_a_bad_setting_is_named_as_the_variable_that_it_comes_from() -> None:
    environment = {"GRAFT_POD": "tiny-0", "GRAFT_WANTED_FILE": "/x", "GRAFT_MAX_RANK": "many"}
    with pytest.raises(ValueError, match="GRAFT_NAMESPACE: Field required; GRAFT_MAX_RANK: "):
        Settings.from_environment(environment)
