"""The keys of the object store (docs/contracts.md §1). Pure: the only place that spells a key."""

import re
from dataclasses import dataclass

from graft_registry.digests import DIGEST_PREFIX, digest_hex

_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NUMBERED_MANIFEST = re.compile(r"([0-9]{8})/manifest\.json")
_PREPARED = re.compile(r"([0-9a-f]{64})/")
_NUMBERED_VERDICT = re.compile(r"([0-9]{8})\.json")


def _checked_name(kind: str, name: str) -> str:
    """Return a name that can't change the meaning of a key.

    Raises:
        ValueError: not a Kubernetes name.
    """
    if not _KUBERNETES_NAME.fullmatch(name):
        raise ValueError(f"{kind} must be a Kubernetes object name, got {name!r}")
    return name


def _number_in(path: str) -> int | None:
    match = _NUMBERED_MANIFEST.fullmatch(path)
    return int(match.group(1)) if match else None


@dataclass(frozen=True, slots=True)
class AdapterLayout:
    """Keys of one adapter."""

    namespace: str
    adapter: str

    def __post_init__(self) -> None:
        _checked_name("namespace", self.namespace)
        _checked_name("adapter", self.adapter)

    @property
    def root(self) -> str:
        """Prefix of everything that belongs to the adapter."""
        return f"{self.namespace}/adapters/{self.adapter}/"

    @property
    def versions(self) -> str:
        """Prefix of all version manifests."""
        return f"{self.root}versions/"

    @property
    def blobs(self) -> str:
        """Prefix of all adapter files."""
        return f"{self.root}blobs/sha256/"

    def manifest(self, number: int) -> str:
        """Key whose creation is the commit of version ``number``."""
        return f"{self.versions}{number:08d}/manifest.json"

    def number_of(self, manifest_key: str) -> int | None:
        """Return the version number of a manifest's key, None for any other key below ``versions``."""
        return _number_in(manifest_key.removeprefix(self.versions))

    @property
    def verdicts(self) -> str:
        """Prefix of all verdicts. It is beside that of the versions: few have one, and lists of either stay short."""
        return f"{self.root}verdicts/"

    def verdict(self, number: int) -> str:
        """Key of the verdict on version ``number``."""
        return f"{self.verdicts}{number:08d}.json"

    def verdict_number(self, key: str) -> int | None:
        """Return the version number of a verdict's key, None for any other key."""
        match = _NUMBERED_VERDICT.fullmatch(key.removeprefix(self.verdicts))
        return int(match.group(1)) if match else None

    def blob(self, sha256: str) -> str:
        """Key of a file by its content."""
        return self.blobs + sha256

    def pointer(self, recipe: str) -> str:
        """Key of the index entry from a recipe to its version."""
        return f"{self.root}recipes/{digest_hex(recipe)}.json"

    def run(self, recipe: str) -> str:
        """Prefix of the scratch data of one recipe's training."""
        return f"{self.root}runs/{digest_hex(recipe)}/"

    def progress(self, recipe: str) -> str:
        """Key of a run's progress."""
        return f"{self.run(recipe)}progress.json"

    def checkpoints(self, recipe: str) -> str:
        """Prefix of a run's checkpoints."""
        return f"{self.run(recipe)}checkpoints/"

    def checkpoint(self, recipe: str, step: int) -> str:
        """Prefix of one checkpoint."""
        return f"{self.checkpoints(recipe)}{step:08d}/"

    def checkpoint_file(self, recipe: str, step: int, path: str) -> str:
        """Key of one file of a checkpoint; below ``files/``, so that none can be taken for the manifest."""
        return f"{self.checkpoint(recipe, step)}files/{path}"

    def checkpoint_manifest(self, recipe: str, step: int) -> str:
        """Key whose creation completes a checkpoint."""
        return f"{self.checkpoint(recipe, step)}manifest.json"

    @property
    def prepared_rows(self) -> str:
        """Prefix of all rows that are kept as tokens."""
        return f"{self.root}rows/"

    def prepared(self, digest: str) -> str:
        """Prefix of the rows of one preparation."""
        return f"{self.prepared_rows}{digest_hex(digest)}/"

    def prepared_file(self, digest: str, path: str) -> str:
        """Key of one file of prepared rows; below ``files/``, so that none can be taken for the manifest."""
        return f"{self.prepared(digest)}files/{path}"

    def prepared_manifest(self, digest: str) -> str:
        """Key whose creation completes prepared rows."""
        return f"{self.prepared(digest)}manifest.json"

    def prepared_digest(self, key: str) -> str | None:
        """Return the digest of a preparation whose manifest or file a key is of, None for any other key."""
        match = _PREPARED.match(key.removeprefix(self.prepared_rows))
        return DIGEST_PREFIX + match.group(1) if match else None

    def checkpoint_step(self, recipe: str, manifest_key: str) -> int | None:
        """Return the step of a checkpoint manifest's key, None for any other key below ``checkpoints``."""
        return _number_in(manifest_key.removeprefix(self.checkpoints(recipe)))


@dataclass(frozen=True, slots=True)
class BaseLayout:
    """Keys of one base model."""

    namespace: str
    base: str

    def __post_init__(self) -> None:
        _checked_name("namespace", self.namespace)
        _checked_name("base", self.base)

    @property
    def root(self) -> str:
        """Prefix of everything that belongs to the base."""
        return f"{self.namespace}/bases/{self.base}/"

    def source(self, source_digest: str) -> str:
        """Key of a source's resolution."""
        return f"{self.root}sources/{digest_hex(source_digest)}.json"

    def manifest(self, digest: str) -> str:
        """Key of the manifest of the base with this base digest."""
        return f"{self.root}revisions/{digest_hex(digest)}/manifest.json"

    def drift(self, digest: str, previous: str) -> str:
        """Key of how far a base is from the one before."""
        return f"{self.root}revisions/{digest_hex(digest)}/drift/{digest_hex(previous)}.json"

    def blob(self, sha256: str) -> str:
        """Key of a file by its content."""
        return f"{self.root}blobs/sha256/{sha256}"
