"""``kubectl graft`` on a cluster: base and version asked through forwarded ports, and the bucket read beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from tests.e2e.serving import Serving

from graft_cli.__main__ import main

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

Plugin = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def plugin(serving: Serving) -> Iterator[Plugin]:
    """Return a function that calls the plugin as somebody with the cluster's kubeconfig and the bucket's keys."""
    tenant = serving.tenant
    tenant.apply(tenant.adapter("topic"))
    tenant.wait_settled("topic")
    storage = tenant.environment.storage
    registry = {"bucket": storage.bucket, "endpoint": storage.endpoint, "region": storage.region}

    def call(*arguments: str) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments, "-n", tenant.namespace])
        return code, out.getvalue() or err.getvalue()

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRAFT_REGISTRY", json.dumps(registry))
        environment.setenv("AWS_ACCESS_KEY_ID", storage.access_key)
        environment.setenv("AWS_SECRET_ACCESS_KEY", storage.secret_key)
        yield call


def asked(told: tuple[int, str]) -> dict[str, Any]:
    (turn,) = json.loads(told[1])["turns"]
    return {answer["title"]: answer for answer in turn["answers"]}


def test_base_and_version_answer_side_by_side_and_no_other_one(plugin: Plugin, serving: Serving) -> None:
    question = serving.sample[0]
    told = plugin("chat", "topic", question, "--max-tokens", "12", "-o", "json")
    assert told[0] == 0, told
    answers = asked(told)
    assert {title: answer["version"] for title, answer in answers.items()} == {"base": "tiny@base", "v1": "topic@v1"}
    assert answers["base"]["text"] != answers["v1"]["text"]
    code, refused = plugin("chat", "topic", question, "--versions", "v99")
    assert (code, "topic@v99 is not loaded" in refused) == (1, True), refused


def test_what_was_published_verifies_and_has_a_report(plugin: Plugin) -> None:
    told = plugin("verify", "topic", "--all", "-o", "json")
    assert told[0] == 0, told
    code, page = plugin("report", "topic", "v1", "-o", "html")
    assert (code, page.startswith("<!DOCTYPE html>")) == (0, True)
    code, same = plugin("diff", "topic", "v1", "v1", "--from-registry", "-o", "json")
    assert code == 0, same
    assert json.loads(same)["registry"]["answers"]
