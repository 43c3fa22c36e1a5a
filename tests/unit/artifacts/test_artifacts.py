"""What the operator knows of the registry: the real registry code over a store in memory, lookups run at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.builders import CREATED, NAMESPACE, base_manifest, digest, version
from tests.unit.registry_in_memory import InMemoryStore, publish, store_base, store_version

from graft_operator.artifacts import Artifacts, InlineLookups, RegistryError, RegistryUnavailable
from graft_operator.plan.known import Known, Unknown
from graft_registry.documents import (
    BaseDrift,
    BaseSource,
    Progress,
    StoredVersion,
    VersionDraft,
    VersionVerdict,
)
from graft_registry.layout import AdapterLayout, BaseLayout

RECIPE = digest("recipe")
LAYOUT, BASE = AdapterLayout(NAMESPACE, "support"), BaseLayout(NAMESPACE, "tiny")


class World:
    """A store, what the operator knows of it, a clock that is set by hand, and the news that came."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.now = 1000.0
        self.news: list[tuple[str, str, str]] = []
        self.restart()

    def restart(self) -> None:
        self.artifacts = Artifacts(self.store, lookups=InlineLookups(), clock=lambda: self.now)
        self.artifacts.on_news = lambda *owner: self.news.append(owner)

    def publish(self, recipe: str = RECIPE, **fields: Any) -> StoredVersion:
        draft = VersionDraft.model_validate(dict(version(1, recipe=recipe, **fields).manifest))
        return publish(self.store, draft)

    def version(self, number: int = 1, digest: str | None = None) -> Any:
        return self.artifacts.version(NAMESPACE, "support", number, digest)

    def of_recipe(self, recipe: str = RECIPE) -> Any:
        return self.artifacts.of_recipe(NAMESPACE, "support", recipe)

    def history(self) -> list[int]:
        known = self.artifacts.history(NAMESPACE, "support")
        assert isinstance(known, Known)
        assert known.value is not None
        return [stored.manifest.number for stored in known.value]

    def lose_bucket(self) -> None:
        self.store.objects.clear()


@pytest.fixture
def world() -> World:
    return World()


def test_a_version_is_known_by_number_digest_and_recipe_and_read_once(world: World) -> None:
    published = world.publish(golden=({"promptTokenIds": [1], "prompt": "q", "answer": "a", "answerTokenIds": [2]},))
    world.store.requests.clear()
    found = world.of_recipe()
    assert found.value.digest == published.digest
    assert (found.value.manifest.metrics, found.value.manifest.golden) == (published.manifest.metrics, ())
    asked = len(world.store.requests)
    world.now += 86_400
    assert world.version(1, published.digest) == world.of_recipe() == found
    assert len(world.store.requests) == asked
    assert world.news == []


def test_a_number_that_was_given_out_anew_is_not_the_version_that_was_asked_for(world: World) -> None:
    lost = world.publish()
    world.lose_bucket()
    again = world.publish(seed=43)
    assert again.manifest.number == lost.manifest.number
    assert world.version(1, lost.digest) == Known(None)
    assert world.version(1, again.digest).value.digest == again.digest
    assert world.version(2) == Known(None)


def test_a_damaged_manifest_is_told_with_its_key_and_what_to_do(world: World) -> None:
    stored = world.publish()
    world.store.put(LAYOUT.manifest(1), b"garbage")
    trouble = world.version(1, stored.digest)
    assert (trouble.reason, trouble.is_transient) == ("RegistryCorrupt", False)
    assert LAYOUT.manifest(1) in trouble.message
    assert "delete it" in trouble.message
    store_version(world.store, stored)
    world.now += 61
    assert world.version(1, stored.digest).value.digest == stored.digest


def test_damaged_siblings_do_not_hide_the_good_version(world: World) -> None:
    for number in range(1, 14):
        world.publish(digest(f"recipe {number}"))
    world.store.put(LAYOUT.manifest(12), b"{}")
    world.store.put(LAYOUT.manifest(2), b"\xff")
    world.store.delete(LAYOUT.pointer(digest("recipe 13")))
    assert world.of_recipe(digest("recipe 13")).value.manifest.number == 13
    assert world.history() == [13, 11, 10, 9, 8, 7, 6, 5, 4, 3]


