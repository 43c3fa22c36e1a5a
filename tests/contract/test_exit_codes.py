"""Exit codes and reasons: the trainer's, and what the operator makes of them (docs/contracts.md §4)."""

from __future__ import annotations

import re
from pathlib import Path

from graft_operator.manifests.jobs.exit_codes import (
    REASONS,
    RETRIED,
    SOURCE_REFUSED,
    SOURCE_UNAVAILABLE,
    failure_rules,
)
from graft_operator.plan.training.retry_policy import FINAL
from graft_trainer.outcome import EXIT_CODES, Reason

CONTRACT = Path(__file__).resolve().parents[2] / "docs/contracts.md"
SUCCESSES = {Reason.PUBLISHED, Reason.ADOPTED, Reason.PREPARED}


SAYING_MORE = {(72, reason) for reason in SOURCE_REFUSED} | {(68, SOURCE_UNAVAILABLE)}
"""What a trainer may say with codes that mean several things: by the code alone it is taken for that of REASONS."""


def test_the_operator_knows_every_exit_code_of_the_trainer() -> None:
    failures = {reason: code for reason, code in EXIT_CODES.items() if reason not in SUCCESSES | {Reason.CRASHED}}
    told = {(code, reason.value) for reason, code in failures.items()}
    assert told >= set(REASONS.items())
    assert told <= set(REASONS.items()) | SAYING_MORE


def test_the_contract_lists_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+)", CONTRACT.read_text(), flags=re.MULTILINE)
    listed = {int(code): reason for code, reason in rows if code != "0"}
    assert listed == REASONS


def test_every_failure_ends_its_job_or_is_tried_again_by_it() -> None:
    ignored, failing = (
        {
            code
            for rule in failure_rules()
            if rule["action"] == action
            for code in rule.get("onExitCodes", {"values": ()})["values"]
        }
        for action in ("Ignore", "FailJob")
    )
    assert not ignored & failing
    assert {REASONS[code] for code in ignored} <= RETRIED
    assert {reason for reason in REASONS.values() if reason in FINAL} <= {REASONS[code] for code in failing}


def test_what_is_wrong_with_a_source_is_final_and_one_that_is_away_is_not() -> None:
    assert SOURCE_REFUSED <= FINAL
    assert SOURCE_UNAVAILABLE in RETRIED - FINAL
