"""The page that a browser opens: a version's report in a sandbox. Pure."""

from __future__ import annotations

from html import escape

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def framed(report: str, title: str) -> str:
    """Return a page that shows the report in a sandbox.

    The file is verified, but whoever may write the bucket could have published another one. A trainer's report needs
    neither scripts nor anything from elsewhere; in a frame without rights no other report gets them, either.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>html, body, iframe {{ margin: 0; border: 0; width: 100%; height: 100%; display: block; }}</style>
</head>
<body>
<iframe sandbox="" title="{escape(title)}" srcdoc="{escape(report)}"></iframe>
</body>
</html>
"""
