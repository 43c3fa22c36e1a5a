"""The recordings that pages show are there, and tell nothing of the machine that made them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.recordings.drawing import MOST_BYTES, faults
from tests.cli.recordings.scenes import SCENES
from tests.cli.recordings.tape import LONGEST_WAIT, Tape

from graft_cli.app import VERBS

DOCS = Path(__file__).resolve().parents[3] / "docs"
SHOWN = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>(?:\.\./)*recordings/[^)\s]+)\)")
SHORTEST_ALT = 40
"""Characters in which it can be said what is seen."""

SHOWN_OTHERWISE = {"dashboard", "completion", "pin"}
"""A page of its own has screenshots, a shell's keys show nothing, and ``rollback`` is a pin."""

SOUND = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ' xmlns:t="https://github.com/nbedos/termtosvg">'
    '<t:screen_geometry columns="100" rows="30"/>{}<text>revision c22eb3f2c22e, 0.3760 of 1.2.3</text>'
    '<use xlink:href="#g1"/></svg>'
)
UNFIT = {
    "<script>x()</script>": "holds <script>",
    "<foreignObject/>": "holds <foreignObject>",
    '<text onclick="x()">a</text>': "<text> has onclick",
    '<use xlink:href="other.svg#g1"/>': "<use> leads to other.svg#g1",
    "<style>@import 'a.css';</style>": "shows an address from elsewhere: @import",
    "<style>text {fill: url(http://a.example/b)}</style>": "shows an address from elsewhere: url(",
    "<text>http://172.17.0.5:30070</text>": "shows an address of a machine: 172.17.0.5",
    "<text>pod 10.244.1.7 answers</text>": "shows an address of a machine: 10.244.1.7",
    "<text>localhost:5001/graft/trainer</text>": "shows an address of a machine's own: localhost",
    "<text>http://[::1]:8080/</text>": "shows an address of a machine's own: [::1]:8",
    "<text>saved /root/report.html</text>": "shows a folder of somebody's own:  /root/",
    "<text>a</text>/home/me/report.html": "shows a folder of somebody's own: /home/",
}


def shown() -> Iterator[tuple[Path, str, Path]]:
    """Yield page, alt text and file of each recording that a page shows."""
    for page in sorted(DOCS.rglob("*.md")):
        for found in SHOWN.finditer(page.read_text(encoding="utf-8")):
            yield page, found["alt"], (page.parent / found["path"]).resolve()


def test_each_recording_is_shown_and_each_that_is_shown_is_there() -> None:
    files = set((DOCS / "recordings").glob("*.svg"))
    assert files
    assert {path for _, _, path in shown()} == files, "run `make recordings`, or show it on a page"


def test_each_scene_is_recorded() -> None:
    assert {f"{scene.name}.svg" for scene in SCENES} == {path.name for path in (DOCS / "recordings").iterdir()}


@pytest.mark.parametrize("verb", sorted({str(verb.name) for verb in VERBS} - SHOWN_OTHERWISE))
def test_each_verb_is_seen_somewhere(verb: str) -> None:
    typed = re.compile(rf"kubectl graft {verb}[ <]")
    recordings = (path.read_text(encoding="utf-8") for path in (DOCS / "recordings").glob("*.svg"))
    assert any(typed.search(text) for text in recordings), "add a scene to tests/cli/recordings/scenes.py"


@pytest.mark.parametrize(("page", "alt", "path"), list(shown()), ids=lambda value: getattr(value, "name", None))
def test_the_alt_text_says_what_is_seen(page: Path, alt: str, path: Path) -> None:
    assert len(alt) >= SHORTEST_ALT, f"{page.name} shows {path.name}"


@pytest.mark.parametrize("path", sorted((DOCS / "recordings").glob("*")), ids=lambda path: path.name)
def test_a_recording_can_stand_on_a_page(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == [], "run `make recordings`"


def test_nothing_is_said_of_a_sound_one() -> None:
    assert list(faults(SOUND.format(""))) == []


@pytest.mark.parametrize("part", UNFIT)
def test_what_must_not_stand_on_a_page_is_found(part: str) -> None:
    assert list(faults(SOUND.format(part))) == [UNFIT[part]]


def test_one_that_is_too_large_is_found() -> None:
    assert [fault.split(",")[0] for fault in faults(SOUND.format(" " * MOST_BYTES))] == [
        f"has {len(SOUND.format('')) + MOST_BYTES} bytes"
    ]
    assert list(faults(SOUND.replace('rows="30"', 'rows="31"').format(""))) == [
        "is a terminal of 100×31, larger than 100×30"
    ]


def test_what_is_no_xml_or_no_recording_is_told() -> None:
    assert next(faults("<svg>")).startswith("is no XML")
    assert list(faults("<svg/>")) == ["does not tell the size of its terminal"]


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(tape: Tape, clock: Clock, *texts: str, every: float) -> None:
    for text in texts:
        clock.now += every
        tape.write(text)


def times(tape: Tape) -> list[float]:
    head, *events = map(json.loads, tape.cast().splitlines())
    assert head == {"version": 2, "width": 100, "height": 30}
    return [when for when, _, _ in events]


def test_nobody_waits_long_for_a_program() -> None:
    clock = Clock()
    tape = Tape(100, 30, clock)
    heard(tape, clock, "a", every=1.0)
    heard(tape, clock, "b", every=60.0)
    assert times(tape) == [1.0, 1.0 + LONGEST_WAIT]


def test_what_takes_minutes_is_shown_evenly_in_its_seconds() -> None:
    clock = Clock()
    tape = Tape(100, 30, clock)
    heard(tape, clock, "$", every=1.0)
    with tape.within(10.0):
        heard(tape, clock, *"abcd", every=50.0)
    heard(tape, clock, "e", every=1.0)
    assert times(tape) == [1.0, 3.5, 6.0, 8.5, 11.0, 12.0]


def test_what_is_short_anyway_takes_its_own_time() -> None:
    clock = Clock()
    tape = Tape(100, 30, clock)
    with tape.within(10.0):
        heard(tape, clock, *"ab", every=2.0)
    assert times(tape) == [2.0, 4.0]


def test_the_lines_of_a_long_output_come_one_by_one() -> None:
    clock = Clock()
    tape = Tape(100, 30, clock)
    tape.line_seconds = 0.5
    heard(tape, clock, "a\r\nb\r\nc", every=1.0)
    assert times(tape) == [1.0, 1.5, 2.0]
