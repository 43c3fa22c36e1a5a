"""Which files of a dataset's repository are the rows of a split. Pure.

The rules are those by which the hub's own library finds splits where the repository declares none (Hugging Face,
"Structure your repository"): a word in a file's or folder's name. What that leaves open is refused, never guessed.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from graft_registry.sources.source_files import SourceError, SourceProblem

ROW_FILES: Final = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".jsonl.gz", ".json.gz", ".csv.gz")
_DESCRIPTIONS: Final = frozenset({"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"})

SPLIT_WORDS: Final = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words that stand for a split; any other split is only known by its own name."""


def files_of_split(names: Sequence[str], split: str, *, where: str, field: str) -> list[str]:
    """Return the files of a split in order, such as ``data/train-00000-of-00002.parquet`` and its sibling.

    Args:
        names: paths of all files of the repository.
        split: its name, or ``folder/name`` where several folders have one of that name.
        where: the repository, for messages.
        field: of the spec, that names the split.

    Raises:
        SourceError: no file has rows of that split, or it isn't clear which ones do.
    """
    folder, _, word = split.rpartition("/")
    rows = sorted(name for name in names if _has_rows(name) and (not folder or name.startswith(f"{folder}/")))
    found = [name for name in rows if _is_of(name.removeprefix(folder), word)]
    if not found and word == "train" and not any(_is_of(name, other) for name in rows for other in SPLIT_WORDS):
        found = rows
    if not found:
        known = f"; it has {', '.join(rows[:5])}" if rows else "; it has no files of rows that Graft can read"
        raise SourceError(SourceProblem.NOT_FOUND, f"{where} has no split {split}{known}", field)
    _check_one_kind(found, folder, word, where, field)
    return found


def _has_rows(name: str) -> bool:
    path = PurePosixPath(name)
    return name.lower().endswith(ROW_FILES) and path.name not in _DESCRIPTIONS and ".." not in path.parts


def _is_of(name: str, split: str) -> bool:
    words = SPLIT_WORDS.get(split, (re.escape(split),))
    return re.search(rf"(?<![A-Za-z])({'|'.join(words)})(?![A-Za-z])", name, re.IGNORECASE) is not None


def _check_one_kind(found: Sequence[str], folder: str, word: str, where: str, field: str) -> None:
    depth = len(PurePosixPath(folder).parts)
    paths = [PurePosixPath(name) for name in found]
    folders = sorted({path.parts[depth] for path in paths if len(path.parts) > depth + 1})
    extensions = sorted({"".join(path.suffixes[-2:]) for path in paths})
    if len(folders) > 1:
        choices = " or ".join("/".join(filter(None, (folder, name, word))) for name in folders[:3])
        raise SourceError(
            SourceProblem.INVALID, f"{where} has split {word} in several folders; ask for {choices}", field
        )
    if len(extensions) > 1:
        message = f"{where} has split {word} as {' and '.join(extensions)}, perhaps twice; name one file instead"
        raise SourceError(SourceProblem.INVALID, message, field)
