"""What the operator asks of a concurrency test is what the agent's program reads."""

from __future__ import annotations

from tests.builders import PLATFORM, base_model, digest

from graft_operator.manifests.jobs.concurrency_job import concurrency_job_manifest
from graft_serving.concurrency import VARIABLE, ConcurrencyRequest


def test_the_request_of_the_job_is_understood() -> None:
    base = base_model(serving={"concurrencyTest": {"requests": 50, "maxTokens": 8}})
    job = concurrency_job_manifest(base, digest("test"), ["support"], PLATFORM)
    [container] = job["spec"]["template"]["spec"]["containers"]
    [text] = [entry["value"] for entry in container["env"] if entry["name"] == VARIABLE]
    request = ConcurrencyRequest.model_validate_json(text)
    assert (request.requests, request.max_tokens, request.concurrency) == (50, 8, 16)
    assert request.adapters == ("support",)
    assert request.url == "http://graft-tiny.team-a.svc:8000"
