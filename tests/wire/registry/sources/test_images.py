"""A base in an OCI image, as people make them: where its files may be, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.wire.registry.container import Container, files_of

from graft_registry.layout import BaseLayout
from graft_registry.models.fingerprint import identify
from graft_registry.s3.store import ObjectStore

REFERENCE = "registry.example.com/models/tiny:v1"
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Where the platform has mounted an image."""
    root = tmp_path / "image"
    root.mkdir()
    return root


def imported(container: Container, image: Path, path: str = "", reference: str = REFERENCE) -> tuple[int, Any]:
    source = {"image": {"reference": reference, "path": path}}
    return container.import_base(source, path=str(image / path if path else image))


def at_the_root(image: Path, model: Path) -> str:
    """``FROM scratch`` and ``COPY model /``."""
    shutil.copytree(model, image, dirs_exist_ok=True)
    return ""


def modelcar(image: Path, model: Path) -> str:
    """As KServe wants them: a small system, and the files in ``/models``."""
    for folder in ("bin", "etc", "proc"):
        (image / folder).mkdir()
    (image / "bin" / "sh").write_bytes(b"\x7fELF")
    shutil.copytree(model, image / "models")
    return "models"


def by_version(image: Path, model: Path) -> str:
    """Several models in one image, below a link to the newest."""
    shutil.copytree(model, image / "models" / "tiny" / "2")
    (image / "models" / "tiny" / "latest").symlink_to("2")
    return "models/tiny/latest"


def cache_of_the_hub(image: Path, model: Path) -> str:
    """``HF_HOME`` as it is: a snapshot of relative links to blobs."""
    blobs, snapshot = (image / "models--org--tiny" / name for name in ("blobs", "snapshots/0a1b2c"))
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(model.iterdir())):
        shutil.copyfile(file, blobs / f"{number:040}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040}")
    return "models--org--tiny/snapshots/0a1b2c"


def templates_by_links(image: Path, model: Path) -> str:
    """The folder of templates and a file in it are links within the image."""
    modelcar(image, model)
    (image / "shared").mkdir()
    (image / "shared" / "tools.txt").write_text("{{ tools }}")
    (image / "shared" / "tool_use.jinja").symlink_to("tools.txt")
    (image / "models" / "additional_chat_templates").symlink_to("../shared")
    shutil.copytree(image / "shared", model / "additional_chat_templates")
    return "models"


def with_much_else(image: Path, model: Path) -> str:
    """A clone with its Git folder, pickles beside the safetensors, and other people's formats."""
    at_the_root(image, model)
    (image / ".git").mkdir()
    (image / ".git" / "config").write_text("[core]")
    for name in ("pytorch_model.bin", "model.onnx", "README.md", ".gitattributes"):
        (image / name).write_bytes(b"x")
    return ""


