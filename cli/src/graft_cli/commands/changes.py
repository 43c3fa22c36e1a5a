"""The verbs that change a spec, with the rights of whoever runs them: promote, abort, pin, roll back and others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click

from graft_cli.client import Adapter
from graft_cli.cluster.edits import patch_adapter
from graft_cli.cluster.git_sources import folder_in_git
from graft_cli.commands.options import VERSION, Target, adapter_argument, cluster_options
from graft_cli.decisions import changes
from graft_cli.decisions.changes import Change, changeable
from graft_cli.decisions.gitops import GitOwner, git_owner, refusal
from graft_cli.errors import Conflict
from graft_cli.rendering.console import say

TRIES: Final = 5
"""The operator writes progress into the status, which changes the object, too."""


def change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all changes have in common."""
    for option in (
        adapter_argument,
        click.option("--force", is_flag=True, help="Also where Argo CD or Flux would undo it at their next sync."),
        click.option("--dry-run", is_flag=True, help="Only see what the API server would say."),
        cluster_options,
    )[::-1]:
        command = option(command)
    return command


def apply(target: Target, name: str, decide: Callable[[Adapter], Change], *, force: bool, dry_run: bool) -> None:
    """Decide on a change of an adapter and make it, unless the spec lies in Git.

    Only the object that was decided on is changed: where somebody else was quicker, it is decided anew.
    """
    for tries_left in reversed(range(TRIES)):
        adapter = target.adapter(name)
        change = decide(changeable(adapter))
        owner = git_owner(adapter.raw) if change.spec else None
        if owner is not None and not force:
            folder = folder_in_git(target.reader.connection, owner)
            raise refusal(owner, target.namespace, name, change.spec, folder=folder, notes=change.notes)
        if not change.patch:
            say(change.says)
            return
        try:
            patch_adapter(target.reader.connection, adapter.metadata, change.patch, dry_run=dry_run)
        except Conflict:
            if not tries_left:
                raise
            continue
        break
    tell(change, owner, dry_run=dry_run)


def tell(change: Change, owner: GitOwner | None, *, dry_run: bool) -> None:
    """Say what was done, and what follows."""
    say(f"{change.says}{' (dry run: nothing was changed)' if dry_run else ''}")
    for note in change.notes:
        say(f"  note: {note}")
    if owner is not None:
        say(f"  note: {owner} undoes this at its next sync, unless it is committed", style="yellow")


@click.command()
@click.option("--to", "number", type=VERSION, metavar="N", help="Version; the newest good one before when empty.")
@change_options
def rollback(target: Target, adapter: str, number: int | None, force: bool, dry_run: bool) -> None:
    """Serve an older version of ADAPTER at once, and stay there (patches spec.version)."""
    apply(target, adapter, lambda found: changes.rollback(found, number), force=force, dry_run=dry_run)


@click.command()
@change_options
@click.argument("number", type=VERSION, metavar="N")
def pin(target: Target, adapter: str, number: int, force: bool, dry_run: bool) -> None:
    """Serve version N of ADAPTER, whatever the spec would ask for (patches spec.version)."""
    apply(target, adapter, lambda found: changes.pin(found, number), force=force, dry_run=dry_run)


@click.command()
@change_options
def unpin(target: Target, adapter: str, force: bool, dry_run: bool) -> None:
    """Let the spec of ADAPTER decide again which version is served (removes spec.version)."""
    apply(target, adapter, lambda found: changes.unpin(found, lenient=force), force=force, dry_run=dry_run)


@click.command()
@change_options
@click.argument("number", type=VERSION, metavar="[N]", required=False)
def promote(target: Target, adapter: str, number: int | None, force: bool, dry_run: bool) -> None:
    """Let the canary of ADAPTER, or version N, take over at once (patches spec.serving.rollout.promote)."""
    apply(target, adapter, lambda found: changes.promote(found, number), force=force, dry_run=dry_run)


@click.command()
@change_options
@click.argument("number", type=VERSION, metavar="[N]", required=False)
def abort(target: Target, adapter: str, number: int | None, force: bool, dry_run: bool) -> None:
    """Roll the canary of ADAPTER back (patches spec.serving.rollout.abort)."""
    apply(target, adapter, lambda found: changes.abort(found, number), force=force, dry_run=dry_run)


@click.command()
@change_options
def suspend(target: Target, adapter: str, force: bool, dry_run: bool) -> None:
    """Start no new training of ADAPTER; what is served stays served (patches spec.suspend)."""
    apply(target, adapter, changes.suspend, force=force, dry_run=dry_run)


@click.command()
@change_options
def resume(target: Target, adapter: str, force: bool, dry_run: bool) -> None:
    """Let trainings of ADAPTER start again (patches spec.suspend)."""
    apply(target, adapter, changes.resume, force=force, dry_run=dry_run)


@click.command()
@change_options
def retrain(target: Target, adapter: str, force: bool, dry_run: bool) -> None:
    """Try again a training of ADAPTER that has failed for good (sets annotation graft.dev/retry)."""
    now = datetime.now(UTC)
    apply(target, adapter, lambda found: changes.retrain(found, now), force=force, dry_run=dry_run)
