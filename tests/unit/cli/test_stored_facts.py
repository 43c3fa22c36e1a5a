"""What manifests say of two versions, what a check of the bucket means, and what a report may do."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from tests.unit.cli.objects import adapter, version
from tests.unit.registry.builders import version_draft

from graft_cli.decisions.stored.comparison import SampleAnswers, manifest_differences, sample_answers
from graft_cli.decisions.stored.report_page import framed
from graft_cli.decisions.stored.verification import verified
from graft_cli.rendering.console import as_text
from graft_cli.rendering.tables import sample_tables, section_tables, verification_table
from graft_cli.rendering.texts import printable
from graft_registry.digests import digest_of
from graft_registry.documents import (
    CheckedObject,
    DatasetRecord,
    GoldenPrompt,
    Metrics,
    VersionCheck,
    VersionManifest,
    timestamp,
)


def golden(prompt: str, answer: str, base: str | None = "base") -> GoldenPrompt:
    return GoldenPrompt(
        prompt_token_ids=(1,), prompt=prompt, answer=answer, answer_token_ids=(2,), base_answer=base, margin=1.0
    )


def manifest(number: int, **fields: Any) -> VersionManifest:
    draft = version_draft(f"recipe {number}", **fields)
    return VersionManifest(**{**dict(draft), "number": number, "files": (), "created_time": timestamp()})


def rows(before: VersionManifest, after: VersionManifest, title: str) -> dict[str, tuple[str, str, str]]:
    (section,) = [item for item in manifest_differences(before, after).sections if item.title == title]
    return {row.field: (row.before, row.after, row.change) for row in section.rows if row.differs}


def test_spec_data_and_scores_are_compared_field_by_field() -> None:
    dropped = {"NoAnswer": 2}
    data = DatasetRecord(uri="s3://data/b.jsonl", digest=digest_of("b"), rows=12, dropped=2, dropped_by_reason=dropped)
    before = manifest(3, metrics=Metrics(eval_loss=1.5))
    after = manifest(
        4, hyperparameters={"lora": {"rank": 8, "targetModules": ["q_proj", "v_proj"]}}, dataset=data,
        metrics=Metrics(eval_loss=1.25, exact_match=1 / 3),
    )  # fmt: skip
    assert rows(before, after, "spec") == {
        "lora.rank": ("4", "8", "+4"),
        "lora.targetModules": ("-", "q_proj, v_proj", ""),
    }
    assert rows(before, after, "data") == {
        "uri": ("s3://data/rows.jsonl", "s3://data/b.jsonl", ""),
        "digest": (digest_of("rows")[7:15], digest_of("b")[7:15], ""),
        "rows": ("10", "12", "+2"),
        "dropped": ("0", "2", "+2"),
        "droppedByReason.NoAnswer": ("-", "2", ""),
    }
    assert rows(before, after, "scores") == {
        "evalLoss": ("1.5", "1.25", "-0.25"),
        "exactMatch": ("-", "0.333333", ""),
    }
    text = as_text(*section_tables(3, 4, manifest_differences(before, after).sections))
    assert "SPEC" in text
    assert "more the same" in text


def test_an_import_without_rows_has_no_data_to_compare() -> None:
    found = manifest_differences(manifest(1, dataset=None, trained_on=None), manifest(2, dataset=None, trained_on=None))
    assert next(item for item in found.sections if item.title == "data").rows == ()
    assert "nothing is told" in as_text(*section_tables(1, 2, found.sections))


def test_prompts_that_both_were_asked_come_first() -> None:
    before = manifest(3, golden=(golden("old", "a"), golden("both", "b", None)))
    after = manifest(4, golden=(golden("new", "c"), golden("both", "d\x1b[2J")))
    assert sample_answers(before, after) == (
        SampleAnswers(prompt="both", base="base", before="b", after="d\x1b[2J"),
        SampleAnswers(prompt="new", base="base", before=None, after="c"),
        SampleAnswers(prompt="old", base="base", before="a", after=None),
    )
    assert "\x1b" not in as_text(*sample_tables(3, 4, sample_answers(before, after)))


def check(number: int, *, digest: str | None = None, base: str | None = None, damage: str = "Same") -> VersionCheck:
    told = version(number)
    manifest_digest = digest or told.digest
    objects = (
        CheckedObject(key=f"v/{number}", path="manifest.json", found=manifest_digest, verdict="Same"),
        CheckedObject(key="b/1", path="README.md", size=3, expected="1", found="2", verdict=damage),
    )
    return VersionCheck(
        namespace="team-a", adapter="support", number=number, digest=manifest_digest, objects=objects,
        base_digest=base or told.base_digest,
    )  # fmt: skip


def test_a_version_that_is_what_status_tells_is_whole() -> None:
    (found,) = verified(adapter(), [check(6)], every=False)
    assert found.is_whole
    assert [item.object for item in found.objects] == ["manifest.json", "README.md", "base"]


@pytest.mark.parametrize(
    ("checked", "object_", "verdict"),
    [
        (check(6, digest=digest_of("another")), "manifest.json", "Differs"),
        (check(6, base=digest_of("another")), "base", "Differs"),
        (check(6, damage="Differs"), "README.md", "Differs"),
        (check(6, damage="Missing"), "README.md", "Missing"),
        (check(6, damage="NotAllowed"), "README.md", "NotAllowed"),
    ],
)
def test_what_is_not_as_it_was_is_named(checked: VersionCheck, object_: str, verdict: str) -> None:
    (found,) = verified(adapter(), [checked], every=False)
    assert {item.object: item.verdict for item in found.objects if item.verdict != "Same"} == {object_: verdict}
    assert verdict in as_text(verification_table((found,)))


def test_a_version_that_status_tells_of_and_the_bucket_lacks_is_missing() -> None:
    found = verified(adapter(), [check(6), check(5), check(4), check(2), check(1)], every=True)
    assert [item.number for item in found] == [6, 5, 4, 3, 2, 1]
    assert [item.number for item in found if not item.is_whole] == [3]


def test_a_version_that_status_does_not_tell_of_is_known_by_the_bucket_alone() -> None:
    unknown = check(6).model_copy(update={"number": 99})
    (found,) = verified(adapter(), [unknown], every=False)
    assert (found.is_whole, found.told) == (True, False)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    "report",
    [
        "<!doctype html><script>alert(1)</script>",
        '"></iframe><script>alert(1)</script>',
        "'><img src=x onerror=alert(1)>",
        "&quot;><script>alert(1)</script>",
        '<meta http-equiv="refresh" content="0; url=https://evil.example.com">',
        "\x00<svg onload=alert(1)>",
    ],
)
def test_a_report_stays_in_its_frame(report: str) -> None:
    tags = Tags()
    tags.feed(framed(report, "team-a/<b>support</b> v6"))
    assert [tag for tag, _ in tags.seen] == ["html", "head", "meta", "meta", "meta", "title", "style", "body", "iframe"]
    frame = tags.seen[-1][1]
    assert (frame["sandbox"], frame["srcdoc"]) == ("", report)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\r\nc", "a\tb\nc"),
        ("\x1b[31mred\x9b", "�[31mred�"),
        ("\u202eabc\u2066", "�abc�"),
        (
            "नमस्ते \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚀 é",
            "नमस्ते \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚀 é",
        ),
        ("\ud800\x00\x7f", "���"),
    ],
)
def test_texts_of_others_only_stand_there(text: str, shown: str) -> None:
    assert printable(text) == shown
