"""What may be published: an allow-list by name, checked by content."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.registry.builders import safetensors_bytes, write_adapter

from graft_registry.adapters.publishable import path_is_allowed, publishable_files
from graft_registry.errors import Unsafe

PICKLE = pickle.dumps({"weights": 1})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("adapter_config.json", True),
        ("adapter_model.safetensors", True),
        ("README.md", True),
        ("report.html", True),
        ("merged/model-00001-of-00002.safetensors", True),
        ("merged/config.json", True),
        ("merged/sub/config.json", True),
        ("config.json", False),
        ("adapter_model.bin", False),
        ("training_args.bin", False),
        ("merged/optimizer.pt", False),
        ("merged/modeling_custom.py", False),
        ("merged/../config.json", False),
        ("merged/.hidden/config.json", False),
        ("/adapter_config.json", False),
        ("./adapter_config.json", False),
        ("adapter_config.json\n", False),
        ("ADAPTER_CONFIG.JSON", False),
        ("", False),
    ],
)
def test_only_names_on_the_list_are_allowed(path: str, allowed: bool) -> None:
    assert path_is_allowed(path) is allowed


def test_files_are_listed_with_size_and_hash_sorted_by_path(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    (tmp_path / "README.md").write_text("# Adapter")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "model.safetensors").write_bytes(safetensors_bytes({"a": ("F32", (1,))}))
    files = publishable_files(tmp_path)
    assert [file.path for file in files] == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "merged/model.safetensors",
    ]
    assert all(file.size == (tmp_path / file.path).stat().st_size for file in files)


def file(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(data)


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).symlink_to(target)


def replace_by_link(directory: Path) -> None:
    (directory / "adapter_config.json").rename(directory.parent / "elsewhere.json")
    (directory / "adapter_config.json").symlink_to(directory.parent / "elsewhere.json")


def replace_by_pipe(directory: Path) -> None:
    (directory / "README.md").unlink(missing_ok=True)
    os.mkfifo(directory / "README.md")


def replace_by_archive(directory: Path) -> None:
    with zipfile.ZipFile(directory / "adapter_model.safetensors", "w") as archive:
        archive.writestr("data.pkl", PICKLE)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(file("training_args.bin", PICKLE), r"training_args\.bin: not a file that", id="an unknown file"),
        pytest.param(file(".hidden", b""), r"\.hidden: not a file that", id="a hidden file"),
        pytest.param(file("adapter_model.safetensors", PICKLE), "not a safetensors file", id="a pickle for weights"),
        pytest.param(file("adapter_config.json", PICKLE), "not JSON", id="a pickle for the config"),
        pytest.param(file("adapter_config.json", b"[" * 100_000), "not JSON", id="JSON nested too deeply"),
        pytest.param(file("README.md", PICKLE), "isn't text", id="a pickle for the readme"),
        pytest.param(replace_by_archive, "not a safetensors file", id="an archive for weights"),
        pytest.param(replace_by_link, "only regular files", id="a link for the config"),
        pytest.param(link("README.md", "/etc/passwd"), "only regular files", id="a link out of the directory"),
        pytest.param(link("merged", "/etc"), "only regular files", id="a link to a directory"),
        pytest.param(link("README.md", "nowhere"), "only regular files", id="a dangling link"),
        pytest.param(replace_by_pipe, "only regular files", id="a pipe"),
        pytest.param(
            lambda directory: (directory / "adapter_model.safetensors").unlink(),
            r"must contain adapter_model\.safetensors",
            id="no weights",
        ),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(write_adapter(tmp_path / "adapter"))
    with pytest.raises(Unsafe, match=message):
        publishable_files(tmp_path / "adapter")


def test_every_protocol_of_pickle_is_refused_as_text(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        directory = write_adapter(tmp_path / str(protocol))
        (directory / "adapter_config.json").write_bytes(pickle.dumps({"weights": [1.5]}, protocol))
        with pytest.raises(Unsafe, match="not JSON"):
            publishable_files(directory)
