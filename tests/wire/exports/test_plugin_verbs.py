"""``kubectl graft verify``, ``report`` and ``diff``, with the registry's program as it really runs on a real bucket."""

from __future__ import annotations

import json
import stat
import webbrowser
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from tests.unit.cli.objects import version as told
from tests.unit.registry.builders import write_adapter
from tests.wire.exports.conftest import draft

from graft_cli.client import FakeGraft
from graft_cli.commands import options
from graft_cli.commands.diff import diff
from graft_cli.commands.report import report
from graft_cli.commands.verify import verify
from graft_cli.errors import ExitCode, GraftError, NotFound, Refused, Unreachable
from graft_registry.config import RegistryConfig
from graft_registry.documents import GoldenPrompt, Metrics
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

LAYOUT = AdapterLayout("team-a", "support")


@pytest.fixture(autouse=True)
def _place(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_REGISTRY", config.model_dump_json())


@pytest.fixture
def second(version: StoredVersion, store: ObjectStore, tmp_path: Path) -> StoredVersion:
    """Version 2, of other data and better scores, without a report."""
    golden = GoldenPrompt(
        prompt_token_ids=(1,), prompt="Where?", answer="There.", answer_token_ids=(2,), base_answer="Huh?", margin=1.0
    )
    files = write_adapter(tmp_path / "second", base_model_name_or_path="tiny@sha256:0")
    made = draft("second", metrics=Metrics(eval_loss=0.25, base_eval_loss=2.0), golden=(golden,))
    return AdapterRegistry(store, "team-a", "support").publish(made, files)


def cluster(monkeypatch: pytest.MonkeyPatch, *versions: StoredVersion, **status: Any) -> None:
    """Have status tell of these versions, the last of which is served."""
    known = [
        told(item.manifest.number, digest=item.digest, base_digest=item.manifest.base.digest).to_wire()
        for item in reversed(versions)
    ]
    served = {"servedVersion": versions[-1].manifest.number} if versions else {}
    body = {
        "kind": "LoraAdapter",
        "metadata": {"name": "support", "namespace": "team-a"},
        "spec": {},
        "status": served | {"versions": known} | status,
    }
    monkeypatch.setattr(options, "connect", lambda **_: FakeGraft([body]))


def run(verb: click.Command, *arguments: str) -> Result:
    command = ["support", *arguments, "--namespace=team-a"]
    return CliRunner().invoke(verb, command, standalone_mode=False, catch_exceptions=False)


def verdicts(result: Result) -> dict[tuple[int, str], str]:
    found = json.loads(result.stdout)["versions"]
    return {(item["number"], part["object"]): part["verdict"] for item in found for part in item["objects"]}


def test_a_version_that_is_what_was_published_verifies(
    version: StoredVersion, second: StoredVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    result = run(verify)
    assert result.return_value == ExitCode.OK
    assert "v2 is what was published" in result.stderr
    assert "adapter_model.safetensors" in result.stdout
    everything = run(verify, "--all", "-o", "json")
    assert set(verdicts(everything).values()) == {"Same"}
    assert {number for number, _ in verdicts(everything)} == {1, 2}
    assert run(verify, "v1").return_value == ExitCode.OK


def test_what_differs_is_named_and_the_exit_code_is_one(
    version: StoredVersion, second: StoredVersion, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    sizes = {file.path: file for file in second.manifest.files}
    weights = sizes["adapter_model.safetensors"]
    store.put(LAYOUT.blob(weights.sha256), b"\1" * weights.size)
    result = run(verify, "v2", "-o", "json")
    assert result.return_value == ExitCode.FAILED
    damaged = {key: verdict for key, verdict in verdicts(result).items() if verdict != "Same"}
    assert damaged == {(2, "adapter_model.safetensors"): "Differs"}
    shown = run(verify, "--all")
    assert LAYOUT.blob(weights.sha256) in shown.stdout
    assert "v2" in shown.stderr


def test_another_whole_version_under_the_same_number_is_found_out(
    version: StoredVersion, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version)
    other = version.manifest.model_copy(update={"seed": 43})
    store.put(LAYOUT.manifest(1), other.to_bytes())
    result = run(verify, "-o", "json")
    assert (result.return_value, verdicts(result)[1, "manifest.json"]) == (ExitCode.FAILED, "Differs")


def test_a_version_that_the_bucket_has_lost_is_missing(
    version: StoredVersion, second: StoredVersion, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    store.delete(LAYOUT.manifest(1))
    assert verdicts(run(verify, "--all", "-o", "json"))[1, "manifest.json"] == "Missing"
    with pytest.raises(NotFound) as caught:
        run(verify, "v1")
    assert "is --registry the registry of this cluster?" in caught.value.fix


def test_no_bucket_is_an_error_with_the_way_out(version: StoredVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, version)
    monkeypatch.delenv("GRAFT_REGISTRY")
    for verb in (verify, report):
        with pytest.raises(Refused) as caught:
            run(verb)
        assert "--registry s3://bucket/prefix" in caught.value.fix
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Unreachable):
        run(verify, "--registry=s3://graft")
    with pytest.raises(click.UsageError):
        run(verify, "v1", "--all")


def test_the_report_is_opened_in_a_frame(version: StoredVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    cluster(monkeypatch, version)
    path = Path(run(report).stdout.strip())
    assert opened == [path.as_uri()]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert 'sandbox=""' in path.read_text()
    assert "&lt;title&gt;support&lt;/title&gt;" in path.read_text()
    run(report, "v1", "--no-browser")
    assert len(opened) == 1
    assert run(report, "-o", "html").stdout == "<!doctype html><title>support</title>"
    assert json.loads(run(report, "-o", "json").stdout)["number"] == 1
    assert yaml.safe_load(run(report, "-o", "yaml").stdout)["recipe"] == version.manifest.recipe


def test_no_browser_is_no_failure(version: StoredVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    cluster(monkeypatch, version)
    assert "there is no browser" in run(report).stderr


def test_a_version_without_a_report_has_its_manifest(
    version: StoredVersion, second: StoredVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    with pytest.raises(NotFound, match=r"version 2 has no report\.html") as caught:
        run(report)
    assert "kubectl graft report support 2 -o yaml" in caught.value.fix


def test_diff_shows_what_the_manifests_hold(
    version: StoredVersion, second: StoredVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    shown = run(diff, "v1", "2")
    assert "evalLoss" in shown.stdout
    assert "PROMPT  Where?" in shown.stdout
    assert "There." in shown.stdout
    assert shown.stderr == ""
    document = json.loads(run(diff, "v1", "v2", "-o", "json").stdout)
    assert document["before"]["number"] == 1
    assert document["registry"]["answers"] == [{"prompt": "Where?", "base": "Huh?", "before": None, "after": "There."}]
    losses = {row["field"]: row["change"] for row in document["registry"]["scores"]}
    assert losses["evalLoss"] == "-0.25"


def test_diff_knows_versions_that_status_has_forgotten(
    version: StoredVersion, second: StoredVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, second)
    assert "evalLoss" in run(diff, "v1", "v2").stdout
    monkeypatch.delenv("GRAFT_REGISTRY")
    with pytest.raises(Refused, match="tells nothing of version 1"):
        run(diff, "v1", "v2")


def test_diff_says_what_it_has_left_out(
    version: StoredVersion, second: StoredVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, version, second)
    monkeypatch.delenv("GRAFT_REGISTRY")
    shown = run(diff, "v1", "v2")
    assert "rank" in shown.stdout
    assert "left out: spec, data and sample answers" in shown.stderr
    assert "--registry s3://bucket/prefix" in shown.stderr
    assert "leftOut" in json.loads(run(diff, "v1", "v2", "-o", "json").stdout)
    with pytest.raises(GraftError):
        run(diff, "v1", "v2", "--from-registry")
    monkeypatch.setenv("GRAFT_REGISTRY", "{}")
    assert "GRAFT_REGISTRY is not valid" in run(diff, "v1", "v2").stderr
