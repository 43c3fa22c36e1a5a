"""The story, chapter by chapter: train, serve, update, roll back, bump the base; all under requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from demo import release
from demo.client import Load
from demo.display import duration, heading, say, step, table
from demo.goals import published_time, resolved, serves_only_current, settled, settled_on
from demo.progress import follow
from demo.questions import Row, cut, read_rows, score, side_by_side
from demo.stage import ADAPTERS, BASE, NAMESPACE, Stage
from demo.story.elsewhere import adapter_from_elsewhere, forget
from demo.story.summary import sum_up

BASES = "basemodels.graft.dev"
SCORED_ROWS = 60
SHOWN_ROWS = 4
RATE = 6.0
"""Requests per second while things change: enough to notice any gap, and leaves a small machine room to train."""
REQUESTS_AFTERWARDS = 60
PATIENCE_SECONDS = 1200.0


def tell(stage: Stage) -> None:
    """Tell the whole story. Raises what the chapters raise."""
    begun = time.monotonic()
    prepare(stage)
    first_versions(stage)
    ask_everyone(stage)
    new_version(stage)
    roll_back(stage)
    if stage.hub is None or stage.hub.next_revision:
        bump_base(stage)
    adapter_from_elsewhere(stage, endpoint(stage))
    sum_up(stage, time.monotonic() - begun)


def prepare(stage: Stage) -> None:
    """Install Graft, build the models, bring them to S3."""
    heading("1  Prepare")
    with step("build two small bases and the rows of two adapters (minutes the first time, then seconds)"):
        stage.build_models()
        stage.write_manifests()
    with step(f"install Graft into namespace {release.NAMESPACE}"):
        release.install(stage.cluster, stage.environment)
    with step(f"make namespace {NAMESPACE}, a team's own"):
        stage.open_namespace()
        forget(stage)
    with step("bring bases and rows to S3"):
        sent = stage.upload()
    say(f"{sent} files sent; the manifests that are applied from here on are in {stage.manifests}")


def first_versions(stage: Stage) -> None:
    """Apply a base and two adapters, and wait until both answer."""
    heading("2  One base, two adapters")
    say("kubectl apply -f base.yaml -f topic.yaml -f speech.yaml")
    before = stage.training_jobs()
    begun = time.monotonic()
    stage.apply("base", *ADAPTERS)
    digest = wait_for_resolved(stage)
    what = "both adapters answer on every replica"
    follow(stage.cluster, NAMESPACE, settled_on(digest), ADAPTERS, what=what, timeout=PATIENCE_SECONDS)
    wait_for_base(stage)
    trained = len(stage.training_jobs() - before)
    how = f"{trained} trained" if trained else "nothing was trained: the registry held these versions already"
    say(f"✓ {what} after {duration(time.monotonic() - begun)} ({how})")


def ask_everyone(stage: Stage) -> None:
    """Ask the base and both adapters the same, and count right answers on held-out rows."""
    heading("3  The same questions to the base and to both adapters")
    url = endpoint(stage)
    scores = [["held-out rows of", "the base alone", "the adapter"]]
    for name in ADAPTERS:
        rows = held_out(stage, name, SCORED_ROWS)
        questions = [row.question for row in rows]
        asked = {BASE: questions, **dict.fromkeys(ADAPTERS, questions[:SHOWN_ROWS]), name: questions}
        answers = stage.client.ask(url, asked)
        scores.append([name, str(score(rows, answers[BASE])), str(score(rows, answers[name]))])
        table(side_by_side(rows[:SHOWN_ROWS], answers))
        say("")
    table(scores)


def new_version(stage: Stage) -> None:
    """Apply a changed spec while requests go on."""
    heading("4  A new version under continuous requests")
    say("kubectl apply -f topic-v2.yaml   (rank 32 in place of 16)")
    with requests(stage) as load:
        applied = time.time()
        stage.apply("topic-v2")
        follow(stage.cluster, NAMESPACE, settled, ("topic",), what="topic serves version 2", timeout=PATIENCE_SECONDS)
        served = time.time()
        report = finish_later(load)
    topic = stage.live_adapter("topic")
    number = topic["status"]["servedVersion"]
    published = published_time(topic, number)
    if published > applied:
        say(f"✓ version {number} answers on every replica {duration(served - published)} after it was published")
    else:
        say(f"✓ version {number} was in the registry; it answers {duration(served - applied)} after the apply")
    tell_report(report)


def roll_back(stage: Stage) -> None:
    """Apply the first spec again: its version is still there."""
    heading("5  Back to the first version")
    say("kubectl apply -f topic.yaml   (what a Git revert does)")
    before = stage.training_jobs()
    with requests(stage) as load:
        begun = time.monotonic()
        stage.apply("topic")
        follow(stage.cluster, NAMESPACE, settled, ("topic",), what="topic serves version 1", timeout=PATIENCE_SECONDS)
        took = time.monotonic() - begun
        report = finish_later(load)
    number = stage.live_adapter("topic")["status"]["servedVersion"]
    new_jobs = len(stage.training_jobs() - before)
    say(f"✓ version {number} answers on every replica again after {duration(took)}, with {new_jobs} training Jobs")
    tell_report(report)


def bump_base(stage: Stage) -> None:
    """Change the base under both adapters while requests go on."""
    heading("6  A new base under both adapters, under continuous requests")
    say("kubectl apply -f base-v2.yaml   (the same model, trained further)")
    with requests(stage) as load:
        begun = time.monotonic()
        stage.apply("base-v2")
        digest = wait_for_resolved(stage)
        what = "both adapters answer on the new base"
        follow(stage.cluster, NAMESPACE, settled_on(digest), ADAPTERS, what=what, timeout=PATIENCE_SECONDS)
        say(f"✓ {what} after {duration(time.monotonic() - begun)}")
        with step("retire the old base"):
            wait_for_base(stage)
        report = finish_later(load)
    tell_report(report)
    ask_everyone_again(stage)


def ask_everyone_again(stage: Stage) -> None:
    """Count right answers on held-out rows once more, now on the new base."""
    url = endpoint(stage)
    for name in ADAPTERS:
        rows = held_out(stage, name, SCORED_ROWS)
        answers = stage.client.ask(url, {name: [row.question for row in rows]})
        say(f"{name} on the new base: {score(rows, answers[name])}")


def requests(stage: Stage) -> AbstractContextManager[Load]:
    """Return a block during which the base and both adapters are asked continuously."""
    asked = {name: [row.question for row in held_out(stage, name, SCORED_ROWS)] for name in ADAPTERS}
    return stage.client.load(endpoint(stage), asked | {BASE: asked["topic"]}, rate=RATE)


def finish_later(load: Load) -> dict[str, Any]:
    """Let the requests go on for a while with nothing changing any more, then stop them; return the report."""
    load.wait_for_requests(load.latest()["requests"] + REQUESTS_AFTERWARDS, timeout=120)
    return load.finish()


def tell_report(report: Mapping[str, Any]) -> None:
    """Say how the requests went, and which versions answered them."""
    say(
        f"{report['requests']:,} requests in {duration(report['seconds'])}: {report['failed']} failed;"
        f" half of them within {report['p50']} ms, 99 % within {report['p99']} ms"
    )
    for failure in report["failures"]:
        say(f"  failed: {failure['model']}: status {failure['status']}: {cut(failure['text'], 120)}")
    table([["answered by", "answers"], *([name, str(seen["count"])] for name, seen in report["versions"].items())])


def held_out(stage: Stage, name: str, limit: int) -> list[Row]:
    """Return rows that the adapter never saw in training."""
    return read_rows(stage.folder / "data" / f"{name}.eval.jsonl", limit)


def endpoint(stage: Stage) -> str:
    """Return the URL of the OpenAI API inside the cluster. Raises LookupError."""
    base = stage.cluster.get("basemodel", BASE, NAMESPACE)
    url = (base or {}).get("status", {}).get("endpoint")
    if not url:
        raise LookupError(f"BaseModel {BASE} has no endpoint: see `kubectl -n {NAMESPACE} describe basemodel {BASE}`")
    return str(url)


def wait_for_resolved(stage: Stage) -> str:
    """Wait until the base's source has an identity; return its digest. Raises WaitTimedOutError."""
    with step("resolve the base's source to an immutable digest"):
        bases = stage.cluster.wait_for(
            BASES,
            NAMESPACE,
            lambda seen: resolved(seen.get(BASE)) is not None,
            what="the base is resolved",
            timeout=300,
        )
    digest = resolved(bases[BASE])
    assert digest is not None
    return digest


def wait_for_base(stage: Stage) -> None:
    """Wait until the base answers from its current source alone. Raises WaitTimedOutError."""
    stage.cluster.wait_for(
        BASES,
        NAMESPACE,
        lambda seen: serves_only_current(seen.get(BASE)),
        what="only the current base is served",
        timeout=300,
    )
