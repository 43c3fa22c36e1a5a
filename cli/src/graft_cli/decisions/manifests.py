"""YAML files as kubectl reads them, with the line and the spelling of every value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from graft_cli.decisions.yaml_dialect.scalars import KubectlLoader
from graft_cli.decisions.yaml_dialect.trees import Path, json_as_yaml, refuse_excessive_aliases
from graft_cli.errors import GraftError

KUSTOMIZE: Final = "kustomize.config.k8s.io/"
PATCHES: Final = ("patches", "patchesStrategicMerge", "patchesJson6902")

TEMPLATE: Final = "{{"
"""Of Helm, and of others that make manifests."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file."""

    file: str
    body: Mapping[str, Any]
    node: yaml.Node

    @property
    def kind(self) -> str:
        """The kind, or nothing."""
        return str(self.body.get("kind") or "")

    @property
    def name(self) -> str:
        """The object's name, or nothing."""
        metadata = self.body.get("metadata")
        return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""

    def line(self, path: Path) -> int:
        """Return the line of a field, or of the last of its parents that is there."""
        return int(self._at(path).start_mark.line) + 1

    def spelling(self, path: Path) -> str:
        """Return a scalar as it is written in the file."""
        node = self._at(path)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def _at(self, path: Path) -> yaml.Node:
        node = self.node
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            node = child
        return node


def read_manifests(file: str, text: str) -> list[Manifest]:
    """Return the objects of a file, those of a List one by one. Raises GraftError where it is no YAML of objects."""
    try:
        nodes = [node for node in yaml.compose_all(json_as_yaml(text), KubectlLoader) if node is not None]
        for node in nodes:
            refuse_excessive_aliases(node)
        return [manifest for node in nodes for manifest in _objects(file, node)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark is not None else file
        problem = getattr(error, "problem", None) or error
        fix = "`kubectl apply` would refuse it, too"
        if TEMPLATE in text:
            fix = "a template is checked once it is rendered: `helm template . | kubectl graft lint -`"
        raise GraftError(f"{where}: this is no YAML: {problem}", fix=fix) from error


def patch_files(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Return the files that Kustomizations among the manifests name as patches: parts of objects, and no objects."""
    found: set[str] = set()
    for manifest in manifests:
        if not str(manifest.body.get("apiVersion") or "").startswith(KUSTOMIZE):
            continue
        for field in PATCHES:
            items = manifest.body.get(field)
            for item in items if isinstance(items, list) else ():
                path = item.get("path") if isinstance(item, Mapping) else item
                if isinstance(path, str) and "\n" not in path:  # a text of lines is the patch itself
                    found.add(normpath(FilePath(manifest.file).parent / path))
    return frozenset(found)


def _objects(file: str, node: yaml.Node) -> Iterator[Manifest]:
    body = _constructed(node)
    if body is None:
        return
    if not isinstance(body, Mapping):
        line = node.start_mark.line + 1
        raise GraftError(f"{file}:{line}: this is no object", fix="each document is a mapping with kind and metadata")
    items = _child(node, "items") if str(body.get("kind", "")).endswith("List") else None
    if isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _objects(file, item)
    else:
        yield Manifest(file, body, node)


def _constructed(node: yaml.Node) -> Any:
    loader = KubectlLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value
        return next((value for key, value in pairs if str(key.value) == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    return None
