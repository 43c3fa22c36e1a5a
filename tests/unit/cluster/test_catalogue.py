from pathlib import Path

import pytest

from graft_cluster.images.catalogue import IMAGES, PREPARED, PROGRAMS, Image, references, to_build

CHAIN = (
    Image("python", "python", "debian", pinned=False),
    Image("torch", "torch", "python"),
    Image("trainer", "trainer", "torch", ("src",)),
    Image("operator", "operator", "python", ("src",)),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for image in CHAIN:
        (tmp_path / image.folder).mkdir()
        (tmp_path / image.folder / "Dockerfile").write_text(image.name)
        (tmp_path / image.folder / "constraints.txt").write_text(image.name)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("1")
    return tmp_path


def changed(checkout: Path, path: str) -> set[str]:
    """The images whose tag changes with a file."""
    before = references(checkout, {"debian": "d"}, CHAIN)
    (checkout / path).write_text("changed")
    after = references(checkout, {"debian": "d"}, CHAIN)
    return {name for name in before if before[name] != after[name]}


def test_a_code_change_changes_only_images_with_that_code(checkout: Path) -> None:
    assert changed(checkout, "src/code.py") == {"trainer", "operator"}


def test_a_pin_changes_everything_built_on_it(checkout: Path) -> None:
    assert changed(checkout, "torch/constraints.txt") == {"torch", "trainer"}
    assert changed(checkout, "python/Dockerfile") == {"python", "torch", "trainer", "operator"}


def test_an_image_without_sources_or_base_is_left_out(checkout: Path) -> None:
    (checkout / "torch" / "Dockerfile").unlink()
    assert set(references(checkout, {"debian": "d"}, CHAIN)) == {"debian", "python", "operator"}


def test_a_public_base_takes_the_place_of_ours(checkout: Path) -> None:
    known = references(checkout, {"python": "python:3.11-slim-bookworm"}, CHAIN)
    assert known["python"] == "python:3.11-slim-bookworm"
    assert known["operator"].startswith("localhost:5001/graft/operator:")


def test_no_prepared_image_holds_code_of_ours() -> None:
    assert all(not image.sources for image in IMAGES if image.name in PREPARED)


def test_where_every_program_is_pulled_nothing_is_built() -> None:
    assert to_build({"python", *PROGRAMS}) == set()


def test_what_is_not_there_is_built_with_all_that_it_stands_on() -> None:
    assert to_build({"python", *PROGRAMS} - {"trainer"}) == {"torch", "trainer"}
    assert to_build({"python", *PROGRAMS} - {"operator"}) == {"operator"}
    assert to_build({"python", "torch"} | set(PROGRAMS) - {"engine"}) == {"engine"}
    assert to_build(()) == {image.name for image in IMAGES} - {"trainer-base"}
