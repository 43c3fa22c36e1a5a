"""How many processes train one adapter together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from graft_operator.api.meta import ApiModel


class Workers(ApiModel):
    """The processes that train together, each on rows of its own.

    A step takes ``batchSize`` × ``gradientAccumulation`` rows of every worker, so another number of them is another
    training: it is part of the recipe, unless it is one.
    """

    nodes: int = Field(default=1, ge=1, le=64)
    """Pods that train together. They restart together, from the last checkpoint."""
    processes_per_node: int | None = Field(default=None, ge=1, le=16)
    """Processes in each pod; when empty, one for each GPU of ``resources``, or one without GPUs."""
    sharding: Literal["None", "FSDP"] = "None"
    """FSDP shares the base's frozen weights out among the workers, for a base that no single GPU holds; None keeps a
    copy on each, which is faster."""
