"""The chapter of an adapter that was trained elsewhere: imported, its next revision by canary, and back."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from demo.cluster import Object
from demo.display import duration, heading, say
from demo.goals import answers_with, settled
from demo.progress import follow
from demo.questions import read_rows
from demo.stage import BASE, NAMESPACE, Stage

NAME: Final = "elsewhere"
FOLDER: Final = "demo-elsewhere"
QUESTIONS: Final = 8
RATE: Final = 8.0
PATIENCE_SECONDS: Final = 600.0
WEAKER: Final = 0.75
"""What the stranger's second revision makes of the first one's alpha: the same weights, applied less."""
CANARY: Final[Object] = {
    "rollout": {"strategy": "Canary", "steps": [{"weight": 30, "seconds": 5}], "limits": {"minRequests": 10}}
}


def adapter_from_elsewhere(stage: Stage, url: str) -> None:
    """Import an adapter from a bucket, follow its next revision, and go back."""
    heading("7  An adapter that was trained elsewhere")
    lay_out(stage, alpha=1.0)
    say(f"{stage.bucket.uri(FOLDER)}/ holds adapter_config.json and adapter_model.safetensors, as PEFT writes them")
    say(f"kubectl apply -f {NAME}.yaml   (a source in place of rows: nothing is trained)")
    begun = time.monotonic()
    # Asked for, so that the folder is looked at even where an earlier demo's later revision answers at once.
    asked = str(int(begun))
    stage.write_manifest(NAME, manifest(stage, asked))
    stage.apply(NAME)
    first = settled_version(stage, asked, "imported, proved, and answering on every replica")
    say(f"✓ version {first} answers on every replica {duration(time.monotonic() - begun)} after the apply")
    with stage.client.load(url, {NAME: questions(stage)}, rate=RATE) as load:
        second = next_revision(stage, first)
        go_back(stage, first, asked)
        report = load.finish()
    say(f"{report['requests']:,} requests meanwhile, {report['failed']} failed; version {second} stays in the registry")


def next_revision(stage: Stage, before: int) -> int:
    """Have the folder's next revision imported and rolled out; return its version."""
    say(f"the folder gets a new revision; kubectl annotate loraadapter {NAME} graft.dev/retry=… has it looked at now")
    begun = time.monotonic()
    lay_out(stage, alpha=WEAKER)
    stage.cluster.kubectl(
        *("annotate", "loraadapter", NAME, "-n", NAMESPACE, f"graft.dev/retry={int(time.time())}", "--overwrite")
    )

    def is_taken_over(adapter: Object) -> bool:
        return settled(adapter) and adapter["status"]["servedVersion"] != before

    seen = follow(
        stage.cluster, NAMESPACE, is_taken_over, (NAME,), what="the new revision answers", timeout=PATIENCE_SECONDS
    )
    number = int(seen[NAME]["status"]["servedVersion"])
    say(f"✓ version {number} answers everything {duration(time.monotonic() - begun)} after it appeared, by canary")
    return number


def go_back(stage: Stage, number: int, asked: str) -> None:
    """Pin the version before."""
    say(f"kubectl graft rollback {NAME}   (it sets spec.version: {number})")
    begun = time.monotonic()
    body = manifest(stage, asked)
    body["spec"]["version"] = number
    stage.cluster.apply(body)
    goal = answers_with(number)
    follow(stage.cluster, NAMESPACE, goal, (NAME,), what=f"version {number} answers", timeout=PATIENCE_SECONDS)
    say(f"✓ version {number} answers again after {duration(time.monotonic() - begun)}")


def settled_version(stage: Stage, asked: str, what: str) -> int:
    """Wait until the version of what the look that was asked for has found answers everywhere; return its number."""

    def is_looked_at(adapter: Object) -> bool:
        return settled(adapter) and adapter["status"].get("source", {}).get("retry") == asked

    seen = follow(stage.cluster, NAMESPACE, is_looked_at, (NAME,), what=what, timeout=PATIENCE_SECONDS)
    return int(seen[NAME]["status"]["servedVersion"])


def forget(stage: Stage) -> None:
    """Delete what an earlier demo has imported: it belongs to the second base, which is yet to come. Versions stay."""
    stage.cluster.delete("loraadapters.graft.dev", NAME, NAMESPACE)


def manifest(stage: Stage, asked: str) -> Object:
    """Return the LoraAdapter, with a look at its source asked for."""
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "LoraAdapter",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": {"graft.dev/retry": asked}},
        "spec": {
            "baseModelRef": {"name": BASE},
            "source": {"s3": {"uri": f"{stage.bucket.uri(FOLDER)}/"}, "interval": "1h"},
            "evaluation": {"prompts": questions(stage)},
            "pod": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
            "serving": CANARY,
        },
    }


def questions(stage: Stage) -> list[str]:
    """Return held-out questions that the adapter answers otherwise than its base."""
    return [row.question for row in read_rows(stage.folder / "data" / "topic.eval.jsonl", QUESTIONS)]


def lay_out(stage: Stage, *, alpha: float) -> None:
    """Put a stranger's adapter into the bucket: the files of ``topic``, its alpha multiplied."""
    number = stage.live_adapter("topic")["status"]["servedVersion"]
    adapter = f"{NAMESPACE}/adapters/topic"
    files = stage.bucket.read_json(f"{adapter}/versions/{number:08d}/manifest.json")["files"]
    blobs = {file["path"]: f"{adapter}/blobs/sha256/{file['sha256']}" for file in files}
    config: dict[str, Any] = stage.bucket.read_json(blobs["adapter_config.json"])
    config["lora_alpha"] = round(alpha * config["lora_alpha"])
    stage.bucket.put(f"{FOLDER}/adapter_config.json", json.dumps(config, indent=2, sort_keys=True).encode())
    weights = stage.bucket.read(blobs["adapter_model.safetensors"])
    stage.bucket.put(f"{FOLDER}/adapter_model.safetensors", weights)
