"""The figures of adapters and bases. Pure: objects in, samples out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from pydantic import ValidationError

from graft_operator.api.rollout import RolloutSpec
from graft_operator.telemetry.objects import families as of
from graft_operator.telemetry.objects.families import Family
from graft_operator.telemetry.objects.views import AdapterView, BaseView, ConditionView, RolloutView, VersionView

Sample = tuple[Family, tuple[str, ...], float]
"""A family, the values of its labels, and the value."""


def adapter_samples(adapter: AdapterView) -> Iterator[Sample]:
    """Return all figures of an adapter, but for those of its pods."""
    status, serving = adapter.status, adapter.status.serving
    labels = labels_of(adapter)
    yield from condition_samples(of.ADAPTER_CONDITION, labels, status.conditions)
    if status.served_version is not None:
        yield of.SERVED_VERSION, labels, status.served_version
        served = next((item for item in status.versions if item.number == status.served_version), None)
        yield from version_samples(labels, served) if served is not None else ()
    if serving.target is not None:
        yield of.TARGET_VERSION, labels, serving.target.number
        yield of.REPLICAS_DESIRED, labels, serving.desired
        yield of.REPLICAS_LOADED, labels, serving.loaded
        yield of.REPLICAS_FAILED, labels, serving.failed
    if serving.rollout is not None and serving.rollout.weight < 100:
        yield of.CANARY_WEIGHT, labels, serving.rollout.weight / 100
        if (due := step_due(adapter.spec.serving.rollout or {}, serving.rollout)) is not None:
            yield of.CANARY_DUE, labels, due.timestamp()
    yield from training_samples(adapter, labels)


def labels_of(adapter: AdapterView) -> tuple[str, str, str]:
    """Return the labels that all series of an adapter have."""
    return adapter.metadata.namespace, adapter.spec.base_model_ref.name, adapter.metadata.name


def training_samples(adapter: AdapterView, labels: tuple[str, ...]) -> Iterator[Sample]:
    """Return how far the training is, if there is one."""
    training = adapter.status.training
    if training is None:
        return
    yield of.TRAINING_STEP, labels, training.step
    if training.max_steps:  # the trainer has not counted its rows yet
        yield of.TRAINING_MAX_STEPS, labels, training.max_steps
    if (loss := number(training.loss)) is not None:
        yield of.TRAINING_LOSS, labels, loss
    if training.eta_seconds is not None:
        yield of.TRAINING_ETA, labels, training.eta_seconds


def version_samples(labels: tuple[str, ...], version: VersionView) -> Iterator[Sample]:
    """Return the scores of a version and what its training took, as far as they are known."""
    figures = (
        (of.EVAL_LOSS, number(version.eval_loss)),
        (of.BASE_EVAL_LOSS, number(version.base_eval_loss)),
        (of.EXACT_MATCH, number(version.exact_match)),
        (of.BASE_EXACT_MATCH, number(version.base_exact_match)),
        (of.PREFERENCE_ACCURACY, number(version.preference_accuracy)),
        (of.TRAIN_SECONDS, version.train_seconds),
        (of.TRAIN_TOKENS, version.train_tokens),
    )
    told = (*labels, f"v{version.number}")
    return ((family, told, value) for family, value in figures if value is not None)


def base_samples(base: BaseView) -> Iterator[Sample]:
    """Return all figures of a base, but for those of its pods."""
    labels, status = (base.metadata.namespace, base.metadata.name), base.status
    yield from condition_samples(of.BASE_CONDITION, labels, status.conditions)
    yield of.BASE_ADAPTERS, labels, status.adapters.total
    yield of.BASE_REPLICAS_DESIRED, labels, sum(revision.replicas for revision in status.serving)
    yield of.BASE_REPLICAS_READY, labels, sum(revision.ready_replicas for revision in status.serving)


def condition_samples(family: Family, labels: tuple[str, ...], conditions: Iterable[ConditionView]) -> Iterator[Sample]:
    """Return one series for each condition: what it was before is gone."""
    return ((family, (*labels, item.type, item.status, item.reason), 1) for item in conditions)


def step_due(spec: dict[str, object], rollout: RolloutView) -> datetime | None:
    """Return when a canary's step is over at the latest; None where the spec has no such step any more."""
    try:
        chosen = RolloutSpec.model_validate(spec)
    except ValidationError:
        return None
    step = next((step for step in chosen.effective_steps if step.weight == rollout.weight), None)
    if step is None:
        return None
    waits = chosen.effective_limits.wait_seconds if chosen.effective_limits else 0
    return (rollout.step_time or rollout.start_time) + timedelta(seconds=step.seconds + waits)


def number(text: str | None) -> float | None:
    """Return a decimal of a status as a number; None for what is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
