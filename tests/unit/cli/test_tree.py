"""The tree of `kubectl graft status`, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import digest
from tests.unit.cli.objects import LATER, adapter, base, canary, condition, training, version, with_conditions

from graft_cli.client import Adapter, Base, FakeGraft
from graft_cli.commands.status import read_tree, tree_to_show
from graft_cli.decisions.tree import narrowed_to, status_tree
from graft_cli.errors import NotFound
from graft_cli.rendering.console import as_text
from graft_cli.rendering.durations import duration
from graft_cli.rendering.tables import history_table
from graft_cli.rendering.tree import parameters, status_view, training_line
from graft_operator.api.adapter_status import TrainingProgress

GOLDEN = Path(__file__).parents[2] / "data/cli"


def readapting() -> Adapter:
    waits = condition("Reconciling", "True", "Training", "Job topic-train-ab12cd34 trains: step 144 of 248")
    behind = condition("UpToDate", "False", "Training", "Job topic-train-ab12cd34 trains: step 144 of 248")
    return adapter("topic", status={"conditions": with_conditions(waits, behind), "training": training()})


def blocked() -> Adapter:
    why = "spec.dataset.s3.uri: s3://data/train.jsonl does not exist"
    conditions = with_conditions(
        condition("Stalled", "True", "BadDataset", why), condition("UpToDate", "False", "BadDataset", why)
    )
    return adapter("speech", status={"conditions": conditions})


def pinned() -> Adapter:
    return adapter("pinned", version=3, suspend=True)


def with_advice() -> Adapter:
    says = "spec.lora.alpha: 16 is not twice the rank; 32 is recommended; spec.training.batchSize: 64 rows are many"
    return adapter(
        "advised", status={"conditions": with_conditions(condition("Accepted", "True", "AcceptedWithAdvice", says))}
    )


def unseen() -> Adapter:
    return adapter("new", status={"conditions": (), "versions": (), "served_version": None})


def edited() -> Adapter:
    return adapter("edited", meta={"generation": 4}, status={"observed_generation": 3})


def orphan() -> Adapter:
    return adapter("orphan", baseModelRef={"name": "gone"}, status={"conditions": (), "served_version": None})


EVERYTHING = (readapting, blocked, canary, pinned, with_advice, unseen, edited, orphan)


def golden(name: str, text: str) -> None:
    """Compare with what is committed; a changed output is committed by hand, so that somebody reads it."""
    assert text == (GOLDEN / f"{name}.txt").read_text(), f"\n{text}"


def test_the_whole_tree_reads_as_committed() -> None:
    tree = status_tree([base(), base("other")], [make() for make in EVERYTHING])
    golden("status", as_text(status_view(tree, LATER), width=120))


def test_history_reads_as_committed() -> None:
    entries = (
        version(7),
        version(6),
        version(5, "RolledBack", message="12 of 40 requests failed"),
        version(4, "Rejected", message="evalLoss 4.4 is not below that of the base"),
    )
    shown = canary().status.model_copy(update={"versions": entries})
    golden("history", as_text(history_table(Adapter.parse({**canary().raw, "status": shown.to_wire()}), LATER)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"rows": 120_000, "total_rows": 1_000_000}, "Preparing (SpecChanged), 120,000 of 1,000,000 rows, Job rows"),
        ({"rows": 1_000}, "Preparing (SpecChanged), 1,000 rows read, Job rows"),
        ({}, "Preparing (SpecChanged), Job rows"),
    ],
)
def test_rows_that_are_prepared_are_counted(rows: dict[str, int], words: str) -> None:
    progress = TrainingProgress(job="rows", recipe=digest("recipe"), reason="SpecChanged", state="Preparing", **rows)
    assert training_line(progress).plain == f"training  {words}"


def test_what_is_blocked_is_said_once() -> None:
    (finding,) = status_tree([], [blocked()])[0].adapters[0].findings
    assert (finding.kind, finding.reason) == ("Blocked", "BadDataset")


def test_a_status_of_a_newer_operator_hides_no_sibling() -> None:
    body = dict(adapter("newer").raw)
    body["status"] = body["status"] | {"versions": [{"number": "seven"}]}
    newer, sibling = status_tree([base()], [Adapter.parse(body), adapter()])[0].adapters
    assert newer.findings[0].kind == "Unreadable"
    assert "status.versions.0.number" in newer.findings[0].message
    assert newer.ready == "True"
    assert sibling.served == 6


@pytest.mark.parametrize(
    ("names", "adapters"),
    [
        (("topic",), ["topic"]),
        (("tiny",), ["pinned", "speech", "topic"]),
        (("topic", "speech"), ["speech", "topic"]),
        (("topic", "tiny"), ["pinned", "speech", "topic"]),
    ],
)
def test_names_are_those_of_adapters_and_bases(names: tuple[str, ...], adapters: list[str]) -> None:
    (found,) = narrowed_to(status_tree([base()], [readapting(), blocked(), pinned()]), names)
    assert [adapter.name for adapter in found.adapters] == adapters


def test_a_name_of_nothing_is_an_error() -> None:
    graft = FakeGraft([{**base().raw, "kind": "BaseModel"}])
    assert read_tree(graft, "team-a", ())[0].name == "tiny"
    with pytest.raises(NotFound, match="is called nobody or no-one in"):
        read_tree(graft, "team-a", ("nobody", "tiny", "no-one"))


@pytest.mark.parametrize(("names", "advice"), [((), 0), (("tiny",), 0), (("advised",), 2), (("tiny", "advised"), 2)])
def test_advice_is_for_who_names_the_adapter(names: tuple[str, ...], advice: int) -> None:
    graft = FakeGraft([{**base().raw, "kind": "BaseModel"}, {**with_advice().raw, "kind": "LoraAdapter"}])
    shown = as_text(status_view(tree_to_show(graft, "team-a", names), LATER))
    assert shown.count("recommended") + shown.count("are many") == advice
    (everything,) = read_tree(graft, "team-a", names)
    assert len(everything.adapters[0].findings) == 2, "programs get all"


def test_readaptation_that_waits_is_told_of_the_base() -> None:
    body = dict(base().raw)
    body["status"] = body["status"] | {"readaptation": {"queued": 3, "waitingFor": "2 of 2 places are taken"}}
    (node,) = status_tree([Base.parse(body)], [])
    assert node.findings[0].message == "3 adapters wait to be re-adapted: 2 of 2 places are taken"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0s"), (59, "59s"), (80, "1m20s"), (3600, "1h"), (90_061, "1d1h"), (86_405, "1d")]
)
def test_durations_have_two_units(count: int, words: str) -> None:
    assert duration(count) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, ""), (512, "512 parameters"), (1_600_000, "1.6M parameters"), (7_248_023_552, "7.25B parameters")],
)
def test_parameters_are_rounded(count: int, words: str) -> None:
    assert parameters(count) == words
