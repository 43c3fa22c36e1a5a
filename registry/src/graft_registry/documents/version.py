"""Documents about one version of an adapter: what it was trained from, how good it is, what it consists of."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import FailFast, Field, FiniteFloat

from graft_registry.digests import digest_hex
from graft_registry.documents.adapter_source import ImportedFrom
from graft_registry.documents.base import BaseSource
from graft_registry.documents.model import Digest, Document, StoredFile, StoredFiles, entries_are, is_whole

VersionReason = Literal["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled", "Imported"]
Objective = Literal["SFT", "DPO", "KTO"]
Servable = Literal["MultiAdapter", "Merged", "None"]
TrainedOn = Literal["float32", "bfloat16", "nf4"]
TokenIds = Annotated[tuple[int, ...], FailFast()]
MERGED_FOLDER = "merged/"


class BaseReference(Document):
    """The base that a version was trained on."""

    name: str
    revision: str
    digest: Digest
    source: BaseSource
    chat_template_digest: Digest | None = None
    tokenizer_digest: Digest | None = None


class MixedSet(Document):
    """One of several sets that a version has learned from."""

    uri: str
    digest: Digest
    weight: str
    rows: Annotated[int, Field(ge=0)]
    """Rows that were taken of it, before some of the mix were held out."""
    usable: Annotated[int, Field(ge=0)]
    """Rows that there were to take."""


class DatasetRecord(Document):
    """The rows that a version was trained and evaluated on; the other counts are of both parts together."""

    uri: str
    digest: Digest
    eval_digest: Digest | None = None
    rows: int
    """Rows that were trained on."""
    eval_rows: int = 0
    """Rows that it was evaluated on."""
    dropped: int = 0
    """Rows that could not be used, for any reason; ``dropped_by_reason`` adds up to it."""
    dropped_by_reason: Annotated[dict[str, int], entries_are("a number", is_whole)] = Field(default_factory=dict)
    unused_keys: Annotated[dict[str, int], entries_are("a number", is_whole)] = Field(default_factory=dict)
    """Keys of rows and turns that nothing was made of, with the number of rows that have them."""
    sets: Annotated[tuple[MixedSet, ...], FailFast()] = ()
    """The sets that were mixed, where there are several: ``uri`` is the first's, ``digest`` is of all."""
    leaked: int = 0
    """Evaluation rows that were left out because they are training rows, too."""
    truncated: int = 0
    """Used rows that lost their end."""
    fully_masked: int = 0
    """Dropped rows of which no answer was left after truncation."""
    masked_answers: int = 0
    """Answers of used rows that were not learned: weighted 0 in the data, or cut off."""
    answers: Annotated[int, Field(ge=0)] = 0
    """Answers that were learned, each text being one; 0 in manifests of earlier releases."""
    unknown_answers: Annotated[int, Field(ge=0)] = 0
    """Those of them that hold what the base's tokenizer doesn't know."""


class AdapterShape(Document):
    """Size of the adapter: LoRA rank and alpha, adapted module names, parameter counts."""

    rank: Annotated[int, Field(ge=0)]
    alpha: FiniteFloat | int
    target_modules: Annotated[tuple[str, ...], FailFast()]
    trainable_parameters: int
    all_parameters: int
    adapted_share: FiniteFloat | None = None
    """Part of the base's parameters that are in adapted layers; null for methods that adapt none."""


class Metrics(Document):
    """Scores of the adapter and of its base alone. Null: not measured. Losses in nats per token, times in seconds.

    Of a version that has learned preferences, the losses are those of its objective, per row, and ``base_eval_loss`` is
    that of the reference which it was held near.
    """

    eval_loss: FiniteFloat | None = None
    base_eval_loss: FiniteFloat | None = None
    exact_match: FiniteFloat | None = None
    base_exact_match: FiniteFloat | None = None
    preference_accuracy: FiniteFloat | None = None
    """Part of held-out pairs whose better answer the training has made likelier than the other, against the reference:
    0.5 is chance. Of answers with labels, of all pairs of a wanted and an unwanted one."""
    train_loss: FiniteFloat | None = None
    late_improvement: FiniteFloat | None = None
    """Part by which the training loss fell from the third to the last quarter of the steps; about 0 on a plateau."""
    perplexity: FiniteFloat | None = None
    base_perplexity: FiniteFloat | None = None
    steps: int | None = None
    epochs: FiniteFloat | None = None
    train_seconds: FiniteFloat | None = None
    tokens_per_second: FiniteFloat | None = None
    peak_memory_bytes: int | None = None


