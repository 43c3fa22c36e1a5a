"""Commands for Jobs, init containers and people.

    python -m graft_registry import-base | resolve-adapter | fetch-base | fetch-version | verify | export | doctor

``GRAFT_REGISTRY`` (JSON) says where the registry is; credentials come from the AWS variables or workload identity,
and those of a source that needs others from ``SOURCE_…`` (see ``source_access``).
The result is written as JSON to ``GRAFT_TERMINATION_LOG`` (default ``/dev/termination-log``) and to the log.

==== ============================================================
exit meaning
==== ============================================================
0    done
64   a variable or argument is missing or wrong
65   the source is wrong (SourceNotFound, SourceInvalid)
66   stored or mounted content isn't what it should be, or is gone
73   the place of an export holds something else already
68   a store or hub can't be reached; worth a retry
69   the store, or the key, lacks something that Graft needs (doctor)
77   access was refused
143  it was told to end (SIGTERM)
==== ============================================================
"""

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from graft_registry.base_fetch import provide_base
from graft_registry.base_import import BaseImport, import_base
from graft_registry.config import RegistryConfig
from graft_registry.doctor.table import table
from graft_registry.documents import AdapterSource, FoundBefore, VersionCheck
from graft_registry.documents.model import Digest, Document
from graft_registry.errors import Corrupt, Unfit
from graft_registry.exports.destination import FORMS, Destination
from graft_registry.exports.exporting import export
from graft_registry.exports.opened_version import open_version
from graft_registry.layout import AdapterLayout
from graft_registry.outcome import FAILURES, TERMINATION_LOG_VARIABLE, Outcome, failure, write_outcome
from graft_registry.s3.store import ObjectStore, Patience
from graft_registry.sources.adapter_origins import is_at, resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.termination import end_at_once_on_sigterm
from graft_registry.verification import check_of_unreadable, check_version
from graft_registry.versions import AdapterRegistry

log = logging.getLogger("graft_registry")

IMPORT_VARIABLE: Final = "GRAFT_BASE_IMPORT"
FETCH_VARIABLE: Final = "GRAFT_BASE"
ADAPTER_VARIABLE: Final = "GRAFT_ADAPTER_SOURCE"
FOUND_VARIABLE: Final = "GRAFT_ADAPTER_FOUND"

_IMPATIENT: Final = Patience(connect_seconds=5, read_seconds=10, attempts=2)
"""For the doctor, whose report somebody waits for at a terminal."""

RequestT = TypeVar("RequestT", bound=Document)


class BaseFetch(Document):
    """What ``GRAFT_BASE`` holds: which base to fetch. ``path`` is where the claim is mounted whose directory has it."""

    namespace: str
    name: str
    digest: Digest
    path: Path = Path("/claim")


