"""What botocore's exceptions mean. Pure."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from graft_registry.errors import Archived, Forbidden, NoSuchBucket, NotFound, RegistryError, Unavailable
from graft_registry.s3.advice import NOT_A_STORE, advice_for, code_of, connection_advice, is_no_stores_answer

FAILURES: Final = (ClientError, BotoCoreError, ResponseParserError)
"""What a request may raise: the store's refusal, no answer, or an answer that can't be read."""
Failure: TypeAlias = ClientError | BotoCoreError | ResponseParserError
"""One of these."""

_NOT_MODIFIED = 304
_PRECONDITION_FAILED = 412
_CONFLICT = 409
_THROTTLED = 429
_PASSING = (408, _CONFLICT, 425, _THROTTLED)
_SERVER_ERRORS = 500
_NOT_IMPLEMENTED = 501
_BAD_REQUEST = 400
_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError)
_OLD_TOKENS = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_TRY_AGAIN = ("InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout")
_READS = ("GetObject", "HeadObject")


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer, 0 where it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def registry_error(error: Failure, key: str) -> RegistryError:
    """Translate a failed request about ``key`` into the error that callers can act on."""
    message = f"{key}: {error}"
    if isinstance(error, _CREDENTIALS):
        return Forbidden(f"{message}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or use workload identity")
    if isinstance(error, ResponseParserError):
        return Unavailable(f"{message[:500]}; {NOT_A_STORE}")
    if isinstance(error, ParamValidationError):
        return RegistryError(f"{message}; correct the name of the bucket or object")
    if isinstance(error, BotoCoreError):
        return Unavailable(_with(message, connection_advice(error)))
    status, code, advice = status_of(error), code_of(error), advice_for(error)
    if code == "NoSuchBucket":
        return NoSuchBucket(f"{message}; create the bucket or correct its name")
    if code == "InvalidObjectState":
        return Archived(_with(message, advice))
    if status in (401, 403) or code in _OLD_TOKENS:
        return Forbidden(f"{message}; {advice or _advice(error)}")
    if status == 404:
        return _not_found(error, message)
    if status >= _SERVER_ERRORS and is_no_stores_answer(error):
        return Unavailable(_with(message, NOT_A_STORE))
    if status in _PASSING or status >= _SERVER_ERRORS or code in _TRY_AGAIN:
        return Unavailable(_with(message, advice))
    return RegistryError(_with(message, advice or (NOT_A_STORE if is_no_stores_answer(error) else None)))


def _with(message: str, advice: str | None) -> str:
    return f"{message}; {advice}" if advice else message


def _not_found(error: ClientError, message: str) -> RegistryError:
    """A 404 that does not say of what is not that of an S3 store, but of something in its place, such as an ingress.

    Answers to HEAD have no room to say it.
    """
    if error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-delete-marker") == "true":
        return NotFound(
            f"{message}; it was deleted in a bucket that keeps versions: to have it back, delete its delete marker "
            "(s3api list-object-versions names it)"
        )
    if error.operation_name == "HeadObject" or code_of(error).startswith("NoSuch"):
        return NotFound(message)
    return Unavailable(f"{message}; {NOT_A_STORE}")


def _advice(error: ClientError) -> str:
    """Return what may be missing where a request is refused: the answer itself does not tell."""
    if is_no_stores_answer(error):
        return NOT_A_STORE
    if error.operation_name in _READS:
        return (
            "the key lacks s3:GetObject; or the object is not there, and the key lacks s3:ListBucket, without which "
            "stores refuse instead of saying so; or whoever asks has to pay, which Graft does not: copy it into a "
            "bucket of your own (docs/object-store.md)"
        )
    if error.operation_name.startswith("List"):
        return "the key lacks s3:ListBucket on the bucket (docs/object-store.md)"
    if error.operation_name.startswith("Delete"):
        return "the key lacks s3:DeleteObject, or the object is locked (docs/object-store.md)"
    return (
        "the key lacks s3:PutObject, or the bucket insists on encryption: see registry.serverSideEncryption "
        "(docs/object-store.md)"
    )


def refused_deletion(entry: Mapping[str, str]) -> RegistryError:
    """Translate what a store says of one of the keys that were to be deleted together."""
    code, message = (
        entry.get("Code", ""),
        f"{entry.get('Key')}: not deleted: {entry.get('Message') or entry.get('Code')}",
    )
    if code == "AccessDenied":
        return Forbidden(f"{message}; the key lacks s3:DeleteObject, or the object is locked (docs/object-store.md)")
    return Unavailable(message) if code in _TRY_AGAIN else RegistryError(message)


def outcome_is_unknown(error: Failure) -> bool:
    """Return whether a conditional write that failed so may have taken effect, or lost to one that has.

    412 counts too: botocore repeats a request whose answer got lost, and then meets its own first write. 304 is the
    same in other words, where a store takes the condition for that of a GET.
    """
    if not isinstance(error, ClientError):
        return not isinstance(error, _CREDENTIALS)
    status = status_of(error)
    if status == _NOT_IMPLEMENTED:
        return False
    return status in (_NOT_MODIFIED, _PRECONDITION_FAILED, _CONFLICT, _THROTTLED) or status >= _SERVER_ERRORS


def condition_is_refused(error: Failure) -> bool:
    """Return whether a store that fails a conditional write so may not know the condition."""
    return isinstance(error, ClientError) and (
        status_of(error) in (_NOT_IMPLEMENTED, _BAD_REQUEST) and code_of(error) not in _OLD_TOKENS
    )


def condition_was_taken_for_a_get(error: Failure) -> bool:
    """Return whether the answer to a write was that nothing has been modified."""
    return isinstance(error, ClientError) and status_of(error) == _NOT_MODIFIED
