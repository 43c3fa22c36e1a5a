"""What the platform team decides once for every pod that we create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Images, registry and defaults; it comes from the operator's settings."""

    trainer_image: str
    agent_image: str
    registry_image: str
    engine_image: str
    image_pull_policy: str = "IfNotPresent"
    registry: Mapping[str, Any]
    """The registry's configuration as JSON: endpoint, bucket, prefix, region, forcePathStyle."""
    registry_secret_name: str = "graft-registry"  # noqa: S105 - the name of a Secret, not one
    """Secret in the tenant's namespace whose keys become the pods' environment."""
    engine_args: tuple[str, ...] = ()
    """Arguments of every engine, before those of the BaseModel."""
    engine_env: Mapping[str, str] = field(default_factory=dict)
    """Environment of every engine."""
