"""``estimate``: the memory of a training, before a GPU is rented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.text import Text

from graft_cli.client import Base
from graft_cli.commands.files import read_text
from graft_cli.commands.options import Target, cluster_options, output_option
from graft_cli.decisions.estimates import Report, base_of_config, report
from graft_cli.decisions.linting import InvalidManifest, parse
from graft_cli.decisions.manifests import Manifest, read_manifests
from graft_cli.errors import ExitCode, GraftError, Refused
from graft_cli.rendering.console import STYLES, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import FittedTable
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.training.memory import size

PARTS = ("weights", "adapter", "activations", "logits", "overhead")
VERDICT_STYLES = {"fits": "good", "may fit": "busy", "does not fit": "bad", "GPU not known": "plain"}


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--base",
    "base_path",
    type=click.Path(exists=True, path_type=Path),
    help="config.json of the base, its folder, or YAML of BaseModels with status; else the cluster is asked.",
)
@click.option("--gpu-memory", metavar="SIZE", help="Memory of one GPU, such as 24Gi, instead of the spec's.")
@output_option
@cluster_options
def estimate(target: Target, file: str, base_path: Path | None, gpu_memory: str | None, output: Format) -> int:
    """Estimate the memory of the trainings of FILE's LoraAdapters, offline where --base is given."""
    base_for = base_from(base_path) if base_path else base_in(target)
    reports = [
        report(adapter, base_for(adapter, namespace), gpu=gpu_memory) for adapter, namespace in adapters_of(file)
    ]
    if not reports:
        raise Refused(f"{file} holds no LoraAdapter", fix="give the manifest of an adapter")
    if output != "table":
        print_document({"estimates": reports}, output)
    else:
        show(estimate_table(reports), *(line for found in reports for line in remarks(found)))
    return ExitCode.FAILED if any(found.verdict == "does not fit" for found in reports) else ExitCode.OK


def adapters_of(file: str) -> Iterator[tuple[LoraAdapter, str]]:
    """Yield the adapters of a file, and the namespaces that they name. Raises Refused where one is not valid."""
    for manifest in read_manifests(file, read_text(file)):
        if manifest.kind != "LoraAdapter":
            continue
        try:
            model = parse(manifest).model
        except InvalidManifest as error:
            first = error.problems[0]
            message = f"{file}:{first.line}: {first.field}: {first.message}"
            fixes = [first.fix, f"`kubectl graft lint {file}` lists all that is wrong"]
            raise Refused(message, fix="; ".join(filter(None, fixes))) from error
        if isinstance(model, LoraAdapter):
            yield model, str(dict(manifest.body.get("metadata") or {}).get("namespace") or "")


BaseFor = Callable[[LoraAdapter, str], ResolvedBase]


def base_in(target: Target) -> BaseFor:
    """Return a function that asks the cluster for an adapter's base."""

    def ask(adapter: LoraAdapter, namespace: str) -> ResolvedBase:
        name = adapter.spec.base_model_ref.name
        return resolved(target.reader.base(target.namespace_option or namespace or target.namespace, name))

    return ask


def base_from(path: Path) -> BaseFor:
    """Return a function that takes an adapter's base from a file."""
    path = path / "config.json" if path.is_dir() else path
    text = read_text(str(path))
    if path.name.endswith(".json") and "apiVersion" not in text:
        try:
            found = base_of_config(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise Refused(f"{path} is not JSON: {error}") from error
        return lambda adapter, namespace: found
    bases = {item.name: item for item in read_manifests(str(path), text) if item.kind == "BaseModel"}

    def pick(adapter: LoraAdapter, _: str) -> ResolvedBase:
        name = adapter.spec.base_model_ref.name
        if name not in bases:
            raise Refused(f"{path} holds no BaseModel {name}", fix="give its config.json, or the right file")
        return resolved(Base.parse(with_identity(bases[name])))

    return pick


def with_identity(manifest: Manifest) -> dict[str, object]:
    """Return a base of a file with what only a cluster fills in."""
    metadata = manifest.body.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    return {**manifest.body, "metadata": {"namespace": "default", "uid": "none", **given}}


def resolved(base: Base) -> ResolvedBase:
    """Return what a base was resolved to. Raises GraftError where it was not yet."""
    if base.problem:
        raise GraftError(f"what the operator says of BaseModel {base.metadata.name} can't be read: {base.problem}")
    if base.status.resolved is None:
        fix = "wait until it is Ready, or give its config.json with --base"
        raise GraftError(f"BaseModel {base.metadata.name} is not resolved yet, so its shape is not known", fix=fix)
    return base.status.resolved


def estimate_table(reports: list[Report]) -> FittedTable:
    """Return a row for each adapter."""
    head = ("NAME", "METHOD", *(part.upper() for part in PARTS), "SUM", "GPU", "VERDICT", "MAIN MEMORY")
    rows: list[tuple[str | Text, ...]] = []
    for found in reports:
        parts = [size(getattr(found.gpu, part)) for part in PARTS]
        gpu = size(found.available) if found.available is not None else "-"
        verdict = Text(found.verdict, style=STYLES[VERDICT_STYLES[found.verdict]])
        rows.append((found.adapter, found.method, *parts, size(found.total), gpu, verdict, found.main_memory))
    return FittedTable(head, rows)


def remarks(found: Report) -> list[Text]:
    """Return what is to be said of one."""
    said = [f"{found.adapter}: {text}" for text in (found.why, found.remedy) if text]
    return [Text(text) for text in said]
