"""The report of a version: one HTML page that needs nothing else, neither a network nor a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_registry.documents import VersionDraft, VersionManifest
from graft_trainer.data.rows import Sample, Segment
from graft_trainer.publishing import line_chart
from graft_trainer.publishing.scores import scores
from graft_trainer.publishing.templating import render
from graft_trainer.training.history import TrainingHistory

ANSWERS: Final = 6
"""Questions whose answers are shown."""

LOSSES: Final = {
    "SFT": "Loss, nats per token",
    "DPO": "Loss of DPO, nats per pair",
    "KTO": "Loss of KTO, per answer",
}
"""Title of the chart of losses, by objective."""

SHOWN_CHARACTERS: Final = 4000
"""Of each text; rows may be as long as the base's context."""


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A held-out question, the answer that counts as right, and what adapter and base answer greedily."""

    prompt: str
    expected: str
    adapter: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """What a report tells beyond the version's manifest. ``seconds`` of wall time, by what they were spent on."""

    previous: VersionManifest | None
    history: TrainingHistory
    samples: tuple[Sample, ...]
    answers: tuple[AnsweredQuestion, ...]
    seconds: Mapping[str, float]


def report_page(draft: VersionDraft, inputs: ReportInputs) -> str:
    """Render the page."""
    history = inputs.history
    losses = {"training loss": history.loss, "evaluation loss": history.evaluation_loss}
    return render(
        "report.html.jinja",
        {
            "draft": draft,
            "previous": inputs.previous,
            "scores": scores(draft, inputs.previous),
            "charts": {
                LOSSES[draft.objective]: line_chart.line_chart(losses),
                "Learning rate": line_chart.line_chart({"learning rate": history.learning_rate}),
            },
            "chart_size": (line_chart.WIDTH, line_chart.HEIGHT),
            "chart_margins": (line_chart.LEFT, line_chart.RIGHT, line_chart.TOP, line_chart.BOTTOM),
            "samples": [shortened_sample(sample) for sample in inputs.samples],
            "answers": [shortened_answers(answered) for answered in inputs.answers[:ANSWERS]],
            "counts": counts(draft),
            "parameters": parameters(draft.hyperparameters),
            "seconds": inputs.seconds,
        },
    )


def counts(draft: VersionDraft) -> dict[str, int]:
    """Return the numbers of rows by what became of them."""
    dataset = draft.dataset
    if dataset is None:
        return {}
    return {
        "trained on": dataset.rows,
        **{f"mixed: of {one.uri}, by weight {one.weight}": one.rows for one in dataset.sets},
        "held out": dataset.eval_rows,
        "truncated": dataset.truncated,
        "answers that are not learned": dataset.masked_answers,
        "answers that hold what the tokenizer does not know": dataset.unknown_answers,
        "dropped": dataset.dropped,
        **{f"dropped: {reason}": count for reason, count in sorted(dataset.dropped_by_reason.items())},
        "taken out of the held-out rows because they are training rows, too": dataset.leaked,
        **{f"not used: {key}": count for key, count in dataset.unused_keys.items()},
    }


def parameters(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Return every hyperparameter by its path in the spec, sorted."""
    return {
        f"{block}.{name}": value for block, values in sorted(blocks.items()) for name, value in sorted(values.items())
    }


def shortened_sample(sample: Sample) -> Sample:
    """Return the sample with texts of bounded length."""
    return Sample(sample.place, tuple(Segment(shortened(part.text), part.trained) for part in sample.segments))


def shortened_answers(answered: AnsweredQuestion) -> AnsweredQuestion:
    """Return the question and its answers with texts of bounded length."""
    texts = (answered.prompt, answered.expected, answered.adapter, answered.base)
    return AnsweredQuestion(*map(shortened, texts))


def shortened(text: str) -> str:
    """Return at most SHOWN_CHARACTERS of a text, with a mark where something is missing."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"
