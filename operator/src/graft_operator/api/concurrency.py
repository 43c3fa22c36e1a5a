"""The concurrency test of a base: all its adapters at once, under load, before users find out."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from graft_operator.api.meta import ApiModel, Digest, StatusModel


class ConcurrencyTest(ApiModel):
    """How hard the base is asked, and how much slower it may become."""

    requests: int = Field(default=200, ge=10, le=100_000)
    """Requests of each of the three parts: to the base alone, to one adapter, to all adapters mixed."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Requests under way at the same time."""
    max_tokens: int = Field(default=32, ge=1, le=4096)
    """Tokens of each answer; the engine does not end one earlier."""
    max_latency_percent: int = Field(default=300, ge=100, le=10_000)
    """Most that the 95th percentile of all adapters mixed may take, in percent of the base alone."""


class ConcurrencyResult(StatusModel):
    """What the last concurrency test has found."""

    digest: Digest
    """What was tested: base, engine, adapters and the test's own settings."""
    passed: bool
    """Whether nothing failed and the limit was kept."""
    message: str = ""
    """Throughput and latency of the three parts, or what failed."""
    completed_time: datetime | None = None
    """When it ended."""
