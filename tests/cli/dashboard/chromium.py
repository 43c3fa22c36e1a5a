"""Debian's Chromium, driven from Python. `make test-cli` installs it; GRAFT_CHROMIUM names another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM: Final = os.environ.get("GRAFT_CHROMIUM") or shutil.which("chromium")
VIEWS: Final = (
    "",
    "bases",
    "adapters",
    "adapters/team-a/tiny",
    "trainings",
    "canaries",
    "adapter/team-a/support",
    "adapter/team-a/topic",
    "adapter/team-a/speech",
    "adapter/team-a/nobody",
    "base/team-a/tiny",
    "base/team-a/qwen",
    "pod/team-a/tiny/graft-tiny-6f328dfa-abcde",
)
PATIENCE: Final = 60_000
"""Milliseconds after which something will not come any more, however busy the machine is."""
NARROW: Final = 360
"""Pixels: a small phone."""
LOADED: Final = """() => document.querySelector('h1') !== null && document.getElementById('live').textContent === 'Live'
    && !/Asking the pods|Not asked yet|Connecting/.test(document.body.innerText)"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """Open a page of its own; ``options`` are those of a browser's context."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    try:
        yield context.new_page()
    finally:
        context.close()


def go(page: Page, url: str, view: str) -> None:
    """Go to a view, and wait until all of it is there."""
    page.goto(f"{url}#/{view}")
    page.wait_for_function(LOADED)
