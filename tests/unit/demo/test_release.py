"""Image references become the chart's values."""

from __future__ import annotations

import pytest
from demo.release import image_values


@pytest.mark.parametrize(
    ("reference", "repository", "tag", "digest"),
    [
        ("localhost:5001/graft/operator:ab12", "localhost:5001/graft/operator", "ab12", ""),
        ("localhost:5001/graft/operator", "localhost:5001/graft/operator", "", ""),
        ("vllm/vllm-openai@sha256:00", "vllm/vllm-openai", "", "sha256:00"),
        ("vllm/vllm-openai:v1@sha256:00", "vllm/vllm-openai", "v1", "sha256:00"),
    ],
)
def test_reference_is_split(reference: str, repository: str, tag: str, digest: str) -> None:
    assert image_values(reference) == {"repository": repository, "tag": tag, "digest": digest}
