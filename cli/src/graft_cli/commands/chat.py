"""``chat``: base and versions, asked side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import click
from rich.live import Live

from graft_cli.asking import as_they_come
from graft_cli.client import Adapter, Base, GraftReader
from graft_cli.cluster.inference import EndpointClient, InferenceClient, PodsClient
from graft_cli.cluster.workloads import one_of_each_first, pods
from graft_cli.commands.options import Target, cluster_options, complete_adapter, output_option
from graft_cli.decisions.conversation import BASE as BASE_ALONE
from graft_cli.decisions.conversation import (
    Answer,
    Conversation,
    Respondent,
    Sampling,
    Turn,
    answer_of,
    failed,
    of_adapter,
    of_base,
    request_of,
)
from graft_cli.decisions.logs import answering_pods
from graft_cli.decisions.versions import readable
from graft_cli.errors import ExitCode, Forbidden, GraftError, NotFound, Refused
from graft_cli.rendering.answers import blocks, side_by_side
from graft_cli.rendering.console import console_for, pass_on, show
from graft_cli.rendering.documents import Format, print_document

KEY_VARIABLE = "GRAFT_API_KEY"
PODS_OF_EACH = 3
"""Pods of the merged model, and of the base, to try: a pod forwards what it can't answer itself."""


@click.command()
@click.argument("name", shell_complete=complete_adapter)
@click.argument("prompt", required=False)
@click.option("--versions", metavar="v3,v4,base", default="", help="Whom to ask; base and what is served when empty.")
@click.option("--system", default="", metavar="TEXT", help="System message before each conversation.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Of each answer.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), default=0.0, show_default=True, help="0 is the likeliest answer."
)
@click.option("--raw", is_flag=True, help="Let the model go on with PROMPT as it stands, without chat template.")
@click.option("--key", envvar=KEY_VARIABLE, metavar="KEY", help=f"API key of the base; better by {KEY_VARIABLE}.")
@click.option("--endpoint", metavar="URL", help="Ask this address instead of forwarding a port of a pod.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds for an answer."
)
@output_option
@cluster_options
def chat(
    target: Target,
    name: str,
    prompt: str | None,
    versions: str,
    key: str | None,
    endpoint: str | None,
    timeout: float,
    output: Format,
    **sampling: object,
) -> int:
    """Ask base and versions of NAME, an adapter or a base, side by side.

    Without PROMPT it asks for prompts on a terminal, with what was said before in mind; else each line of stdin is one.
    PROMPT - is all of stdin. Only a version that is loaded answers, under its own name, and no other one instead.
    """
    how = Sampling(**sampling)  # type: ignore[arg-type]
    if how.raw and how.system:
        raise click.UsageError("--raw has no system message; write it into the prompt")
    if endpoint and not is_url(endpoint):
        raise click.UsageError("--endpoint is a URL, such as https://models.example.com")
    key = key.strip() if key else None  # a file that holds one ends with a line break
    if key and not (key.isascii() and key.isprintable()):
        raise click.UsageError("--key has characters that no header can hold")
    asks_on = prompt is None and sys.stdin.isatty()
    if asks_on and output != "table":
        raise click.UsageError(f"-o {output} needs a PROMPT, or prompts on stdin")
    adapter, base = subject(target.reader, target.namespace, name)
    asked = respondents(adapter, base, [item.strip() for item in versions.split(",") if item.strip()])
    client: InferenceClient
    if endpoint:
        client = EndpointClient(url=endpoint, key=key, seconds=timeout)
    else:
        client = serving_pods(target, adapter, base, key=key, seconds=timeout)
    chatting = Chat(client, asked, how)
    turns = interactive(chatting) if asks_on else batch(chatting, prompt, output)
    return ExitCode.FAILED if any(answer.problem for turn in turns for answer in turn.answers) else ExitCode.OK


def is_url(text: str) -> bool:
    """Whether a text names a server to ask."""
    try:
        where = urlsplit(text)
        return where.scheme in ("http", "https") and bool(where.hostname) and where.port != 0
    except ValueError:
        return False


