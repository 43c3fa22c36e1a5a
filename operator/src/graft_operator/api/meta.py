"""What all our API objects have in common: names, metadata, references, and the base of every model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic import BaseModel as PydanticModel
from pydantic.alias_generators import to_camel

GROUP = "graft.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of a Kubernetes object that the spec refers to: always in the same namespace."""

DecimalString = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$", max_length=32)]
"""A non-negative decimal number as a string: floats do not survive a round trip through JSON clients."""


def decimal_that(holds: Callable[[float], bool], requirement: str) -> AfterValidator:
    """Return a validator of a DecimalString's value; ``requirement`` reads "must …"."""

    def check(text: str) -> str:
        if not holds(float(text)):
            raise ValueError(requirement)
        return text

    return AfterValidator(check)


Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class ApiModel(PydanticModel):
    """Frozen, camelCase on the wire, and closed: an unknown field is an error that names it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,  # the docstrings below the fields become the CRD's descriptions
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, without the fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(ApiModel):
    """Like ApiModel but open: a status written by a newer operator must still be readable after a downgrade.

    Parts are checked again when they are put together: a changed copy of one, which nobody has checked, may be too long
    for the API server.
    """

    model_config = ConfigDict(extra="ignore", revalidate_instances="always")


class LocalObjectReference(ApiModel):
    """A reference to an object in the same namespace. There is no namespace field, on purpose."""

    name: ObjectName
    """Name of the object."""


class SecretKeyReference(ApiModel):
    """A key of a Secret in the same namespace. Pods mount it; the operator itself never reads it."""

    name: ObjectName
    """Secret in the same namespace."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key of the Secret."""


class ObjectMeta(StatusModel):
    """The part of Kubernetes' object metadata that decisions depend on."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @property
    def is_deleting(self) -> bool:
        """Whether deletion was asked for."""
        return self.deletion_timestamp is not None
