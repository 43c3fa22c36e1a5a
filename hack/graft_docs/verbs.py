"""The plugin's verbs and their options, from its own commands."""

from __future__ import annotations

from collections.abc import Iterable

import click

from graft_docs.markdown import code, page, table

HELP = ("-h", "--help")


def verbs_page(group: click.Group, program: str) -> str:
    """Return the page of all verbs, in the order in which help lists them."""
    context = click.Context(group, info_name=program)
    commands = [found for name in group.list_commands(context) if (found := group.get_command(context, name))]
    overview = table(
        ("verb", "what it does"), [(f"[`{item.name}`](#{item.name})", first_line(item)) for item in commands]
    )
    return page(
        f"Verbs of {program}",
        f"What `{program} VERB --help` says. Examples, rights and exit codes: [kubectl graft](../cli.md).",
        overview,
        *(section(command, program) for command in commands),
        description=f"Every verb of {program} with its arguments and options, generated from the plugin.",
    )


def section(command: click.Command, program: str) -> str:
    """Return the heading of a verb, how it is called, what it does and its options."""
    context = click.Context(command, info_name=command.name)
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    call = " ".join((program, str(command.name), *pieces))
    words = " ".join((command.help or "").split())
    options = [item for item in command.params if isinstance(item, click.Option) and not item.hidden]
    return "\n\n".join([f"## {command.name}", f"```\n{call} [OPTIONS]\n```", words, options_table(options, context)])


def first_line(command: click.Command) -> str:
    """Return what help says of a verb in the list of all."""
    return command.get_short_help_str(limit=200)


def options_table(options: Iterable[click.Option], context: click.Context) -> str:
    """Return a table of options as help lists them; a verb without any has none."""
    records = [record for option in options if (record := option.get_help_record(context)) is not None]
    return table(("option", "meaning"), [(code(names), text) for names, text in records]) if records else ""


def spellings(command: click.Command) -> set[str]:
    """Return every spelling of a command's options, with those that all commands have."""
    options = (item for item in command.params if isinstance(item, click.Option))
    return {name for item in options for name in (*item.opts, *item.secondary_opts)} | set(HELP)
