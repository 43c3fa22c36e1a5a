"""The navigation's patterns, links out of it, and ``llms.txt``."""

from __future__ import annotations

from pathlib import Path

from graft_docs.commonmark import left_as_text, with_blank_lines
from graft_docs.links import leading_out
from graft_docs.navigation import Entry, expanded, llms_text, summary_of

PAGES = ["index.md", "guides/a.md", "guides/b.md", "adr/0001.md", "adr/0002.md", "other.md"]


def test_a_pattern_stands_for_the_pages_that_are_named_nowhere_else() -> None:
    nav = [
        "index.md",
        {"Guides": ["guides/b.md", "guides/*.md"]},
        {"Why": [{"Decisions": "adr/*.md"}]},
        {"More": "*.md"},
    ]
    assert expanded(nav, PAGES) == [
        "index.md",
        {"Guides": ["guides/b.md", "guides/a.md"]},
        {"Why": [{"Decisions": ["adr/0001.md", "adr/0002.md"]}]},
        {"More": ["other.md"]},
    ]


def test_what_is_not_there_is_left_out_with_an_empty_section() -> None:
    assert expanded(["index.md", {"Gone": ["gone.md"]}], PAGES) == ["index.md"]


def test_a_summary_is_the_first_sentence_of_prose() -> None:
    text = "# Title\n\n```\ncode\n```\n\n| a |\n|---|\n\nIt [does](x.md) this\nand that. And more.\n"
    assert summary_of(text) == "It does this and that."
    assert summary_of("# Only a title") == ""


def test_llms_text_lists_pages_by_section() -> None:
    entries = [Entry("Start", "Home", "/", "Begin here."), Entry("Guides", "A", "/a/", "")]
    assert llms_text("Graft", "An operator.", entries) == (
        "# Graft\n\n> An operator.\n\n## Start\n\n- [Home](/): Begin here.\n\n## Guides\n\n- [A](/a/)\n"
    )


def test_a_link_to_what_is_no_page_leads_to_the_repository_or_is_none(tmp_path: Path) -> None:
    for path in ("examples/a.yaml", "docs/b.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    text = "[a](../../examples/a.yaml) [b](../b.md) [gone](../../gone.yaml) [web](https://example.com/a)"
    kept = "[b](../b.md) [gone](../../gone.yaml) [web](https://example.com/a)"
    assert leading_out(text, "guides/x.md", tmp_path, "") == f"a {kept}"
    there = "https://example.com/graft"
    assert leading_out(text, "guides/x.md", tmp_path, there) == f"[a]({there}/blob/main/examples/a.yaml) {kept}"


def test_a_list_or_table_right_after_a_paragraph_gets_its_blank_line() -> None:
    text = "Causes:\n* a\n  more\n* b\n\nText:\n1. one\n2. two\n\nText\n| a |\n|---|\n"
    spaced = "Causes:\n\n* a\n  more\n* b\n\nText:\n\n1. one\n2. two\n\nText\n\n| a |\n|---|\n"
    assert with_blank_lines(text) == spaced
    assert with_blank_lines(spaced) == spaced


def test_code_and_wrapped_sentences_stay_as_they_are() -> None:
    text = "# Title\n* a\n\n```\ntext\n* b\n| c |\n```\n\nit took\n2. times\n"
    assert with_blank_lines(text) == text


def test_what_is_left_as_text_is_found() -> None:
    assert left_as_text("<p>fine</p><ul><li>* a</li></ul>") == []
    assert left_as_text("<p>Causes:\n* a</p><p>| a | b |</p>") == ["<p>Causes:\n* a</p>", "<p>| a | b |</p>"]
