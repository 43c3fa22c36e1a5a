"""Requests that clients may send, and what becomes of each: it is answered, or the engine refuses it with a status.

`ANSWERED` and `REFUSED` say what the engine of the local cluster does (vLLM on a CPU, a small Llama, no tool parser).
Another engine with other arguments may answer what this one refuses, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Mapping[str, Any]
Holds = Callable[[Answer], object]

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
PROMPT = "a person who is"
QUESTION = [{"role": "user", "content": PROMPT}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
TOKEN = 100
"""A token that every vocabulary has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request."""

    name: str
    path: str
    body: Mapping[str, Any]
    refused: int = 0
    """The engine's status; 0 where it answers."""
    says: str = ""
    """A part of the refusal."""
    holds: Holds = bool
    """What is true of the answer."""


def choice(answer: Answer) -> Any:
    """The first choice of an answer."""
    return answer["choices"][0]


def completion(name: str, *, refused: int = 0, says: str = "", holds: Holds = bool, **fields: Any) -> Case:
    """A greedy completion of six tokens, with these fields."""
    body = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0, **fields}
    return Case(name=f"completion: {name}", path=COMPLETIONS, body=body, refused=refused, says=says, holds=holds)


def chat(name: str, *, refused: int = 0, says: str = "", holds: Holds = bool, **fields: Any) -> Case:
    """A greedy chat of six tokens, with these fields."""
    body = {"messages": QUESTION, "max_tokens": 6, "temperature": 0, **fields}
    return Case(name=f"chat: {name}", path=CHAT, body=body, refused=refused, says=says, holds=holds)


def _sampling() -> Iterator[Case]:
    yield completion("nothing special", holds=lambda answer: choice(answer)["finish_reason"] in ("length", "stop"))
    yield completion("two choices", n=2, temperature=1, holds=lambda answer: len(answer["choices"]) == 2)
    yield completion("two greedy choices", n=2, refused=400, says="n must be 1 when using greedy sampling")
    yield completion("no choices", n=0, refused=400, says="n must be at least 1")
    yield completion("seed", seed=7, temperature=1)
    yield completion("negative seed", seed=-1, temperature=1)
    yield completion("top_p", top_p=0.5, temperature=1)
    yield completion("top_p of 0", top_p=0, refused=400, says="top_p")
    yield completion("top_k", top_k=3, temperature=1)
    yield completion("negative top_k", top_k=-2, refused=400, says="top_k")
    yield completion("min_p", min_p=0.2, temperature=1)
    yield completion("high temperature", temperature=2)
    yield completion("negative temperature", temperature=-1, refused=400, says="temperature")
    yield completion("presence penalty", presence_penalty=1.5)
    yield completion("frequency penalty", frequency_penalty=-2)
    yield completion("presence penalty out of range", presence_penalty=9, refused=400, says="presence_penalty")
    yield completion("repetition penalty", repetition_penalty=1.2)
    yield completion("repetition penalty of 0", repetition_penalty=0, refused=400, says="repetition_penalty")
    yield completion(
        "logit bias",
        logit_bias={str(TOKEN): 100},
        return_token_ids=True,
        holds=lambda answer: set(choice(answer)["token_ids"]) == {TOKEN},
    )
    yield completion("logit bias of no token", logit_bias={"99999999": 1}, refused=400, says="logit_bias")
    yield completion(
        "allowed tokens",
        allowed_token_ids=[TOKEN],
        return_token_ids=True,
        holds=lambda answer: set(choice(answer)["token_ids"]) == {TOKEN},
    )
    yield completion("no allowed tokens", allowed_token_ids=[], refused=400, says="allowed_token_ids")
    yield completion("bad words", bad_words=["person"])


def _lengths_and_ends() -> Iterator[Case]:
    yield completion("no tokens", max_tokens=0, refused=400, says="max_tokens")
    yield completion("more tokens than fit", max_tokens=10_000_000, refused=400, says="max_tokens")
    yield completion(
        "least tokens",
        min_tokens=6,
        ignore_eos=True,
        holds=lambda answer: answer["usage"]["completion_tokens"] == 6,
    )
    yield completion("stop", stop=["e"], holds=lambda answer: "e" not in choice(answer)["text"])
    yield completion("empty stop", stop="", refused=400, says="stop")
    yield completion("stop tokens", stop_token_ids=[TOKEN])
    yield completion("prompt cut off", truncate_prompt_tokens=2, holds=lambda a: a["usage"]["prompt_tokens"] == 2)
    yield completion("suffix", suffix="x", refused=400, says="suffix")


def _prompts() -> Iterator[Case]:
    yield completion("token ids", prompt=[1, 2, 3], holds=lambda answer: answer["usage"]["prompt_tokens"] == 3)
    yield completion("two prompts", prompt=["a", "b"], holds=lambda answer: len(answer["choices"]) == 2)
    yield completion("two of token ids", prompt=[[1, 2], [3, 4]], holds=lambda answer: len(answer["choices"]) == 2)
    yield completion("no prompt", prompt=[], refused=400, says="prompt")
    yield completion("empty prompt", prompt="", refused=400, says="prompt")
    yield completion("no such token", prompt=[99_999_999], refused=400, says="out of vocabulary")
    yield completion("negative token", prompt=[-1], refused=400, says="greater than or equal to 0")
    yield completion("embeddings of a prompt", prompt_embeds="AAAA", refused=400, says="prompt-embeds")
    yield completion("echo", echo=True, holds=lambda answer: choice(answer)["text"].startswith(PROMPT))


