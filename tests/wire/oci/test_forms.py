"""Adapters as strangers push them: every form gives the same two files."""

from __future__ import annotations

import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.unit.registry.builders import CONFIG, WEIGHTS
from tests.wire.oci.pushing import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    Files,
    Pusher,
    digest,
    folder,
    link,
    tar,
    tar_of,
    zipped,
)

from graft_registry.errors import InvalidArtifact, NotFound, Unsafe
from graft_registry.sources.oci_artifact import pull, resolve

OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_TGZ = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_TGZ = "application/vnd.docker.image.rootfs.diff.tar.gzip"
IMAGE_CONFIG = (b'{"os": "linux"}', "application/vnd.oci.image.config.v1+json")
DOCKER_CONFIG = (b'{"os": "linux"}', "application/vnd.docker.container.image.v1+json")
CARD = b"# An adapter\n"

Form = Callable[[Pusher, Files], str]


def oras_1_2(pusher: Pusher, files: Files) -> str:
    """`oras push …:v1 --artifact-type application/vnd.acme.lora adapter_config.json adapter_model.safetensors`."""
    layers = [pusher.titled(data, OCI_TAR, name) for name, data in files.items()]
    return pusher.artifact(layers, artifactType="application/vnd.acme.lora")


def oras_0_16(pusher: Pusher, files: Files) -> str:
    """Of before OCI 1.1: no artifactType, and a type of configuration of its own."""
    layers = [pusher.titled(data, OCI_TAR, name) for name, data in files.items()]
    return pusher.artifact(layers, config=(b"{}", "application/vnd.unknown.config.v1+json"))


def oras_with_media_types(pusher: Pusher, files: Files) -> str:
    """`adapter_config.json:application/json adapter_model.safetensors:application/octet-stream …`."""
    types = {CONFIG: "application/json", WEIGHTS: "application/octet-stream"}
    layers = [pusher.titled(data, types[name], name) for name, data in files.items()]
    return pusher.artifact([*layers, pusher.titled(CARD, "text/markdown", "README.md")])


def oras_config(pusher: Pusher, files: Files) -> str:
    """`oras push --config adapter_config.json:application/vnd.acme.lora+json …:v1 adapter_model.safetensors`."""
    config = (files[CONFIG], "application/vnd.acme.lora+json")
    return pusher.artifact([pusher.titled(files[WEIGHTS], OCI_TAR, WEIGHTS)], config=config)


def oras_folder(pusher: Pusher, files: Files) -> str:
    """`oras push …:v1 ./adapter/`: one archive, marked to be unpacked."""
    layer = pusher.layer(
        zipped(tar(files, prefix="adapter/")), OCI_TGZ, io__deis__oras__content__unpack="true",
        org__opencontainers__image__title="adapter",
    )  # fmt: skip
    return pusher.artifact([layer])


def oras_paths(pusher: Pusher, files: Files) -> str:
    """`oras push --disable-path-validation …:v1 /home/me/out/adapter_config.json …`."""
    return pusher.artifact([pusher.titled(data, OCI_TAR, f"/home/me/out/{name}") for name, data in files.items()])


def oras_tarball(pusher: Pusher, files: Files) -> str:
    """`tar czf adapter.tgz -C adapter . && oras push …:v1 adapter.tgz`."""
    return pusher.artifact([pusher.titled(zipped(tar(files, prefix="./")), OCI_TAR, "adapter.tgz")])


def modctl_raw(pusher: Pusher, files: Files) -> str:
    """`modctl build --raw`, of a checkpoint with more than the adapter."""
    kinds = {CONFIG: "weight.config", WEIGHTS: "weight"}
    layers = [
        pusher.layer(data, f"application/vnd.cncf.model.{kinds[name]}.v1.raw", org__cncf__model__filepath=name)
        for name, data in files.items()
    ]
    layers.append(
        pusher.layer(b"import os", "application/vnd.cncf.model.code.v1.raw", org__cncf__model__filepath="train.py")
    )
    config = (b'{"descriptor": {}}', "application/vnd.cncf.model.config.v1+json")
    return pusher.artifact(layers, config=config, artifactType="application/vnd.cncf.model.manifest.v1+json")


