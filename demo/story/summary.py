"""The end of the story: every version that was made, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo.display import duration, heading, say, table
from demo.questions import cut
from demo.stage import ADAPTERS, NAMESPACE, Stage
from demo.story.elsewhere import NAME

COLUMNS = ["adapter", "version", "why", "rank", "base", "loss", "base's loss", "exact", "base's exact", "trained in"]


def sum_up(stage: Stage, seconds: float) -> None:
    """Show every version there is, and what to type next."""
    heading("Every version that was made, from the registry")
    table([COLUMNS, *(row for name in (*ADAPTERS, NAME) for row in version_rows(stage, name))])
    heading(f"Done in {duration(seconds)}. What to type next")
    kubectl = f"kubectl -n {NAMESPACE}"
    if stage.environment.kubeconfig:
        say(f"export KUBECONFIG={stage.environment.kubeconfig} PATH={stage.environment.programs}:$PATH")
    say(f"{kubectl} get basemodels,loraadapters")
    say(f"{kubectl} describe loraadapter topic")
    say(f"{kubectl} get pods,jobs")
    say(f"{kubectl} edit loraadapter topic     # change spec.lora.rank, and watch")
    say("make demo        # again: nothing is trained twice")
    say("make demo-down   # remove everything")


def version_rows(stage: Stage, name: str) -> list[list[str]]:
    """Return a row per version of an adapter, from its manifests."""
    keys = stage.bucket.keys(f"{NAMESPACE}/adapters/{name}/versions/")
    manifests = [stage.bucket.read_json(key) for key in sorted(keys) if key.endswith("/manifest.json")]
    return [version_row(name, manifest) for manifest in manifests]


def version_row(name: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return one version as a row of the table; losses in nats per token."""
    metrics = manifest["metrics"]
    return [
        name,
        f"v{manifest['number']}",
        manifest["reason"],
        str(manifest["shape"]["rank"]),
        cut(manifest["base"]["digest"].removeprefix("sha256:"), 9),
        *(figure(metrics, name, ".3f") for name in ("evalLoss", "baseEvalLoss")),
        *(figure(metrics, name, ".0%") for name in ("exactMatch", "baseExactMatch")),
        duration(metrics["trainSeconds"]) if metrics.get("trainSeconds") else "–",
    ]


def figure(metrics: Mapping[str, Any], name: str, form: str) -> str:
    """Return a figure of a version's manifest; a dash where it was never measured, as for one without rows."""
    value = metrics.get(name)
    return "–" if value is None else format(value, form)
