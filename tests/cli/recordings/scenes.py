"""What is played: each scene is one recording, and they are played in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.cli.recordings.stage import ADAPTER, Stage
from tests.cli.recordings.terminal import Terminal

FAST: Final = 30.0
LARGER: Final = '{"spec": {"lora": {"rank": 32, "alpha": 64}}}'
QUESTIONS: Final = ("small European brown bat", "a town of southern Ontario opposite northern Michigan")


def status(terminal: Terminal, stage: Stage) -> None:
    """A changed spec is trained, and the new version goes through a canary."""
    with stage.requests():
        terminal.run(f"kubectl patch loraadapter {ADAPTER} --type merge -p '{LARGER}'", reading=1.0)
        line = f"kubectl graft status -w    # minutes, shown in {FAST:.0f} seconds"
        terminal.watch(line, lambda: stage.is_served(2), shown_in=FAST)


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
    terminal.watch("kubectl graft status -w", lambda: stage.is_served(1), shown_in=10.0)
    terminal.run(f"kubectl graft unpin {ADAPTER}")


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
    Scene(play=doctor, rows=26, title="kubectl graft doctor"),
    Scene(play=lint, rows=30, title="kubectl graft lint and estimate"),
)