def test_that_there_is_no_version_of_a_recipe_holds_until_its_job_has_ended(world: World) -> None:
    assert world.of_recipe() == Known(None)
    assert world.history() == []
    world.store.requests.clear()
    world.now += 599
    assert world.of_recipe() == Known(None)
    assert world.store.requests == []
    published = world.publish()
    world.artifacts.forget_recipe(NAMESPACE, "support", RECIPE)
    assert world.of_recipe().value.digest == published.digest
    world.now += 61
    assert world.history() == [1]


def test_of_an_adapter_of_which_nothing_is_stored_one_question_is_asked(world: World) -> None:
    assert world.history() == []
    assert [world.of_recipe(digest(f"recipe {number}")) for number in range(3)] == [Known(None)] * 3
    assert world.store.requests == [("LIST", LAYOUT.root)]


def test_a_version_that_somebody_else_has_made_is_found_after_ten_minutes(world: World) -> None:
    assert world.of_recipe() == Known(None)
    published = world.publish()
    world.now += 601
    assert world.of_recipe().value.digest == published.digest


def test_what_was_found_stays_known_while_the_store_is_away_and_what_was_not_becomes_unknown(world: World) -> None:
    published = world.publish()
    store_base(world.store, base_manifest())
    assert world.version(1).value.digest == published.digest
    assert world.artifacts.base(NAMESPACE, "tiny", base_manifest().digest).value is not None  # type: ignore[union-attr]
    assert world.of_recipe(digest("other")) == Known(None)
    world.store.switches.away = True
    world.now += 700
    assert world.version(1, published.digest).value.digest == published.digest
    assert isinstance(world.artifacts.base(NAMESPACE, "tiny", base_manifest().digest), Known)
    trouble = world.of_recipe(digest("other"))
    assert (trouble.reason, trouble.is_transient) == ("RegistryUnavailable", True)
    world.store.switches.away = False
    world.now += 61
    assert world.of_recipe(digest("other")) == Known(None)


def test_failing_lookups_are_tried_again_less_and_less_often(world: World) -> None:
    world.store.switches.away = True
    tries = []
    for second in range(300):
        world.now = 1000.0 + second
        world.store.requests.clear()
        world.version(1)
        tries += [second] * bool(world.store.requests)
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:6] == sorted(pauses[:6])
    assert (pauses[0], max(pauses) <= 60, len(tries) < 13) == (1, True, True)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [(lambda key: True, "RegistryForbidden"), (lambda key: key.endswith("/"), "RegistryForbidden")],
    ids=["everything", "listing"],
)
def test_missing_rights_are_told(world: World, refused: Any, reason: str) -> None:
    world.store.switches.forbidden = refused
    trouble = world.of_recipe()
    assert (trouble.reason, trouble.is_transient) == (reason, False)


def test_whoever_may_only_read_finds_a_version_without_its_pointer(world: World) -> None:
    published = world.publish()
    world.store.delete(LAYOUT.pointer(RECIPE))

    def refuse(key: str) -> None:
        raise RegistryError("AccessDenied")

    world.store.switches.before_write = refuse
    assert world.of_recipe().value.digest == published.digest


def test_a_name_that_is_none_raises_nothing(world: World) -> None:
    trouble = world.artifacts.version("..", "support", 1)
    assert isinstance(trouble, Unknown)
    assert trouble.reason == "RegistryError"


