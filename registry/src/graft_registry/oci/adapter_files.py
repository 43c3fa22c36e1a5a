"""Which files of an artifact are the adapter: the layers laid over one another, and the folder that holds one. Pure."""

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graft_registry.adapters.publishable import ADAPTER_CONFIG, ADAPTER_SHARD, ADAPTER_WEIGHTS
from graft_registry.errors import InvalidArtifact, Unsafe
from graft_registry.oci.archives import MOST_MEMBERS, Kind, Member
from graft_registry.oci.layers import is_pickle, plain_path

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MOST_LINKS: Final = 8


@dataclass(frozen=True, slots=True)
class Content:
    """A layer: one file as it is, or the members of an archive. ``number`` is its place among the layers."""

    number: int
    file: str | None = None
    members: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is: the whole layer, or the member at ``position``, of ``size`` bytes; or what a link leads to."""

    layer: int
    position: int | None = None
    link: str | None = None
    size: int = 0


Tree = dict[str, Place]


def laid_over(layers: Sequence[Content]) -> Tree:
    """Return all files by path. Later layers win over earlier ones, and their whiteouts delete.

    Raises:
        InvalidArtifact: there are too many.
        Unsafe: a path leads out of the artifact.
    """
    tree: Tree = {}
    for layer in layers:
        if layer.file is not None:
            tree[plain_path(layer.file)] = Place(layer.number)
            continue
        own: Tree = {}
        hidden: set[str] = set()
        for member in layer.members:
            path = plain_path(member.name)
            if posixpath.basename(path).startswith(_WHITEOUT):
                hidden.add(_hidden_by(path))
            elif path and member.kind is not Kind.OTHER:
                own[path] = _place(layer.number, path, member)
        tree = {path: place for path, place in tree.items() if not (hidden and _is_hidden(path, hidden))} | own
        if len(tree) > MOST_MEMBERS:
            raise InvalidArtifact(f"more than {MOST_MEMBERS} files; push the adapter's files alone")
    return tree


def _place(layer: int, path: str, member: Member) -> Place:
    if member.kind is Kind.FILE:
        return Place(layer, member.position, size=member.size)
    start = posixpath.dirname(path) if member.kind is Kind.LINK and not member.target.startswith("/") else ""
    # The target is only looked up among the artifact's own paths: what leads out of it is not there.
    return Place(layer, link=posixpath.normpath(posixpath.join(start, member.target.lstrip("/"))))


def _hidden_by(whiteout: str) -> str:
    """Return the path that is gone; a folder of which only what is in it is gone ends in ``/``."""
    folder, name = posixpath.split(whiteout)
    return f"{folder}/" if name == _OPAQUE else posixpath.join(folder, name.removeprefix(_WHITEOUT))


def _is_hidden(path: str, hidden: Collection[str]) -> bool:
    if path in hidden:
        return True
    folder = posixpath.dirname(path)
    while folder and folder not in hidden and f"{folder}/" not in hidden:
        folder = posixpath.dirname(folder)
    return bool(folder) or "/" in hidden


def chosen(tree: Tree, left_out: Sequence[str], *, where: str) -> Mapping[str, Place]:
    """Return the adapter's configuration and weights by name, of the topmost folder that holds both.

    Weights may be in one file or in several, of which all that are there are returned.

    Args:
        tree: all files.
        left_out: names of layers that were not brought, for messages.
        where: the artifact, for messages.

    Raises:
        InvalidArtifact: no folder holds an adapter, or several do.
    """
    folders = [posixpath.dirname(path) for path in tree if posixpath.basename(path) == ADAPTER_CONFIG]
    weights = _weights_by_folder(tree)
    whole = [folder for folder in folders if folder in weights]
    if not whole:
        raise InvalidArtifact(f"{where} {_what_is_missing(folders, sorted({*tree, *left_out}))}")
    depth = min(map(_depth, whole))
    topmost = [folder for folder in whole if _depth(folder) == depth]
    # Parts beside an adapter in one file may be what is left of something else.
    topmost = [folder for folder in topmost if weights[folder] == [ADAPTER_WEIGHTS]] or topmost
    if len(topmost) > 1:
        listed = ", ".join(sorted(topmost)[:5])
        raise InvalidArtifact(f"{where} holds several adapters ({listed}); push each as an artifact of its own")
    return _files_of(tree, topmost[0], weights[topmost[0]], where)


def _weights_by_folder(tree: Tree) -> dict[str, list[str]]:
    """Return the names of the weights in each folder that has some: the one file, or else those of all parts."""
    found: dict[str, list[str]] = {}
    for path in sorted(tree):
        folder, name = posixpath.split(path)
        if name == ADAPTER_WEIGHTS or ADAPTER_SHARD.fullmatch(name):
            found.setdefault(folder, []).append(name)
    return {folder: [ADAPTER_WEIGHTS] if ADAPTER_WEIGHTS in names else names for folder, names in found.items()}


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)


def _files_of(tree: Tree, folder: str, weights: Sequence[str], where: str) -> Mapping[str, Place]:
    found: dict[str, Place] = {}
    for name in (ADAPTER_CONFIG, *weights):
        path = posixpath.join(folder, name)
        place = _followed(tree, path)
        if place is None:
            raise Unsafe(path, f"a link to {tree[path].link}, which {where} does not hold")
        found[name] = place
    return found


def _followed(tree: Tree, path: str) -> Place | None:
    """Return where a path's content is, links followed within the artifact; None for one that leads nowhere."""
    for _ in range(_MOST_LINKS):
        place = tree.get(path)
        if place is None or place.link is None:
            return place
        path = place.link
    return None


def _what_is_missing(folders: Sequence[str], names: Sequence[str]) -> str:
    pickle = next((name for name in names if is_pickle(name)), None)
    gguf = next((name for name in names if name.lower().endswith(".gguf")), None)
    need = f"an adapter is {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, as PEFT saves it"
    if pickle is not None:
        return f"has only pickled weights ({pickle}), which are never loaded; convert them to safetensors: {need}"
    if gguf is not None:
        return f"holds GGUF ({gguf}), which is another format; {need}"
    if folders:
        return f"has {ADAPTER_CONFIG} without {ADAPTER_WEIGHTS} beside it; {need}"
    if not names:
        return f"names none of its files, so nobody can tell them apart; {need}"
    return f"holds no adapter but {', '.join(names[:8])}; {need}"
