"""The command line."""

from __future__ import annotations

import difflib

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is meant. Raises click.UsageError, which names the verb that is nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or args[0].startswith("-"):
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}. Did you mean {near[0]}?", ctx) from error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graft", prog_name=PROGRAM)
def app() -> None:
    """See and steer the life of LoRA adapters: bases, versions, trainings and rollouts.

    Options stand after the verb: `kubectl graft status -n team-a`.
    """


for verb in VERBS:
    app.add_command(verb)
