"""From an asciicast to an animated SVG, and what such a file must not hold."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Final
from xml.sax.saxutils import escape

TEMPLATE: Final = Path(__file__).with_name("template.svg")
LAST_MILLISECONDS: Final = 6000
"""How long the last picture stays before the recording begins anew."""
SHORTEST_FRAME_MILLISECONDS: Final = 90
"""How long each picture stays at least: eyes follow no more."""

MOST_BYTES, MOST_COLUMNS, MOST_ROWS = 300_000, 100, 30
SETTINGS: Final = "{https://github.com/nbedos/termtosvg}screen_geometry"
HREF: Final = re.compile(r"(?:^|\})href$")
ACTIVE: Final = {"script", "foreignObject", "iframe", "image", "a", "set", "handler"}
PRIVATE: Final = {
    "an address of a machine": re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"),
    "an address of a machine's own": re.compile(r"\blocalhost\b|\[?::1\]?:\d"),
    "a folder of somebody's own": re.compile(r"(?:^|[\s'\"=:])/(?:root|home|tmp|Users|work|var)/"),
    "an address from elsewhere": re.compile(r"@import|url\((?!#)"),
}


class NotForOthersError(Exception):
    """A recording holds what must not be published. The message says what."""


def draw(cast: str, *, title: str, description: str) -> str:
    """Return the SVG of an asciicast. Raises NotForOthersError where it holds what a page must not show."""
    with TemporaryDirectory() as folder:
        given, template, made = (Path(folder) / name for name in ("a.cast", "template.svg", "a.svg"))
        given.write_text(cast, encoding="utf-8")
        words = {"title": escape(title), "description": escape(description)}
        template.write_text(Template(TEMPLATE.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        command = [sys.executable, "-m", "termtosvg", "render", str(given), str(made), "-t", str(template)]
        timing = ["-m", str(SHORTEST_FRAME_MILLISECONDS), "-D", str(LAST_MILLISECONDS)]
        subprocess.run([*command, *timing], check=True, capture_output=True)
        svg = made.read_text(encoding="utf-8")
    if found := list(faults(svg)):
        raise NotForOthersError(f"{title}: " + "; ".join(found))
    return svg


def faults(svg: str) -> Iterator[str]:
    """Yield why a recording must not stand on a page: too large, active, or telling of somebody's machine."""
    if (size := len(svg.encode())) > MOST_BYTES:
        yield f"has {size} bytes, more than {MOST_BYTES}"
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        yield f"is no XML: {error}"
        return
    yield from _faults_of_size(root)
    for element in root.iter():
        yield from _faults_of_element(element)


def _faults_of_size(root: ET.Element) -> Iterator[str]:
    geometry = root.find(f".//{SETTINGS}")
    if geometry is None:
        yield "does not tell the size of its terminal"
        return
    columns, rows = int(geometry.get("columns", 0)), int(geometry.get("rows", 0))
    if columns > MOST_COLUMNS or rows > MOST_ROWS:
        yield f"is a terminal of {columns}×{rows}, larger than {MOST_COLUMNS}×{MOST_ROWS}"


def _faults_of_element(element: ET.Element) -> Iterator[str]:
    name = element.tag.rpartition("}")[2]
    if name in ACTIVE:
        yield f"holds <{name}>"
    for key, value in element.attrib.items():
        if key.lower().startswith("on"):
            yield f"<{name}> has {key}"
        if HREF.search(key) and not value.startswith("#"):
            yield f"<{name}> leads to {value}"
    for text in (element.text or "", element.tail or ""):
        for what, pattern in PRIVATE.items():
            if found := pattern.search(text):
                yield f"shows {what}: {found.group()}"
