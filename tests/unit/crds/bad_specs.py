"""One table of specs that both the API server and the operator's models must refuse."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graft_operator.api.base_model import BaseModel
from graft_operator.api.base_serving import RESERVED_ENGINE_ARGUMENTS
from graft_operator.api.lora_adapter import LoraAdapter

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PARSERS = {"BaseModel": BaseModel.parse, "LoraAdapter": LoraAdapter.parse}

TWO_SOURCES = {"s3": {"uri": "s3://rows/a.jsonl"}, "configMap": {"name": "rows", "key": "a.jsonl"}}

ARTEFACT = {"image": "r.example.com/a:v1"}

S3_ADAPTER = {"s3": {"uri": "s3://models/adapters/support/"}}

DIGEST = "sha256:" + "a" * 64

S3_ROWS = {"s3": {"uri": "s3://rows/a.jsonl"}}

FILE_AND_SPLIT = {"repo": "team/rows", "file": "train.jsonl", "split": "train"}


def example(name: str) -> dict[str, Any]:
    """Return the example manifest of a kind, or of another name."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name.lower()}.yaml").read_text())
    return manifest


@dataclass(frozen=True, slots=True)
class BadSpec:
    """The example of a kind with one value replaced, and what the API server says to it."""

    kind: str
    path: str
    value: Any
    says: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.path}={self.value!r}"[:80]

    def manifest(self) -> dict[str, Any]:
        """Return the whole bad object."""
        body = deepcopy(example(self.kind))
        *parents, last = self.path.split(".")
        node = body
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = self.value
        return body


def _adapter(path: str, value: Any, says: str) -> BadSpec:
    return BadSpec("LoraAdapter", path, value, says)


def _preferring(changes: dict[str, Any], says: str) -> BadSpec:
    spec = example("LoraAdapter")["spec"] | {"training": {"objective": "DPO"}}
    return BadSpec("LoraAdapter", "spec", spec | changes, says)


def _base(path: str, value: Any, says: str) -> BadSpec:
    return BadSpec("BaseModel", path, value, says)


BAD_TOLERATIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"effect": "NoSchedule"}, "operator must be Exists when key is empty"),
    ({"key": "gpu", "operator": "Exists", "value": "yes"}, "value must not be set with operator Exists"),
    ({"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}, "effect must be NoExecute"),
)

PLACE = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
WITHOUT_VALUES = {"key": "gpu", "operator": "In"}
BAD_POD_SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("labels", {"graft.dev/component": "serving"}, "labels: each key must be a label's name"),
    ("labels", {"kueue.x-k8s.io/queue-name": "mine"}, "labels: each key must be a label's name"),
    ("labels", {"app.kubernetes.io/managed-by": "me"}, "labels: each key must be a label's name"),
    ("labels", {"job-name": "x"}, "labels: each key must be a label's name"),
    ("labels", {"two words": "x"}, "labels: each key must be a label's name"),
    ("annotations", {"graft.dev/run": "{}"}, "annotations: each key must be an annotation's name"),
    ("annotations", {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}, "annotations: each key must be"),
    ("env", [{"name": "GRAFT_REGISTRY", "value": "{}"}], "env must not contain a variable of Graft's"),
    ("env", [{"name": "HOME", "value": "/root"}], "env must not contain a variable of Graft's"),
    *(
        ("env", [{"name": name, "value": "x"}], "env must not contain HF_ENDPOINT")
        for name in ("HF_ENDPOINT", "AWS_ENDPOINT_URL_S3", "SOURCE_HF_ENDPOINT", "PYTHONPATH", "LD_PRELOAD")
    ),
    ("priorityClassName", "system-node-critical", "priorityClassName must not begin with system-"),
    ("env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "env must not name one variable twice"),
    (
        "env",
        [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "env: value and valueFrom must not both be set",
    ),
    ("env", [{"name": "A", "valueFrom": {}}], "valueFrom must have exactly one of"),
    ("topologySpreadConstraints", [PLACE, PLACE], "topologySpreadConstraints must not name one topologyKey twice"),
    *(
        ("affinity", affinity, "values must be given with operators In")
        for affinity in (
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [WITHOUT_VALUES]}]
                    }
                }
            },
            {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "zone", "labelSelector": {"matchExpressions": [WITHOUT_VALUES]}}
                    ]
                }
            },
        )
    ),
)

