"""Records the scenes of docs/recordings: `make recordings`, `python -m tests.cli.recordings SCENE…` for some.

With names what an earlier run with --keep has left on the cluster is played with, and stays there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli.recordings.drawing import draw
from tests.cli.recordings.scenes import SCENES, Scene
from tests.cli.recordings.stage import Stage
from tests.cli.recordings.tape import Tape
from tests.cli.recordings.terminal import COLUMNS, Terminal

FOLDER = Path(__file__).resolve().parents[3] / "docs/recordings"


def main() -> None:
    """Record all scenes on a stage of their own, or the named ones."""
    parser = argparse.ArgumentParser(prog="recordings", description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(scene.name for scene in SCENES))
    parser.add_argument("--keep", action="store_true", help="leave what is played with on the cluster")
    options = parser.parse_args()
    names = set(options.scenes)
    if unknown := names - {scene.name for scene in SCENES}:
        parser.error(f"there is no scene {', '.join(sorted(unknown))}")
    with TemporaryDirectory() as folder:
        stage = Stage.of(Path(folder))
        if names:
            record(stage, [scene for scene in SCENES if scene.name in names])
            return
        stage.prepare()
        record(stage, SCENES)
        if not options.keep:
            stage.take_down()


def record(stage: Stage, scenes: Sequence[Scene]) -> None:
    """Play scenes, and write what was seen."""
    FOLDER.mkdir(exist_ok=True)
    environment = stage.persons_environment()
    stage.write_files()
    for scene in scenes:
        tape = Tape(COLUMNS, scene.rows)
        scene.play(Terminal(tape, scene.rows, stage.folder, environment), stage)
        path = FOLDER / f"{scene.name}.svg"
        path.write_text(draw(tape.cast(), title=scene.title, description=scene.description), encoding="utf-8")
        print(f"{path.relative_to(FOLDER.parents[1])}  {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
