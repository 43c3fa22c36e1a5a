"""Two versions by their manifests: what was asked for, what was learned from, how good it is, what it answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_cli.decisions.versions import Difference, difference
from graft_registry.documents import GoldenPrompt, VersionManifest

SAMPLES: Final = 8
"""Answers that people are shown; programs get all."""


@dataclass(frozen=True, slots=True)
class Section:
    """Differences of one kind."""

    title: str
    rows: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAnswers:
    """What the trainer's model answered to one prompt; None where a version was not asked."""

    prompt: str
    base: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDifferences:
    """All that two manifests say."""

    sections: tuple[Section, ...]
    answers: tuple[SampleAnswers, ...]


def manifest_differences(before: VersionManifest, after: VersionManifest) -> ManifestDifferences:
    """Return what the manifests of two versions say, side by side."""
    sides = (("spec", spec_of), ("data", data_of), ("scores", scores_of))
    sections = tuple(Section(title, compared(take(before), take(after))) for title, take in sides)
    return ManifestDifferences(sections=sections, answers=sample_answers(before, after))


def spec_of(manifest: VersionManifest) -> dict[str, Any]:
    """Return what the version was made with, by the names of the manifest's fields."""
    imported = manifest.imported.to_dict() if manifest.imported else {}
    return {
        "method": manifest.method,
        "objective": manifest.objective,
        "seed": manifest.seed,
        "trained on": manifest.trained_on,
        "servable": manifest.servable,
        **flat(manifest.hyperparameters),
        **flat({"shape": manifest.shape.to_dict()}),
        "base": manifest.base.digest,
        "base revision": manifest.base.revision,
        "image": manifest.image,
        **flat({"library": manifest.libraries}),
        **flat({"imported": imported}),
    }


def data_of(manifest: VersionManifest) -> dict[str, Any]:
    """Return the rows that the version was trained and evaluated on, and why others were left out."""
    return flat(manifest.dataset.to_dict()) if manifest.dataset else {}


def scores_of(manifest: VersionManifest) -> dict[str, Any]:
    """Return the metrics."""
    return flat(manifest.metrics.to_dict())


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested objects as one, whose names are paths; lists become text."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, Mapping):
            found |= flat(item, f"{path}.")
        elif isinstance(item, list | tuple):
            found[path] = ", ".join(map(_text, item))
        else:
            found[path] = item
    return found


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return every field that one of the two has, in their order."""
    names = [*before, *(name for name in after if name not in before)]
    rows = (difference(name, before.get(name), after.get(name)) for name in names)
    return tuple(row for row in rows if (row.before, row.after) != ("-", "-"))


def sample_answers(before: VersionManifest, after: VersionManifest) -> tuple[SampleAnswers, ...]:
    """Return the answers to every golden prompt of either, those that both were asked first."""
    old, new = ({item.prompt: item for item in manifest.golden} for manifest in (before, after))
    either = [*new, *(prompt for prompt in old if prompt not in new)]
    prompts = sorted(either, key=lambda prompt: not (prompt in old and prompt in new))
    return tuple(_answers(prompt, old.get(prompt), new.get(prompt)) for prompt in prompts)


def _answers(prompt: str, old: GoldenPrompt | None, new: GoldenPrompt | None) -> SampleAnswers:
    bases: Iterator[str] = (item.base_answer for item in (new, old) if item and item.base_answer is not None)
    return SampleAnswers(
        prompt=prompt,
        base=next(bases, None),
        before=old.answer if old else None,
        after=new.answer if new else None,
    )


def _text(item: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in item.items()) if isinstance(item, Mapping) else str(item)
