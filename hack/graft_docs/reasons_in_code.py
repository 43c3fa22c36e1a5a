"""Which reasons the code can give, found in its source: the page of reasons is held to this set.

Nothing is run. A reason is a word in CamelCase that stands where the code states a reason: an argument of a function
that makes a fact, a verdict or an event, something named ``reason``, the first of a pair that a function returns, a
member of an enumeration of reasons, or a value of a table of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

WORD: Final = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)*")

CALLS: Final[Mapping[str, int]] = {
    "yes": 0,
    "no": 0,
    "unknown": 0,
    "refused": 0,
    "stalled": 0,
    "Unknown": 0,
    "RefusedError": 0,
    "RetryableError": 0,
    "Refusal": 0,
    "Finding": 0,
    "Fact": 1,
    "GateDecision": 1,
    "EmitEvent": 1,
    "failures_with": 2,
    "_settle": 2,
}
"""Which argument of which function is a reason."""

ENUMERATIONS: Final = frozenset({"Reason", "RefusalReason", "SourceProblem"})
TABLES: Final = re.compile(
    r"_?(REASONS\w*|REFUSALS|RETRYABLE|FINAL|PASSING|USER_ERRORS|MEASURED|LOSS_REASONS"
    r"|TROUBLES|PAUSES|CONTINUED|USUAL|ON_DEMAND)"
)
"""Tables of reasons: values of mappings, and members of sets."""

SOURCES: Final = (
    "operator/src/graft_operator/plan",
    "operator/src/graft_operator/reconcilers",
    "operator/src/graft_operator/artifacts",
    "operator/src/graft_operator/manifests/jobs/exit_codes.py",
    "registry/src/graft_registry/outcome.py",
    "registry/src/graft_registry/sources",
    "registry/src/graft_registry/adapters/compatibility.py",
    "serving_image/src/graft_serving",
    "trainer_image/src/graft_trainer/outcome.py",
)
REGISTRY_ERRORS: Final = "registry/src/graft_registry/errors.py"

NOT_REASONS: Final = frozenset({"Normal", "Warning", "Usage"})
"""Words in such places that are something else: types of events."""


def reasons_in(root: Path) -> dict[str, set[str]]:
    """Return every reason that the code below ``root`` can give, with the files that give it."""
    files = [file for source in SOURCES for file in _files(root / source)]
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    constants = {name: value for tree in trees.values() for name, value in _constants(tree)}
    found: dict[str, set[str]] = {}
    for file, tree in trees.items():
        for expression in _places(tree):
            for reason in _words(expression, constants):
                found.setdefault(reason, set()).add(str(file.relative_to(root)))
    for name in _registry_errors(root / REGISTRY_ERRORS):
        found.setdefault(f"Registry{name.removeprefix('Registry')}", set()).add(REGISTRY_ERRORS)
    return {reason: found[reason] for reason in sorted(found.keys() - NOT_REASONS)}


def _files(path: Path) -> Iterable[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module's constants that are one word."""
    for node in tree.body:
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield target.id, value.value


def _places(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield every expression that states a reason."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _of_assignment(node)
        elif isinstance(node, ast.ClassDef) and node.name in ENUMERATIONS:
            yield from (item.value for item in node.body if isinstance(item, ast.Assign))
        elif isinstance(node, ast.FunctionDef) and _returns_a_pair(node):
            yield from _first_of_returned(node)


def _of_call(node: ast.Call) -> Iterator[ast.expr]:
    yield from (item.value for item in node.keywords if item.arg == "reason")
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    position = CALLS.get(name)
    if position is not None and len(node.args) > position:
        yield node.args[position]


def _of_assignment(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.expr]:
    """Yield what is assigned to something named ``reason``, alone or first of several, or to a table of reasons."""
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    value = node.value
    if value is None:
        return
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=False)
        yield from (item for name, item in pairs if isinstance(name, ast.Name) and name.id == "reason")
    elif isinstance(target, ast.Name) and target.id == "reason":
        yield value
    elif isinstance(target, ast.Name) and TABLES.fullmatch(target.id):
        yield from _values_of_table(value)


def _values_of_table(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the values of a table, and of tables that are spread within it."""
    for item in ast.walk(node):
        if isinstance(item, ast.Dict):
            yield from item.values
        elif isinstance(item, ast.Set):
            yield from item.elts
        elif isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr == "fromkeys":
            yield item.args[1]
        elif isinstance(item, ast.Tuple) and item.elts and not isinstance(item.elts[0], ast.Constant):
            yield item.elts[-1]  # (class of an error, reason)


def _returns_a_pair(node: ast.FunctionDef) -> bool:
    return node.returns is not None and "tuple[str, str]" in ast.unparse(node.returns)


def _first_of_returned(node: ast.FunctionDef) -> Iterator[ast.expr]:
    for item in ast.walk(node):
        if isinstance(item, ast.Return) and isinstance(item.value, ast.Tuple):
            yield item.value.elts[0]


def _words(node: ast.expr, constants: Mapping[str, str]) -> Iterator[str]:
    """Yield the words that an expression may come to: constants, and the sides of ``or`` and ``if … else``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
        yield node.value
    elif isinstance(node, ast.Name) and WORD.fullmatch(constants.get(node.id, "")):
        yield constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body, constants)
        yield from _words(node.orelse, constants)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _words(value, constants)


def _registry_errors(file: Path) -> Iterator[str]:
    """Yield the classes of the registry's errors, which become reasons by their names."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield from (node.name for node in tree.body if isinstance(node, ast.ClassDef))
