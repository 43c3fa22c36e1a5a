"""Lines of WordNet's data files, as wndb(5WN) describes them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from demo.models.wordnet import DEBIAN_IMAGE, Synset, fetch, parse_synset

DOG = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 02083346 n 0000 ~ 01322604 n 0000 | "
    'a member of the genus Canis that has been domesticated; "the dog barked all night"  '
)
BREATHE = (
    "00001740 29 v 02 breathe 0 respire 3 001 * 00005041 v 0000 02 + 02 00 + 08 00 | "
    'draw air into, and expel out of, the lungs; "I can breathe better"; "The patient is respiring"  '
)
ABLE = (
    '00001740 00 a 01 able(p) 0 001 = 05200169 n 0000 | (usually followed by `to\') having the means; "able to swim"  '
)


@pytest.mark.parametrize(
    ("line", "part_of_speech", "synset"),
    [
        (
            DOG,
            "noun",
            Synset(
                ("dog", "domestic dog", "Canis familiaris"),
                "a member of the genus Canis that has been domesticated",
                "noun",
                "animal",
            ),
        ),
        (BREATHE, "verb", Synset(("breathe", "respire"), "draw air into, and expel out of, the lungs", "verb", None)),
        (ABLE, "adjective", Synset(("able",), "(usually followed by `to') having the means", "adjective", None)),
    ],
)
def test_a_line_is_a_meaning_without_its_examples(line: str, part_of_speech: str, synset: Synset) -> None:
    assert parse_synset(line, part_of_speech) == synset


def test_one_definition_in_twenty_is_held_out_for_good() -> None:
    glosses = [Synset(("w",), f"definition {number}", "noun", None).held_out for number in range(2000)]
    assert 60 < sum(glosses) < 140
    assert glosses == [Synset(("x",), f"definition {number}", "verb", None).held_out for number in range(2000)]


DOCKER = """\
#!/bin/sh
printf '%s\\n' "$@" > "$0.log"
test -z "$FAILS" || { echo "$FAILS" >&2; exit 125; }
exec /bin/cat "$0.package"
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has Docker, and no apt."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    with tarfile.open(f"{program}.package", "w") as package:
        noun = tarfile.TarInfo("./usr/share/wordnet/data.noun")
        noun.size = len(DOG.encode())
        package.addfile(noun, io.BytesIO(DOG.encode()))
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.delenv("PYTHON_BASE", raising=False)
    return program


def test_where_there_is_no_apt_a_container_has_it(docker: Path, tmp_path: Path) -> None:
    database = fetch(tmp_path / "cache")
    assert (database / "data.noun").read_text() == DOG
    asked = docker.with_name("docker.log").read_text().splitlines()
    assert DEBIAN_IMAGE in asked
    assert "apt-get download -qq wordnet-base" in asked[-1]


def test_the_containers_image_can_come_from_a_mirror(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_BASE", "mirror.example.com/python:3.11-slim-bookworm")
    fetch(tmp_path / "cache")
    assert "mirror.example.com/python:3.11-slim-bookworm" in docker.with_name("docker.log").read_text().splitlines()


def test_a_container_that_fails_says_why_and_leaves_nothing_half_done(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "docker: Error response from daemon: no such host")
    with pytest.raises(RuntimeError, match=r"PYTHON_BASE names a mirror of it.*no such host"):
        fetch(tmp_path / "cache")
    monkeypatch.delenv("FAILS")
    assert fetch(tmp_path / "cache").is_dir()


def test_without_apt_and_docker_it_is_said_what_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"this takes apt .* or Docker"):
        fetch(tmp_path / "cache")
