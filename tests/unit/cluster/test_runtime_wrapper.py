import json
from pathlib import Path

import pytest

from graft_cluster.docker.runtime_wrapper import bounding_set, missing_capabilities, option, relax_file

WITHOUT_SYS_RESOURCE = "Name:\tx\nCapBnd:\t000001fffeffffff\n"


def test_the_missing_capability_is_named() -> None:
    assert missing_capabilities(WITHOUT_SYS_RESOURCE) == {"CAP_SYS_RESOURCE"}
    assert missing_capabilities("CapBnd:\t000001ffffffffff\n") == set()


@pytest.mark.parametrize("is_process", [True, False])
def test_only_what_cannot_be_granted_is_taken_out(tmp_path: Path, is_process: bool) -> None:
    process = {
        "args": ["sh"],
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "ambient": None},
        "oomScoreAdj": -999,
        "rlimits": [{"type": "RLIMIT_NOFILE"}],
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(process if is_process else {"process": process, "hostname": "h"}))
    relax_file(path, is_process=is_process, available=bounding_set(WITHOUT_SYS_RESOURCE))
    content = json.loads(path.read_text())
    assert (content if is_process else content["process"]) == {
        "args": ["sh"],
        "capabilities": {"bounding": ["CAP_CHOWN"], "ambient": []},
        "oomScoreAdj": 0,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--root", "/r", "create", "--bundle", "/b", "id"],
        ["create", "--bundle=/b", "id"],
        ["create", "-b", "/b", "id"],
    ],
)
def test_the_bundle_is_found_however_it_is_written(arguments: list[str]) -> None:
    assert option(arguments, "--bundle", "-b") == "/b"
    assert option(arguments, "--process") is None