@pytest.mark.parametrize(
    ("eta", "too_soon", "soon_enough"), [(None, 2.9, 3.1), (1000.0, 14.9, 15.1), (8.0, 1.9, 2.1), (2.0, 0.9, 1.1)]
)
def test_progress_is_looked_up_again_after_a_quarter_of_what_is_left(
    world: World, eta: float | None, too_soon: float, soon_enough: float
) -> None:
    def step() -> int | None:
        known = world.artifacts.progress(NAMESPACE, "support", RECIPE)
        return known.step if known else None

    def write(step: int) -> None:
        report = Progress(recipe=RECIPE, state="Training", step=step, eta_seconds=eta, updated_time=CREATED)
        world.store.put(LAYOUT.progress(RECIPE), report.to_bytes())

    write(1)
    begun, steps = world.now, [step()]
    write(2)
    for moment in (too_soon, soon_enough):
        world.now = begun + moment
        steps.append(step())
    world.store.switches.away = True
    world.now += 20
    assert [*steps, step()] == [1, 1, 2, 2]


@pytest.mark.parametrize("stored", [None, b"[]", b"{", b" " * (2 << 20)], ids=["none", "wrong", "cut", "huge"])
def test_progress_that_can_not_be_read_is_none(world: World, stored: bytes | None) -> None:
    if stored is not None:
        world.store.put(LAYOUT.progress(RECIPE), stored)
    assert world.artifacts.progress(NAMESPACE, "support", RECIPE) is None


def test_a_source_whose_base_is_gone_has_to_be_imported_again(world: World) -> None:
    manifest = base_manifest()
    source = BaseSource.model_validate({"s3": {"uri": "s3://models/a"}})

    def ask() -> Any:
        return world.artifacts.resolved_base(NAMESPACE, "tiny", source)

    assert ask() == Known(None)
    store_base(world.store, manifest)
    assert ask() == Known(None)
    world.artifacts.forget_source(NAMESPACE, "tiny")
    found = ask()
    assert (found.value.digest, found.value.files) == (manifest.digest, ())
    world.store.delete(BASE.manifest(manifest.digest))
    world.restart()
    assert ask() == Known(None)


def test_bases_and_their_drift_are_known(world: World) -> None:
    first, second = base_manifest("A"), base_manifest("B")
    store_base(world.store, second)
    drift = BaseDrift(previous=first.digest, digest=second.digest, verdict="Near", created_time=CREATED)
    world.store.put(BASE.drift(second.digest, first.digest), drift.to_bytes())
    assert world.artifacts.base(NAMESPACE, "tiny", first.digest) == Known(None)
    assert world.artifacts.base_drift(NAMESPACE, "tiny", second.digest, first.digest) == Known(drift)
    assert world.artifacts.base_drift(NAMESPACE, "tiny", first.digest, second.digest) == Known(None)


@pytest.mark.parametrize("honoured", [True, False])
def test_the_store_is_examined_once(world: World, honoured: bool) -> None:
    world.store.switches.conditional = honoured
    report = world.artifacts.store_report()
    assert isinstance(report, Known)
    assert report.value is not None
    assert report.value.conditional_writes is honoured
    asked = len(world.store.requests)
    world.now += 86_400
    assert world.artifacts.store_report() == report
    assert len(world.store.requests) == asked
    assert world.store.objects == {}


def test_a_bucket_that_may_not_be_written_to_is_tried_once(world: World) -> None:
    world.store.switches.forbidden = lambda key: True
    for _ in range(3):
        report = world.artifacts.store_report()
        assert isinstance(report, Known)
        assert report.value is not None
        assert [finding.check for finding in report.value.of("Failed")] == ["right s3:PutObject"]
    assert [verb for verb, _ in world.store.requests].count("PUT") == 1


def verdict(state: str, stored: StoredVersion) -> VersionVerdict:
    return VersionVerdict(
        number=stored.manifest.number, manifest_digest=stored.digest, state=state, message="slow", time=CREATED
    )


async def test_verdicts_outlive_the_operator_and_the_newest_counts(world: World) -> None:
    first, second = world.publish(), world.publish(digest("second"))
    assert world.artifacts.verdicts(NAMESPACE, "support") == Known({})
    await world.artifacts.record_verdict(NAMESPACE, "support", verdict("RolledBack", second))
    expected = {2: verdict("RolledBack", second)}
    assert world.artifacts.verdicts(NAMESPACE, "support") == Known(expected)
    world.restart()
    assert world.artifacts.verdicts(NAMESPACE, "support") == Known(expected)
    await world.artifacts.record_verdict(NAMESPACE, "support", verdict("Cleared", second))
    await world.artifacts.record_verdict(NAMESPACE, "support", verdict("Refused", first))
    world.restart()
    known = world.artifacts.verdicts(NAMESPACE, "support")
    assert known == Known({1: verdict("Refused", first), 2: verdict("Cleared", second)})
    assert world.history() == [2, 1]


