import pytest

from graft_operator.settings import Settings, SettingsError

ENVIRONMENT = {
    "GRAFT_LEASE_NAMESPACE": "graft-system",
    "GRAFT_REGISTRY": '{"endpoint": "http://minio:9000", "bucket": "graft"}',
    "GRAFT_TRAINER_IMAGE": "trainer:1",
    "GRAFT_AGENT_IMAGE": "agent:1",
    "GRAFT_REGISTRY_IMAGE": "registry:1",
    "GRAFT_ENGINE_IMAGE": "engine:1",
}


def test_the_required_variables_are_enough() -> None:
    settings = Settings.from_environment(ENVIRONMENT)
    assert settings.registry.bucket == "graft"
    assert (settings.workers, settings.resync_seconds, settings.watch_namespaces) == (16, 600, ())
    assert (settings.registry_secret_name, settings.engine_args, settings.engine_env) == ("graft-registry", (), {})


def test_every_process_has_an_identity_of_its_own() -> None:
    assert Settings.from_environment(ENVIRONMENT).identity != Settings.from_environment(ENVIRONMENT).identity


def test_lists_and_numbers_are_read() -> None:
    settings = Settings.from_environment(
        ENVIRONMENT
        | {
            "GRAFT_WATCH_NAMESPACES": "team-a, team-b,",
            "GRAFT_WORKERS": "8",
            "GRAFT_ENGINE_ARGS": '["--dtype", "float32"]',
            "GRAFT_ENGINE_ENV": '{"VLLM_CPU_KVCACHE_SPACE": "1"}',
            "GRAFT_ADAPTER_METRICS": "false",
            "GRAFT_GPU_SECOND_PRICE": "7e-04",
            "GRAFT_TRACING": '{"otlpEndpoint": "http://collector:4318", "sampleRatio": 1, "engine": false}',
        }
    )
    assert settings.watch_namespaces == ("team-a", "team-b")
    assert settings.workers == 8
    assert settings.engine_args == ("--dtype", "float32")
    assert settings.engine_env == {"VLLM_CPU_KVCACHE_SPACE": "1"}
    assert settings.adapter_metrics is False
    assert settings.gpu_second_price == 0.0007
    assert settings.tracing is not None
    assert settings.tracing.otlp_endpoint == "http://collector:4318"


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_environment(ENVIRONMENT | {"GRAFT_WORKERS": ""}).workers == 16


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("GRAFT_LEASE_NAMESPACE", "", "GRAFT_LEASE_NAMESPACE is not set"),
        ("GRAFT_REGISTRY", "", "GRAFT_REGISTRY is not set"),
        ("GRAFT_REGISTRY", "{", "GRAFT_REGISTRY: Invalid JSON"),
        ("GRAFT_REGISTRY", "{}", "GRAFT_REGISTRY (bucket): Field required"),
        ("GRAFT_WORKERS", "0", "GRAFT_WORKERS: Input should be greater than or equal to 1"),
        ("GRAFT_WATCH_NAMESPACES", "team-*", "GRAFT_WATCH_NAMESPACES (0): String should match"),
        ("GRAFT_LOG_FORMAT", "xml", "GRAFT_LOG_FORMAT: Input should be 'console' or 'json'"),
        ("GRAFT_ENGINE_ARGS", "--x", "GRAFT_ENGINE_ARGS: Invalid JSON"),
        ("GRAFT_GPU_SECOND_PRICE", "nan", "GRAFT_GPU_SECOND_PRICE: Input should be"),
        ("GRAFT_TRACING", '{"otlpEndpoint": "collector:4317"}', "GRAFT_TRACING (otlpEndpoint): String should match"),
        ("GRAFT_TRAINER_IMAGE", "a b", "GRAFT_TRAINER_IMAGE: String should match"),
        (
            "GRAFT_TENANT_PODS",
            '{"env": {"GRAFT_POD": "x"}}',
            "GRAFT_TENANT_PODS (env): Value error, env must not contain",
        ),
        (
            "GRAFT_TENANT_PODS",
            '{"labels": {"job-name": "x"}}',
            "GRAFT_TENANT_PODS (labels): Value error, labels: job-name",
        ),
        (
            "GRAFT_TENANT_PODS",
            '{"userIds": {"runAsUser": 0}}',
            "GRAFT_TENANT_PODS (userIds.runAsUser): Input should be",
        ),
        ("GRAFT_TENANT_PODS", '{"hostNetwork": true}', "GRAFT_TENANT_PODS (hostNetwork): Extra inputs"),
    ],
)
def test_bad_values_name_their_variable(variable: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(ENVIRONMENT | {variable: value})
    assert problem in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"GRAFT_WORKERS.*GRAFT_TRAINER_IMAGE is not set"):
        Settings.from_environment(ENVIRONMENT | {"GRAFT_WORKERS": "x", "GRAFT_TRAINER_IMAGE": ""})
