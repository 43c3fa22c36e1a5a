"""Versions in repositories of a Hugging Face hub, by the hub's real client over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.exports.conftest import Exporter, contents
from tests.wire.exports.writable_hub import WritableHub
from tests.wire.registry.hub import TOKEN, Repository
from tests.wire.registry.server_thread import serving

from graft_registry.versions import StoredVersion


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    server = WritableHub()
    with serving(server):
        yield server


def test_a_version_is_committed_to_a_private_repository(
    export: Exporter, version: StoredVersion, hub: WritableHub, tmp_path: Path
) -> None:
    code, message = export("hf://acme/support", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert code == 0, message
    repository = hub.repositories["acme/support"]
    assert message["location"] == f"hf://acme/support@{repository.revisions['main']}"
    assert hub.private == {"acme/support"}
    assert hub.messages == [f"team-a/support v1 ({version.digest})"]
    export(f"dir:{tmp_path / 'out'}")
    assert repository.files == contents(tmp_path / "out")


def test_what_is_there_is_not_committed_again(export: Exporter, hub: WritableHub) -> None:
    locations = {export("hf://acme/support", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)[1]["location"] for _ in range(2)}
    assert len(locations) == 1
    assert len(hub.messages) == 1


def test_files_of_others_in_a_repository_stay(export: Exporter, hub: WritableHub) -> None:
    hub.repositories["acme/support"] = Repository({"LICENSE": b"mine"})
    assert export("hf://acme/support", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)[0] == 0
    assert hub.repositories["acme/support"].files["LICENSE"] == b"mine"


def test_who_may_not_write_is_told_which_login_is_missing(export: Exporter, hub: WritableHub) -> None:
    code, message = export("hf://acme/support", HF_ENDPOINT=hub.url, HF_TOKEN="hf_other")
    assert (code, message["reason"]) == (77, "Forbidden")
    assert "set HF_TOKEN to a token that may write there" in message["message"]


def test_a_hub_that_is_away_is_worth_a_retry(export: Exporter, hub: WritableHub) -> None:
    hub.broken = True
    code, message = export("hf://acme/support", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert (code, message["reason"]) == (68, "RegistryUnavailable")
