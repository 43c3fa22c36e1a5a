"""The navigation of the site, and ``llms.txt``, which tells programs the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Final

LISTED: Final = re.compile(r"^(#|<|\||!|```|---|\s*[*-] )")
"""Lines that are no prose: a summary is the first paragraph that is none of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of the site."""

    section: str
    title: str
    url: str
    summary: str


def expanded(nav: Sequence[Any], pages: Iterable[str]) -> list[Any]:
    """Return a navigation whose patterns are replaced by the pages that match and stand nowhere else in it.

    A page that is named but not there is left out, so that a part of the documentation can go with what it is about.
    """
    there = sorted(pages)
    named = {item for item in _leaves(nav) if "*" not in item}

    def walk(items: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if isinstance(item, dict):
                [(title, below)] = item.items()
                inner = walk(below if isinstance(below, list) else [below])
                found += [{title: inner}] if inner else []
            elif "*" in item:
                found += [page for page in there if fits(page, item) and page not in named]
            elif item in there:
                found.append(item)
        return found

    return walk(nav)


def fits(page: str, pattern: str) -> bool:
    """Whether a page is in the pattern's folder and has a name that matches."""
    return fnmatch(page, pattern) and page.count("/") == pattern.count("/")


def _leaves(nav: Sequence[Any]) -> Iterator[str]:
    for item in nav:
        if isinstance(item, dict):
            for below in item.values():
                yield from _leaves(below if isinstance(below, list) else [below])
        else:
            yield item


def summary_of(markdown: str) -> str:
    """Return the first sentence of the first paragraph of prose, without links."""
    paragraphs = re.split(r"\n\s*\n", markdown)
    prose = next((text for text in paragraphs if text.strip() and not LISTED.match(text.lstrip("\n"))), "")
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(prose.split())).removeprefix("**Context.** ")
    return re.split(r"(?<=[.!?]) ", plain, maxsplit=1)[0].rstrip(":")


def llms_text(name: str, description: str, entries: Iterable[Entry]) -> str:
    """Return ``llms.txt``: the site's name, what it is about, and its pages by section."""
    lines = [f"# {name}", "", f"> {description}"]
    section = None
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines += ["", f"## {section}", ""]
        lines.append(f"- [{entry.title}]({entry.url})" + (f": {entry.summary}" if entry.summary else ""))
    return "\n".join(lines) + "\n"
