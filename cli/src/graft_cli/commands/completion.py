"""``completion``: what a shell needs to complete ``kubectl-graft``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "kubectl-graft"
VARIABLE = "_KUBECTL_GRAFT_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL for `kubectl-graft`.

    `kubectl graft` is completed by kubectl itself, which finds `kubectl_complete-graft` beside this program.
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(completer(context.find_root().command, {}, PROGRAM, VARIABLE).source())
