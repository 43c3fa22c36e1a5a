"""The report for people."""

from collections.abc import Iterable
from typing import Final

from graft_registry.documents import Finding, StoreReport

_MARKS: Final = {"Ok": "✓", "Note": "·", "Warning": "!", "Failed": "✗"}


def table(report: StoreReport) -> str:
    """Return the report as lines: a mark, the check, what was found; below it what follows, and what mends it. Pure."""
    width = max((len(finding.check) for finding in report.findings), default=0)
    where = "/".join(filter(None, (report.bucket, report.prefix)))
    lines = [f"{report.endpoint or 'AWS S3'}  {where}"]
    lines += [line for finding in report.findings for line in _lines(finding, width)]
    failed, warnings = len(report.of("Failed")), len(report.of("Warning"))
    verdict = "Graft can't work with this store as it is" if failed else "Graft works with this store"
    lines.append(f"{verdict}: {failed} missing, {warnings} to know of")
    return "\n".join(lines)


def _lines(finding: Finding, width: int) -> Iterable[str]:
    yield f"{_MARKS[finding.verdict]} {finding.check:<{width}}  {finding.found}"
    if finding.verdict == "Ok":
        return
    for arrow, text in (("so:", finding.follows), ("fix:", finding.fix)):
        if text:
            yield f"  {'':<{width}}  {arrow} {text}"
