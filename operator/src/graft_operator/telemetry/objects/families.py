"""The series about objects: names, labels and meanings. The tables of docs/metrics.md are held to them by a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ADAPTER: Final = ("namespace", "base", "adapter")
BASE: Final = ("namespace", "base")
VERSION: Final = (*ADAPTER, "version")
CONDITION: Final = ("type", "status", "reason")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: the series of one name."""

    name: str
    labels: tuple[str, ...]
    text: str
    """One sentence on what it says, with its unit."""
    kind: Literal["gauge", "counter"] = "gauge"

    @property
    def header(self) -> str:
        """The lines that begin a family in Prometheus' text format."""
        return f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"

    def line(self, labels: tuple[str, ...], value: float) -> str:
        """One series in Prometheus' text format."""
        told = ",".join(f'{name}="{escaped(text)}"' for name, text in zip(self.labels, labels, strict=True))
        return f"{self.name}{{{told}}} {value!r}\n"


def escaped(text: str) -> str:
    """Return a label's value as the text format wants it."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


ADAPTER_CONDITION: Final = Family(
    "graft_adapter_condition",
    (*ADAPTER, *CONDITION),
    "1 for each condition of the adapter, with the status and the reason that it has now.",
)
SERVED_VERSION: Final = Family(
    "graft_adapter_served_version", ADAPTER, "Number of the version that answers on every wanted replica."
)
TARGET_VERSION: Final = Family(
    "graft_adapter_target_version", ADAPTER, "Number of the version that the alias is to point to."
)
REPLICAS_DESIRED: Final = Family(
    "graft_adapter_replicas_desired", ADAPTER, "Serving pods that are to answer with the target version."
)
REPLICAS_LOADED: Final = Family(
    "graft_adapter_replicas_loaded", ADAPTER, "Serving pods that answer with the target version."
)
REPLICAS_FAILED: Final = Family(
    "graft_adapter_replicas_failed", ADAPTER, "Serving pods that refuse the target version or can't load it."
)
CANARY_WEIGHT: Final = Family(
    "graft_adapter_canary_weight_ratio", ADAPTER, "Part of the requests that a canary's new version answers, 0 to 1."
)
CANARY_DUE: Final = Family(
    "graft_adapter_canary_step_due_timestamp_seconds",
    ADAPTER,
    "Unix time at which the canary's step is over at the latest, waiting for requests included.",
)
TRAINING_STEP: Final = Family(
    "graft_adapter_training_step", ADAPTER, "Optimizer steps that the training under way has done."
)
TRAINING_MAX_STEPS: Final = Family(
    "graft_adapter_training_max_steps", ADAPTER, "Optimizer steps of the training under way in all."
)
TRAINING_LOSS: Final = Family(
    "graft_adapter_training_loss", ADAPTER, "Last loss of the training under way, in nats per token."
)
TRAINING_ETA: Final = Family(
    "graft_adapter_training_eta_seconds", ADAPTER, "Estimated seconds until the training under way ends."
)
EVAL_LOSS: Final = Family(
    "graft_adapter_eval_loss",
    VERSION,
    "Evaluation loss of the served version; nats per token, with DPO and KTO per row.",
)
BASE_EVAL_LOSS: Final = Family(
    "graft_adapter_base_eval_loss", VERSION, "Loss of the base alone on the rows of graft_adapter_eval_loss."
)
EXACT_MATCH: Final = Family(
    "graft_adapter_exact_match_ratio",
    VERSION,
    "Part of the held-out rows that the served version answers exactly, 0 to 1.",
)
BASE_EXACT_MATCH: Final = Family(
    "graft_adapter_base_exact_match_ratio",
    VERSION,
    "Part of the same rows that the base alone answers exactly, 0 to 1.",
)
PREFERENCE_ACCURACY: Final = Family(
    "graft_adapter_preference_accuracy_ratio",
    VERSION,
    "Part of the held-out preferences that the served version has learned, 0 to 1; with DPO and KTO only.",
)
TRAIN_SECONDS: Final = Family(
    "graft_adapter_version_train_seconds", VERSION, "Seconds of training that the served version took."
)
TRAIN_TOKENS: Final = Family(
    "graft_adapter_version_train_tokens", VERSION, "Tokens that the served version was trained on, each epoch counted."
)
TRAINING_GPUS: Final = Family("graft_training_gpus", ADAPTER, "GPUs that the adapter's training pods hold.")
TRAINING_GPU_SECONDS: Final = Family(
    "graft_training_gpu_seconds_total",
    ADAPTER,
    "GPU seconds that training pods of the adapter have held, since this operator began to watch.",
    "counter",
)
SERVING_GPUS: Final = Family(
    "graft_serving_gpus", ADAPTER, "GPUs that serving pods hold; adapter is empty where the base serves many."
)
SERVING_GPU_SECONDS: Final = Family(
    "graft_serving_gpu_seconds_total",
    ADAPTER,
    "GPU seconds that serving pods have held, since this operator began to watch; adapter as in graft_serving_gpus.",
    "counter",
)
BASE_CONDITION: Final = Family(
    "graft_base_condition",
    (*BASE, *CONDITION),
    "1 for each condition of the base, with the status and the reason that it has now.",
)
BASE_ADAPTERS: Final = Family("graft_base_adapters", BASE, "Adapters that name the base.")
BASE_REPLICAS_DESIRED: Final = Family(
    "graft_base_replicas_desired", BASE, "Serving pods that are wanted, of all revisions that are served."
)
BASE_REPLICAS_READY: Final = Family(
    "graft_base_replicas_ready", BASE, "Serving pods that answer, of all revisions that are served."
)
GPU_PRICE: Final = Family(
    "graft_gpu_second_price", (), "Price of a GPU second as the platform team has set it; 0 where it has not."
)
UNREADABLE: Final = Family(
    "graft_unreadable_objects", ("kind",), "Objects that say nothing here, since they are not as their CRD has them."
)

FAMILIES: Final = (
    *(ADAPTER_CONDITION, SERVED_VERSION, TARGET_VERSION, REPLICAS_DESIRED, REPLICAS_LOADED, REPLICAS_FAILED),
    *(CANARY_WEIGHT, CANARY_DUE, TRAINING_STEP, TRAINING_MAX_STEPS, TRAINING_LOSS, TRAINING_ETA),
    *(EVAL_LOSS, BASE_EVAL_LOSS, EXACT_MATCH, BASE_EXACT_MATCH, PREFERENCE_ACCURACY, TRAIN_SECONDS, TRAIN_TOKENS),
    *(TRAINING_GPUS, TRAINING_GPU_SECONDS, SERVING_GPUS, SERVING_GPU_SECONDS),
    *(BASE_CONDITION, BASE_ADAPTERS, BASE_REPLICAS_DESIRED, BASE_REPLICAS_READY, GPU_PRICE, UNREADABLE),
)
"""All of them, in the order of the page."""
