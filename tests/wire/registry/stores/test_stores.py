"""The same life of a registry on stores of nine makers, set up as the doctor says.

``GRAFT_STORES_TABLE=docs/object-store.md`` writes the table of that page; without it the page must have the same.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.wire.registry.conftest import ACCESS_KEY, SECRET_KEY
from tests.wire.registry.stores.conftest import OpenStore
from tests.wire.registry.stores.scenario import live
from tests.wire.registry.stores.store_kinds import KINDS, StoreKind
from tests.wire.registry.stores.store_proxy import Upstream
from tests.wire.registry.stores.stores_table import StoreRow, table_in, table_of, write

from graft_registry.config import RegistryConfig
from graft_registry.documents import StoreReport
from graft_registry.s3.store import ObjectStore

PAGE = Path(__file__).parents[4] / "docs/object-store.md"
REMEDIES: dict[str, dict[str, Any]] = {
    "registry.forcePathStyle: false": {"force_path_style": False},
    "registry.serverSideEncryption: AES256": {"server_side_encryption": "AES256"},
    "AWS_REQUEST_CHECKSUM_CALCULATION=when_required": {},
}
"""What the doctor may say, and what somebody who follows it changes."""


def following_the_doctor(
    config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[RegistryConfig, StoreReport, tuple[str, ...]]:
    """Ask the doctor, do as it says, and ask again until it has nothing more to say."""
    settings: list[str] = []
    while True:
        report = ObjectStore(config).examine(thoroughly=True)
        if report.is_fit:
            return config, report, tuple(settings)
        said = report.of("Failed")[0]
        setting = next((remedy for remedy in REMEDIES if remedy in said.fix), None)
        assert setting is not None, f"the doctor names no setting: {said.sentence()}"
        assert setting not in settings, f"the setting has not helped: {said.sentence()}"
        settings.append(setting)
        config = config.model_copy(update=REMEDIES[setting])
        if "=" in setting:
            monkeypatch.setenv(*setting.split("="))


@pytest.fixture(scope="module")
def rows() -> Iterator[list[StoreRow]]:
    """What was seen of each store; at the end it is written, where that is asked for."""
    seen: list[StoreRow] = []
    yield seen
    if "GRAFT_STORES_TABLE" in os.environ:
        write(Path(os.environ["GRAFT_STORES_TABLE"]), table_of(seen))


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_every_store_keeps_a_registry_once_it_is_set_up_as_the_doctor_says(
    kind: StoreKind,
    open_store: OpenStore,
    gateway: Upstream,
    here: Path,
    rows: list[StoreRow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = f"graft-{uuid.uuid4().hex[:12]}"
    real = boto3.client(
        "s3",
        endpoint_url=gateway.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    real.create_bucket(Bucket=bucket)
    with open_store(kind) as url:
        config = RegistryConfig(endpoint=url, bucket=bucket, prefix="registry")
        config, report, settings = following_the_doctor(config, monkeypatch)
        left = [entry["Key"] for entry in real.list_objects_v2(Bucket=bucket).get("Contents", ())]
        assert left == [], "the doctor cleans up"
        live(ObjectStore(config), here)
    row = StoreRow(kind.name, settings, report)
    rows.append(row)
    assert "GRAFT_STORES_TABLE" in os.environ or row.line() in table_in(PAGE), "make stores-table writes it anew"


def test_the_page_tells_of_these_stores_and_no_others() -> None:
    lines = table_in(PAGE).splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [kind.name for kind in KINDS]