class GoldenPrompt(Document):
    """A prompt with the trainer's own greedy answer, to prove that a server really applies the adapter.

    ``margin`` is the smallest gap between best and second-best logit along the answer, in nats: a server with
    other kernels may differ where it is small.
    """

    prompt_token_ids: TokenIds
    prompt: str
    answer: str
    answer_token_ids: TokenIds
    base_answer: str | None = None
    margin: FiniteFloat | None = None


class Probe(Document):
    """A question with the one right answer, to score how well a version answers on the engine that serves it.

    ``max_tokens`` are to be generated at most: more than the right answer takes, so that one which goes on is wrong.
    """

    prompt_token_ids: TokenIds
    expected: str
    max_tokens: Annotated[int, Field(ge=1)]


class WarmStart(Document):
    """The older version whose weights a training began from, instead of from nothing."""

    number: Annotated[int, Field(ge=1)]
    manifest_digest: Digest


class MergeRecord(Document):
    """How close the model in ``merged/`` is to base and adapter apart, on answer tokens of held-out rows.

    ``dtype`` is the base's own, which it was rounded to. ``mean_kl`` is in nats per token, ``argmax_agreement`` the
    share of tokens for which both models predict the same.
    """

    dtype: str
    tokens: int
    mean_kl: FiniteFloat
    max_logit_difference: FiniteFloat
    argmax_agreement: FiniteFloat


class VersionDraft(Document):
    """Everything about a version that its publisher knows; number, files and time come with publication."""

    namespace: str
    adapter: str
    recipe: Digest
    reason: VersionReason
    parent: int | None = None
    warm_start: WarmStart | None = None
    imported: ImportedFrom | None = None
    """Where the files come from, of a version that was trained elsewhere."""
    uid: str
    generation: int
    base: BaseReference
    dataset: DatasetRecord | None
    """Null for an import without rows. Those of one with rows were only evaluated on."""
    objective: Objective = "SFT"
    """What was learned: answers word for word, which of two is better, or which are wanted."""
    method: str
    trained_on: TrainedOn | None
    """Null for an import: its files don't say."""
    servable: Servable
    hyperparameters: dict[str, Any]
    seed: int
    shape: AdapterShape
    libraries: Annotated[dict[str, str], entries_are("text", lambda value: isinstance(value, str))]
    image: str | None = None
    metrics: Metrics = Metrics()
    golden: Annotated[tuple[GoldenPrompt, ...], FailFast()] = ()
    probes: Annotated[tuple[Probe, ...], FailFast()] = ()
    merge: MergeRecord | None = None

    @property
    def eval_digest(self) -> str | None:
        """The digest of the held-out rows, None where there are none."""
        return self.dataset.eval_digest if self.dataset else None


class VersionManifest(VersionDraft):
    """One immutable version (``graft.dev/version/v1``). It exists iff this is stored and every file verifies."""

    schema_id: Literal["graft.dev/version/v1"] = Field(default="graft.dev/version/v1", alias="schema")
    number: Annotated[int, Field(ge=1, le=99_999_999)]
    files: StoredFiles
    created_time: str

    @property
    def adapter_files(self) -> tuple[StoredFile, ...]:
        """The files but for those of the merged model, which only its own pods read: it is as large as a base."""
        return tuple(file for file in self.files if not file.path.startswith(MERGED_FOLDER))


def engine_name(adapter: str, number: int, manifest_digest: str) -> str:
    """Return the name that the engine knows a version by: ``<adapter>--v<number>-<8 hex of the manifest digest>``.

    Unique per content, so that neither the engine's cache nor its prefix cache can mix two versions up.
    """
    return f"{adapter}--v{number}-{digest_hex(manifest_digest)[:8]}"


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A committed version, and the digest of its manifest's bytes as stored."""

    manifest: VersionManifest
    digest: str

    @property
    def engine_name(self) -> str:
        """The name that the engine knows this version by."""
        return engine_name(self.manifest.adapter, self.manifest.number, self.digest)
