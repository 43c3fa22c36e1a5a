"""What is wrong with manifests, told without a cluster: by the operator's own models and pure checks.

The API server refuses what the models refuse; what the operator would say afterwards (``Accepted``) is said here, too,
as far as files can tell: whether a rank or a mode fits the base that lies beside the adapter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import ValidationError

from graft_cli.decisions.manifests import Manifest
from graft_cli.decisions.validation import fix_for
from graft_cli.decisions.yaml_dialect.trees import Path, repeated_keys
from graft_operator.api.base_model import BaseModel
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.meta import API_VERSION, GROUP
from graft_operator.plan.adapter.advice import advice
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.servability import (
    base_cannot_be_merged_into,
    engine_is_too_short,
    rank_exceeds_base,
)

MODELS: Final[Mapping[str, type[LoraAdapter | BaseModel]]] = {"LoraAdapter": LoraAdapter, "BaseModel": BaseModel}
NAMESPACE: Final = "default"
CHECKS: Final = (rank_exceeds_base, base_cannot_be_merged_into, engine_is_too_short)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or that should be looked at again."""

    file: str
    line: int
    object: str
    field: str
    message: str
    fix: str = ""
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest of ours that the models accept."""

    manifest: Manifest
    model: LoraAdapter | BaseModel

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return self.manifest.kind, self.model.metadata.namespace, self.model.metadata.name


def lint(manifests: Iterable[Manifest]) -> tuple[list[Problem], int]:
    """Return what is wrong, and how many objects of ours were looked at."""
    problems: list[Problem] = []
    checked: list[Checked] = []
    looked_at = 0
    for manifest in manifests:
        api_version = str(manifest.body.get("apiVersion") or "")
        if api_version.partition("/")[0] != GROUP and not (not api_version and manifest.kind in MODELS):
            continue
        looked_at += 1
        try:
            checked.append(parse(manifest))
        except InvalidManifest as error:
            problems += error.problems
    problems += [*same_names(checked), *against_bases(checked)]
    return sorted(problems, key=lambda found: (found.file, found.line)), looked_at


class InvalidManifest(Exception):
    """A manifest that the API server would refuse."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def parse(manifest: Manifest) -> Checked:
    """Parse one manifest as strictly as the API server does. Raises InvalidManifest."""
    if manifest.body.get("apiVersion") != API_VERSION:
        fix = f"write apiVersion: {API_VERSION}"
        raise InvalidManifest([problem(manifest, ("apiVersion",), f"must be {API_VERSION}", fix)])
    model = MODELS.get(manifest.kind)
    if model is None:
        message, fix = f"{manifest.kind} is no kind of {GROUP}", f"write {' or '.join(MODELS)}"
        raise InvalidManifest([problem(manifest, ("kind",), message, fix)])
    body = {name: value for name, value in manifest.body.items() if name in ("metadata", "spec")}
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    body["metadata"] = {"name": "", "namespace": NAMESPACE, "uid": "none"} | {
        name: value for name, value in (metadata or {}).items() if name in ("name", "namespace")
    }
    problems = [*repetitions(manifest), *words_of_metadata(manifest)]
    try:
        # Strict JSON: the API server turns no "8" into 8; and a field has one name, the one in the CRD.
        parsed = model.model_validate_json(json.dumps(body, default=str), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidManifest([*problems, *problems_of(manifest, error)]) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidManifest([*problems, problem(manifest, (), f"can't be written as JSON: {error}")]) from error
    if problems:
        raise InvalidManifest(problems)
    return Checked(manifest, parsed)


def repetitions(manifest: Manifest) -> Iterator[Problem]:
    """Yield each field that is there twice: kubectl refuses that, and nobody knows which one was meant."""
    for path, line, first in repeated_keys(manifest.node):
        found = problem(manifest, path, f"is there already, in line {first}", "remove one of them")
        yield replace(found, line=line)


def words_of_metadata(manifest: Manifest) -> Iterator[Problem]:
    """Yield labels and annotations that are no text: unquoted, 1.0 is a number and yes is true."""
    metadata = manifest.body.get("metadata")
    for field in ("labels", "annotations"):
        words = metadata.get(field) if isinstance(metadata, Mapping) else None
        for name, value in words.items() if isinstance(words, Mapping) else ():
            if value is not None and not isinstance(value, str):  # Go reads null as no text
                path, spelling = ("metadata", field, str(name)), manifest.spelling(("metadata", field, str(name)))
                fix = f'write it in quotes: {name}: "{spelling}"' if spelling else "write text"
                yield problem(manifest, path, "must be a string", fix)


def problems_of(manifest: Manifest, error: ValidationError) -> Iterator[Problem]:
    """Yield each error of the models with its place in the file and its fix."""
    for item in error.errors():
        path: Path = tuple(part for part in item["loc"] if part != "[key]")
        message, fix, field = fix_for(item, path, manifest.spelling(path))
        yield problem(manifest, field, message, fix)


def problem(manifest: Manifest, path: Path, message: str, fix: str = "", severity: Any = "error") -> Problem:
    """Return a problem at a field."""
    name = f"{manifest.kind}/{manifest.name}" if manifest.name else manifest.kind
    return Problem(manifest.file, manifest.line(path), name, dotted(path), message, fix, severity)


def dotted(path: Path) -> str:
    """Return a field's path as kubectl writes it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def same_names(checked: Iterable[Checked]) -> Iterator[Problem]:
    """Yield objects that overwrite one another, and adapters that are named like a base of their namespace."""
    seen: dict[tuple[str, str, str], Checked] = {}
    for item in checked:
        before = seen.setdefault(item.key, item)
        if before is not item:
            where = f"{before.manifest.file}:{before.manifest.line(('metadata', 'name'))}"
            message = f"{item.manifest.kind} {item.model.metadata.name} is there already, in {where}"
            yield problem(item.manifest, ("metadata", "name"), message, "give one of them another name")


def against_bases(checked: Sequence[Checked]) -> Iterator[Problem]:
    """Yield what the operator would say of an adapter beside its base, and its advice."""
    bases = {item.key[1:]: item.model for item in checked if isinstance(item.model, BaseModel)}
    for item in checked:
        adapter = item.model
        if not isinstance(adapter, LoraAdapter):
            continue
        base = bases.get((adapter.metadata.namespace, adapter.spec.base_model_ref.name))
        seen = AdapterSnapshot(adapter=adapter, base=base)
        for check in CHECKS:
            refusal = check(seen)
            if refusal is not None and refusal.stalled is not None:
                yield said(item.manifest, refusal.stalled.message, "error")
        for sentence in advice(adapter.spec):
            yield said(item.manifest, sentence, "warning")


def said(manifest: Manifest, sentence: str, severity: Literal["error", "warning"]) -> Problem:
    """Return a sentence of the operator's, ``field: what; the fix``, as a problem."""
    field, _, rest = sentence.partition(": ")
    message, _, fix = rest.partition("; ")
    return problem(manifest, tuple(field.split(".")), message, fix, severity)
