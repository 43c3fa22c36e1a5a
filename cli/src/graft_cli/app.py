"""The command line."""

from __future__ import annotations

import click

from graft_cli.commands import (
    changes,
    chat,
    dashboard,
    diff,
    doctor,
    estimate,
    export,
    lint,
    logs,
    report,
    status,
    verify,
)
from graft_cli.commands.completion import completion

PROGRAM = "kubectl graft"

VERBS = (
    status.status,
    status.history,
    changes.rollback,
    changes.pin,
    changes.unpin,
    changes.promote,
    changes.abort,
    changes.suspend,
    changes.resume,
    changes.retrain,
    dashboard.dashboard,
    logs.logs,
    diff.diff,
    report.report,
    chat.chat,
    verify.verify,
    export.export,
    lint.lint_files,
    estimate.estimate,
    doctor.doctor,
    completion,
)
"""In the order in which help lists them."""


class Verbs(click.Group):
    """Lists verbs in the order of their use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs' names."""
        return [str(verb.name) for verb in VERBS]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graft", prog_name=PROGRAM)
def app() -> None:
    """See and steer the life of LoRA adapters: bases, versions, trainings and rollouts.

    Options stand after the verb: `kubectl graft status -n team-a`.
    """


for verb in VERBS:
    app.add_command(verb)