@dataclass(slots=True)
class Chat:
    """One conversation with each of those who are asked."""

    client: InferenceClient
    asked: tuple[Respondent, ...]
    how: Sampling
    said: dict[Respondent, Conversation] = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.said = {who: Conversation() for who in self.asked}

    def answers(self, prompt: str) -> Iterator[tuple[int, Answer]]:
        """Ask all at once, and yield each answer as it comes with the place of whoever gave it."""
        for place, answer in as_they_come(lambda who: self._ask(who, prompt), self.asked, len(self.asked)):
            self.said[self.asked[place]].keep(prompt, answer)
            yield place, answer

    def turn(self, prompt: str) -> Turn:
        """Ask all, and return the answers in the order in which they were asked."""
        found = dict(self.answers(prompt))
        return Turn(prompt, tuple(found[place] for place in sorted(found)))

    def _ask(self, who: Respondent, prompt: str) -> Answer:
        try:
            return answer_of(who, self.client.ask(*request_of(who, prompt, self.said[who], self.how)))
        except Forbidden:
            raise  # it is so for all of them
        except GraftError as error:
            return failed(Answer(title=who.title, model=who.model), error.message, error.fix)


def subject(reader: GraftReader, namespace: str, name: str) -> tuple[Adapter | None, Base]:
    """Return the adapter and its base, or the base of this name. Raises NotFound."""
    try:
        adapter = reader.adapter(namespace, name)
    except NotFound:
        adapter = None
    if adapter is not None:
        return adapter, reader.base(namespace, adapter.base_name)
    try:
        return None, reader.base(namespace, name)
    except NotFound as error:
        fix = "see `kubectl graft status`, or give -n NAMESPACE"
        raise NotFound(f"no LoraAdapter and no BaseModel is called {name} in namespace {namespace}", fix=fix) from error


def respondents(adapter: Adapter | None, base: Base, chosen: Sequence[str]) -> tuple[Respondent, ...]:
    """Return whom to ask. Raises Refused, and click.UsageError for a version that is none."""
    if adapter is None:
        if set(chosen) - {BASE_ALONE}:
            raise click.UsageError(f"{base.metadata.name} is a base and has no versions; name an adapter of it")
        return (of_base(base.metadata.name),)
    try:
        return of_adapter(readable(adapter), chosen)
    except ValueError as error:
        raise click.UsageError(f"--versions: {error}") from error


def serving_pods(target: Target, adapter: Adapter | None, base: Base, *, key: str | None, seconds: float) -> PodsClient:
    """Return a client of the pods that may answer. Raises Refused where none is ready."""
    connection, namespace = target.reader.connection, target.namespace
    found = [pods(connection, namespace, selector) for selector in answering_pods(adapter, base)]
    ready = [pod for kind in found for pod in one_of_each_first(kind)[:PODS_OF_EACH]]
    if not ready:
        fix = f"`kubectl graft status {base.metadata.name}` tells what it waits for"
        raise Refused(f"no pod of base {base.metadata.name} is ready", fix=fix)
    return PodsClient(connection=connection, pods=ready, key=key, seconds=seconds)


def interactive(chatting: Chat) -> list[Turn]:
    """Ask for prompts until the end of stdin. What failed was seen, and is no failure of the program."""
    console = console_for(sys.stdout)
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            click.echo()
            return []
        if not prompt:
            continue
        answers: list[Answer | None] = [None] * len(chatting.asked)
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            live.update(side_by_side(chatting.asked, answers, console.width), refresh=True)
            for place, answer in chatting.answers(prompt):
                answers[place] = answer
                live.update(side_by_side(chatting.asked, answers, console.width), refresh=True)
        click.echo()


def batch(chatting: Chat, prompt: str | None, output: Format) -> list[Turn]:
    """Ask each prompt by itself, and print the answers: to people as they come, to programs at the end."""
    turns = []
    for text in prompts(prompt):
        chatting.forget()
        turns.append(chatting.turn(text))
        if output == "table":
            show_turn(chatting.asked, turns[-1], named=prompt is None)
    if not turns:
        raise Refused("there is no prompt", fix="give one as an argument, or lines on stdin")
    if output != "table":
        print_document({"turns": turns}, output)
    return turns


def show_turn(asked: Sequence[Respondent], turn: Turn, *, named: bool) -> None:
    """Print one turn; with its prompt where there may be many."""
    if named:
        pass_on(f"> {turn.prompt}")
    if sys.stdout.isatty():
        console = console_for(sys.stdout)
        console.print(side_by_side(asked, turn.answers, console.width))
    else:
        show(*blocks(turn.answers))


def prompts(prompt: str | None) -> Iterator[str]:
    """Yield the prompts: the one that is given, all of stdin for ``-``, or its lines."""
    if prompt == "-":
        yield sys.stdin.read()
    elif prompt is not None:
        yield prompt
    else:
        yield from filter(None, (line.strip() for line in sys.stdin))
