"""Real English for the demo: the glosses of WordNet 3.0, from Debian's package wordnet-base.

The package is downloaded and unpacked into the cache; nothing is installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "wordnet-base"
DEBIAN_IMAGE = "python:3.11-slim-bookworm"
"""Has Debian's apt, and is what the images are built on, too."""
SOURCE = "WordNet 3.0, Copyright 2006 by Princeton University (WordNet 3.0 licence), from Debian's package wordnet-base"

PARTS_OF_SPEECH = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
"""Name of the data file, and the word for it."""

# Lexicographer file numbers of nouns, from lexnames(5WN).
TOPICS = {
    4: "act",
    5: "animal",
    6: "artifact",
    8: "body",
    10: "communication",
    13: "food",
    15: "location",
    18: "person",
    20: "plant",
    27: "substance",
}


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its words, its definition without examples, and what kind of thing it is."""

    lemmas: tuple[str, ...]
    gloss: str
    part_of_speech: str
    topic: str | None

    @property
    def held_out(self) -> bool:
        """Whether neither the base nor an adapter may see it in training: one definition in twenty, by its hash."""
        return hashlib.sha256(self.gloss.encode()).digest()[0] < 256 // 20


def fetch(cache: Path) -> Path:
    """Return the folder with the database, downloading the package into ``cache`` where it is not there yet.

    That is done by this machine's apt, or where it has none by that of a container. Raises RuntimeError where it fails.
    """
    folder = cache / PACKAGE
    database = folder / "usr/share/wordnet"
    if database.is_dir():
        return database
    unpacked = cache / f"{PACKAGE}.partial"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    if shutil.which("apt-get") and shutil.which("dpkg"):
        _unpack_here(cache, unpacked)
    else:
        _unpack_in_container(unpacked)
    unpacked.rename(folder)
    return database


def _unpack_here(cache: Path, unpacked: Path) -> None:
    download = subprocess.run(["apt-get", "download", PACKAGE], cwd=cache, capture_output=True, text=True, check=False)
    packages = sorted(cache.glob(f"{PACKAGE}_*.deb"))
    if download.returncode != 0 or not packages:
        raise RuntimeError(f"cannot download {PACKAGE}: {download.stderr.strip()}; try: apt-get update")
    subprocess.run(["dpkg", "-x", str(packages[-1]), str(unpacked)], check=True)


def _unpack_in_container(unpacked: Path) -> None:
    image = os.environ.get("PYTHON_BASE") or DEBIAN_IMAGE
    steps = ("cd /tmp", "apt-get update -qq >&2", f"apt-get download -qq {PACKAGE} >&2")
    script = " && ".join((*steps, f"dpkg --fsys-tarfile {PACKAGE}_*.deb"))
    try:
        ended = subprocess.run(
            ["docker", "run", "--rm", "--user=0", image, "sh", "-c", script], capture_output=True, check=False
        )
    except FileNotFoundError:
        raise RuntimeError(f"cannot download {PACKAGE}: this takes apt (on Debian or Ubuntu) or Docker") from None
    if ended.returncode != 0:
        where = f"in a container of {image} (PYTHON_BASE names a mirror of it)"
        raise RuntimeError(f"cannot download {PACKAGE} {where}: {ended.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(ended.stdout)) as package:
        package.extractall(unpacked, filter="data")


def read_synsets(database: Path) -> Iterator[Synset]:
    """Yield every meaning of the database, in the order of its files."""
    for file, part_of_speech in PARTS_OF_SPEECH.items():
        for line in (database / f"data.{file}").read_text(encoding="utf-8").splitlines():
            if not line.startswith(" "):
                yield parse_synset(line, part_of_speech)


def parse_synset(line: str, part_of_speech: str) -> Synset:
    """Parse one line of a data file, as wndb(5WN) describes it."""
    fields, _, gloss = line.partition(" | ")
    _, lexicographer_file, _, word_count, *rest = fields.split(" ")
    words = rest[: 2 * int(word_count, 16) : 2]
    return Synset(
        lemmas=tuple(re.sub(r"\([a-z]+\)$", "", word).replace("_", " ") for word in words),
        gloss=_definition(gloss),
        part_of_speech=part_of_speech,
        topic=TOPICS.get(int(lexicographer_file)) if part_of_speech == "noun" else None,
    )


def _definition(gloss: str) -> str:
    """Drop the examples, which are in quotes."""
    definition = re.sub(r'"[^"]*"?', "", gloss)
    return re.sub(r"[;\s]+$", "", re.sub(r"\s+", " ", definition)).strip()
