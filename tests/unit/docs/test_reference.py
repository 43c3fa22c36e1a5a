"""The generated pages are what the code says now, and every reason of the code is explained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from graft_docs.fields import fields_page
from graft_docs.reasons import KUBERNETES, MEANINGS, explained
from graft_docs.reasons_in_code import REGISTRY_ERRORS, SOURCES, reasons_in
from graft_docs.reference import REFERENCE, ROOT, generated_pages
from graft_docs.values import Value, parsed, values_page
from graft_operator.reconcilers.snapshots.containers import BACK_OFF, WAITING_REASONS

PAGES = generated_pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_is_what_the_code_says(path: Path) -> None:
    assert path.exists(), "run `make docs-reference`"
    assert path.read_text(encoding="utf-8") == PAGES[path], "run `make docs-reference`"


def test_every_reason_in_the_code_is_explained_and_no_other() -> None:
    code, meanings = reasons_in(ROOT), yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    missing = {reason: sorted(files) for reason, files in code.items() if reason not in explained(meanings)}
    assert missing == {}, "add meaning and remedy to hack/graft_docs/reasons.yaml, then run `make docs-reference`"
    gone = explained(meanings, ours=True) - code.keys()
    assert gone == set(), "the code gives these no more: remove them from hack/graft_docs/reasons.yaml"


def test_each_reason_has_a_place_a_meaning_and_a_remedy() -> None:
    for reasons in yaml.safe_load(MEANINGS.read_text(encoding="utf-8")).values():
        for reason, told in reasons.items():
            assert len(told) == 3, reason
            assert all(told), reason


def test_what_is_passed_on_from_kubernetes_is_what_the_cluster_says() -> None:
    passed_on = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))[KUBERNETES].keys()
    assert passed_on <= WAITING_REASONS | {BACK_OFF, "Unschedulable"}


SOURCE = {
    "OfCall": 'fact = no("OfCall", "…")\n',
    "OfKeyword": 'decide(reason="OfKeyword")\n',
    "OfConstant": 'WHY: Final = "OfConstant"\nfact = yes(WHY)\n',
    "OfAssignment": 'reason, message = "OfAssignment", "…"\n',
    "OfAlternative": 'reason = said or "OfAlternative"\n',
    "OfReturn": 'def state() -> tuple[str, str]:\n    return "OfReturn", "…"\n',
    "OfEnumeration": 'class Reason(StrEnum):\n    A = "OfEnumeration"\n',
    "OfTable": 'REASONS: Final = {64: "OfTable"}\n',
    "OfSet": 'FINAL: Final = frozenset({"OfSet", WHY})\n',
}


@pytest.mark.parametrize("reason", SOURCE)
def test_a_reason_is_found_wherever_code_states_one(reason: str, tmp_path: Path) -> None:
    for source in (*SOURCES, REGISTRY_ERRORS):
        path = tmp_path / source
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        else:
            path.mkdir(parents=True)
    (tmp_path / SOURCES[0] / "module.py").write_text(SOURCE[reason])
    assert list(reasons_in(tmp_path)) == [reason]


def test_every_field_of_a_crd_is_on_its_page() -> None:
    for crd in (yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))):
        text = fields_page(crd)
        root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for name in (*root["properties"]["spec"]["properties"], *root["properties"]["status"]["properties"]):
            assert f"| `{name}` |" in text


VALUES = """
# -- The store.
store:
  # Where it is,
  # as a URL.
  url: ""
  keys: {id: a}
name: x
"""


def test_a_comment_belongs_to_the_value_below_it() -> None:
    store, name = parsed(VALUES)
    assert (store.comment, name.comment) == ("The store.", "")
    assert [(item.name, item.comment, item.default) for item in store.below] == [
        ("store.url", "Where it is, as a URL.", ""),
        ("store.keys", "", {"id": "a"}),
    ]
    assert '| `store.keys` | `{"id": "a"}` |  |' in values_page(VALUES)


def test_every_value_of_the_chart_is_on_the_page() -> None:
    text = (REFERENCE / "values.md").read_text()
    values = yaml.safe_load((ROOT / "charts/graft/values.yaml").read_text())
    for name, below in values.items():
        names = [f"{name}.{key}" for key in below] if isinstance(below, dict) and below else [name]
        assert all(f"`{found}" in text for found in names)


def test_every_value_of_the_chart_says_what_it_is() -> None:
    def silent(values: Iterable[Value], inherited: str = "") -> list[str]:
        names = []
        for value in values:
            told = value.comment or (inherited if value.path[-1] in ("requests", "limits") else "")
            names += silent(value.below, value.comment) if value.below else [] if told else [value.name]
        return names

    assert silent(parsed((ROOT / "charts/graft/values.yaml").read_text())) == []


def test_every_condition_is_explained() -> None:
    concepts = (ROOT / "docs/concepts.md").read_text()
    for kind in ("adapter", "base"):
        module = (ROOT / f"operator/src/graft_operator/plan/{kind}/conditions.py").read_text()
        types = re.findall(r"^\| (\w+) \| (?:abnormal|normal) \|", module, re.M)
        assert len(types) > 6
        assert [name for name in types if f"`{name}`" not in concepts] == []
