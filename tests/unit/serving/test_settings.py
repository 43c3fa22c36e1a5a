"""Settings from the environment: what is wrong is told by the variable's name."""

from pathlib import Path

import pytest

from graft_serving.settings import Settings

ENOUGH = {"GRAFT_NAMESPACE": "team-a", "GRAFT_POD": "tiny-0", "GRAFT_WANTED_FILE": "/wanted.json"}


def test_a_few_variables_are_enough() -> None:
    settings = Settings.from_environment(ENOUGH)
    assert (settings.pod, settings.api_key_file, settings.loads_at_once) == ("tiny-0", None, 4)


def test_a_file_with_keys_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("\n one \n")
    assert Settings.from_environment({**ENOUGH, "GRAFT_API_KEY_FILE": str(path)}).api_key_file == path


@pytest.mark.parametrize(
    ("content", "says"), [(None, "can't be read"), ("", "holds no key"), (" \n\n", "holds no key; write one a line")]
)
def test_a_file_without_keys_is_refused_by_the_variable_s_name(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"GRAFT_API_KEY_FILE.*{says}"):
        Settings.from_environment({**ENOUGH, "GRAFT_API_KEY_FILE": str(path)})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GRAFT_LOADS_AT_ONCE", "0"),
        ("GRAFT_CACHE_BYTES", "-1"),
        ("GRAFT_MAX_RANK", "high"),
        ("GRAFT_OTLP_ENDPOINT", "collector:4317"),
        ("GRAFT_TRACE_SAMPLE_RATIO", "10"),
    ],
)
def test_a_bad_value_is_refused_by_the_variable_s_name(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        Settings.from_environment({**ENOUGH, variable: value})


def test_a_pod_knows_others_by_three_variables_or_not_at_all() -> None:
    told = {
        "GRAFT_PEER_AUDIENCE": "graft-peers.team-a.basemodel.tiny",
        "GRAFT_PEER_ACCOUNT": "graft-tiny-serving",
        "GRAFT_PEER_TOKEN_FILE": "/var/run/token",
    }
    group = Settings.from_environment({**ENOUGH, **told}).peer_group
    assert group is not None
    assert (group.audience, group.subject) == (
        "graft-peers.team-a.basemodel.tiny",
        "system:serviceaccount:team-a:graft-tiny-serving",
    )
    assert Settings.from_environment(ENOUGH).peer_group is None
    for missing in told:
        some = {name: value for name, value in told.items() if name != missing}
        with pytest.raises(ValueError, match=f"set .*{missing}.*or none of them"):
            Settings.from_environment({**ENOUGH, **some})
