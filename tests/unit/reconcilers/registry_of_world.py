"""The registry of a simulated world: the real registry code over a store in memory, and what trainers put there."""

from __future__ import annotations

from tests.builders import CREATED, NAMESPACE, base_manifest
from tests.unit.registry_in_memory import InMemoryStore, store_base, store_version

from graft_registry.documents import BaseDrift, BaseManifest, DriftVerdict, Progress, StoredVersion
from graft_registry.layout import BaseLayout
from graft_registry.versions import AdapterRegistry

BASE = "tiny"


class RegistryOfWorld:
    """What is stored, read as the registry reads it, whatever the operator is kept from at the moment."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self._undisturbed = InMemoryStore()
        """The same objects, for trainers and for whoever looks, whatever is in the operator's way."""
        self._undisturbed.objects = self.store.objects
        self.verdicts: dict[str, DriftVerdict] = {}
        """How far the base of a letter will turn out to be from the one before; not measured where nothing is said."""

    @property
    def is_away(self) -> bool:
        """Whether the store answers nothing."""
        return self.store.switches.away

    @is_away.setter
    def is_away(self, away: bool) -> None:
        self.store.switches.away = away

    @property
    def is_safe(self) -> bool:
        """Whether the bucket honours conditional writes."""
        return self.store.switches.conditional

    @is_safe.setter
    def is_safe(self, safe: bool) -> None:
        self.store.switches.conditional = safe

    @property
    def versions(self) -> dict[tuple[str, int], StoredVersion]:
        """Every version by adapter and number."""
        found = {}
        for key in sorted(self.store.objects):
            parts = key.split("/")
            if parts[1:2] == ["adapters"] and parts[3] == "versions" and parts[-1] == "manifest.json":
                number = int(parts[4])
                found[parts[2], number] = AdapterRegistry(self._undisturbed, NAMESPACE, parts[2]).read(number)
        return found

    @property
    def bases(self) -> dict[str, BaseManifest]:
        """Every base by its digest."""
        keys = [key for key in self.store.objects if "/bases/" in key and key.endswith("/manifest.json")]
        manifests = [BaseManifest.from_bytes(self.store.objects[key]) for key in keys]
        return {manifest.digest: manifest for manifest in manifests}

    def of_recipe(self, adapter: str, recipe: str) -> StoredVersion | None:
        """Return the version of a recipe."""
        found = (stored for (name, _), stored in self.versions.items() if name == adapter)
        return next((stored for stored in found if stored.manifest.recipe == recipe), None)

    def store_version(self, stored: StoredVersion) -> None:
        """Publish a version, as a trainer does."""
        store_version(self._undisturbed, stored)

    def lose_versions(self) -> None:
        """Lose every version, as a bucket does that is emptied by hand."""
        for key in [key for key in self.store.objects if "/adapters/" in key]:
            del self.store.objects[key]

    def lose_bases(self) -> None:
        """Lose the manifests of all bases, but not the records of their sources."""
        for key in [key for key in self.store.objects if "/bases/" in key and key.endswith("/manifest.json")]:
            del self.store.objects[key]

    def import_base(self, letter: str, previous: str | None) -> None:
        """Import a base, as the import Job does."""
        manifest = base_manifest(letter)
        store_base(self._undisturbed, manifest)
        if previous is not None and letter in self.verdicts:
            drift = BaseDrift(
                previous=previous, digest=manifest.digest, verdict=self.verdicts[letter], created_time=CREATED
            )
            self._undisturbed.put(BaseLayout(NAMESPACE, BASE).drift(manifest.digest, previous), drift.to_bytes())

    def tell_progress(self, adapter: str, recipe: str) -> None:
        """Say how far a training is, as a trainer does."""
        progress = Progress(recipe=recipe, state="Training", step=1, max_steps=2, updated_time=CREATED)
        AdapterRegistry(self._undisturbed, NAMESPACE, adapter).write_progress(progress)
