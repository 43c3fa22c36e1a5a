"""What is said where a Hugging Face hub refuses, or answers what no hub does. Pure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from huggingface_hub import errors
from pydantic import ValidationError

from graft_registry.documents.model import complaint
from graft_registry.sources.source_files import SourceError, SourceProblem

_OWN_CA: Final = (
    "; the hub's certificate is signed by a CA that is not known here: mount the CA's certificate and name its file in "
    "SSL_CERT_FILE (docs/object-store.md)"
)
_WITHOUT_HEADERS: Final = (
    "; a hub gives each file the headers ETag, X-Repo-Commit and Content-Length, without which none is downloaded: "
    "have the mirror pass them on, or name another hub in HF_ENDPOINT or endpoint"
)
_PASSING_STATUSES: Final = frozenset({408, 409, 425, 429})
_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the hub's client stumbles over in answers that are of another form: it checks none of them."""
_QUERY: Final = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\")]+")
_PLACES: Final = re.compile(r"/(api|resolve|raw)/")
"""In the paths of a hub; others are those of stores, to which it sends for large files."""


class MoreThanToldError(Exception):
    """A file goes on beyond the size that was told of it."""


@contextmanager
def explained(where: str, field: str) -> Iterator[None]:
    """Turn what the hub's client raises into a SourceError.

    Args:
        where: what is asked for, for messages.
        field: of the spec, that names it.
    """
    try:
        yield
    except errors.GatedRepoError as error:
        raise _problem(SourceProblem.FORBIDDEN, where, error, f"{field}.repo") from error
    except errors.RevisionNotFoundError as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, f"{field}.revision") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise _problem(SourceProblem.NOT_FOUND, where, error, f"{field}.repo") from error
    except MoreThanToldError as error:
        raise _problem(SourceProblem.INVALID, where, error, f"{field}.repo") from error
    # The hub's client re-exports its transport's base error, whatever that transport is.
    except (errors.HTTPError, OSError) as error:
        raise _refusal(where, error, field) from error
    except _UNREADABLE as error:
        said = complaint(error) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        message = f"{where}: the answer is not that of a hub ({said[:300]}); look at HF_ENDPOINT, or endpoint, and at "
        raise SourceError(SourceProblem.INVALID, f"{message}HTTPS_PROXY where there is a proxy", field) from error


def _refusal(where: str, error: Exception, field: str) -> SourceError:
    """Return what a request means that got a refusal, or no answer."""
    cause = error.__cause__
    # What went wrong is a cause, where the client has also looked for a copy of its own.
    told = cause if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(cause, Exception) else error
    if isinstance(told, errors.FileMetadataError):
        return SourceError(SourceProblem.INVALID, f"{where}: {_plain(told)}{_WITHOUT_HEADERS}", field)
    response: Any = getattr(told, "response", None)
    status = getattr(response, "status_code", None)
    if status in (401, 403) and not _PLACES.search(urlsplit(str(response.url)).path):
        host = urlsplit(str(response.url)).hostname
        message = (
            f"{where}: {host}, to which the hub sends for a file, refuses with HTTP {status}; the token is not asked "
            "for there: look at the clock, at HTTPS_PROXY and NO_PROXY, and at who may be reached from here"
        )
        return SourceError(SourceProblem.UNAVAILABLE, message, f"{field}.repo")
    return _problem(_problem_of(status), where, told, f"{field}.repo")


def _problem_of(status: int | None) -> SourceProblem:
    if status in (401, 403):
        return SourceProblem.FORBIDDEN
    if status in (404, 410):
        return SourceProblem.NOT_FOUND
    if status is None or status >= 500 or status in _PASSING_STATUSES:
        return SourceProblem.UNAVAILABLE
    return SourceProblem.INVALID


def _problem(reason: SourceProblem, where: str, error: Exception, field: str) -> SourceError:
    advice = _OWN_CA if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
    return SourceError(reason, f"{where}: {_plain(error)}{advice}", field)


def _plain(error: Exception) -> str:
    """Return an error's words without the queries of addresses: signatures are in them, and this goes into a status."""
    return _QUERY.sub(r"\1", str(error))
