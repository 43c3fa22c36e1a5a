"""The policies of docs/policies, given to accounts of a real store: what each may, and what not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import version_draft, write_adapter
from tests.versitygw import PROGRAM, versitygw
from tests.wire.registry.conftest import ACCESS_KEY, SECRET_KEY
from tests.wire.registry.stores.scenario import live

from graft_registry.__main__ import main
from graft_registry.config import Credentials, RegistryConfig
from graft_registry.documents import VersionVerdict, timestamp
from graft_registry.errors import Forbidden
from graft_registry.s3.store import ObjectStore
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry

POLICIES = Path(__file__).parents[4] / "docs/policies"
ACCOUNTS = {name: f"secret-of-{name}" for name in ("tenant-a", "tenant-b", "neighbour", "serving-a", "operator")}
BOUND = {
    "tenant-a": ("tenant", "team-a"),
    "tenant-b": ("tenant", "team-b"),
    "neighbour": ("tenant", "team-a-2"),
    "serving-a": ("serving", "team-a"),
    "operator": ("operator", ""),
}


def statements(account: str, config: RegistryConfig) -> list[dict[str, Any]]:
    """Return an account's policy, as the bucket's policy holds it."""
    policy, namespace = BOUND[account]
    text = (POLICIES / f"{policy}.json").read_text(encoding="utf-8")
    for name, value in (("BUCKET", config.bucket), ("PREFIX", config.prefix), ("NAMESPACE", namespace)):
        text = text.replace(name, value)
    own: list[dict[str, Any]] = json.loads(text)["Statement"]
    return [{**item, "Sid": f"{account}{number}", "Principal": {"AWS": [account]}} for number, item in enumerate(own)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store with accounts."""
    if PROGRAM is None:
        pytest.skip("GRAFT_VERSITYGW names no server")
    folder = tmp_path_factory.mktemp("accounts")
    with versitygw(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY, accounts=ACCOUNTS) as url:
        yield url


@pytest.fixture
def store_of(endpoint: str) -> Callable[[str], ObjectStore]:
    """The registry as an account sees it."""
    config = RegistryConfig(endpoint=endpoint, bucket=f"graft-{uuid.uuid4().hex[:12]}", prefix="registry")
    root = ObjectStore(config)._client
    root.create_bucket(Bucket=config.bucket)
    everything = [item for account in ACCOUNTS for item in statements(account, config)]
    policy = json.dumps({"Version": "2012-10-17", "Statement": everything})
    root.put_bucket_policy(Bucket=config.bucket, Policy=policy)
    return lambda account: ObjectStore(config, Credentials(account, ACCOUNTS[account]))


@pytest.mark.usefixtures("_small_parts")
def test_a_tenant_can_do_all_that_its_pods_need(store_of: Callable[[str], ObjectStore], tmp_path: Path) -> None:
    live(store_of("tenant-a"), tmp_path)


def test_the_doctor_finds_that_a_tenants_key_is_enough_below_its_own_prefix(
    store_of: Callable[[str], ObjectStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environ = {
        "GRAFT_REGISTRY": store_of("tenant-a").config.model_dump_json(),
        "GRAFT_TERMINATION_LOG": str(tmp_path / "log"),
    }
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tenant-a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCOUNTS["tenant-a"])
    assert main(["doctor", "--namespace", "team-a"], environ) == 0
    assert main(["doctor", "--namespace", "team-b"], environ) == 69
    assert list(store_of("operator").list("")) == []


@pytest.mark.parametrize("other", ["tenant-b", "neighbour"])
def test_a_tenant_reads_and_writes_nothing_of_another(
    store_of: Callable[[str], ObjectStore], tmp_path: Path, other: str
) -> None:
    AdapterRegistry(store_of("tenant-a"), "team-a", "support").publish(version_draft(), write_adapter(tmp_path / "own"))
    operator = store_of("operator")
    before = {entry.key: entry.etag for entry in operator.list("team-a/")}
    manifest = next(key for key in before if key.endswith("manifest.json"))
    store = store_of(other)
    for call in (
        lambda: store.get(manifest),
        lambda: store.exists(manifest),
        lambda: list(store.list("team-a/")),
        lambda: list(store.list("")),
        lambda: store.put(manifest, b"{}"),
        lambda: store.put_if_absent("team-a/adapters/support/versions/00000002/manifest.json", b"{}"),
        lambda: store.delete(manifest),
        lambda: store.delete_prefix("team-a/"),
        lambda: AdapterRegistry(store, "team-a", "support").publish(
            version_draft("theirs"), write_adapter(tmp_path / f"of-{other}")
        ),
    ):
        with pytest.raises(Forbidden):
            call()
    assert {entry.key: entry.etag for entry in operator.list("team-a/")} == before


def test_serving_pods_may_read_and_nothing_else(store_of: Callable[[str], ObjectStore], tmp_path: Path) -> None:
    owner = AdapterRegistry(store_of("tenant-a"), "team-a", "support")
    published = owner.publish(version_draft(), write_adapter(tmp_path / "adapter"))
    store = store_of("serving-a")
    serving = AdapterRegistry(store, "team-a", "support")
    assert serving.find(version_draft().recipe) == published
    serving.fetch(serving.read(1, published.digest), tmp_path / "served")
    for call in (
        lambda: store.put("team-a/adapters/support/x", b"x"),
        lambda: store.delete("team-a/adapters/support/versions/00000001/manifest.json"),
        lambda: list(store.list("team-b/")),
    ):
        with pytest.raises(Forbidden):
            call()
    assert owner.read(1) == published


def test_the_operator_examines_the_store_judges_and_deletes(
    store_of: Callable[[str], ObjectStore], tmp_path: Path
) -> None:
    registry = AdapterRegistry(store_of("tenant-a"), "team-a", "support")
    stored = registry.publish(version_draft(), write_adapter(tmp_path / "adapter"))
    operator = store_of("operator")
    report = operator.examine()
    assert report.is_fit, [finding.sentence() for finding in report.of("Failed")]
    assert report.conditional_writes
    verdict = VersionVerdict(number=1, manifest_digest=stored.digest, state="RolledBack", time=timestamp())
    VerdictRegistry(operator, "team-a", "support").record(verdict)
    AdapterRegistry(operator, "team-a", "support").delete_all()
    assert list(operator.list("")) == []


def test_the_doctor_names_each_right_that_a_key_lacks(store_of: Callable[[str], ObjectStore]) -> None:
    found = {finding.check: finding for finding in store_of("serving-a").examine(thoroughly=True).of("Failed")}
    assert set(found) == {"right s3:ListBucket", "right s3:PutObject"}, "below .probe/ it may nothing"
    assert all(finding.fix.startswith("allow s3:") for finding in found.values())
