"""Opens the page in the person's browser, without showing its secret to the machine's other users."""

from __future__ import annotations

import html
import os
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened(url: str) -> Iterator[bool]:
    """Open the page, and yield whether a browser was found.

    Command lines can be read by everybody on a machine, so the browser is given a file that only its owner can read,
    which leads to the page. The file goes at the end.
    """
    with tempfile.TemporaryDirectory(prefix="graft-dashboard-") as folder:  # of mode 0700
        file = Path(folder) / "open.html"
        address = html.escape(url, quote=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as page:
            page.write(
                f'<!doctype html><meta charset="utf-8"><title>Graft</title>'
                f'<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={address}">'
                f'<a href="{address}">Open the dashboard</a>\n'
            )
        yield webbrowser.open(file.as_uri())