def run_import(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Import the base that ``GRAFT_BASE_IMPORT`` describes; nothing is done twice."""
    request = _from_variable(BaseImport, IMPORT_VARIABLE, environ)
    store = ObjectStore(RegistryConfig.from_environment(environ))
    with tempfile.TemporaryDirectory(dir=arguments.workspace) as workspace:
        access = SourceAccess.from_environment(environ)
        manifest = import_base(store, request, access, workspace=Path(workspace))
    return Outcome(outcome="Imported", digest=manifest.digest, revision=manifest.revision)


def run_resolve(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Find out what is in the source of an adapter that ``GRAFT_ADAPTER_SOURCE`` describes.

    ``GRAFT_ADAPTER_FOUND``, where it is set, says what an earlier look found, which is not downloaded again.
    """
    source = _from_variable(AdapterSource, ADAPTER_VARIABLE, environ)
    before = _from_variable(FoundBefore, FOUND_VARIABLE, environ) if environ.get(FOUND_VARIABLE) else None
    access, registry = SourceAccess.from_environment(environ), RegistryConfig.from_environment(environ)
    with tempfile.TemporaryDirectory(dir=arguments.workspace) as workspace:
        if before is not None and is_at(source, before.revision):
            return Outcome(outcome="Resolved", digest=before.digest, revision=before.revision)
        found = resolve_adapter(source, access, registry, workspace=Path(workspace))
    return Outcome(outcome="Resolved", digest=found.digest, revision=found.revision)


def run_fetch(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Put the base that ``GRAFT_BASE`` names into ``--destination``, verified."""
    request = _from_variable(BaseFetch, FETCH_VARIABLE, environ)
    store = ObjectStore(RegistryConfig.from_environment(environ))
    manifest = provide_base(
        store,
        namespace=request.namespace,
        name=request.name,
        digest=request.digest,
        mount=request.path,
        destination=arguments.destination,
        manifest_directory=arguments.manifest_directory or arguments.destination / ".graft",
        weights=not arguments.without_weights,
    )
    return Outcome(outcome="Fetched", digest=manifest.digest, revision=manifest.revision)


def run_fetch_version(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Put the files of a version, all or only those that are named, into ``--destination``, verified.

    With ``--manifest`` alone, only the manifest is fetched.
    """
    if arguments.destination is None and (arguments.manifest is None or arguments.file):
        raise ValueError("--destination is missing: it says where the files go; only --manifest can do without")
    store = ObjectStore(RegistryConfig.from_environment(environ))
    registry = AdapterRegistry(store, arguments.namespace, arguments.adapter)
    stored = registry.read(arguments.number, arguments.digest)
    if arguments.destination is not None and not arguments.file:
        registry.fetch(stored, arguments.destination)
    if arguments.manifest is not None:
        arguments.manifest.write_bytes(stored.manifest.to_bytes())
    for path in arguments.file:
        registry.fetch_file(stored, path, arguments.destination / path)
    return Outcome(outcome="Fetched", digest=stored.digest, number=stored.manifest.number)


def run_verify(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Read every object of one version, or of all, and compare it with the manifest; fail where something differs."""
    if (arguments.number is None) != arguments.all:
        raise ValueError("give either --number or --all")
    if arguments.all and arguments.digest:
        raise ValueError("--digest is of one version: give its --number instead of --all")
    store = ObjectStore(RegistryConfig.from_environment(environ))
    registry = AdapterRegistry(store, arguments.namespace, arguments.adapter)
    layout = AdapterLayout(arguments.namespace, arguments.adapter)
    numbers = registry.numbers() if arguments.all else (arguments.number,)
    checks = [_check(store, registry, layout, number, arguments.digest) for number in numbers]
    if arguments.output == "json":
        document = {"versions": [check.to_dict() for check in checks]}
        sys.stdout.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")
    for check in checks:
        for found in check.damaged:
            raise Corrupt(found.key, found.expected or "a manifest", found.found or found.verdict)
    last = checks[-1] if checks else None
    return Outcome(outcome="Verified", digest=last.digest if last else None, number=last.number if last else None)


def _check(
    store: ObjectStore, registry: AdapterRegistry, layout: AdapterLayout, number: int, digest: str | None
) -> VersionCheck:
    try:
        return check_version(store, layout, registry.read(number), digest=digest)
    except Corrupt as error:
        return check_of_unreadable(layout, number, error)


def run_export(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Bring a version to ``--to``, verified; what is there already is not brought again."""
    to = Destination.parse(arguments.to)
    store = ObjectStore(RegistryConfig.from_environment(environ))
    with tempfile.TemporaryDirectory(dir=arguments.workspace) as workspace:
        version = open_version(
            store,
            arguments.namespace,
            arguments.adapter,
            number=arguments.number,
            digest=arguments.digest,
            workspace=Path(workspace),
        )
        location = export(version, to, environ, overwrite=arguments.overwrite)
    number = version.manifest.number
    return Outcome(outcome="Exported", digest=version.stored.digest, number=number, location=location)


def run_doctor(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Outcome:
    """Try what the store and the key can do, and print it; fail where Graft can't work with that."""
    config = RegistryConfig.from_environment(environ)
    if arguments.namespace:
        config = config.model_copy(update={"prefix": f"{config.prefix}/{arguments.namespace}".strip("/")})
    report = ObjectStore(config, patience=_IMPATIENT).examine(thoroughly=True)
    text = report.model_dump_json(indent=2) if arguments.output == "json" else table(report)
    sys.stdout.write(f"{text}\n")
    if not report.is_fit:
        raise Unfit(". ".join(finding.sentence() for finding in report.of("Failed")))
    return Outcome(outcome="Examined")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, Mapping[str, str]], Outcome] = arguments.command
    try:
        outcome, code = command(arguments, environ), 0
    except FAILURES as error:
        outcome, code = failure(error)
    log.log(logging.ERROR if code else logging.INFO, "%s", outcome.text())
    # People run the doctor in pods, whose own program writes the termination message.
    if command is not run_doctor or TERMINATION_LOG_VARIABLE in environ:
        write_outcome(outcome, environ)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graft_registry", description="Commands of the registry.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    importing = commands.add_parser("import-base", help=f"import the base that {IMPORT_VARIABLE} describes")
    importing.add_argument("--workspace", type=Path, help="directory with room for the model (default: $TMPDIR)")
    importing.set_defaults(command=run_import)
    resolving = commands.add_parser("resolve-adapter", help=f"tell what the source in {ADAPTER_VARIABLE} holds")
    resolving.add_argument("--workspace", type=Path, help="directory with room for the adapter (default: $TMPDIR)")
    resolving.set_defaults(command=run_resolve)
    fetching = commands.add_parser("fetch-base", help=f"provide the files of the base that {FETCH_VARIABLE} names")
    fetching.add_argument("--destination", type=Path, default=Path("/base"), help="default: /base")
    fetching.add_argument("--manifest-directory", type=Path, help="for base.json (default: DESTINATION/.graft)")
    fetching.add_argument("--without-weights", action="store_true", help="bring what a tokenizer needs, and no weights")
    fetching.set_defaults(command=run_fetch)
    bringing = commands.add_parser("fetch-version", help="provide files of a version, such as its report.html")
    _add_version(bringing)
    bringing.add_argument("--file", action="append", default=[], help="bring only this one; may be given several times")
    bringing.add_argument("--destination", type=Path, help="a directory; all files need a new one")
    bringing.add_argument("--manifest", type=Path, help="a file for the version's manifest")
    bringing.set_defaults(command=run_fetch_version)
    _add_verify(commands.add_parser("verify", help="re-hash every object of a version, or of all"))
    _add_export(
        commands.add_parser("export", help="bring a version to an OCI registry, a hub, MLflow, W&B or a folder")
    )
    examining = commands.add_parser("doctor", help="try what the registry's store and its key can do")
    examining.add_argument("--namespace", help="whose key it is: only what is below that prefix has to be allowed")
    examining.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    examining.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
    examining.set_defaults(command=run_doctor)
    return parser


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_version(parser, default="or --all")
    parser.add_argument("--all", action="store_true", help="check every version of the adapter")
    parser.add_argument("-o", "--output", choices=("json",), help="print what was found of each object")
    parser.set_defaults(command=run_verify)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_version(parser, default="without it, the newest that was not found bad")
    parser.add_argument("--to", required=True, help=f"one of {', '.join(FORMS.values())}")
    parser.add_argument("--overwrite", action="store_true", help="move a tag, or replace an export in a directory")
    parser.add_argument("--workspace", type=Path, help="directory with room for the files (default: $TMPDIR)")
    parser.set_defaults(command=run_export)


def _add_version(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Add the arguments that name a version; its number may be missing where there is a default."""
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--adapter", required=True)
    more = f"; {default}" if default else ""
    parser.add_argument("--number", type=int, required=not default, help=f"of the version{more}")
    parser.add_argument("--digest", help="that the manifest must have")


def _from_variable(kind: type[RequestT], variable: str, environ: Mapping[str, str]) -> RequestT:
    try:
        return kind.model_validate_json(environ[variable])
    except KeyError as error:
        raise ValueError(f"{variable} is not set") from error
    except ValidationError as error:
        raise ValueError(f"{variable} is not valid: {error}") from error


if __name__ == "__main__":
    end_at_once_on_sigterm()
    sys.exit(main(sys.argv[1:], os.environ))
