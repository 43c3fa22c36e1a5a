"""Every ending has its exit code, and its message fits where the kubelet keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graft_registry.errors import Forbidden, Unavailable
from graft_trainer.outcome import (
    EXIT_CODES,
    BadDatasetError,
    BaseMismatchError,
    DivergedError,
    InvalidConfigError,
    Outcome,
    PreemptedError,
    Reason,
    classify,
    report,
)


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


class DistError(RuntimeError):
    """Named like the base class of torch's errors of distributed operations."""


class DistBackendError(DistError):
    """Named like the one of them that NCCL's failures are."""


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidConfigError("x"), 64, "InvalidConfig"),
        (BadDatasetError("x"), 65, "BadDataset"),
        (BaseMismatchError("x"), 66, "BaseMismatch"),
        (DivergedError("x"), 67, "Diverged"),
        (Unavailable("x"), 68, "RegistryUnavailable"),
        (Forbidden("x"), 68, "RegistryUnavailable"),
        (MemoryError(), 69, "OutOfMemory"),
        (OutOfMemoryError("CUDA out of memory"), 69, "OutOfMemory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 69, "OutOfMemory"),
        (PreemptedError("x"), 143, "Preempted"),
        (
            RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer"),
            70,
            "WorkerLost",
        ),
        (DistBackendError("NCCL error: remote process exited"), 70, "WorkerLost"),
        (RuntimeError("anything else"), 1, "Crashed"),
        (KeyError("k"), 1, "Crashed"),
    ],
)
def test_every_error_has_a_class(error: Exception, code: int, reason: str) -> None:
    outcome = classify(error)
    assert (outcome.exit_code, outcome.reason) == (code, reason)


def test_every_reason_has_an_exit_code() -> None:
    assert set(EXIT_CODES) == set(Reason)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.PUBLISHED, "Published"),
        (Reason.ADOPTED, "Adopted"),
        (Reason.PREPARED, "Prepared"),
        (Reason.PREEMPTED, "Preempted"),
    ],
)
def test_kinds_of_endings(reason: Reason, kind: str) -> None:
    assert Outcome(reason=reason, message="").kind == kind


def test_all_other_endings_are_failures() -> None:
    endings = set(Reason) - {Reason.PUBLISHED, Reason.ADOPTED, Reason.PREPARED, Reason.PREEMPTED}
    assert {Outcome(reason=reason, message="").kind for reason in endings} == {"Failed"}


def test_the_error_keeps_its_field_and_step() -> None:
    outcome = classify(DivergedError("x", field="spec.training.learningRate", step=30))
    assert (outcome.field, outcome.step) == ("spec.training.learningRate", 30)


@pytest.mark.parametrize("message", ["x" * 10_000, "ä\n" * 5_000, '"' * 9_000])
def test_a_long_message_is_shortened_to_what_the_kubelet_keeps(message: str) -> None:
    text = Outcome(reason=Reason.CRASHED, message=message, field="spec").termination_message()
    document = json.loads(text)
    assert len(text.encode()) <= 4096
    assert document["message"].endswith("… (truncated)")
    assert document["field"] == "spec"


def test_what_is_no_character_is_replaced(tmp_path: Path) -> None:
    name = b"caf\xe9.txt".decode(errors="surrogateescape")
    for message in (name, name * 2000):
        report(Outcome(reason=Reason.SOURCE_INVALID, message=message, field=f"spec.{name}"), tmp_path / "log")
        written = (tmp_path / "log").read_bytes()
        assert len(written) <= 4096
        document = json.loads(written.decode())
        assert document["message"].startswith("caf?.txt")
        assert document["field"] == "spec.caf?.txt"


def test_a_short_message_is_kept(tmp_path: Path) -> None:
    outcome = Outcome(reason=Reason.PUBLISHED, message="done", number=7, manifest_digest="sha256:1", step=96)
    report(outcome, tmp_path / "log")
    assert json.loads((tmp_path / "log").read_text()) == {
        "outcome": "Published",
        "reason": "Published",
        "message": "done",
        "field": None,
        "number": 7,
        "manifestDigest": "sha256:1",
        "step": 96,
    }


def test_an_unwritable_log_does_not_hide_the_exit_code(tmp_path: Path) -> None:
    report(Outcome(reason=Reason.CRASHED, message=""), tmp_path / "no" / "folder")


def test_a_crash_tells_where_it_happened() -> None:
    def innermost() -> None:
        raise KeyError("the part that nobody thought of")

    with pytest.raises(KeyError) as raised:
        innermost()
    message = json.loads(classify(raised.value).termination_message())["message"]
    first, *_, last = message.splitlines()
    assert first == "KeyError: 'the part that nobody thought of'"
    assert "test_outcome.py" in last
    assert 'innermost: raise KeyError("the part that nobody thought of")' in last
