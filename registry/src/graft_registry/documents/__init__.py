"""The documents that the programs share, as frozen pydantic models (see docs/contracts.md)."""

from graft_registry.documents.adapter_source import (
    AdapterDirectory,
    AdapterImage,
    AdapterRepository,
    AdapterSource,
    ImportedFrom,
)
from graft_registry.documents.base import (
    BaseLocation,
    BaseManifest,
    BaseSource,
    BaseSourceRecord,
    Fingerprint,
    HuggingFaceSource,
    PersistentVolumeClaimSource,
    S3Source,
)
from graft_registry.documents.drift import BaseDrift, DriftVerdict
from graft_registry.documents.model import Document, StoredFile, timestamp
from graft_registry.documents.run import CheckpointManifest, Progress, ProgressState, RecipePointer
from graft_registry.documents.store_report import Finding, StoreReport
from graft_registry.documents.verdict import VerdictState, VersionVerdict
from graft_registry.documents.version import (
    AdapterShape,
    BaseReference,
    DatasetRecord,
    GoldenPrompt,
    MergeRecord,
    Metrics,
    Probe,
    Servable,
    StoredVersion,
    VersionDraft,
    VersionManifest,
    VersionReason,
    WarmStart,
    engine_name,
)

__all__ = [
    "AdapterDirectory",
    "AdapterImage",
    "AdapterRepository",
    "AdapterShape",
    "AdapterSource",
    "BaseDrift",
    "BaseLocation",
    "BaseManifest",
    "BaseReference",
    "BaseSource",
    "BaseSourceRecord",
    "CheckpointManifest",
    "DatasetRecord",
    "Document",
    "DriftVerdict",
    "Finding",
    "Fingerprint",
    "GoldenPrompt",
    "HuggingFaceSource",
    "ImportedFrom",
    "MergeRecord",
    "Metrics",
    "PersistentVolumeClaimSource",
    "Probe",
    "Progress",
    "ProgressState",
    "RecipePointer",
    "S3Source",
    "Servable",
    "StoreReport",
    "StoredFile",
    "StoredVersion",
    "VerdictState",
    "VersionDraft",
    "VersionManifest",
    "VersionReason",
    "VersionVerdict",
    "WarmStart",
    "engine_name",
    "timestamp",
]