def modctl_tar(pusher: Pusher, files: Files) -> str:
    """`modctl build` of before the raw layers: each file in an archive of its own, under the older annotation."""
    kinds = {CONFIG: "weight.config", WEIGHTS: "weight"}
    layers = [
        pusher.layer(
            tar({name: data}), f"application/vnd.cnai.model.{kinds[name]}.v1.tar", org__cnai__model__filepath=name
        )
        for name, data in files.items()
    ]
    config = (b'{"descriptor": {}}', "application/vnd.cnai.model.config.v1+json")
    return pusher.artifact(layers, config=config, artifactType="application/vnd.cnai.model.manifest.v1+json")


def modctl_gzip(pusher: Pusher, files: Files) -> str:
    """The same, compressed."""
    layers = [
        pusher.layer(
            zipped(tar({name: data})), "application/vnd.cncf.model.weight.v1.tar+gzip", org__cncf__model__filepath=name
        )
        for name, data in files.items()
    ]
    return pusher.artifact(layers, config=(b"{}", "application/vnd.cncf.model.config.v1+json"))


def kitops(pusher: Pusher, files: Files) -> str:
    """`kit pack`: a Kitfile as configuration, and archives for the model, its parts, docs and datasets."""
    kind = "application/vnd.kitops.modelkit.{}.v1.tar"
    layers = [
        pusher.layer(zipped(tar({f"lora/{WEIGHTS}": files[WEIGHTS]})), kind.format("model") + "+gzip"),
        pusher.layer(tar({f"lora/{CONFIG}": files[CONFIG]}), kind.format("modelpart")),
        pusher.layer(tar({"lora/README.md": CARD}), kind.format("docs")),
        pusher.layer(tar({f"data/{CONFIG}": b"{}", f"data/{WEIGHTS}": b"rows"}), kind.format("dataset")),
    ]
    kitfile = (b'{"manifestVersion": "1.0"}', "application/vnd.kitops.modelkit.config.v1+json")
    return pusher.artifact(layers, config=kitfile)


def docker_image(pusher: Pusher, files: Files) -> str:
    """`FROM scratch` and `COPY adapter /`, pushed by docker."""
    layer = pusher.layer(zipped(tar(files)), DOCKER_TGZ)
    return pusher.artifact([layer], mediaType=DOCKER_MANIFEST, config=DOCKER_CONFIG)


def image_with_whiteouts(pusher: Pusher, files: Files) -> str:
    """An adapter that was copied twice, and moved in between: the last layer counts."""
    old = tar_of([folder("models"), (f"models/{CONFIG}", b"old"), (f"models/{WEIGHTS}", b"old"), ("etc/x.json", b"{}")])
    other = tar_of([(f"other/{CONFIG}", b"{}"), (f"other/{WEIGHTS}", b"old")])
    new = tar_of([("models/.wh..wh..opq", b""), (".wh.other", b""), *((f"models/{n}", d) for n, d in files.items())])
    return pusher.artifact([pusher.layer(zipped(data), OCI_TGZ) for data in (old, other, new)], config=IMAGE_CONFIG)


def image_of_a_hub_cache(pusher: Pusher, files: Files) -> str:
    """A copied cache of the hub's client: the names are links to blobs."""
    root = "root/.cache/huggingface/hub/models--me--lora"
    entries: list[Any] = []
    for number, (name, data) in enumerate(files.items()):
        entries += [(f"{root}/blobs/{number}", data), link(f"{root}/snapshots/abc/{name}", f"../../blobs/{number}")]
    return pusher.artifact([pusher.layer(zipped(tar_of(entries)), OCI_TGZ)], config=IMAGE_CONFIG)


def image_with_hard_links(pusher: Pusher, files: Files) -> str:
    """As tar writes a folder in which names share their content."""
    entries: list[Any] = [(f"var/lib/store/{name}", data) for name, data in files.items()]
    entries += [link(f"adapter/{name}", f"var/lib/store/{name}", tarfile.LNKTYPE) for name in files]
    return pusher.artifact([pusher.layer(tar_of(entries), OCI_TAR)], config=IMAGE_CONFIG)


def zstd_image(pusher: Pusher, files: Files) -> str:
    """`docker buildx build --output type=image,compression=zstd`."""
    data = zstandard.ZstdCompressor().compress(tar(files, prefix="adapter/"))
    layer = pusher.layer(data, "application/vnd.oci.image.layer.v1.tar+zstd")
    return pusher.artifact([layer], config=IMAGE_CONFIG)


