"""What is played: each scene is one recording, and they are played in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from demo.goals import answers_with
from tests.cli.recordings.moments import candidate, failed, in_training, seen, served
from tests.cli.recordings.stage import ADAPTER, MISLED, MISLED_ROWS, Stage
from tests.cli.recordings.terminal import Terminal

FAST: Final = 30.0
LARGER: Final = '{"spec": {"lora": {"rank": 32, "alpha": 64}}}'
ANOTHER_SEED: Final = '{"spec": {"training": {"seed": 7}}}'
QUESTIONS: Final = ("small European brown bat", "a town of southern Ontario opposite northern Michigan")


def status(terminal: Terminal, stage: Stage) -> None:
    """A changed spec is trained, and the new version goes through a canary."""
    with stage.requests():
        terminal.run(f"kubectl patch loraadapter {ADAPTER} --type merge -p '{LARGER}'", reading=1.0)
        line = f"kubectl graft status -w    # minutes, shown in {FAST:.0f} seconds"
        terminal.watch(line, lambda: stage.sees(served(2)), shown_in=FAST)


def history(terminal: Terminal, stage: Stage) -> None:
    """The versions, and what became of each."""
    terminal.run(f"kubectl graft history {ADAPTER}")


def diff(terminal: Terminal, stage: Stage) -> None:
    """What differs between two versions: scores, spec, and answers to the same prompts."""
    terminal.run(f"kubectl graft diff {ADAPTER} v1 v2", line_seconds=0.3)


def chat(terminal: Terminal, stage: Stage) -> None:
    """Base and versions answer side by side."""
    terminal.talk(f"kubectl graft chat {ADAPTER} --versions base,v1,v2 --max-tokens 12", "> ", QUESTIONS)


def rollback(terminal: Terminal, stage: Stage) -> None:
    """An older version serves again, until the pin is taken away."""
    terminal.run(f"kubectl graft rollback {ADAPTER} --dry-run")
    terminal.run(f"kubectl graft rollback {ADAPTER}")
    terminal.watch("kubectl graft status -w", lambda: stage.sees(served(1)), shown_in=10.0)
    terminal.run(f"kubectl graft unpin {ADAPTER}")


def verify(terminal: Terminal, stage: Stage) -> None:
    """The files of all versions are what was published; one that is overwritten in the bucket is found."""
    terminal.run(f"kubectl graft verify {ADAPTER} --all")
    terminal.run("# somebody overwrites a file of version 2 in the bucket", reading=1.0)
    with stage.overwritten(2, "README.md"):
        terminal.run(f"kubectl graft verify {ADAPTER} v2", code=1, reading=6.0)


def report(terminal: Terminal, stage: Stage) -> None:
    """What the trainer has written of a version: the page as it is, and the manifest for programs."""
    terminal.run(f"kubectl graft report {ADAPTER} v2 -o html > {ADAPTER}-v2.html", reading=0.5)
    terminal.run(f"grep -o '<h2>[^<]*' {ADAPTER}-v2.html | cut -c5-")
    terminal.run(f"kubectl graft report {ADAPTER} v2 -o yaml | head -n 18", reading=5.0)


def export(terminal: Terminal, stage: Stage) -> None:
    """A version is brought into a folder, as a hub would have it."""
    terminal.run(f"kubectl graft export {ADAPTER} --version 2 --to dir:{ADAPTER}-v2")
    terminal.run(f"ls {ADAPTER}-v2")
    terminal.run(f"head -n 24 {ADAPTER}-v2/README.md", reading=5.0)


def suspend(terminal: Terminal, stage: Stage) -> None:
    """A changed spec is not trained while its adapter is suspended, and is as soon as that is over."""
    with stage.requests():
        stage.wait_for(served(2))
    terminal.run(f"kubectl graft suspend {ADAPTER}")
    terminal.run(f"kubectl patch loraadapter {ADAPTER} --type merge -p '{ANOTHER_SEED}'", reading=1.0)
    stage.wait_for(seen)
    terminal.run(f"kubectl graft status {ADAPTER}")
    terminal.run(f"kubectl graft resume {ADAPTER}")
    terminal.watch(f"kubectl graft status {ADAPTER} -w", lambda: stage.sees(in_training), shown_in=8.0)


def logs(terminal: Terminal, stage: Stage) -> None:
    """The log of a training is followed to its end."""
    stage.wait_for(in_training)
    terminal.follow(f"kubectl graft logs {ADAPTER} -f    # a minute or two, shown in 15 seconds", shown_in=15.0)


def promote(terminal: Terminal, stage: Stage) -> None:
    """A canary is rolled back by hand, and then promoted by hand."""
    with stage.requests():
        stage.wait_for(candidate(3))
        terminal.run(f"kubectl graft status {ADAPTER}")
        terminal.run(f"kubectl graft abort {ADAPTER}")
        terminal.watch(f"kubectl graft status {ADAPTER} -w", lambda: stage.sees(answers_with(2)), shown_in=6.0)
        terminal.run(f"kubectl graft promote {ADAPTER} 3")
        terminal.watch(f"kubectl graft status {ADAPTER} -w", lambda: stage.sees(served(3)), shown_in=6.0)


def retrain(terminal: Terminal, stage: Stage) -> None:
    """A training has failed for good; its rows are corrected, it is tried again, and its version is served."""
    stage.upload_rows(correct=False)
    stage.cluster.apply(stage.adapter(MISLED, rows=MISLED_ROWS))
    stage.wait_for(failed, MISLED)
    terminal.run(f"kubectl graft status {MISLED}", reading=5.0)
    terminal.run("# the rows are corrected, and uploaded again", reading=1.0)
    stage.upload_rows(correct=True)
    terminal.run(f"kubectl graft retrain {MISLED}")
    terminal.watch(f"kubectl graft status {MISLED} -w", lambda: stage.sees(served(1), MISLED), shown_in=12.0)


def doctor(terminal: Terminal, stage: Stage) -> None:
    """Cluster, CRDs, operator, rights and store are looked at."""
    terminal.run("kubectl graft doctor", reading=6.0)


def lint(terminal: Terminal, stage: Stage) -> None:
    """A manifest's mistakes are found, and the memory of its training is estimated, before anything is applied."""
    terminal.run("cat support.yaml")
    terminal.run("kubectl graft lint support.yaml", code=1, reading=5.0)
    terminal.run("""sed -i 's/alfa/alpha/; s/2e-4/"2e-4"/' support.yaml""", reading=0.5)
    terminal.run("kubectl graft lint support.yaml")
    terminal.run("kubectl graft estimate support.yaml --base llama --gpu-memory 24Gi", code=1, reading=6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A recording: the verb's name is its file's, and the description is for who can't see it."""

    play: Callable[[Terminal, Stage], None]
    rows: int
    title: str

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.play.__name__

    @property
    def description(self) -> str:
        """What is seen."""
        return self.play.__doc__ or self.title


SCENES: Final = (
    Scene(play=status, rows=16, title="kubectl graft status -w"),
    Scene(play=history, rows=22, title="kubectl graft history"),
    Scene(play=diff, rows=30, title="kubectl graft diff"),
    Scene(play=chat, rows=16, title="kubectl graft chat"),
    Scene(play=rollback, rows=22, title="kubectl graft rollback"),
    Scene(play=verify, rows=26, title="kubectl graft verify"),
    Scene(play=report, rows=30, title="kubectl graft report"),
    Scene(play=export, rows=30, title="kubectl graft export"),
    Scene(play=suspend, rows=22, title="kubectl graft suspend and resume"),
    Scene(play=logs, rows=22, title="kubectl graft logs -f"),
    Scene(play=promote, rows=26, title="kubectl graft abort and promote"),
    Scene(play=retrain, rows=22, title="kubectl graft retrain"),
    Scene(play=doctor, rows=26, title="kubectl graft doctor"),
    Scene(play=lint, rows=30, title="kubectl graft lint and estimate"),
)
