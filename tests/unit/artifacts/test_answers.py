"""How much is kept, and what is let go of first."""

from __future__ import annotations

import pytest
from tests.builders import NAMESPACE, base_manifest, digest, version
from tests.unit.registry_in_memory import InMemoryStore, store_base, store_version

from graft_operator.artifacts import Artifacts, InlineLookups, answers, questions
from graft_operator.artifacts.answers import AnswerCache
from graft_operator.plan.known import BEING_LOOKED_UP, Known


class Never(InlineLookups):
    """Runs nothing: everything stays under way."""

    def submit(self, *_: object) -> None: ...


def kept(lookups: InlineLookups) -> AnswerCache:
    return AnswerCache(InMemoryStore(), lookups, lambda: 0.0, lambda *_: None)


def test_what_was_asked_for_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_KEPT", 3)
    known = kept(InlineLookups())
    asked = [questions.version(NAMESPACE, name, 1, None) for name in "abc"]
    for question in asked:
        known.ask(question)
    known.ask(asked[0])
    known.ask(questions.version(NAMESPACE, "d", 1, None))
    assert [known.peek(question) for question in asked] == [Known(None), None, Known(None)]


def test_what_is_under_way_is_not_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_KEPT", 1)
    known = kept(Never())
    asked = [questions.version(NAMESPACE, name, 1, None) for name in "ab"]
    assert [known.ask(question) for question in asked] == [BEING_LOOKED_UP] * 2
    assert [known.peek(question) for question in asked] == [BEING_LOOKED_UP] * 2


def test_manifests_make_room_for_manifests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "VERSIONS_KEPT", 2)
    store = InMemoryStore()
    artifacts = Artifacts(store, lookups=InlineLookups())
    store_version(store, version(1))
    absent = artifacts.of_recipe(NAMESPACE, "support", digest("none"))
    for number in range(1, 6):
        store_version(store, version(number))
        artifacts.version(NAMESPACE, "support", number, version(number).digest)
    store.requests.clear()
    assert artifacts.of_recipe(NAMESPACE, "support", digest("none")) == absent
    artifacts.version(NAMESPACE, "support", 5, version(5).digest)
    assert store.requests == []
    artifacts.version(NAMESPACE, "support", 1, version(1).digest)
    assert len(store.requests) == 1


def test_the_bases_of_one_namespace_make_room_for_one_another_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MODULES_KEPT", 4)
    store = InMemoryStore()
    known = Artifacts(store, lookups=InlineLookups())
    manifests = [base_manifest(letter) for letter in "ABC"]
    for manifest in manifests:
        store_base(store, manifest)
        store_base(store, manifest.model_copy(update={"namespace": "team-b"}))
    known.base("team-b", "tiny", manifests[0].digest)
    for manifest in manifests:
        known.base(NAMESPACE, "tiny", manifest.digest)
    store.requests.clear()
    known.base("team-b", "tiny", manifests[0].digest)
    known.base(NAMESPACE, "tiny", manifests[2].digest)
    assert store.requests == []
    known.base(NAMESPACE, "tiny", manifests[0].digest)
    assert len(store.requests) == 1
