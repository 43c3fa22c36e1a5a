"""Adds the blank lines that mkdocs' Markdown parser needs, and CommonMark, by which GitHub reads pages, does not."""

from __future__ import annotations

import re
from typing import Final

FENCE: Final = re.compile(r"^ *(```|~~~)")
BEGINS: Final = re.compile(r"^(?:[*-] |1\. |\|)")
"""Lists and tables, which end a paragraph in CommonMark. Of ordered lists only those that begin with 1 do."""
GOES_ON: Final = re.compile(r"^(?:[*-] |\d+\. |\||#|\s)")
"""Lines after which a list or table goes on, or begins without our help."""
LEFT_AS_TEXT: Final = re.compile(r"(?:<p>|\n)(?:[*-] |\d+\. |\| )")
"""What is left in a page's HTML of a list or table that was not taken for one."""


def with_blank_lines(markdown: str) -> str:
    """Return a page with a blank line before each list and table that follows right after a paragraph or a block."""
    lines: list[str] = []
    is_code, before = False, ""
    for line in markdown.split("\n"):
        if not is_code and BEGINS.match(line) and before and not GOES_ON.match(before):
            lines.append("")
        if FENCE.match(line):
            is_code = not is_code
        lines.append(line)
        before = line
    return "\n".join(lines)


def left_as_text(html: str) -> list[str]:
    """Return the beginnings of what looks like a list or a table in a page's paragraphs, but is text there."""
    paragraphs: list[str] = re.findall(r"<p>.*?</p>", html, re.S)
    return [text[:80] for text in paragraphs if LEFT_AS_TEXT.search(text)]
