"""The document that says what an object store, and the key that it was asked with, can do."""

from typing import Final, Literal

from pydantic import Field

from graft_registry.documents.model import Document

FindingVerdict = Literal["Ok", "Note", "Warning", "Failed"]
"""Failed: something that Graft needs is missing. Warning: it works, less safely. Note: worth knowing, or not known."""

GRAVITY: Final[dict[FindingVerdict, int]] = {"Failed": 0, "Warning": 1, "Note": 2, "Ok": 3}


class Finding(Document):
    """What one check has found."""

    check: str
    """What was looked at, such as ``conditional writes``."""
    found: str
    """What was seen, in a word or two."""
    verdict: FindingVerdict = "Ok"
    follows: str = ""
    """What Graft does about it, or what may happen."""
    fix: str = ""
    """The setting, or the right, that mends it."""

    def sentence(self) -> str:
        """Return the finding in one line."""
        return "; ".join(filter(None, (f"{self.check}: {self.found}", self.follows, self.fix)))


class StoreReport(Document):
    """What was found of one bucket and prefix (``graft.dev/store-report/v1``)."""

    schema_id: Literal["graft.dev/store-report/v1"] = Field(default="graft.dev/store-report/v1", alias="schema")
    endpoint: str | None = None
    bucket: str
    prefix: str = ""
    conditional_writes: bool | None = None
    """Whether ``If-None-Match: *`` is honoured; null where that could not be tried."""
    findings: tuple[Finding, ...] = ()

    def of(self, *verdicts: FindingVerdict) -> tuple[Finding, ...]:
        """Return the findings with one of these verdicts, the gravest first."""
        found = (finding for finding in self.findings if finding.verdict in verdicts)
        return tuple(sorted(found, key=lambda finding: GRAVITY[finding.verdict]))

    @property
    def is_fit(self) -> bool:
        """Whether nothing that Graft needs is missing."""
        return not self.of("Failed")
