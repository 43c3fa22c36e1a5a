"""Documents about a base model: where it came from, what it is, and which files it has."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from graft_registry.digests import digest_of
from graft_registry.documents.model import Digest, Document, StoredFiles, entries_are, is_whole


class HuggingFaceSource(Document):
    """A repository on a Hugging Face hub; ``revision`` is a branch, tag or commit."""

    repo: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)] = "main"


class S3Source(Document):
    """All model files directly below an ``s3://bucket/prefix``."""

    uri: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")]


class PersistentVolumeClaimSource(Document):
    """A directory of a claim; the files stay there."""

    claim_name: Annotated[str, Field(min_length=1)]
    path: str = ""


class ImageSource(Document):
    """A directory of an OCI image, which is mounted; ``reference`` has a tag or a digest."""

    reference: Annotated[str, Field(min_length=1)]
    path: str = ""

    @property
    def digest(self) -> str | None:
        """The digest that the reference names; None where a tag does, which may move."""
        return self.reference.partition("@")[2] or None


class OneOf(Document):
    """A document of which exactly one field is set; the others are left out when it is written."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        fields = type(self).model_fields
        if sum(getattr(self, name) is not None for name in fields) != 1:
            names = ", ".join(str(field.alias) for field in fields.values())
            raise ValueError(f"exactly one of {names} must be set")
        return self

    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class BaseSource(OneOf):
    """The user's description of where a base comes from, without credentials."""

    hugging_face: HuggingFaceSource | None = None
    s3: S3Source | None = None
    persistent_volume_claim: PersistentVolumeClaimSource | None = None
    image: ImageSource | None = None

    def digest(self) -> str:
        """Return the digest that the resolution of this source is stored under."""
        return digest_of(self.to_dict())


class BaseLocation(OneOf):
    """Where the files of a base are: in the registry's blobs, or left in place in a claim."""

    registry: Literal[True] | None = None
    persistent_volume_claim: PersistentVolumeClaimSource | None = None


class Fingerprint(Document):
    """What an adapter depends on besides the weights: architecture, shapes, tokenizer, template.

    Fields are null where the model's ``config.json`` doesn't say. ``rope`` is spelled as transformers 5 does.
    """

    architecture: str
    hidden_size: int
    intermediate_size: int | None
    layers: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    max_positions: int | None
    rope: dict[str, Any] | None
    quantization: dict[str, Any] | None
    dtype: str
    tokenizer_digest: Digest
    chat_template_digest: Digest | None
    shapes_digest: Digest
    behaviour_digest: Digest | None = None
    """Of ``generation_config.json`` and of the fields of ``config.json`` that decide answers and have no place above.
    Null in bases of earlier releases, which it is no part of."""


def base_digest(weights_digest: str, fingerprint: Fingerprint) -> str:
    """Return the identity of a base: equal for equal content, whatever source it came from."""
    fields = fingerprint.to_dict()
    if fingerprint.behaviour_digest is None:
        del fields["behaviourDigest"]
    return digest_of({"weightsDigest": weights_digest, "fingerprint": fields})


def _are_two_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_whole, value))


class BaseManifest(Document):
    """Identity and files of one immutable base (``graft.dev/base/v1``)."""

    schema_id: Literal["graft.dev/base/v1"] = Field(default="graft.dev/base/v1", alias="schema")
    namespace: str
    name: str
    digest: Digest
    source: BaseSource
    revision: str
    weights_digest: Digest
    fingerprint: Fingerprint
    linear_modules: Annotated[dict[str, tuple[int, int]], entries_are("two numbers", _are_two_numbers)]
    """Module path → (out, in) features."""
    parameters: int
    location: BaseLocation
    files: StoredFiles
    created_time: str

    @model_validator(mode="after")
    def _digest_is_of_this_content(self) -> Self:
        computed = base_digest(self.weights_digest, self.fingerprint)
        if self.digest != computed:
            raise ValueError(f"digest is {self.digest}, but weightsDigest and fingerprint give {computed}")
        return self


class BaseSourceRecord(Document):
    """The base that a source was resolved to, once and for all (``graft.dev/base-source/v1``)."""

    schema_id: Literal["graft.dev/base-source/v1"] = Field(default="graft.dev/base-source/v1", alias="schema")
    source: BaseSource
    digest: Digest
    created_time: str