REFUSED_BY_RULES = (
    _adapter("metadata.name", "a" * 53, "metadata.name must be at most 52"),
    _adapter("metadata.name", "support.v2", "metadata.name must be at most 52"),
    _adapter("metadata.name", "qwen", "metadata.name must not equal spec.baseModelRef.name"),
    BadSpec(
        "LoraAdapter", "spec", {"baseModelRef": {"name": "qwen"}}, "at least one of source and dataset must be set"
    ),
    _adapter("spec.source", {}, "exactly one of s3, persistentVolumeClaim, huggingFace and oci"),
    _adapter("spec.source", S3_ADAPTER | {"oci": {"image": "r.example.com/a:v1"}}, "exactly one of s3, persistent"),
    _adapter("spec.source", S3_ADAPTER | {"digest": DIGEST, "interval": "1h"}, "interval must be empty with digest"),
    _adapter("spec.evaluation", {"prompts": ["p" * 4096] * 5}, "prompts and probes must hold at most 16384 characters"),
    _adapter("spec.dataset", {}, "exactly one of s3, huggingFace, configMap and persistentVolumeClaim"),
    _adapter("spec.dataset", TWO_SOURCES, "exactly one of s3, huggingFace, configMap and persistentVolumeClaim"),
    _adapter("spec.dataset.columns", {"mood": "prompt"}, "columns: "),
    _adapter("spec.dataset.columns", {"prompt": "x", "text": "x"}, "columns must not give one column two names"),
    _adapter("spec.dataset.evaluation", {}, "exactly one of s3, huggingFace, configMap and persistentVolumeClaim"),
    _adapter(
        "spec.dataset.evaluation", TWO_SOURCES, "exactly one of s3, huggingFace, configMap and persistentVolumeClaim"
    ),
    _adapter("spec.dataset", S3_ROWS | {"weight": "0.5"}, "weight is the part of the first of several sets"),
    _adapter("spec.dataset.mix", [{}], "exactly one of s3, huggingFace and persistentVolumeClaim"),
    _adapter(
        "spec.dataset.mix",
        [S3_ROWS | {"huggingFace": {"repo": "team/rows"}}],
        "exactly one of s3, huggingFace and persistentVolumeClaim",
    ),
    _adapter("spec.dataset.mix", [S3_ROWS | {"columns": {"mood": "prompt"}}], "columns: "),
    _adapter(
        "spec.dataset.mix", [S3_ROWS | {"columns": {"prompt": "x", "text": "x"}}], "columns must not give one column"
    ),
    _adapter("spec.dataset.mix", [{"huggingFace": FILE_AND_SPLIT}], "file and split must not both be set"),
    _adapter("spec.dataset", {"huggingFace": FILE_AND_SPLIT}, "file and split must not both be set"),
    _adapter("spec.dataset.evaluation", {"huggingFace": FILE_AND_SPLIT}, "file and split must not both be set"),
    _adapter("spec.lora.targetModules", ["all-linear", "q_proj"], "targetModules must not name other modules"),
    _adapter("spec.lora.rankPattern", {"q_proj$": 8}, "rankPattern: each key must be the name of a module"),
    _adapter("spec.lora.learningRateRatio", "0.5", "learningRateRatio must be from 1 to 1024"),
    _adapter("spec.method", "DoRA", "methods DoRA, IA3 and LongLoRA can't be served beside other adapters"),
    _adapter("spec.method", "IA3", "methods DoRA, IA3 and LongLoRA can't be served beside other adapters"),
    _adapter("spec.method", "LongLoRA", "methods DoRA, IA3 and LongLoRA can't be served beside other adapters"),
    _adapter("spec.method", "PrefixTuning", "methods PrefixTuning and PromptTuning can neither be served nor merged"),
    _adapter("spec.method", "PromptTuning", "methods PrefixTuning and PromptTuning can neither be served nor merged"),
    BadSpec(
        "LoraAdapter",
        "spec",
        example("LoraAdapter")["spec"] | {"method": "EVA", "lora": {"rankPattern": {"q_proj": 8}}},
        "lora.rankPattern must be empty",
    ),
    BadSpec(
        "LoraAdapter",
        "spec",
        example("LoraAdapter")["spec"]
        | {"method": "PromptTuning", "serving": {"mode": "None"}, "training": {"packing": True}},
        "training.packing must be false",
    ),
    _preferring({"dataset": S3_ROWS | {"format": "Messages"}}, "dataset.format must be Auto with objective DPO"),
    _preferring(
        {"dataset": S3_ROWS | {"format": "Text"}, "training": {"objective": "KTO"}},
        "dataset.format must not be Text with objective KTO",
    ),
    _preferring({"evaluation": {"maxPerplexity": "9"}}, "evaluation.maxPerplexity must be empty with objective"),
    _preferring(
        {"method": "EVA", "training": {"objective": "DPO", "preference": {"referenceVersion": 1}}},
        "training.preference.referenceVersion must be empty with method",
    ),
    _adapter("spec.training", {"objective": "DPO", "packing": True}, "packing must be false with objective"),
    _adapter(
        "spec.training", {"objective": "KTO", "trainOnInputs": True}, "trainOnInputs must be false with objective"
    ),
    _adapter(
        "spec.training",
        {"objective": "KTO", "rankDoubling": {"maxRank": 64}},
        "rankDoubling must be empty with objective",
    ),
    _adapter("spec.training.preference", {"beta": "0"}, "must be above 0 and at most 10"),
    _adapter("spec.training.preference", {"beta": "11"}, "must be above 0 and at most 10"),
    _adapter("spec.training.preference", {"desirableWeight": "0"}, "must be above 0 and at most 100"),
    _adapter("spec.training.preference", {"undesirableWeight": "101"}, "must be above 0 and at most 100"),
    _adapter("spec.lora.dropout", "1", "dropout must be below 1"),
    _adapter("spec.lora.dropout", "1e1", "dropout must be below 1"),
    _adapter("spec.training.attentionGroupSize", 255, "attentionGroupSize must be even"),
    _adapter("spec.training.attentionGroupSize", 100_000, "attentionGroupSize must be at most half of maxSequence"),
    _adapter("spec.training.learningRate", "0", "learningRate must be above 0"),
    _adapter("spec.training.learningRate", "0.0e5", "learningRate must be above 0"),
    _adapter("spec.training.learningRate", "1.5", "learningRate must be above 0"),
    _adapter("spec.training.warmupRatio", "3", "warmupRatio must be at most 1"),
    _adapter("spec.training.weightDecay", "1.01", "weightDecay must be at most 1"),
    _adapter("spec.training.maxGradNorm", "0", "maxGradNorm must be above 0"),
    _adapter("spec.evaluation.minImprovementOverBase", "10", "minImprovementOverBase must be below 1"),
    _adapter("spec.evaluation.minExactMatch", "90", "minExactMatch must be at most 1"),
    _adapter("spec.evaluation.minPreferenceAccuracy", "50", "minPreferenceAccuracy must be at most 1"),
    _adapter("spec.evaluation.maxPerplexity", "0.9", "maxPerplexity must be at least 1"),
    _adapter(
        "spec.evaluation.probes",
        [{"prompt": "p" * 4096, "expected": "e"}] * 4,
        "probes must hold at most 16384 characters",
    ),
    _adapter(
        "spec.serving.rollout.steps",
        [{"weight": 50, "seconds": 1}, {"weight": 50, "seconds": 1}],
        "steps must have rising weights",
    ),
    _adapter("spec.serving", {"mode": "Merged", "residency": "OnDemand"}, "residency must be Always with modes Merged"),
    _adapter("spec.serving", {"mode": "None", "residency": "OnDemand"}, "residency must be Always with modes Merged"),
    _adapter("spec.serving.rollout", {"promote": 7, "abort": 7}, "promote and abort must not name the same version"),
    _base("metadata.name", "b" * 41, "metadata.name must be at most 40"),
    _base("metadata.name", "7b-base", "begin with a letter"),
    _base("metadata.name", "mistral-merged", "metadata.name must not end with -merged"),
    _base("spec.source", {}, "exactly one of huggingFace, s3, persistentVolumeClaim and image"),
    _base(
        "spec.source.s3", {"uri": "s3://models/qwen"}, "exactly one of huggingFace, s3, persistentVolumeClaim and im"
    ),
    _base("spec.serving.maxLoadedAdapters", 3, "maxLoadedAdapters must not be below maxActiveAdapters"),
    _base("spec.serving.engineArgs", ["--trust-remote"], "engineArgs must not contain, nor abbreviate"),
    *(
        BadSpec(kind, f"{pod}.tolerations", [toleration], says)
        for kind, pod in (
            ("LoraAdapter", "spec.pod"),
            ("LoraAdapter", "spec.preparation"),
            ("BaseModel", "spec.serving"),
        )
        for toleration, says in BAD_TOLERATIONS
    ),
    *(
        BadSpec(kind, f"{pod}.{field}", value, says)
        for kind, pod in (("LoraAdapter", "spec.pod"), ("BaseModel", "spec.serving"), ("BaseModel", "spec.importPod"))
        for field, value, says in BAD_POD_SETTINGS
    ),
    _adapter("spec.preparation.resources", {"limits": {"nvidia.com/gpu": "1"}}, "resources must not contain a device"),
    _adapter("spec.preparation.resources", {"requests": {"google.com/tpu": "1"}}, "resources must not contain a"),
    _base("spec.serving.serviceAccountAnnotations", {"graft.dev/x": "y"}, "annotations: each key must be"),
    *(
        _base("spec.serving.engineArgs", [f"{argument}=x"], "engineArgs must not contain, nor abbreviate")
        for argument in sorted(RESERVED_ENGINE_ARGUMENTS)
    ),
)
"""Each breaks one CEL rule; ``says`` is the beginning of the rule's message."""

