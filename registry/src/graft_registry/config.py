"""Where the registry is. Credentials are never part of it: boto3 finds the registry's in the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from graft_registry.documents.model import Document

ENVIRONMENT_VARIABLE = "GRAFT_REGISTRY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of an S3 store, for where they aren't boto3's own to find."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def _without_outer_slashes(prefix: str) -> str:
    return prefix.strip("/")


class RegistryConfig(Document):
    """One bucket of an S3 store, and a prefix in it."""

    endpoint: str | None = None
    """URL of the store; null is AWS."""
    bucket: Annotated[str, Field(min_length=1)]
    prefix: Annotated[str, AfterValidator(_without_outer_slashes)] = ""
    region: str = "us-east-1"
    force_path_style: bool = True
    """``http://host/bucket/key`` instead of ``http://bucket.host/key``; most stores beside AWS need it."""
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """What every write asks the store to encrypt with; null leaves it to the bucket."""
    kms_key_id: Annotated[str, Field(min_length=1)] | None = None
    """Key of the store's key management; null is the store's own."""

    @model_validator(mode="after")
    def _key_has_a_use(self) -> Self:
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ValueError("kmsKeyId needs serverSideEncryption aws:kms")
        return self

    @model_serializer(mode="wrap")
    def _without_unset_encryption(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What most leave unset is left out, so that nothing that holds this document changes with the release."""
        optional = {"serverSideEncryption", "kmsKeyId"}
        return {name: value for name, value in handler(self).items() if value is not None or name not in optional}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the JSON in ``GRAFT_REGISTRY``.

        Raises:
            ValueError: the variable is unset, isn't JSON, or a field is wrong; the message names it.
        """
        text = environ.get(ENVIRONMENT_VARIABLE)
        if not text:
            raise ValueError(f'{ENVIRONMENT_VARIABLE} is not set; give it JSON such as {{"bucket": "graft"}}')
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"{ENVIRONMENT_VARIABLE} is not valid: {error}") from error

    def for_uri(self, uri: str) -> tuple[Self, str]:
        """Split ``s3://bucket/key`` into the same store with that bucket and no prefix, and the key.

        Raises:
            ValueError: not an S3 URI.
        """
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError(f"not an S3 URI of the form s3://bucket/key: {uri!r}")
        return self.model_copy(update={"bucket": bucket, "prefix": ""}), key
