"""The generated pages of docs/reference, and the source of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from graft_cli.app import PROGRAM, app
from graft_docs.fields import fields_page
from graft_docs.reasons import MEANINGS, reasons_page
from graft_docs.values import values_page
from graft_docs.verbs import verbs_page

ROOT: Final = Path(__file__).resolve().parents[2]
REFERENCE: Final = ROOT / "docs/reference"


def generated_pages() -> dict[Path, str]:
    """Return path → content of all pages that this package owns."""
    crds = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    pages = {REFERENCE / f"fields-{crd['spec']['names']['singular']}.md": fields_page(crd) for crd in crds}
    values = (ROOT / "charts/graft/values.yaml").read_text(encoding="utf-8")
    meanings = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    return pages | {
        REFERENCE / "values.md": values_page(values),
        REFERENCE / "verbs.md": verbs_page(app, PROGRAM),
        REFERENCE / "reasons.md": reasons_page(meanings),
    }