def _log_probabilities() -> Iterator[Case]:
    yield completion(
        "log probabilities",
        logprobs=3,
        holds=lambda answer: all(len(best) >= 3 for best in choice(answer)["logprobs"]["top_logprobs"]),
    )
    yield completion("of the chosen tokens only", logprobs=0)
    yield completion("too many of them", logprobs=1000, refused=400, says="logprobs")
    yield completion(
        "of the prompt", prompt_logprobs=2, holds=lambda answer: len(choice(answer)["prompt_logprobs"]) > 1
    )
    yield completion("of the prompt and the whole vocabulary", prompt_logprobs=-1, refused=400, says="prompt logprobs")
    yield completion("of the echo", echo=True, logprobs=1)
    yield chat(
        "log probabilities",
        logprobs=True,
        top_logprobs=3,
        holds=lambda answer: all(len(token["top_logprobs"]) == 3 for token in choice(answer)["logprobs"]["content"]),
    )
    yield chat("of the prompt", prompt_logprobs=1, holds=lambda answer: answer["prompt_logprobs"])


def _structure() -> Iterator[Case]:
    yield completion(
        "a choice",
        structured_outputs={"choice": ["red", "blue"]},
        holds=lambda answer: choice(answer)["text"] in ("red", "blue"),
    )
    yield completion("a regular expression", structured_outputs={"regex": "[ab]{2}"})
    yield completion("a wrong expression", structured_outputs={"regex": "((("}, refused=400, says="invalid regex")
    yield completion("a grammar", structured_outputs={"grammar": 'root ::= "a"'})
    yield completion("JSON", response_format={"type": "json_object"})
    yield chat("JSON", response_format={"type": "json_object"})
    yield chat(
        "a schema",
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        holds=lambda answer: choice(answer)["message"]["content"].lstrip().startswith("{"),
    )
    yield chat("text", response_format={"type": "text"})


def _chats() -> Iterator[Case]:
    yield chat("nothing special", holds=lambda answer: choice(answer)["message"]["role"] == "assistant")
    yield chat("max_completion_tokens", max_completion_tokens=4, max_tokens=None)
    yield chat("seed and stop", seed=7, stop=["e"])
    yield chat("logit bias", logit_bias={str(TOKEN): 5})
    yield chat("two choices", n=2, temperature=1, holds=lambda answer: len(answer["choices"]) == 2)
    yield chat("reasoning effort", reasoning_effort="low")
    yield chat("parts of text", messages=[{"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    yield chat("no messages", messages=[], refused=400, says="empty conversation")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    yield chat("an image", messages=[{"role": "user", "content": [image]}], refused=400, says="multimodal")
    yield chat("tools that are not to be used", tools=[TOOL], tool_choice="none")
    yield chat("tools", tools=[TOOL], refused=400, says="tool-call-parser")
    yield chat("a tool that must be used", tools=[TOOL], tool_choice="required", refused=400, says="tool-call-parser")
    named = {"type": "function", "function": {"name": "look"}}
    yield chat("a tool that is named", tools=[TOOL], tool_choice=named, refused=400, says="tool-call-parser")
    yield chat("a tool's answer", messages=[*QUESTION, {"role": "tool", "content": "x", "tool_call_id": "1"}])
    yield chat("a template of the client's", chat_template="{{ 1 }}", refused=400, says="chat template")


def _other_routes() -> Iterator[Case]:
    def route(name: str, path: str, *, refused: int = 0, says: str = "", holds: Holds = bool, **body: Any) -> Case:
        return Case(name=f"{path}: {name}", path=path, body=body, refused=refused, says=says, holds=holds)

    yield route("text", "/v1/responses", input="hello", max_output_tokens=4, holds=lambda answer: answer["output"])
    yield route("not stored", "/v1/responses", input="hello", max_output_tokens=4, store=False)
    function = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    yield route("tools", "/v1/responses", input=QUESTION, max_output_tokens=4, tools=[function])
    yield route("one before", "/v1/responses", input="hello", previous_response_id="resp_1", refused=404, says="resp_1")
    yield route("in the background", "/v1/responses", input="hello", background=True, refused=400, says="background")
    yield route("text", "/v1/messages", messages=QUESTION, max_tokens=4, holds=lambda answer: answer["content"])
    yield route("no length", "/v1/messages", messages=QUESTION, refused=400, says="max_tokens")
    tool = {"name": "look", "input_schema": {"type": "object"}}
    yield route("tools", "/v1/messages", messages=QUESTION, max_tokens=4, tools=[tool], refused=400, says="tool")
    yield route("count", "/v1/messages/count_tokens", messages=QUESTION, holds=lambda answer: answer["input_tokens"])
    yield route("text", "/tokenize", prompt=PROMPT, holds=lambda answer: answer["count"] == len(answer["tokens"]) > 0)
    yield route("chat", "/tokenize", messages=QUESTION, holds=lambda answer: answer["tokens"])
    yield route("tokens", "/detokenize", tokens=[TOKEN, TOKEN], holds=lambda answer: answer["prompt"])
    yield route("negative token", "/detokenize", tokens=[-1], refused=400, says="greater than or equal to 0")
    for path in ("/v1/score", "/score"):
        yield route("a causal model has none", path, text_1="a", text_2="b", refused=404, says="Not Found")
    for path in ("/v1/rerank", "/rerank"):
        yield route("a causal model has none", path, query="a", documents=["b"], refused=404, says="Not Found")
    yield route("a causal model has none", "/v1/embeddings", input="a", refused=404, says="Not Found")


CASES: tuple[Case, ...] = (
    *_sampling(),
    *_lengths_and_ends(),
    *_prompts(),
    *_log_probabilities(),
    *_structure(),
    *_chats(),
    *_other_routes(),
)