LAYOUTS: list[Callable[[Path, Path], str]] = [
    at_the_root,
    modelcar,
    by_version,
    cache_of_the_hub,
    templates_by_links,
    with_much_else,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_base_in_an_image_is_copied_and_provided_as_any_other(
    layout: Callable[[Path, Path], str], container: Container, image: Path, model: Path, tmp_path: Path
) -> None:
    path = layout(image, model)
    code, message = imported(container, image, path)
    assert code == 0, message
    assert message["digest"] == identify(model).digest
    shutil.rmtree(image)  # pods that use the base mount no image
    code, _ = container.fetch_base(message["digest"], tmp_path / "base")
    assert code == 0
    assert files_of(tmp_path / "base") == files_of(model)


def test_a_digest_is_the_revision_and_a_tag_is_not(container: Container, image: Path, model: Path) -> None:
    at_the_root(image, model)
    _, by_tag = imported(container, image)
    assert by_tag["revision"] != DIGEST
    _, by_digest = imported(container, image, reference=f"registry.example.com/models/tiny@{DIGEST}")
    # The files are those of a base that is known, and it keeps the revision that it was found by first.
    assert (by_digest["digest"], by_digest["revision"]) == (by_tag["digest"], by_tag["revision"])


def test_the_digest_of_a_new_base_is_its_revision(container: Container, image: Path, model: Path) -> None:
    at_the_root(image, model)
    _, message = imported(container, image, reference=f"registry.example.com/models/tiny:v1@{DIGEST}")
    assert message["revision"] == DIGEST


def nothing(image: Path, model: Path) -> str:
    return ""


def not_named(image: Path, model: Path) -> str:
    modelcar(image, model)
    return ""


def misspelled(image: Path, model: Path) -> str:
    modelcar(image, model)
    return "model"


def no_model(image: Path, model: Path) -> str:
    (image / "etc").mkdir()
    (image / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh")
    return ""


def gguf(image: Path, model: Path) -> str:
    """As ``docker model package`` makes them."""
    (image / "config.json").write_text("{}")
    (image / "model.gguf").write_bytes(b"GGUF")
    return ""


def pickles(image: Path, model: Path) -> str:
    (image / "config.json").write_text("{}")
    (image / "pytorch_model.bin").write_bytes(b"x")
    return ""


def absolute_links(image: Path, model: Path) -> str:
    """Links that were right in the container that the image was made in."""
    shutil.copytree(model, image / "data")
    (image / "models").mkdir()
    for file in (image / "data").iterdir():
        (image / "models" / file.name).symlink_to(f"/data/{file.name}")
    return "models"


def secrets_of_the_pod(image: Path, model: Path) -> str:
    """Made to have the import publish its own environment."""
    at_the_root(image, model)
    (image / "generation_config.json").unlink(missing_ok=True)
    (image / "generation_config.json").symlink_to("/proc/self/environ")
    return ""


TOKEN = "a token of the pod"
FOLDER = "additional_chat_templates"


def mounted_secret(image: Path) -> Path:
    """A file of the pod, beside the image, as a platform mounts tokens."""
    token = image.parent / "secrets" / "token.jinja"
    token.parent.mkdir()
    token.write_text(TOKEN)
    return token


def token_as_a_template(image: Path, model: Path) -> str:
    at_the_root(image, model)
    (image / FOLDER).mkdir()
    (image / FOLDER / "tool_use.jinja").symlink_to(mounted_secret(image))
    return ""


def environment_as_a_template(image: Path, model: Path) -> str:
    at_the_root(image, model)
    (image / FOLDER).mkdir()
    (image / FOLDER / "env.jinja").symlink_to("/proc/self/environ")
    return ""


def folder_of_secrets_as_the_templates(image: Path, model: Path) -> str:
    at_the_root(image, model)
    (image / FOLDER).symlink_to(mounted_secret(image).parent)
    return ""


def link_to_a_link_that_leads_out(image: Path, model: Path) -> str:
    """Neither the folder nor the file in it is what leads out at first sight."""
    modelcar(image, model)
    (image / "etc" / "templates").mkdir()
    (image / "etc" / "passed_on").symlink_to(mounted_secret(image))
    (image / "etc" / "templates" / "tool_use.jinja").symlink_to("../passed_on")
    (image / "models" / FOLDER).symlink_to("../etc/templates")
    return "models"


def link_in_a_circle(image: Path, model: Path) -> str:
    at_the_root(image, model)
    (image / FOLDER).mkdir()
    (image / FOLDER / "tool_use.jinja").symlink_to("tool_use.jinja")
    return ""


def folder_out_of_the_image(image: Path, model: Path) -> str:
    shutil.copytree(model, image.parent / "elsewhere")
    at_the_root(image, model)
    (image / "models").symlink_to("../elsewhere")
    return "models"


REFUSED: dict[str, tuple[Callable[[Path, Path], str], str, str, str]] = {
    "not mounted": (nothing, "SourceNotFound", "reference", "this cluster mounts no images, as Kubernetes does from"),
    "no path": (not_named, "SourceNotFound", "path", "config.json is in models"),
    "a wrong path": (misspelled, "SourceNotFound", "path", "there is no folder model of"),
    "no model": (no_model, "SourceNotFound", "path", "no folder of it has config.json"),
    "GGUF": (gguf, "SourceInvalid", "path", "no *.safetensors file"),
    "pickles": (pickles, "SourceInvalid", "path", "only pickled weights"),
    "absolute links": (absolute_links, "SourceInvalid", "reference", "is a link to /data/"),
    "a link to the pod's environment": (secrets_of_the_pod, "SourceInvalid", "reference", "/proc/self/environ"),
    "a template that is a token": (token_as_a_template, "SourceInvalid", "reference", "tool_use.jinja is a link to /"),
    "a template that is the environment": (environment_as_a_template, "SourceInvalid", "reference", "/proc/self/envi"),
    "templates in a folder of secrets": (
        folder_of_secrets_as_the_templates,
        "SourceInvalid",
        "reference",
        f"{FOLDER} is a link to /",
    ),
    "a link by way of another": (link_to_a_link_that_leads_out, "SourceInvalid", "reference", "is a link to ../passed"),
    "a link in a circle": (link_in_a_circle, "SourceInvalid", "reference", "is a link to tool_use.jinja"),
    "a folder elsewhere": (folder_out_of_the_image, "SourceNotFound", "path", "config.json is in the root"),
}


@pytest.mark.parametrize(("made", "reason", "field", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_base_is_refused_with_what_helps(
    made: Callable[[Path, Path], str],
    reason: str,
    field: str,
    says: str,
    container: Container,
    image: Path,
    model: Path,
    store: ObjectStore,
) -> None:
    code, message = imported(container, image, made(image, model))
    assert (code, message["reason"], message["field"]) == (65, reason, f"spec.source.image.{field}"), message
    assert says in message["message"]
    assert not list(store.list(BaseLayout("team-a", "tiny").blob("")))


@pytest.mark.parametrize("closed", ["model.safetensors", f"{FOLDER}/tool_use.jinja"])
def test_files_that_only_root_may_read_are_the_users_to_correct(
    closed: str, container: Container, image: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_root(image, model)
    (image / FOLDER).mkdir()
    (image / FOLDER / "tool_use.jinja").write_text("{{ tools }}")
    # Root may read everything, so what the kernel says to other users is said here.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != image / closed)
    code, told = imported(container, image)
    assert (code, told["reason"], told["field"]) == (77, "Forbidden", "spec.source.image.path")
    assert f"{closed} can't be read by user" in told["message"]
