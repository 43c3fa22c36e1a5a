"""Documents about a training run: the index from recipe to version, its progress, its checkpoints, its rows."""

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from graft_registry.documents.model import Digest, Document, StoredFiles

ProgressState = Literal["Loading", "Training", "Evaluating", "Publishing", "Published"]


class RecipePointer(Document):
    """Where the version of a recipe is (``graft.dev/recipe/v1``). Only an index: the manifests are the truth."""

    schema_id: Literal["graft.dev/recipe/v1"] = Field(default="graft.dev/recipe/v1", alias="schema")
    recipe: Digest
    number: Annotated[int, Field(ge=1)]
    manifest_digest: Digest


class Progress(Document):
    """How far a run is (``graft.dev/progress/v1``). Losses in nats per token."""

    schema_id: Literal["graft.dev/progress/v1"] = Field(default="graft.dev/progress/v1", alias="schema")
    recipe: Digest
    state: ProgressState
    step: int = 0
    max_steps: int | None = None
    epoch: FiniteFloat | None = None
    loss: FiniteFloat | None = None
    eval_loss: FiniteFloat | None = None
    eta_seconds: FiniteFloat | None = None
    rows: int | None = None
    """Rows that have been read or rendered so far, while the state is Loading."""
    total_rows: int | None = None
    """Rows that are to be rendered; None until they have been read."""
    updated_time: str
    number: int | None = None
    manifest_digest: Digest | None = None


class CheckpointManifest(Document):
    """The commit of one checkpoint (``graft.dev/checkpoint/v1``): written last, after every file."""

    schema_id: Literal["graft.dev/checkpoint/v1"] = Field(default="graft.dev/checkpoint/v1", alias="schema")
    recipe: Digest
    step: Annotated[int, Field(ge=0, le=99_999_999)]
    files: StoredFiles
    created_time: str


class PreparedRowsManifest(Document):
    """The commit of the rows of a preparation (``graft.dev/rows/v1``): written last, after every file."""

    schema_id: Literal["graft.dev/rows/v1"] = Field(default="graft.dev/rows/v1", alias="schema")
    digest: Digest
    """Of all that decides what the rows are rendered to."""
    files: StoredFiles
    created_time: str
