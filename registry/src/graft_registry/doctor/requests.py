"""Requests that may fail: what came of each is what the doctor wants to know."""

import copy
import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from graft_registry.config import RegistryConfig
from graft_registry.errors import RegistryError
from graft_registry.s3.advice import (
    advice_for,
    code_of,
    connection_advice,
    is_no_stores_answer,
    refuses_checksums,
)
from graft_registry.s3.s3_client import checksum, encryption, sends_checksums
from graft_registry.s3.s3_errors import FAILURES, Failure, registry_error, status_of


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one request: an answer, or a failure."""

    answer: Mapping[str, Any] = field(default_factory=dict)
    error: Failure | None = None

    @property
    def worked(self) -> bool:
        """Whether the store did it."""
        return self.error is None

    @property
    def status(self) -> int:
        """The HTTP status; 0 where there was no answer."""
        if isinstance(self.error, ClientError):
            return status_of(self.error)
        return 0 if self.error else int(self.answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 200))

    @property
    def code(self) -> str:
        """The error code; the empty string where there is none."""
        return code_of(self.error) if isinstance(self.error, ClientError) else ""

    @property
    def is_forbidden(self) -> bool:
        """Whether the key may not."""
        return self.status in (401, 403)

    @property
    def is_not_known(self) -> bool:
        """Whether the store does not know such a request."""
        return self.status in (400, 405, 501) or self.code == "NotImplemented"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        response = self.error.response if isinstance(self.error, ClientError) else self.answer
        return dict(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))

    @property
    def advice(self) -> str:
        """What mends it, where that is known."""
        if isinstance(self.error, ClientError):
            return advice_for(self.error) or ""
        return (connection_advice(self.error) if isinstance(self.error, BotoCoreError) else None) or ""

    @property
    def is_about_checksums(self) -> bool:
        """Whether an upload was refused for how it carries its checksum."""
        return isinstance(self.error, ClientError) and refuses_checksums(self.error)

    @property
    def is_foreign(self) -> bool:
        """Whether something else than a store has answered."""
        return isinstance(self.error, ResponseParserError) or (
            isinstance(self.error, ClientError) and is_no_stores_answer(self.error)
        )

    def says(self) -> str:
        """Return what was answered, in a few words."""
        if self.error is not None and not isinstance(self.error, ClientError):
            return type(self.error).__name__
        return f"{self.status} {self.code}".strip()

    def trouble(self, key: str) -> RegistryError:
        """Return the error that the registry makes of this failure."""
        if self.error is None:
            raise ValueError("it worked")
        return registry_error(self.error, key)


class Scratch:
    """The scratch prefix of one examination, and requests about it."""

    def __init__(self, client: Any, config: RegistryConfig, go_on: Callable[[], None]) -> None:
        self.client = client
        self.config = config
        self.prefix = f"{config.prefix}/.probe/{uuid.uuid4().hex}/" if config.prefix else f".probe/{uuid.uuid4().hex}/"
        self.written_with = encryption(config)
        self.sends_checksums = sends_checksums(client)
        self._go_on = go_on

    def with_client(self, client: Any) -> "Scratch":
        """Return the same prefix, asked for by another client."""
        view = copy.copy(self)
        view.client = client
        return view

    def at(self, name: str) -> dict[str, str]:
        """Name an object below the prefix."""
        return {"Bucket": self.config.bucket, "Key": self.prefix + name}

    def upload(self, name: str, data: bytes, /, **arguments: Any) -> Attempt:
        """Write an object as the registry does: with its checksum in a header, and encrypted as is set."""
        checks = {"ChecksumSHA256": checksum(hashlib.sha256(data).hexdigest())} if self.sends_checksums else {}
        return self.attempt("put_object", **{**self.at(name), "Body": data, **checks, **self.written_with, **arguments})

    def attempt(self, operation: str, /, **arguments: Any) -> Attempt:
        """Make one request, and return what came of it. Raises only where nobody waits for it any more."""
        self._go_on()
        try:
            return Attempt(getattr(self.client, operation)(**arguments))
        except FAILURES as error:
            return Attempt(error=error)

    def of_bucket(self, operation: str, **arguments: Any) -> Attempt:
        """Make a request about the bucket."""
        return self.attempt(operation, Bucket=self.config.bucket, **arguments)
