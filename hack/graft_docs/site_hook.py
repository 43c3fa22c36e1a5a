"""What mkdocs calls while it builds the site. It has nothing but mkdocs' own packages: see constraints/docs.txt."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # mkdocs loads this file by its path

from graft_docs.commonmark import left_as_text, with_blank_lines
from graft_docs.links import leading_out
from graft_docs.navigation import Entry, expanded, llms_text, summary_of

log = logging.getLogger("mkdocs.hooks.graft")

LLMS = "llms.txt"
_navigation: list[Any] = []


def on_config(config: Any) -> Any:
    """Expand the navigation's patterns."""
    folder = Path(config.docs_dir)
    pages = [path.relative_to(folder).as_posix() for path in folder.rglob("*.md")]
    config.nav = expanded(config.nav, [page for page in pages if page != "STYLE.md"])
    return config


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    """Keep the pages in the order in which the navigation has them."""
    _navigation[:] = nav.pages
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links out of ``docs/`` to the repository, and adapt the Markdown to mkdocs' parser."""
    root, repository = Path(config.docs_dir).parent, (config.repo_url or "").rstrip("/")
    return with_blank_lines(leading_out(markdown, page.file.src_uri, root, repository))


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Warn of lists and tables that were not taken for such; a strict build fails by that."""
    for text in left_as_text(html):
        log.warning("Doc file '%s' has a list or table that needs a blank line before it: %s", page.file.src_uri, text)
    return html


def on_post_build(config: Any) -> None:
    """Write ``llms.txt`` beside the site, now that every page has been read."""
    text = llms_text(config.site_name, config.site_description, [entry_of(page) for page in _navigation])
    Path(config.site_dir, LLMS).write_text(text, encoding="utf-8")


def entry_of(page: Any) -> Entry:
    """Return what is told of a page."""
    section = page.ancestors[-1].title if page.ancestors else "Start"
    summary = page.meta.get("description") or summary_of(page.markdown or "")
    return Entry(section, page.title, page.canonical_url or page.url or "index.html", summary)
