"""What botocore's exceptions mean. Pure."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from graft_registry.errors import Forbidden, NoSuchBucket, NotFound, RegistryError, Unavailable

_PRECONDITION_FAILED = 412
_CONFLICT = 409
_THROTTLED = 429
_SERVER_ERRORS = 500
_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def registry_error(error: ClientError | BotoCoreError, key: str) -> RegistryError:
    """Translate a failed request about ``key`` into the error that callers can act on."""
    message = f"{key}: {error}"
    if isinstance(error, _CREDENTIALS):
        return Forbidden(f"{message}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or use workload identity")
    if isinstance(error, BotoCoreError):
        return Unavailable(message)
    status = _status(error)
    if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
        return NoSuchBucket(f"{message}; create the bucket or correct its name")
    if status in (401, 403):
        return Forbidden(message)
    if status == 404:
        return NotFound(message)
    if status in (_CONFLICT, _THROTTLED) or status >= _SERVER_ERRORS:
        return Unavailable(message)
    return RegistryError(message)


def outcome_is_unknown(error: ClientError | BotoCoreError) -> bool:
    """Return whether a conditional write that failed so may have taken effect, or lost to one that has.

    412 counts too: botocore repeats a request whose answer got lost, and then meets its own first write.
    """
    if isinstance(error, BotoCoreError):
        return not isinstance(error, _CREDENTIALS)
    status = _status(error)
    return status in (_PRECONDITION_FAILED, _CONFLICT, _THROTTLED) or status >= _SERVER_ERRORS
