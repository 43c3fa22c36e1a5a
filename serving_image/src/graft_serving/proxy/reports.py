"""What is told of the tries of a request: in the log, in messages, and on spans."""

from graft_serving.proxy import headers
from graft_serving.proxy.attempts import Service, Target, ThisEngine, Try
from graft_serving.proxy.relay import Relayed
from graft_serving.proxy.routing import Peer
from graft_serving.telemetry.answered import Usage
from graft_serving.telemetry.tracing import Value


def in_words(tries: list[Try] | tuple[Try, ...]) -> str:
    """The record of the tries for a log or a message."""
    return "; ".join(f"{_place(tried.target)}: {tried.outcome} {tried.detail}".rstrip() for tried in tries)


def _place(target: Target) -> str:
    match target:
        case ThisEngine():
            return "this pod's engine"
        case Peer(name, url):
            return f"pod {name} at {url}"
        case Service(url):
            return url


def told_of(relayed: Relayed) -> dict[str, Value | None]:
    """What a span tells of a try, besides its outcome: figures and names of ours, and nothing of what was said."""
    response, answered = relayed.response, relayed.answered
    usage = answered.usage if answered is not None else Usage()
    return {
        "graft.version": response.headers.get(headers.VERSION) if response is not None else None,
        "http.response.status_code": response.status if response is not None else None,
        "graft.time_to_first_token": answered.first_token_seconds if answered is not None else None,
        "gen_ai.usage.input_tokens": usage.prompt or None,
        "gen_ai.usage.output_tokens": usage.completion or None,
    }
