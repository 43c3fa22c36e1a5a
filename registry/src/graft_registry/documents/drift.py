"""The document on how far two revisions of one base are apart."""

from typing import Literal

from pydantic import Field, FiniteFloat

from graft_registry.documents.model import Digest, Document

DriftVerdict = Literal["Equal", "TokenizerOnly", "Near", "Different"]
"""Equal: one and the same base. TokenizerOnly: same weights, other tokenizer or chat template. Near: same shapes,
weights that have moved a little. Different: everything else, and whatever could not be compared."""


class BaseDrift(Document):
    """How far a base is from the one before (``graft.dev/base-drift/v1``).

    ``relative_change`` is the mean over the layers' linear weights of ``‖new - old‖ / ‖old‖`` (Frobenius); null where
    the shapes differ.
    """

    schema_id: Literal["graft.dev/base-drift/v1"] = Field(default="graft.dev/base-drift/v1", alias="schema")
    previous: Digest
    digest: Digest
    verdict: DriftVerdict
    relative_change: FiniteFloat | None = None
    created_time: str
