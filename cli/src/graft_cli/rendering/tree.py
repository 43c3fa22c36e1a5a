"""The tree of ``kubectl graft status`` as people read it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from graft_cli.decisions.findings import Finding
from graft_cli.decisions.tree import AdapterNode, BaseNode, Canary
from graft_cli.decisions.versions import short
from graft_cli.rendering.console import STYLES
from graft_cli.rendering.durations import age, duration
from graft_operator.api.adapter_status import TrainingProgress

WORDS: Final = {
    "Blocked": "blocked",
    "Waiting": "waits",
    "NotReady": "not ready",
    "NotUpToDate": "not up to date",
    "Advice": "advice",
    "Unseen": "unseen",
    "Unreadable": "unreadable",
    "Spec": "by hand",
}
UNITS: Final = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def status_view(tree: Iterable[BaseNode], now: datetime) -> Group:
    """Return a tree for each base."""
    return Group(*(base_tree(base, now) for base in tree))


def base_tree(base: BaseNode, now: datetime) -> Tree:
    """Return one base with its adapters."""
    made = Tree(base_title(base), guide_style="dim", highlight=False)
    for line in (*map(finding_line, base.findings), *serving_lines(base)):
        made.add(line)
    for adapter in base.adapters:
        branch = made.add(adapter_title(adapter))
        for line in adapter_lines(adapter, now):
            branch.add(line)
    return made


def base_title(base: BaseNode) -> Text:
    """Return who the base is."""
    title = Text.assemble(("base ", "dim"), (f"{base.namespace}/{base.name}", "bold"))
    if not base.exists:
        return title.append("  there is no such BaseModel", style=STYLES["bad"])
    if (found := base.resolved) is not None:
        parts = [found.architecture, parameters(found.parameters), found.dtype, f"revision {found.revision[:12]}"]
        title.append("  " + ", ".join(part for part in parts if part))
    return title.append("  ").append(*ready_words(base.ready))


def serving_lines(base: BaseNode) -> list[Text]:
    """Return what serves, and how many adapters there are."""
    lines = []
    for position, revision in enumerate(base.serving):
        which = "serving" if position == 0 else "serving, too"
        whole = revision.ready_replicas >= revision.replicas
        line = Text(f"{which}  base {short(revision.digest)}, ")
        style = STYLES["good" if whole else "busy"]
        line.append(f"{revision.ready_replicas} of {revision.replicas} pods answer", style=style)
        if revision.waiting:
            line.append(f", {len(revision.waiting)} adapters wait for a place", style=STYLES["busy"])
        lines.append(line)
    counts = base.counts
    if counts.total > 1:
        kinds = {"re-adapting": counts.readapting, "blocked": counts.blocked, "not loaded now": counts.not_resident}
        more = "".join(f", {number} {kind}" for kind, number in kinds.items() if number)
        lines.append(Text(f"adapters  {counts.total}: {counts.up_to_date} up to date{more}"))
    return lines


def adapter_title(adapter: AdapterNode) -> Text:
    """Return who the adapter is, what answers, and whether that is what the spec wants."""
    title = Text.assemble((adapter.name, "bold"), "  ")
    title.append(f"v{adapter.served}" if adapter.served is not None else "no version")
    if adapter.candidate is not None and adapter.candidate != adapter.served:
        title.append(f" → v{adapter.candidate}", style=STYLES["busy"])
    title.append("  ").append(*ready_words(adapter.ready))
    if adapter.up_to_date == "True":
        title.append(", up to date")
    if adapter.desired:
        title.append(f", {adapter.loaded} of {adapter.desired} pods")
    return title


def ready_words(status: str) -> tuple[str, str]:
    """Return what a Ready condition says, and its style."""
    known = {"True": ("ready", STYLES["good"]), "False": ("not ready", STYLES["bad"])}
    return known.get(status, ("not known yet", STYLES["busy"]))


def adapter_lines(adapter: AdapterNode, now: datetime) -> list[Text]:
    """Return what is under way and what is to be known."""
    lines = [training_line(adapter.training)] if adapter.training else []
    lines += [canary_line(adapter.canary, now)] if adapter.canary else []
    return lines + [finding_line(finding) for finding in adapter.findings]


def training_line(training: TrainingProgress) -> Text:
    """Return how far a training is."""
    line = Text.assemble(("training  ", STYLES["busy"]), training.state)
    if training.reason:
        line.append(f" ({training.reason})")
    if training.prepared:
        line.append(f", {training.prepared}")
    if training.max_steps:
        percent = 100 * training.step // training.max_steps
        line.append(f", step {training.step} of {training.max_steps} ({percent}%)")
    if training.loss is not None:
        line.append(f", loss {training.loss}")
    if training.eta_seconds is not None:
        line.append(f", {duration(training.eta_seconds)} left")
    return line.append(f", Job {training.job}", style="dim")


def canary_line(canary: Canary, now: datetime) -> Text:
    """Return how a canary splits requests."""
    line = Text.assemble(("canary  ", STYLES["busy"]), f"v{canary.target} answers {canary.weight}%")
    if canary.previous is not None:
        line.append(f", v{canary.previous} {100 - canary.weight}%")
    since = f", for {age(canary.step_time, now)}" if canary.step_time else ", not on every pod yet"
    return line.append(since)


def finding_line(finding: Finding) -> Text:
    """Return one thing to know."""
    line = Text(f"{WORDS[finding.kind]}  ", style=STYLES[finding.mood])
    body = f"{finding.reason}: {finding.message}" if finding.reason and finding.message else finding.message
    return line + Text(body or finding.reason)


def parameters(count: int) -> str:
    """Return a number of parameters, such as ``7.2B``."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit} parameters"
    return f"{count} parameters" if count else ""
