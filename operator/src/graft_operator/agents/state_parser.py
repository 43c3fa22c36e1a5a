"""From the text of a state document to what is kept of it.

The text comes from a pod that anybody with rights in its namespace may have written. So it is read in steps that each
hold the interpreter for a short time, and every field has its bounds.
"""

from __future__ import annotations

from itertools import pairwise
from sys import intern
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, json

from graft_operator.agents.state import (
    AdapterState,
    AgentState,
    BaseIdentity,
    Count,
    Document,
    EchoedDecision,
    EngineState,
    LoadedVersion,
    Measurement,
    Moment,
    Name,
    ProbeScore,
    Share,
    Word,
)

MAX_ADAPTERS: Final = 8192
"""More than a wanted set can name."""
MAX_ADAPTER_BYTES: Final = 256 * 2**10
"""What the versions of one adapter may take in the document: real ones take some thousand."""
MAX_VERSIONS: Final = 64
"""Of one adapter; real ones have two or three."""
MESSAGE_CHARACTERS: Final = 1024
"""What is kept of a text for people. An engine's whole traceback is of no use in a condition."""
REASON_CHARACTERS: Final = 128


class InvalidState(ValueError):
    """The document is no state, for the reason in the message."""


class _MeasurementText(Document, frozen=True):
    requests: Count = 0
    errors: Count = 0
    latency: msgspec.Raw = msgspec.Raw(b"{}")


class _VersionText(Document, frozen=True):
    number: Count
    manifest_digest: Word
    state: Word
    reason: str = ""
    message: str = ""
    measured: _MeasurementText = _MeasurementText()
    probes: ProbeScore | None = None


class _AdapterText(Document, frozen=True):
    name: Name
    active: Annotated[tuple[Share, ...], Meta(max_length=MAX_VERSIONS)] = ()
    versions: msgspec.Raw = msgspec.Raw(b"[]")
    last_asked: Moment | None = None
    decision: EchoedDecision | None = None


class _StateText(Document, frozen=True, kw_only=True):
    schema: Literal["graft.dev/agent/v1"]
    pod: Name
    engine: EngineState
    ready: bool
    revision: Word = ""
    wanted_digest: Word | None = None
    message: str = ""
    base: BaseIdentity | None = None
    adapters: tuple[_AdapterText, ...] = ()


_STATE: Final = json.Decoder(_StateText)
_VERSIONS: Final = json.Decoder(Annotated[list[_VersionText], Meta(max_length=MAX_VERSIONS)])
_REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_state(document: bytes | bytearray, max_adapters: int = MAX_ADAPTERS) -> AgentState:
    """Return the state that a document tells. Raises InvalidState, whose message names the field.

    No single step holds the interpreter longer than about 3 ms per MiB, so other threads go on meanwhile.
    """
    # One key for each adapter and one for the base: counted first, because the decoder checks lengths at the end.
    if document.count(b'"name"') > max_adapters + 1:
        raise InvalidState(f"adapters: more than {max_adapters}")
    try:
        told = _STATE.decode(document)
    except _REFUSALS as error:
        raise InvalidState(str(error)) from None
    if len(told.adapters) > max_adapters:
        raise InvalidState(f"adapters: more than {max_adapters}")
    adapters = sorted(map(_adapter, told.adapters), key=lambda adapter: adapter.name)
    for one, following in pairwise(adapters):
        if one.name == following.name:
            raise InvalidState(f"adapters: {one.name!r} occurs twice")
    return AgentState(
        pod=told.pod,
        engine=EngineState(told.engine.state, told.engine.starts, _cut(told.engine.message)),
        ready=told.ready,
        revision=told.revision,
        wanted_digest=told.wanted_digest,
        message=_cut(told.message),
        base=told.base,
        adapters=tuple(adapters),
    )


def _adapter(told: _AdapterText) -> AdapterState:
    text = memoryview(told.versions)
    if len(text) > MAX_ADAPTER_BYTES:
        raise InvalidState(f"adapters: the versions of {told.name!r} take more than {MAX_ADAPTER_BYTES} bytes")
    try:
        versions = tuple([_version(item) for item in _VERSIONS.decode(text)])
    except _REFUSALS as error:
        raise InvalidState(f"adapters: versions of {told.name!r}: {error}") from None
    # Many pods tell the same names and digests: each is kept once.
    return AdapterState(intern(told.name), told.active, versions, told.last_asked, told.decision)


def _version(told: _VersionText) -> LoadedVersion:
    measured = Measurement(told.measured.requests, told.measured.errors, bytes(told.measured.latency))
    _ = measured.latency  # refused here, where it can be told of, and not where it is used
    return LoadedVersion(
        number=told.number,
        manifest_digest=intern(told.manifest_digest),
        state=intern(told.state),
        reason=intern(told.reason[:REASON_CHARACTERS]),
        message=_cut(told.message),
        measured=measured,
        probes=told.probes,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[: MESSAGE_CHARACTERS - 1]}…"
