"""docs/metrics.md tells of every metric of the operator, as the code has it."""

from prometheus_client.parser import text_string_to_metric_families
from tests.exported_series import busy_adapter, objects_page, pod
from tests.unit.telemetry.metrics_table import PAGE, with_tables

from graft_operator.telemetry.objects.families import FAMILIES


def test_the_page_is_as_the_code_has_it() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "run `make metrics-table`"


def test_every_family_of_the_table_is_really_told() -> None:
    pods = (pod("training", "support"), pod("serving", "tiny"))
    told = {
        family.name + "_total" * (family.type == "counter"): (
            family.type,
            {label for sample in family.samples for label in sample.labels},
        )
        for family in text_string_to_metric_families(objects_page(adapters=(busy_adapter(),), pods=pods))
    }
    assert told == {item.name: (item.kind, set(item.labels)) for item in FAMILIES}
