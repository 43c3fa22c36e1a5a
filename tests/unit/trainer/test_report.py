"""The report page and the model card: complete, self-contained, and safe whatever tenants write."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from tests.unit.registry.builders import version_draft

from graft_registry.digests import digest_of
from graft_registry.documents import (
    BaseReference,
    BaseSource,
    DatasetRecord,
    HuggingFaceSource,
    MergeRecord,
    Metrics,
    VersionDraft,
    VersionManifest,
    WarmStart,
)
from graft_trainer.data.rows import Sample, Segment
from graft_trainer.publishing.line_chart import HEIGHT, LEFT, WIDTH, line_chart
from graft_trainer.publishing.model_card import model_card
from graft_trainer.publishing.report import SHOWN_CHARACTERS, AnsweredQuestion, ReportInputs, report_page
from graft_trainer.training.history import Point, history_of

ROWS, OTHER_ROWS = digest_of("held-out rows"), digest_of("other rows")
EVIL = '"><script>alert(1)</script><img src=http://evil/x onerror=alert(1)>`|{{ 7*7 }}\n---\nname: evil'
LOG = [
    {"step": 10, "loss": 2.5, "learning_rate": 2e-4, "grad_norm": 1.0},
    {"step": 10, "eval_loss": 2.4},
    {"step": 20, "loss": 1.5, "learning_rate": 1e-4},
    {"step": 20, "eval_loss": 1.4},
    {"step": 20, "train_runtime": 3.0},
]


def draft(**overrides: Any) -> VersionDraft:
    """Return a version that was measured."""
    fields: dict[str, Any] = {
        "dataset": DatasetRecord(
            uri="s3://data/rows.jsonl",
            digest=digest_of("rows"),
            eval_digest=ROWS,
            rows=90,
            eval_rows=10,
            dropped=3,
            dropped_by_reason={"NotJSON": 1, "NoAnswer": 2},
            truncated=4,
            leaked=5,
            masked_answers=6,
            answers=110,
            unknown_answers=7,
            unused_keys={"score": 90},
        ),
        "metrics": Metrics(
            eval_loss=1.25,
            base_eval_loss=2.5,
            exact_match=0.75,
            base_exact_match=0.0,
            perplexity=3.49,
            base_perplexity=12.18,
            steps=20,
            tokens_per_second=1234.5,
            peak_memory_bytes=3 << 30,
        ),
        "hyperparameters": {"lora": {"rank": 4, "dropout": 0.05}, "training": {"learningRate": 2e-4}},
    }
    return version_draft(**fields | overrides)


def previous(eval_digest: str) -> VersionManifest:
    before = draft(metrics=Metrics(eval_loss=1.875))
    assert before.dataset is not None
    rows = before.dataset.model_copy(update={"eval_digest": eval_digest})
    return VersionManifest(**dict(before) | {"dataset": rows, "number": 6, "files": (), "created_time": "now"})


def inputs(**overrides: Any) -> ReportInputs:
    fields: dict[str, Any] = {
        "previous": None,
        "history": history_of(LOG),
        "samples": (Sample("s3://data/rows.jsonl line 7", (Segment("what is a cod", False), Segment("fish", True))),),
        "answers": (AnsweredQuestion("what is an elm", "tree", "tree it is", "a noun"),),
        "seconds": {"loading": 1.5, "training": 61.25},
    }
    return ReportInputs(**fields | overrides)


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


TOLD = {
    "the loss beside the base's": "loss, nats per token 1.25 2.5",
    "exact answers beside the base's": "exact match 0.75 0",
    "steps": "20 steps",
    "a sample": "line 7 what is a cod fish",
    "answers side by side": "what is an elm tree tree it is a noun",
    "rows that were trained on": "trained on 90",
    "rows that were dropped, by reason": "dropped 3 dropped: NoAnswer 2 dropped: NotJSON 1",
    "answers that were not learned, or hold what is unknown": "truncated 4 answers that are not learned 6 answers that "
    "hold what the tokenizer does not know 7",
    "keys that nothing was made of": "not used: score 90",
    "every hyperparameter": "lora.dropout 0.05 lora.rank 4 training.learningRate 0.0002",
    "how long it took": "loading 1.5 s training 61.2 s",
    "speed and memory": "tokens per second of training 1234 peak memory 3.0 GiB",
    "libraries": "torch 2.13.0",
    "the recipe": digest_of("recipe"),
}


@pytest.mark.parametrize("text", TOLD.values(), ids=TOLD)
def test_the_report_tells(text: str) -> None:
    assert text in Page(report_page(draft(), inputs())).text


def test_only_the_trained_part_of_a_sample_is_marked() -> None:
    assert re.findall("<mark>(.*?)</mark>", report_page(draft(), inputs()))[1:] == ["fish"]


def test_the_curves_have_every_point_of_the_whole_run() -> None:
    page = report_page(draft(), inputs())
    assert page.count("<polyline") == 3
    assert page.count("<circle") == 6


def test_a_run_without_logs_says_so_instead_of_drawing_nothing() -> None:
    assert "Nothing was logged" in report_page(draft(), inputs(history=history_of([])))


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = Page(report_page(draft(), inputs()))
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "a"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert "http://" not in report_page(draft(), inputs())


def evil_draft() -> VersionDraft:
    """Return a version of which tenants have written every text."""
    clean = draft()
    assert clean.dataset is not None
    return draft(
        adapter=EVIL,
        method=EVIL,
        image=EVIL,
        base=clean.base.model_copy(update={"name": EVIL, "revision": EVIL}),
        dataset=clean.dataset.model_copy(update={"uri": EVIL, "dropped_by_reason": {EVIL: 1}}),
        hyperparameters={EVIL: {EVIL: EVIL}},
        libraries={EVIL: EVIL},
    )


def test_nothing_that_tenants_write_becomes_part_of_the_page() -> None:
    evil = inputs(
        samples=(Sample(EVIL, (Segment(EVIL, False), Segment(EVIL, True))),),
        answers=(AnsweredQuestion(EVIL, EVIL, EVIL, EVIL),),
        seconds={EVIL: 1.0},
    )
    harmless, attacked = Page(report_page(draft(), inputs())), Page(report_page(evil_draft(), evil))
    assert attacked.tags == harmless.tags
    assert {name for name, _ in attacked.attributes} == {name for name, _ in harmless.attributes}
    assert "<script>alert(1)</script>" in attacked.text


@pytest.mark.parametrize("text", ["a NUL \0 in it", "half a pair \ud800 in it"], ids=["a NUL", "half a surrogate pair"])
def test_what_is_no_text_is_replaced_so_that_it_can_be_published(text: str) -> None:
    page = report_page(draft(), inputs(answers=(AnsweredQuestion(text, "", "", ""),)))
    assert "\N{REPLACEMENT CHARACTER}" in page
    assert b"\0" not in page.encode()


def test_texts_of_any_length_make_a_page_of_bounded_length() -> None:
    long = "x" * 10_000_000
    page = report_page(draft(), inputs(samples=(Sample("here", (Segment(long, True),)),)))
    assert len(page) < SHOWN_CHARACTERS + 50_000


@pytest.mark.parametrize(
    ("eval_digest", "shown"),
    [
        pytest.param(ROWS, "loss, nats per token 1.25 2.5 1.875", id="judged on the same rows"),
        pytest.param(OTHER_ROWS, "loss, nats per token 1.25 2.5 –", id="judged on other rows"),
    ],
)
def test_the_version_before_is_compared_only_on_the_same_rows(eval_digest: str, shown: str) -> None:
    page = Page(report_page(draft(), inputs(previous=previous(eval_digest))))
    assert "version 6" in page.text
    assert shown in page.text


def test_a_merge_and_a_warm_start_are_told() -> None:
    merge = MergeRecord(dtype="bfloat16", tokens=500, mean_kl=1e-4, max_logit_difference=0.1, argmax_agreement=0.998)
    start = WarmStart(number=6, manifest_digest=digest_of("six"))
    page = Page(report_page(draft(merge=merge, warm_start=start), inputs()))
    assert "begun with the weights of version 6" in page.text
    assert "99.8 % of 500 places" in page.text


def test_equal_trainings_have_equal_documents() -> None:
    assert report_page(draft(), inputs()) == report_page(draft(), inputs())
    assert model_card(draft(), None) == model_card(draft(), None)


def front_matter(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = yaml.safe_load(found.group(1))
    return values


def test_the_card_has_what_the_hub_reads() -> None:
    base = BaseReference(
        name="tiny",
        revision="c" * 40,
        digest=digest_of("base"),
        source=BaseSource(hugging_face=HuggingFaceSource(repo="org/tiny")),
    )
    values = front_matter(model_card(draft(base=base), None))
    assert (values["base_model"], values["base_model_relation"]) == ("org/tiny", "adapter")
    assert (values["library_name"], values["pipeline_tag"]) == ("peft", "text-generation")
    assert values["datasets"] == ["s3://data/rows.jsonl"]
    [result] = values["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "loss": 1.25,
        "perplexity": 3.49,
        "exact_match": 0.75,
    }


CARD_TELLS = {
    "scores beside base and version before": "| loss, nats per token | 1.25 | 2.5 | 1.875 |",
    "how to use it": "PeftModel.from_pretrained(",
    "data counts": "| dropped | 3 (NoAnswer 2, NotJSON 1) |",
    "what the tokenizer doesn't know": "| answers that hold what the tokenizer does not know | 7 of 110 |",
    "parameters": "| training.learningRate | `0.0002` |",
    "provenance": f"| rows | `{digest_of('rows')}` |",
}


@pytest.mark.parametrize("text", CARD_TELLS.values(), ids=CARD_TELLS)
def test_the_card_tells(text: str) -> None:
    assert text in model_card(draft(), previous(ROWS))


def test_a_card_without_scores_is_a_card() -> None:
    values = front_matter(model_card(draft(metrics=Metrics()), None))
    assert "model-index" not in values


def test_tenants_write_no_front_matter_and_no_markup_of_a_card() -> None:
    card = model_card(evil_draft(), None)
    values = front_matter(card)
    assert values["datasets"] == [EVIL]
    assert "name" not in values
    assert set(values) == set(front_matter(model_card(draft(), None)))


def test_a_chart_keeps_its_points_within_its_axes() -> None:
    chart = line_chart({"loss": (Point(1, 3.0), Point(50, 1.0)), "nothing": ()})
    assert chart is not None
    [line] = chart.lines
    assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line.points)
    assert line.points[0][1] < line.points[1][1], "higher values are nearer to the top"
    assert [tick.label for tick in chart.x_ticks] == ["0", "12", "25", "38", "50"]


@pytest.mark.parametrize("value", [0.0, 2e-4, -1.0])
def test_a_constant_is_a_flat_line_in_the_middle(value: float) -> None:
    chart = line_chart({"rate": (Point(1, value), Point(2, value))})
    assert chart is not None
    assert len({y for _, y in chart.lines[0].points}) == 1
    assert chart.y_ticks[0].position > chart.lines[0].points[0][1] > chart.y_ticks[-1].position


def test_no_points_are_no_chart() -> None:
    assert line_chart({"loss": ()}) is None


def test_a_loss_that_is_no_number_is_no_point() -> None:
    assert history_of([{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.0}]).loss == (Point(2, 1.0),)


def test_a_version_that_learned_preferences_is_told_in_their_terms() -> None:
    metrics = Metrics(eval_loss=0.25, base_eval_loss=0.6931, preference_accuracy=0.9375)
    preferring = draft(objective="DPO", metrics=metrics)
    page = report_page(preferring, inputs(previous=None))
    assert "preference accuracy" in page
    assert "nats per token" not in page
    assert "Loss of DPO, nats per pair" in page
    card = model_card(preferring, None)
    assert "| preference accuracy | 0.9375 |" in card
    assert "| objective | DPO |" in card