def image_index(pusher: Pusher, files: Files) -> str:
    """As buildx pushes: an index with an entry for a platform, and one with its attestation."""
    pusher.artifact([pusher.layer(zipped(tar(files)), OCI_TGZ)], tag="image", config=IMAGE_CONFIG)
    pusher.artifact([pusher.layer(b'{"predicateType": "x"}', "application/vnd.in-toto+json")], tag="attestation")
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    entries = [
        entry(pusher, "image", platform={"os": "linux", "architecture": "amd64"}),
        entry(pusher, "attestation", platform={"os": "unknown", "architecture": "unknown"}, annotations=attestation),
    ]
    return pusher.manifest({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, "v1")


def docker_list(pusher: Pusher, files: Files) -> str:
    """Docker's older index, of images for several platforms."""
    entries = []
    for architecture in ("amd64", "arm64", "s390x"):
        data = tar({**files, "arch.txt": architecture.encode()})
        layers = [pusher.layer(zipped(data), DOCKER_TGZ)]
        pusher.artifact(layers, tag=architecture, mediaType=DOCKER_MANIFEST, config=DOCKER_CONFIG)
        entries.append(entry(pusher, architecture, platform={"os": "linux", "architecture": architecture}))
    return pusher.manifest({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}, "v1")


def trainer_output(pusher: Pusher, files: Files) -> str:
    """A whole output folder of Transformers' Trainer: checkpoints below the adapter, and pickles beside it."""
    held = {**files, "training_args.bin": b"\x80\x04.", "checkpoint-9/optimizer.pt": b"\x80\x04."}
    held |= {f"checkpoint-9/{name}": b"older" for name in files}
    layers = [pusher.titled(data, "application/octet-stream", name) for name, data in held.items()]
    return pusher.artifact(layers)


def entry(pusher: Pusher, tag: str, **fields: Any) -> dict[str, Any]:
    accept = ", ".join((OCI_INDEX, DOCKER_MANIFEST, "application/vnd.oci.image.manifest.v1+json"))
    url = f"http://{pusher.host}/v2/{pusher.repository}/manifests/{tag}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
        content, kind = answer.read(), answer.headers["Content-Type"]
    return {"mediaType": kind, "digest": digest(content), "size": len(content), **fields}


FORMS: list[Form] = [
    oras_1_2,
    oras_0_16,
    oras_with_media_types,
    oras_config,
    oras_folder,
    oras_paths,
    oras_tarball,
    modctl_raw,
    modctl_tar,
    modctl_gzip,
    kitops,
    docker_image,
    image_with_whiteouts,
    image_of_a_hub_cache,
    image_with_hard_links,
    zstd_image,
    image_index,
    docker_list,
    trainer_output,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_an_adapter_is_read_whoever_pushed_it(form: Form, pusher: Pusher, adapter: Files, tmp_path: Path) -> None:
    pushed = form(pusher, adapter)
    reference = f"oci://{pusher.host}/{pusher.repository}:v1"
    assert pull(reference, tmp_path / "out") == pushed
    assert resolve(reference) == pushed
    brought = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert brought == adapter, "nothing else of the artifact is written"
    by_digest = f"{pusher.host}/{pusher.repository}@{pushed}"
    assert pull(by_digest, tmp_path / "again") == resolve(by_digest) == pushed


def test_a_link_that_shares_its_content_is_a_file_of_its_own(pusher: Pusher, adapter: Files, tmp_path: Path) -> None:
    entries: list[Any] = [("shared", adapter[CONFIG]), *(link(name, "/shared") for name in adapter)]
    pusher.artifact([pusher.layer(tar_of(entries), OCI_TAR)])
    pull(f"{pusher.host}/{pusher.repository}:v1", tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (tmp_path / "out" / CONFIG).read_bytes() == adapter[CONFIG]
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def ollama(pusher: Pusher, _: Files) -> None:
    config = (b"{}", "application/vnd.docker.container.image.v1+json")
    layers = [
        pusher.layer(b"GGUF....", "application/vnd.ollama.image.model"),
        pusher.layer(b"GGUF....", "application/vnd.ollama.image.adapter"),
    ]
    pusher.artifact(layers, config=config, mediaType=DOCKER_MANIFEST)


def docker_model_runner(pusher: Pusher, _: Files) -> None:
    layers = [pusher.layer(b"GGUF", "application/vnd.docker.ai.gguf.v3", org__cncf__model__filepath="model.gguf")]
    pusher.artifact(layers, config=(b"{}", "application/vnd.docker.ai.model.config.v0.1+json"))


def pickled(pusher: Pusher, files: Files) -> None:
    held = {CONFIG: files[CONFIG], "adapter_model.bin": b"\x80\x04."}
    pusher.artifact([pusher.titled(data, OCI_TAR, name) for name, data in held.items()])


def helm_chart(pusher: Pusher, _: Files) -> None:
    layer = pusher.layer(
        zipped(tar({"chart/Chart.yaml": b"name: x"})), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    )
    pusher.artifact([layer], config=(b"{}", "application/vnd.cncf.helm.config.v1+json"))


def whole_model(pusher: Pusher, _: Files) -> None:
    held = {"config.json": b"{}", "model.safetensors": b"weights"}
    pusher.artifact([pusher.titled(data, OCI_TAR, name) for name, data in held.items()])


def weights_with_another_configuration(pusher: Pusher, files: Files) -> None:
    config = (b'{"architecture": "llama"}', "application/vnd.acme.model+json")
    pusher.artifact([pusher.titled(files[WEIGHTS], OCI_TAR, WEIGHTS)], config=config)


def two_adapters(pusher: Pusher, files: Files) -> None:
    held = {f"{language}/{name}": data for language in ("de", "fr") for name, data in files.items()}
    pusher.artifact([pusher.layer(tar(held), OCI_TAR)])


def nameless(pusher: Pusher, files: Files) -> None:
    pusher.artifact([pusher.layer(data, "application/octet-stream") for data in files.values()])


REFUSED: list[tuple[Callable[[Pusher, Files], None], str]] = [
    (ollama, r"Ollama model, whose adapters are GGUF; push the adapter_config.json"),
    (docker_model_runner, r"holds GGUF \(model.gguf\)"),
    (pickled, r"only pickled weights \(adapter_model.bin\), which are never loaded; convert"),
    (helm_chart, r"a Helm chart"),
    (whole_model, r"holds no adapter but config.json, model.safetensors; an adapter is"),
    (weights_with_another_configuration, r"holds no adapter but adapter_model.safetensors"),
    (two_adapters, r"holds several adapters \(de, fr\); push each"),
    (nameless, r"names none of its files"),
]


@pytest.mark.parametrize(("form", "message"), REFUSED, ids=lambda item: getattr(item, "__name__", ""))
def test_what_holds_no_adapter_is_refused_in_words(
    form: Callable[[Pusher, Files], None], message: str, pusher: Pusher, adapter: Files, tmp_path: Path
) -> None:
    form(pusher, adapter)
    with pytest.raises(InvalidArtifact, match=message):
        pull(f"{pusher.host}/{pusher.repository}:v1", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "entries",
    [
        [("../../escape.json", b"x")],
        [("a/../../escape.json", b"x")],
        [link(CONFIG, "../../../etc/passwd"), (WEIGHTS, b"x")],
        [link(CONFIG, "/etc/passwd"), (WEIGHTS, b"x")],
        [link(CONFIG, CONFIG), (WEIGHTS, b"x")],
        [link(CONFIG, "/etc/passwd", tarfile.LNKTYPE), (WEIGHTS, b"x")],
    ],
    ids=["path", "path within", "link out", "absolute link", "link to itself", "hard link out"],
)
def test_what_leads_out_of_an_artifact_is_refused(
    entries: list[Any], pusher: Pusher, adapter: Files, tmp_path: Path
) -> None:
    pusher.artifact([pusher.layer(tar_of(entries), OCI_TAR)])
    with pytest.raises(Unsafe):
        pull(f"{pusher.host}/{pusher.repository}:v1", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert not list(tmp_path.rglob("escape.json"))


def test_what_is_not_there_is_told_apart(pusher: Pusher, adapter: Files, tmp_path: Path) -> None:
    oras_1_2(pusher, adapter)
    for reference in (f"{pusher.host}/{pusher.repository}:v2", f"{pusher.host}/no/such:v1"):
        with pytest.raises(NotFound):
            pull(reference, tmp_path / "out")
        with pytest.raises(NotFound, match="typing error"):
            resolve(reference)
