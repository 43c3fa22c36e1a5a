from pathlib import Path

import pytest

from graft_cluster.docker.build_context import BuildContext


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "src" / "main.py").write_text("print(1)\n")
    return tmp_path


def test_digest_depends_on_names_contents_modes_and_the_base(root: Path) -> None:
    context = BuildContext("Dockerfile", root, ("src",))
    seen = [context.digest("base-1"), context.digest("base-2")]
    (root / "src" / "main.py").write_text("print(2)\n")
    seen.append(context.digest("base-1"))
    (root / "src" / "main.py").chmod(0o755)
    seen.append(context.digest("base-1"))
    (root / "src" / "main.py").rename(root / "src" / "other.py")
    seen.append(context.digest("base-1"))
    assert len(set(seen)) == len(seen)


def test_compiled_files_are_left_out(root: Path) -> None:
    context = BuildContext("Dockerfile", root, ("src",))
    before = context.digest()
    (root / "src" / "__pycache__" / "main.pyc").write_bytes(b"x")
    (root / "src" / "old.pyc").write_bytes(b"x")
    assert context.digest() == before


def test_archive_is_the_same_for_the_same_files(root: Path, tmp_path: Path) -> None:
    context = BuildContext("Dockerfile", root, ("src",), {"bin/tool": root / "src" / "main.py"})
    context.write_archive(tmp_path / "1.tar")
    (root / "src" / "main.py").touch()
    context.write_archive(tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    assert [name for name, _ in context.files()] == ["Dockerfile", "bin/tool", "src/main.py"]
