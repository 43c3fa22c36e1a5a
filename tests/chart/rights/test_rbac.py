"""The operator's rights: what its code does, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from tests.chart.conftest import Manifest, Render

from graft_operator.cluster.resources import (
    BASE_MODELS,
    INFERENCE_POOLS,
    LORA_ADAPTERS,
    NETWORK_POLICIES,
    WORKLOADS,
    Resource,
)
from graft_operator.cluster.watching import WATCHED
from graft_operator.plan.actions import Kind
from graft_operator.reconcilers.executor import OWNED

OPERATOR = "graft-operator"
HOOK = "graft-release-finalizers"
WITH_POLICIES = {"networkPolicies": {"enabled": True}}


def rules_of(manifests: list[Manifest], account: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (namespace or "", rule) for everything that is bound to the account."""
    roles = {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]): m for m in manifests}
    for binding in manifests:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if account not in [subject["name"] for subject in binding["subjects"]]:
            continue
        namespace = binding["metadata"].get("namespace", "")
        role = roles[binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]]
        for rule in role["rules"]:
            yield namespace, rule


def verbs_on(manifests: list[Manifest], resource: Resource, *, subresource: str = "", namespace: str = "") -> set[str]:
    name = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return {
        verb
        for where, rule in rules_of(manifests, OPERATOR)
        if where == namespace and resource.group in rule["apiGroups"] and name in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("account", [OPERATOR, HOOK])
def test_no_secrets_no_wildcards_no_escalation(render: Render, account: str) -> None:
    rules = list(rules_of(render(), account))
    assert rules
    for _, rule in rules:
        assert "secrets" not in rule["resources"]
        assert not any("exec" in resource for resource in rule["resources"])
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"])


def test_specs_of_users_are_never_replaced(render: Render) -> None:
    for resource in (BASE_MODELS, LORA_ADAPTERS):
        assert verbs_on(render(), resource) == {"get", "list", "watch", "patch"}
        assert verbs_on(render(), resource, subresource="status") == {"patch"}


@pytest.mark.parametrize("kind", OWNED)
def test_operator_may_make_what_it_owns(render: Render, kind: str) -> None:
    applied = {"create"} if kind == "Job" else {"create", "patch"}
    # Of what is never deleted the owners change, for which some API servers ask for the same right.
    assert kind in get_args(Kind) or kind in ("ServiceAccount", "Role", "RoleBinding")
    verbs = verbs_on(render(WITH_POLICIES), OWNED[kind])
    assert verbs >= applied | {"delete"}
    assert verbs <= applied | {"delete", "get", "list", "watch"}


def test_rights_to_inference_pools_can_be_left_out(render: Render) -> None:
    assert verbs_on(render(), INFERENCE_POOLS) == {"list", "watch", "create", "patch", "delete"}
    for namespaces, where in (([], ""), (["team-a"], "team-a")):
        manifests = render({"rbac": {"inferencePools": False}, "watchNamespaces": namespaces})
        assert verbs_on(manifests, INFERENCE_POOLS, namespace=where) == set()
        assert verbs_on(manifests, LORA_ADAPTERS, namespace=where), "the other rights stay"


def test_rights_to_what_kueue_says_can_be_left_out(render: Render) -> None:
    assert verbs_on(render(), WORKLOADS) == {"list", "watch"}
    for namespaces, where in (([], ""), (["team-a"], "team-a")):
        manifests = render({"rbac": {"workloads": False}, "watchNamespaces": namespaces})
        assert verbs_on(manifests, WORKLOADS, namespace=where) == set()
        assert verbs_on(manifests, LORA_ADAPTERS, namespace=where), "the other rights stay"


def test_rights_to_network_policies_are_there_only_where_they_are_asked_for(render: Render) -> None:
    for namespaces, where in (([], ""), (["team-a"], "team-a")):
        verbs = [
            verbs_on(render({**values, "watchNamespaces": namespaces}), NETWORK_POLICIES, namespace=where)
            for values in ({}, WITH_POLICIES)
        ]
        assert verbs == [set(), {"list", "watch", "create", "patch", "delete"}]


@pytest.mark.parametrize(
    "resource", [item.resource for item in WATCHED], ids=lambda resource: f"{resource.plural}{resource.view}"
)
def test_operator_may_watch_what_it_listens_to(render: Render, resource: Resource) -> None:
    assert verbs_on(render(WITH_POLICIES), resource) >= {"list", "watch"}


def test_operator_has_what_the_serving_role_passes_on(render: Render) -> None:
    assert verbs_on(render(), OWNED["ConfigMap"]) >= {"get", "list", "watch"}


def test_named_namespaces_need_cluster_wide_rights_only_to_release_their_own_objects(render: Render) -> None:
    manifests = render({"watchNamespaces": ["team-a", "team-b"]})
    cluster_wide = [rule for where, rule in rules_of(manifests, OPERATOR) if not where]
    assert cluster_wide == [
        {
            "apiGroups": ["graft.dev"],
            "resources": ["basemodels", "loraadapters"],
            "verbs": ["list", "watch", "patch"],
        },
        {"apiGroups": ["graft.dev"], "resources": ["basemodels/status", "loraadapters/status"], "verbs": ["patch"]},
    ]
    for namespace in ("team-a", "team-b"):
        assert "patch" in verbs_on(manifests, LORA_ADAPTERS, namespace=namespace)


def test_uninstalling_makes_nothing_in_a_namespace_that_may_be_gone_by_then(render: Render) -> None:
    manifests = render({"watchNamespaces": ["team-a"]})
    hooks = [item for item in manifests if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    assert {item["metadata"].get("namespace", "graft-system") for item in hooks} == {"graft-system"}
    anchors = [where for where, rule in rules_of(manifests, HOOK) if "configmaps" in rule["resources"]]
    assert anchors == ["team-a"]


def test_lease_is_the_only_one_it_may_touch(render: Render) -> None:
    rules = [(where, rule) for where, rule in rules_of(render(), OPERATOR) if "leases" in rule["resources"]]
    assert {where for where, _ in rules} == {"graft-system"}
    for _, rule in rules:
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["graft-operator"]


def test_tenants_may_edit_specs_and_not_statuses(render: Render) -> None:
    edit = [m for m in render() if m["kind"] == "ClusterRole" and m["metadata"]["name"].endswith("-edit")]
    assert [rule["resources"] for role in edit for rule in role["rules"]] == [["basemodels", "loraadapters"]]
