"""What people give to ``--to``."""

from __future__ import annotations

import pytest

from graft_registry.exports.destination import Destination, Place


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("oci://ghcr.io/acme/support:v1", Place.OCI, "ghcr.io/acme/support:v1"),
        ("hf://acme/support", Place.HUB, "acme/support"),
        ("dir:/srv/models/support", Place.DIRECTORY, "/srv/models/support"),
        ("dir:///srv/models/support", Place.DIRECTORY, "/srv/models/support"),
        ("dir:support", Place.DIRECTORY, "support"),
        ("mlflow://support", Place.MLFLOW, "support"),
        ("wandb://acme/loras/support", Place.WANDB, "acme/loras/support"),
    ],
)
def test_places_are_read(text: str, place: Place, name: str) -> None:
    assert Destination.parse(text) == Destination(place, name)
    assert Destination.parse(str(Destination.parse(text))) == Destination(place, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ghcr.io/acme/support:v1", "is none of oci://registry/repository:tag"),
        ("s3://bucket/key", "is none of"),
        ("oci://", "is none of"),
        ("", "is none of"),
        ("hf://support", "not of the form hf://organisation/repository"),
        ("hf://acme//support", "not of the form"),
        ("wandb://acme/support", "not of the form wandb://entity/project/name"),
        ("mlflow://http://host/support", "not of the form mlflow://registered-model"),
    ],
)
def test_what_is_no_place_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Destination.parse(text)
