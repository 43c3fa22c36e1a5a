"""Keys of the registry that are rotated while the agent runs."""

from pathlib import Path

import pytest

from graft_registry.config import RegistryConfig
from graft_serving.adapters.credentials import RegistryStore

CONFIG = RegistryConfig(endpoint="http://127.0.0.1:9", bucket="graft")


def keys_of(registry: RegistryStore) -> tuple[str | None, str | None]:
    credentials = registry.open()._client._request_signer._credentials
    return (credentials.access_key, credentials.token) if credentials else (None, None)


class Secret:
    """A mounted Secret: the kubelet writes all its files anew and replaces the folder that they are seen through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        folder.mkdir()

    def write(self, **files: str) -> None:
        self._count += 1
        data = self.folder / f"..data_{self._count}"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_text(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        incoming = self.folder / "..data_tmp"
        incoming.symlink_to(data.name)
        incoming.replace(self.folder / "..data")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


def test_rotated_keys_are_used_without_a_restart(environment: None, tmp_path: Path) -> None:
    secret = Secret(tmp_path / "keys")
    secret.write(AWS_ACCESS_KEY_ID="first\n", AWS_SECRET_ACCESS_KEY="a")
    registry = RegistryStore(CONFIG, secret.folder)
    first, store = keys_of(registry), registry.open()
    assert registry.open() is store, "nothing has changed"
    secret.write(AWS_ACCESS_KEY_ID="second", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="t")
    assert (first, keys_of(registry)) == (("first", None), ("second", "t"))


@pytest.mark.parametrize("files", [{}, {"AWS_ACCESS_KEY_ID": "alone"}, {"AWS_ACCESS_KEY_ID": "", "other": "x"}])
def test_without_keys_in_files_those_of_the_environment_count(
    environment: None, tmp_path: Path, files: dict[str, str]
) -> None:
    secret = Secret(tmp_path / "keys")
    secret.write(**files)
    assert keys_of(RegistryStore(CONFIG, secret.folder)) == ("of-the-environment", None)


@pytest.mark.parametrize("folder", [None, Path("/nowhere")])
def test_a_folder_that_is_not_there_changes_nothing(environment: None, folder: Path | None) -> None:
    assert keys_of(RegistryStore(CONFIG, folder)) == ("of-the-environment", None)


def test_keys_that_appear_later_are_taken(environment: None, tmp_path: Path) -> None:
    registry = RegistryStore(CONFIG, tmp_path / "keys")
    before = keys_of(registry)
    Secret(tmp_path / "keys").write(AWS_ACCESS_KEY_ID="later", AWS_SECRET_ACCESS_KEY="a")
    assert (before, keys_of(registry)) == (("of-the-environment", None), ("later", None))
