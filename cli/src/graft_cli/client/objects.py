"""Adapters and bases as the API server holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from pydantic import ValidationError

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition
from graft_operator.api.meta import GROUP, VERSION, ObjectMeta

ADAPTERS: Final = "loraadapters"
BASES: Final = "basemodels"
KINDS: Final = {ADAPTERS: "LoraAdapter", BASES: "BaseModel"}
API: Final = {"group": GROUP, "version": VERSION}

Status = TypeVar("Status", LoraAdapterStatus, BaseModelStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoraAdapter."""

    metadata: ObjectMeta
    spec: Mapping[str, Any]
    status: LoraAdapterStatus
    raw: Mapping[str, Any]
    """The whole object as it came."""
    problem: str = ""
    """Why ``status`` holds the conditions at most: a newer operator has written what we can't read."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Take an object of the API server."""
        status, problem = _status(LoraAdapterStatus, body)
        return cls(metadata=_metadata(body), spec=_mapping(body.get("spec")), status=status, raw=body, problem=problem)

    @property
    def base_name(self) -> str:
        """Name of the BaseModel that it belongs to."""
        return str(_mapping(self.spec.get("baseModelRef")).get("name") or "")

    @property
    def pinned(self) -> int | None:
        """The version that the spec pins."""
        found = self.spec.get("version")
        return found if isinstance(found, int) else None

    @property
    def rollout(self) -> Mapping[str, Any]:
        """``spec.serving.rollout``."""
        return _mapping(_mapping(self.spec.get("serving")).get("rollout"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A BaseModel."""

    metadata: ObjectMeta
    spec: Mapping[str, Any]
    status: BaseModelStatus
    raw: Mapping[str, Any]
    """The whole object as it came."""
    problem: str = ""
    """Why ``status`` holds the conditions at most: a newer operator has written what we can't read."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Take an object of the API server."""
        status, problem = _status(BaseModelStatus, body)
        return cls(metadata=_metadata(body), spec=_mapping(body.get("spec")), status=status, raw=body, problem=problem)


def _metadata(body: Mapping[str, Any]) -> ObjectMeta:
    return ObjectMeta.model_validate({name: value for name, value in body["metadata"].items() if value is not None})


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return what stands where the CRD wants an object; one of another release may have had something else."""
    return value if isinstance(value, Mapping) else {}


def _status(model: type[Status], body: Mapping[str, Any]) -> tuple[Status, str]:
    """Return the status, or its readable conditions alone and why."""
    told = body.get("status") or {}
    try:
        return model.model_validate(told), ""
    except ValidationError as error:
        problem = f"{_first_of(error)}; a newer operator has written it, so take a newer kubectl-graft"
    found = _mapping(told)
    observed, items = found.get("observedGeneration", -1), found.get("conditions")
    conditions = tuple(filter(None, map(_condition, items if isinstance(items, list | tuple) else ())))
    return model(observed_generation=observed if isinstance(observed, int) else -1, conditions=conditions), problem


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, ('status', *first['loc'])))}: {first['msg']}"


def _condition(item: Any) -> Condition | None:
    try:
        return Condition.model_validate(item)
    except ValidationError:
        return None
