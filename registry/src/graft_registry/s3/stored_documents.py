"""Reads documents. None is trusted to be small, whole or of its kind: whoever may write below its prefix wrote it."""

import itertools
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import ValidationError

from graft_registry.digests import sha256_digest
from graft_registry.documents import Document
from graft_registry.documents.model import complaint
from graft_registry.errors import Corrupt
from graft_registry.s3.store import DOCUMENT_BYTES, ObjectStore

MANIFEST_BYTES: Final = 4 << 20
"""The most that a manifest may have. That of a base with 50,000 modules has 3 MiB, those of versions are smaller."""

D = TypeVar("D", bound=Document)

_MOST_KEYS: Final = 10_000
"""Keys below the versions, or the verdicts, of one adapter. Whoever has more has not got them from trainings."""

_parsing = threading.Lock()
"""One document is parsed at a time: it may take twenty times its size, and Python computes one by one anyway."""


def read_document(store: ObjectStore, key: str, kind: type[D], *, most: int = DOCUMENT_BYTES) -> tuple[D, str]:
    """Return a document and the digest of its bytes.

    Raises:
        NotFound: there is no such object.
        Corrupt: it has more than ``most`` bytes, or is not a document of this kind.
    """
    data = store.get(key, most=most)
    try:
        return _parsed(data, kind), sha256_digest(data)
    except ValidationError as error:
        again = store.get(key, most=most)
        if again == data:
            raise damaged(key, kind, error) from error
    # The first answer was cut short or mixed up on its way.
    try:
        return _parsed(again, kind), sha256_digest(again)
    except ValidationError as error:
        raise damaged(key, kind, error) from error


def numbered(store: ObjectStore, prefix: str, number_of: Callable[[str], int | None]) -> tuple[int, ...]:
    """Return the numbers of the keys below a prefix, ascending.

    Raises:
        Corrupt: there are more keys than trainings make.
    """
    entries = list(itertools.islice(store.list(prefix), _MOST_KEYS + 1))
    if len(entries) > _MOST_KEYS:
        raise Corrupt(prefix, f"at most {_MOST_KEYS} objects", "more; delete what is not of Graft")
    return tuple(sorted(number for entry in entries if (number := number_of(entry.key)) is not None))


def _parsed(data: bytes, kind: type[D]) -> D:
    with _parsing:
        return kind.from_bytes(data)


def damaged(key: str, kind: type[Document], error: ValidationError) -> Corrupt:
    """Return the error for a document that can't be parsed. Pure."""
    schema = kind.model_fields["schema_id"].default
    return Corrupt(key, f"a {schema} document", complaint(error))
