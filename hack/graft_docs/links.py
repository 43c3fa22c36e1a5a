"""Turns links from pages to other files of the repository into links to the repository's site, or into text."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

LINK: Final = re.compile(r"(?<!!)\[(?P<text>[^]]*)\]\((?P<target>[^)#:\s]+)\)")


def leading_out(markdown: str, page: str, root: Path, repository: str) -> str:
    """Return a page with its links out of ``docs/`` turned to the repository, or without one to their text alone.

    ``page`` is the page's path below ``docs``. A file that is not there stays as written, for the build to refuse.
    """

    def turned(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match["target"]))
        if path.startswith("docs/") or not (root / path).exists():
            return match[0]
        return f"[{match['text']}]({repository}/blob/main/{path})" if repository else match["text"]

    return LINK.sub(turned, markdown)
