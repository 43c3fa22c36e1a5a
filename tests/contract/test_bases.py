"""Operator → registry's commands (docs/contracts.md §2): importing a base, and fetching it in a pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import builders

from graft_operator.api.base_model import BaseModel, ResolvedBase
from graft_operator.api.meta import LocalObjectReference
from graft_operator.manifests.jobs import import_job
from graft_operator.manifests.pods import BASE_DIR, base_mounts, fetch_base_container
from graft_registry import __main__ as registry_program
from graft_registry.base_import import BaseImport
from graft_registry.config import Credentials, RegistryConfig
from graft_registry.documents import BaseSource
from graft_registry.outcome import Outcome, failure
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

CLAIM = {"persistentVolumeClaim": {"claimName": "models", "path": "tiny/v1"}}
IMAGE = {"image": {"reference": f"registry.example.com/models/tiny@{builders.digest('image')}", "path": "tiny/v1"}}
SOURCES: dict[str, dict[str, Any]] = {
    "hub": {"huggingFace": {"repo": "org/tiny"}},
    "hub, revision": {"huggingFace": {"repo": "org/tiny", "revision": "v2"}},
    "bucket": {"s3": {"uri": "s3://models/tiny/v1"}},
    "claim": CLAIM,
    "image": {"image": {"reference": "registry.example.com/models/tiny:v1"}},
    "folder of an image": IMAGE,
}
SECRET = LocalObjectReference(name="source")
SECRET_KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "HF_TOKEN": "token"}


def base(source: dict[str, Any]) -> BaseModel:
    return builders.base_model(resolved=None, serves=(), source=source)


def import_container(source: dict[str, Any]) -> dict[str, Any]:
    job = import_job.import_job_manifest(base(source), builders.digest("source"), builders.PLATFORM)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def parsed(container: dict[str, Any]) -> Any:
    return registry_program._parser().parse_args(container["args"])


def covered(path: Path, container: dict[str, Any]) -> bool:
    return any(path.is_relative_to(mount["mountPath"]) for mount in container["volumeMounts"])


@pytest.mark.parametrize("name", SOURCES)
def test_import_understands_its_request(name: str) -> None:
    container = import_container(SOURCES[name])
    environ = environment(container)
    request = registry_program._from_variable(BaseImport, registry_program.IMPORT_VARIABLE, environ)
    assert request.source == BaseSource.model_validate(base(SOURCES[name]).spec.source.to_wire())
    assert RegistryConfig.from_environment(environ).bucket == builders.PLATFORM.registry["bucket"]
    assert parsed(container).command is registry_program.run_import
    assert covered(parsed(container).workspace, container)


def test_import_finds_the_claim() -> None:
    container = import_container(CLAIM)
    request = registry_program._from_variable(BaseImport, registry_program.IMPORT_VARIABLE, environment(container))
    assert covered(request.path, container)
    assert request.path.parts[-2:] == ("tiny", "v1")


@pytest.mark.parametrize(("path", "parts"), [("", ()), ("tiny/v1", ("tiny", "v1"))])
def test_import_finds_the_image_and_knows_its_root(path: str, parts: tuple[str, ...]) -> None:
    source = {"image": {"reference": "registry.example.com/models/tiny:v1", "path": path}}
    job = import_job.import_job_manifest(base(source), builders.digest("source"), builders.PLATFORM)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    request = registry_program._from_variable(BaseImport, registry_program.IMPORT_VARIABLE, environment(container))
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "image"]
    assert request.path == Path(mount["mountPath"], *parts)
    assert mount["readOnly"]
    assert {"name": "image", "image": {"reference": source["image"]["reference"], "pullPolicy": "Always"}} in pod[
        "volumes"
    ]


def test_an_image_that_cannot_change_is_not_pulled_twice() -> None:
    job = import_job.import_job_manifest(base(IMAGE), builders.digest("source"), builders.PLATFORM)
    (volume,) = [item for item in job["spec"]["template"]["spec"]["volumes"] if "image" in item]
    assert volume["image"]["pullPolicy"] == "IfNotPresent"


IN_MODELS = {"claim_name": "models", "claim_path": "tiny/v0"}
PREVIOUS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, bool, str | None]] = {
    "the first base has none": (SOURCES["bucket"], None, False, None),
    "the one before is in the registry": (SOURCES["bucket"], {}, True, None),
    "both are in one claim": (CLAIM, IN_MODELS, True, "tiny/v0"),
    "the one before is in another claim": (CLAIM, IN_MODELS | {"claim_name": "old"}, True, None),
    "the one before is in a claim, the new one is not": (SOURCES["bucket"], IN_MODELS, True, None),
}


@pytest.mark.parametrize(("source", "resolved", "named", "path"), PREVIOUS.values(), ids=PREVIOUS)
def test_import_is_told_of_the_base_before(
    source: dict[str, Any], resolved: dict[str, Any] | None, named: bool, path: str | None
) -> None:
    before = None if resolved is None else builders.resolved_base("A", **resolved)
    subject = builders.base_model(resolved=None, serves=(), source=source, status={"resolved": before})
    job = import_job.import_job_manifest(subject, builders.digest("source"), builders.PLATFORM)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    request = registry_program._from_variable(BaseImport, registry_program.IMPORT_VARIABLE, environment(container))
    assert (request.previous is not None) == named
    if request.previous is not None:
        assert request.previous.digest == builders.base_id("A")
        assert (request.previous.mount is not None) == (path is not None)
    if path is not None:
        assert request.previous_path is not None
        assert str(request.previous_path).endswith(path)
        assert covered(request.previous_path, container)


@pytest.mark.parametrize("claim", [None, "models"])
def test_fetch_understands_its_request(claim: str | None) -> None:
    resolved: ResolvedBase = builders.resolved_base(claim_name=claim, claim_path="tiny/v1" if claim else None)
    container = fetch_base_container(builders.NAMESPACE, "tiny", resolved, builders.PLATFORM)
    environ = environment(container)
    request = registry_program._from_variable(registry_program.BaseFetch, registry_program.FETCH_VARIABLE, environ)
    assert (request.namespace, request.name, request.digest) == (builders.NAMESPACE, "tiny", resolved.digest)
    assert parsed(container).command is registry_program.run_fetch
    assert str(parsed(container).destination) == BASE_DIR
    (writable,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == BASE_DIR]
    assert not writable.get("readOnly")
    if claim:
        assert covered(request.path, container), f"{request.path} is not mounted"
        assert request.path.parts[-2:] == ("tiny", "v1")


def test_users_of_a_claim_mount_it_where_the_links_point() -> None:
    resolved = builders.resolved_base(claim_name="models", claim_path="tiny/v1")
    fetching = fetch_base_container(builders.NAMESPACE, "tiny", resolved, builders.PLATFORM)
    where = {mount["name"]: mount["mountPath"] for mount in fetching["volumeMounts"]}
    for mount in base_mounts(resolved):
        assert where[mount["name"]] == mount["mountPath"]


@pytest.mark.parametrize("problem", SourceProblem)
def test_import_failures_stall_or_retry_as_their_exit_codes_say(problem: SourceProblem) -> None:
    outcome, code = failure(SourceError(problem, "spec.source.s3.uri", "gone"))
    assert outcome.reason == problem
    stalls = problem not in (SourceProblem.UNAVAILABLE, SourceProblem.ADAPTER_UNAVAILABLE)
    assert (code in import_job.USER_ERROR_CODES) == stalls


def test_outcome_is_the_message_of_the_contract() -> None:
    told = Outcome(outcome="Imported", digest=builders.digest("base"), revision="v1").model_dump(exclude_none=True)
    assert told.keys() == {"outcome", "digest", "revision"}


def test_secret_of_the_source_is_kept_apart_from_the_registrys() -> None:
    subject = base(SOURCES["bucket"]).model_copy(
        update={"spec": base(SOURCES["bucket"]).spec.model_copy(update={"credentials_secret_ref": SECRET})}
    )
    (injected,) = import_job.source_credentials(subject)
    environ = {f"{injected['prefix']}{key}": value for key, value in SECRET_KEYS.items()}
    access = SourceAccess.from_environment(environ | {"AWS_ACCESS_KEY_ID": "the registry's"})
    assert access.s3_credentials == Credentials("id", "key", None)
    assert access.hub_token == "token"
