"""Serving pods send spans where the platform says, and are as they were where it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, base_model, served_version, serving_revision

from graft_operator.manifests.platform import Platform, Tracing
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.manifests.workloads.serving import revision_manifests

COLLECTOR = "http://collector.monitoring:4318"
WANTED: dict[str, Any] = {"schema": "graft.dev/wanted/v1", "adapters": []}


def pods(platform: Platform) -> list[dict[str, Any]]:
    """Return the pod of a base and that of a merged model."""
    base = base_model()
    manifests = [
        *revision_manifests(base, serving_revision(), WANTED, platform),
        *merged_model_manifests(adapter(), base, served_version(), platform),
    ]
    return [item["spec"]["template"]["spec"] for item in manifests if item["kind"] == "Deployment"]


def container(pod: dict[str, Any], name: str) -> tuple[dict[str, str], list[str]]:
    """Return environment and arguments of a container."""
    [found] = [item for item in (*pod["initContainers"], *pod["containers"]) if item["name"] == name]
    return {item["name"]: item.get("value", "") for item in found["env"]}, found.get("args", [])


@pytest.mark.parametrize("number", [0, 1])
def test_agents_and_if_asked_for_engines_send_spans(number: int) -> None:
    told = Tracing(otlp_endpoint=f"{COLLECTOR}/", sample_ratio=0.25)
    agent, _ = container(pods(replace(PLATFORM, tracing=told))[number], "agent")
    assert (agent["GRAFT_OTLP_ENDPOINT"], agent["GRAFT_TRACE_SAMPLE_RATIO"]) == (f"{COLLECTOR}/", "0.25")
    environment, arguments = container(pods(replace(PLATFORM, tracing=told))[number], "engine")
    assert not [text for text in (*environment, *arguments) if "otel" in text.lower() or "otlp" in text]
    with_engine = replace(PLATFORM, tracing=replace(told, engine=True))
    environment, arguments = container(pods(with_engine)[number], "engine")
    assert f"--otlp-traces-endpoint={COLLECTOR}/v1/traces" in arguments
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"


def test_the_users_own_arguments_and_environment_of_the_engine_win() -> None:
    platform = replace(
        PLATFORM,
        tracing=Tracing(otlp_endpoint=COLLECTOR, engine=True),
        engine_args=("--otlp-traces-endpoint=http://mine:4317",),
        engine_env={"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
    )
    environment, arguments = container(pods(platform)[0], "engine")
    endpoints = [text for text in arguments if text.startswith("--otlp-traces-endpoint=")]
    assert endpoints[-1] == "--otlp-traces-endpoint=http://mine:4317"
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "grpc"


def test_without_an_endpoint_pods_are_as_they_were() -> None:
    for pod in pods(PLATFORM):
        for name in ("agent", "engine"):
            environment, arguments = container(pod, name)
            assert not [
                text for text in (*environment, *arguments) if ("OT" in text and "TRACE" in text) or "otlp" in text
            ]
