"""The answers to requests that have the secret: the page's own files, and the JSON that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any, Final

from graft_cli.client.objects import Adapter
from graft_cli.client.reader import GraftReader
from graft_cli.dashboard.access import REPORT_POLICY
from graft_cli.dashboard.board import Board, encoded
from graft_cli.dashboard.details import adapter_page, base_page, version_diff
from graft_cli.dashboard.rows import key_of
from graft_cli.dashboard.workloads import Workloads, holdings_of_base, holdings_of_merged, training_curve
from graft_cli.decisions.stored.references import VersionReference, referenced_version
from graft_cli.errors import Forbidden, GraftError, NotFound, Refused, Unreachable

HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
KINDS: Final = {".html": HTML, ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
STATUSES: Final[Mapping[type[GraftError], int]] = {NotFound: 404, Forbidden: 403, Unreachable: 502, Refused: 409}

Reports = Callable[[str, str, VersionReference], bytes]
"""Brings the report of an adapter's version: namespace, name, version. Raises GraftError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``policy``: a Content-Security-Policy other than that of our own page."""

    body: bytes
    kind: str = JSON
    status: int = 200
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose objects are shown."""

    context: str
    """The kubeconfig's context; empty where it names none."""
    namespace: str | None
    """None: all of them."""


class Answers:
    """Answers what the page asks for. Every method raises GraftError."""

    def __init__(
        self, place: Place, reader: GraftReader, board: Board, workloads: Workloads, reports: Reports | None
    ) -> None:
        self._place, self._reader, self._board, self._workloads = place, reader, board, workloads
        self._reports = reports
        self._files = page_files()
        self._documents: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
            "/place": self._where,
            "/adapter": self._adapter_page,
            "/base": self._base_page,
            "/diff": self._diff,
            "/curve": self._curve,
            "/pods": self._pods,
        }

    def answer(self, place: str, query: Mapping[str, str]) -> Answer:
        """Return what is there. Raises NotFound where nothing is."""
        if (file := self._files.get(place)) is not None:
            return file
        if place == "/report":
            try:
                return self._report(query)
            except GraftError as error:  # it is a page of its own, for people
                return Answer(f"{error.message}\nto fix: {error.fix}\n".encode(), TEXT, status_of(error))
        if (document := self._documents.get(place)) is None:
            raise NotFound(f"there is nothing at {place}")
        return Answer(encoded(document(query)).encode())

    def _where(self, _: Mapping[str, str]) -> Any:
        return {
            "context": self._place.context,
            "namespace": self._place.namespace,
            "reports": self._reports is not None,
        }

    def _adapter(self, query: Mapping[str, str]) -> tuple[str, Adapter]:
        namespace, name = required(query, "namespace"), required(query, "name")
        return key_of(namespace, name), self._reader.adapter(namespace, name)

    def _adapter_page(self, query: Mapping[str, str]) -> Any:
        return adapter_page(*self._adapter(query))

    def _base_page(self, query: Mapping[str, str]) -> Any:
        namespace, name = required(query, "namespace"), required(query, "name")
        return base_page(key_of(namespace, name), self._reader.base(namespace, name))

    def _diff(self, query: Mapping[str, str]) -> Any:
        _, adapter = self._adapter(query)
        return version_diff(adapter, number(query, "before"), number(query, "after"))

    def _curve(self, query: Mapping[str, str]) -> Any:
        key, adapter = self._adapter(query)
        return training_curve(self._workloads, adapter, self._board.curve(key))

    def _pods(self, query: Mapping[str, str]) -> Any:
        """Return the pods of a base, and those of a merged model where an adapter is named as well."""
        namespace, base = required(query, "namespace"), required(query, "base")
        found = holdings_of_base(self._workloads, self._reader.base(namespace, base))
        if "name" in query:
            _, adapter = self._adapter(query)
            found += holdings_of_merged(self._workloads, adapter)
        return {"pods": found}

    def _report(self, query: Mapping[str, str]) -> Answer:
        if self._reports is None:
            raise Refused("reports lie in the registry's bucket", fix="start the dashboard with --registry")
        _, adapter = self._adapter(query)
        version = referenced_version(adapter, number(query, "number"))
        body = self._reports(adapter.metadata.namespace, adapter.metadata.name, version)
        return Answer(body, HTML, policy=REPORT_POLICY)


def page_files() -> dict[str, Answer]:
    """Return the page's own files, by where they are served."""
    folder = resources.files("graft_cli.dashboard").joinpath("page")
    files = {
        f"/{item.name}": Answer(item.read_bytes(), KINDS[PurePath(item.name).suffix])
        for item in folder.iterdir()
        if PurePath(item.name).suffix in KINDS
    }
    return files | {"/": files["/index.html"]}


def problem_answer(error: GraftError) -> Answer:
    """Return an error as the page shows it."""
    return Answer(encoded({"message": error.message, "fix": error.fix}).encode(), status=status_of(error))


def status_of(error: GraftError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def required(query: Mapping[str, str], name: str) -> str:
    """Return a parameter. Raises Refused where it is missing."""
    if not (value := query.get(name)):
        raise Refused(f"parameter {name} is missing")
    return value


def number(query: Mapping[str, str], name: str) -> int:
    """Return a parameter that is a version's number. Raises Refused for anything else."""
    text = required(query, name)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(f"parameter {name}: {text[:20]} is no version's number")
    return int(text)
