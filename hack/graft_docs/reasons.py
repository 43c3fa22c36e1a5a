"""The page of reasons, from ``reasons.yaml`` beside this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from graft_docs.markdown import code, page, table

MEANINGS: Final = Path(__file__).with_name("reasons.yaml")

KUBERNETES: Final = "Kubernetes' own words"
"""The section of reasons that are passed on as the cluster gives them, so that no line of our code makes them."""

Meanings = Mapping[str, Mapping[str, Sequence[str]]]

INTRODUCTION: Final = """
A reason is one word, stands in a condition beside a message for people, and does not change between releases: alert on
it. `kubectl graft status` shows what counts; `kubectl get loraadapter NAME -o yaml` shows all. What the conditions mean
is in [concepts](../concepts.md#conditions).
"""


def reasons_page(meanings: Meanings) -> str:
    """Return the page: a table for each section."""
    header = ("reason", "where", "what it means", "what to do")
    sections = [
        f"## {title}\n\n" + table(header, [(code(reason), *told) for reason, told in sorted(reasons.items())])
        for title, reasons in meanings.items()
    ]
    return page(
        "Reasons",
        INTRODUCTION,
        *sections,
        description="Every reason of a condition, an event or a pod, with its meaning and its remedy.",
    )


def explained(meanings: Meanings, *, ours: bool = False) -> set[str]:
    """Return the reasons that the page explains; of ours, those that our code makes."""
    return {reason for title, reasons in meanings.items() if not (ours and title == KUBERNETES) for reason in reasons}