REFUSED_BY_BOUNDS = (
    _adapter("spec.lora.rank", 0, "should be greater than or equal to 1"),
    _adapter("spec.lora.rank", 513, "should be less than or equal to 512"),
    _adapter("spec.lora.rank", 8.5, "must be of type integer"),
    _adapter("spec.lora.alpha", 1025, "should be less than or equal to 1024"),
    _adapter("spec.lora.targetModules", [], "should have at least 1 items"),
    _adapter("spec.lora.bias", "All", "supported values"),
    _adapter("spec.method", "AdaLoRA", "supported values"),
    _adapter("spec.serving.mode", "Beside", "supported values"),
    _adapter("spec.lora.rankPattern", {"q_proj": 513}, "should be less than or equal to 512"),
    _adapter("spec.lora.rankPattern", {f"m{number}": 8 for number in range(65)}, "must have at most 64 items"),
    _adapter("spec.lora.learningRateRatio", 16, "must be of type string"),
    _adapter("spec.promptTuning.virtualTokens", 0, "should be greater than or equal to 1"),
    _adapter("spec.training.learningRate", 2e-4, "must be of type string"),
    _adapter("spec.training.learningRate", "2e-4 ", "should match"),
    _adapter("spec.training.learningRate", "-1", "should match"),
    _adapter("spec.source", {"s3": {"uri": "https://models/a"}}, "should match"),
    _adapter("spec.source", {"persistentVolumeClaim": {"claimName": "models", "path": "../x"}}, "should match"),
    _adapter("spec.source", {"persistentVolumeClaim": {"claimName": "models", "path": "/x"}}, "should match"),
    _adapter("spec.source", {"huggingFace": {"repo": "a/b", "path": ".git"}}, "should match"),
    _adapter("spec.source", {"oci": {"image": "adapters/support:v3"}}, "should match"),
    _adapter("spec.source", {"oci": {"image": "https://r.example.com/a:v1"}}, "should match"),
    _adapter("spec.source", {"oci": {"image": "r.example.com/a@sha256:abc"}}, "should match"),
    _adapter("spec.source", {"oci": ARTEFACT | {"pullSecretRef": {"name": "Pull Secret"}}}, "should match"),
    _adapter("spec.source", {"oci": ARTEFACT | {"pullSecretRef": {}}}, "Required value"),
    _base("spec.source", {"image": {"reference": "models/qwen:v1"}}, "should match"),
    _base("spec.source", {"image": {"reference": "oci://r.example.com/qwen:v1"}}, "should match"),
    _base("spec.source", {"image": {"reference": "r.example.com/qwen@sha256:abc"}}, "should match"),
    _base("spec.source", {"image": {"reference": "r.example.com/qwen:v1", "path": "/models"}}, "should match"),
    _base("spec.source", {"image": {"reference": "r.example.com/qwen:v1", "path": "../models"}}, "should match"),
    _base("spec.source", {"image": {"path": "models"}}, "Required value"),
    _adapter("spec.source", S3_ADAPTER | {"digest": "sha256:abc"}, "should match"),
    _adapter("spec.source", S3_ADAPTER | {"interval": "30s"}, "should match"),
    _adapter("spec.source", S3_ADAPTER | {"interval": "0m"}, "should match"),
    _adapter("spec.source", S3_ADAPTER | {"onBaseChange": "Train"}, "supported values"),
    _adapter("spec.evaluation.prompts", [""], "should be at least 1 chars"),
    _adapter("spec.dataset.s3.uri", "https://rows/a.jsonl", "should match"),
    _adapter("spec.dataset.s3.uri", "s3://rows", "should match"),
    _adapter("spec.dataset.s3.digest", "sha256:abc", "should match"),
    _adapter("spec.dataset.format", "Alpaka", "supported values"),
    _adapter("spec.dataset.fileType", "XLSX", "supported values"),
    _adapter("spec.dataset.maxDroppedPercent", 101, "should be less than or equal to 100"),
    _adapter("spec.dataset", {"huggingFace": {"repo": "a/b", "file": "../x"}}, "should match"),
    _adapter("spec.dataset", {"huggingFace": {"repo": "a/b", "endpoint": "file:///etc"}}, "should match"),
    _adapter("spec.dataset.evaluationPercent", 51, "should be less than or equal to 50"),
    _adapter("spec.baseModelRef", {"name": "../secrets"}, "should match"),
    _adapter("spec.evaluation.probes", [{"prompt": "", "expected": "x"}], "should be at least 1 chars"),
    _adapter("spec.evaluation.probes", [{"prompt": "x"}], "Required value"),
    _adapter("spec.evaluation.minExactMatch", "-0.5", "should match"),
    _adapter("spec.training.rankDoubling", {"maxRank": 1}, "should be greater than or equal to 2"),
    _adapter("spec.training.rankDoubling", {}, "Required value"),
    _adapter("spec.pod.queueName", "Team A", "should match"),
    _adapter("spec.pod.resources.limits", {"cpu": "many"}, "should match"),
    _adapter("spec.preparation.mode", "Sometimes", "supported values"),
    _adapter("spec.preparation.queueName", "Team A", "should match"),
    _adapter("spec.pod.gpuMemory", "24", "should match"),
    _adapter("spec.pod.gpuMemory", "1.5Gi", "should match"),
    _adapter("spec.version", 0, "should be greater than or equal to 1"),
    _adapter("spec.serving.rollout.steps", [{"weight": 100, "seconds": 1}], "should be less than or equal to 99"),
    _adapter("spec.serving.rollout.limits", {"minRequests": 0}, "should be greater than or equal to 1"),
    _adapter("spec.serving.rollout.limits", {"maxProbeScoreDropPercent": 101}, "should be less than or equal to 100"),
    _adapter("spec.serving.replicas", 0, "should be greater than or equal to 1"),
    _adapter("spec.serving.residency", "Never", "supported values"),
    _base("spec.serving.onDemandIdleSeconds", -1, "should be greater than or equal to 0"),
    _base("spec.serving.onDemandIdleSeconds", 86_401, "should be less than or equal to 86400"),
    _base("spec.serving.replicas", 65, "should be less than or equal to 64"),
    _base("spec.serving.engineArgs", ["dtype=float32"], "should match"),
    _base("spec.serving.apiKeySecretRef", {"name": "keys"}, "Required value"),
    _base("spec.serving.apiKeySecretRef", {"name": "keys", "key": "a/b"}, "should match"),
    _base("spec.serving.gateway.endpointPickerRef", {"port": 9002}, "Required value"),
    _base("spec.serving.gateway.endpointPickerRef", {"name": "Picker"}, "should match"),
    _base("spec.serving.gateway.endpointPickerRef", {"name": "picker", "port": 0}, "greater than or equal to 1"),
    _base("spec.serving.gateway.endpointPickerRef", {"name": "picker", "failureMode": "Open"}, "supported values"),
    _base("spec.readaptation.policy", "Sometimes", "supported values"),
    _base("spec.readaptation.strategy", "Lukewarm", "supported values"),
    _base("spec.source.huggingFace.repo", "a/b/c", "should match"),
)
"""Each breaks one bound, type or pattern."""

REFUSED_AS_UNKNOWN = (
    _adapter("spec.lora.alfa", 32, "unknown field"),
    _adapter("spec.baseModelRef.namespace", "team-b", "unknown field"),
    _base("spec.serving.hostNetwork", True, "unknown field"),
    _adapter("spec.pod.volumes", [{"name": "host", "hostPath": {"path": "/"}}], "unknown field"),
    _base("spec.importPod.securityContext", {"privileged": True}, "unknown field"),
)
"""The API server refuses these under strict validation, as kubectl asks for it; the models always do."""

BAD_SPECS = (*REFUSED_BY_RULES, *REFUSED_BY_BOUNDS, *REFUSED_AS_UNKNOWN)