async def test_a_deleted_adapter_is_forgotten(world: World) -> None:
    stored = world.publish()
    await world.artifacts.record_verdict(NAMESPACE, "support", verdict("Refused", stored))
    sibling = world.publish(adapter="sales")
    assert world.version(1).value is not None
    await world.artifacts.delete_adapter(NAMESPACE, "support")
    assert world.version(1) == Known(None)
    assert all(key.startswith(f"{NAMESPACE}/adapters/sales/") for key in world.store.objects)
    assert world.artifacts.of_recipe(NAMESPACE, "sales", RECIPE).value.digest == sibling.digest  # type: ignore[union-attr]


async def test_writes_say_that_the_store_is_away(world: World) -> None:
    stored = world.publish()
    world.store.switches.away = True
    with pytest.raises(RegistryUnavailable, match="away"):
        await world.artifacts.record_verdict(NAMESPACE, "support", verdict("Refused", stored))
    with pytest.raises(RegistryUnavailable, match="away"):
        await world.artifacts.delete_adapter(NAMESPACE, "support")


def vanish(world: World) -> None:
    world.store.delete(LAYOUT.manifest(1))


def be_given_out_anew(world: World) -> None:
    world.lose_bucket()
    world.publish(seed=43)


def be_damaged(world: World) -> None:
    world.store.put(LAYOUT.manifest(1), b"garbage")


@pytest.mark.parametrize("fate", [vanish, be_given_out_anew, be_damaged])
def test_what_is_served_and_vanishes_is_noticed_without_a_restart(world: World, fate: Any) -> None:
    stored = world.publish()
    assert world.of_recipe().value == world.version(1, stored.digest).value
    world.artifacts.audit(NAMESPACE, "support", 1, stored.digest)
    world.artifacts.audit_next()
    assert world.news == []
    fate(world)
    world.artifacts.audit_next()
    assert world.news == [("LoraAdapter", NAMESPACE, "support")]
    now = world.version(1, stored.digest)
    assert now == Known(None) if fate is not be_damaged else now.reason == "RegistryCorrupt"
    found = world.of_recipe().value
    assert found is None or found.digest != stored.digest
    world.artifacts.audit_next()
    assert len(world.news) == 1, "the same is no news"
    store_version(world.store, stored)
    world.artifacts.audit_next()
    assert len(world.news) == 2
    assert world.version(1, stored.digest).value.digest == stored.digest


def test_an_audit_takes_one_request_and_turns_and_says_nothing_while_the_store_is_away(world: World) -> None:
    for name in ("a", "b", "c"):
        stored = world.publish(adapter=name)
        world.artifacts.audit(NAMESPACE, name, 1, stored.digest)
    world.store.requests.clear()
    for _ in range(6):
        world.artifacts.audit_next()
    keys = [key for _, key in world.store.requests]
    assert keys == [AdapterLayout(NAMESPACE, name).manifest(1) for name in "abcabc"]
    world.store.switches.away = True
    world.artifacts.audit_next()
    assert world.news == []
    world.artifacts.forget_adapter(NAMESPACE, "b")
    world.store.requests.clear()
    for _ in range(4):
        world.artifacts.audit_next()
    assert {key.split("/")[2] for _, key in world.store.requests} == {"a", "c"}


def test_only_the_newest_two_versions_of_an_adapter_are_audited(world: World) -> None:
    for number in range(1, 5):
        world.artifacts.audit(NAMESPACE, "support", number, digest(str(number)))
    for _ in range(4):
        world.artifacts.audit_next()
    assert {key for _, key in world.store.requests} == {LAYOUT.manifest(3), LAYOUT.manifest(4)}
