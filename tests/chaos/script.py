"""What people do in one life of a base and its adapters, drawn by a seed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.simulator.publishing import BAD_SEED

Object = dict[str, Any]
API_VERSION: Final = "graft.dev/v1alpha1"
BASE: Final = "tiny"
ACTS: Final = 14
LONGEST_PAUSE_SECONDS: Final = 1.6
PLAIN: Final = ("plain-0", "plain-1", "plain-2", "plain-3")
CANARY: Final = "canary"
UNSERVED: Final = "unserved"
WORSENED: Final = "worsened"
"""Becomes worse than its base in the middle of its life, and stays so: its good version must go on answering."""
FIRST: Final = (*PLAIN, CANARY, UNSERVED, WORSENED)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody does, after a pause: `spec` is the new spec, None deletes the object."""

    what: str
    kind: str
    name: str
    spec: Object | None
    pause: float


@dataclass(slots=True)
class Script:
    """The specs as people have left them; what a life must end with."""

    seed: int
    base: Object = field(default_factory=dict)
    adapters: dict[str, Object] = field(default_factory=dict)
    good_answered: bool = False
    """Whether the one that becomes worse has answered before; whoever lives the life sees to it."""

    def acts(self) -> Iterator[Act]:
        """Yield the acts in their order, and keep the specs that they leave."""
        random = Random(f"script {self.seed}")
        self.base = {
            "source": source(1),
            "serving": {"replicas": random.choice((1, 2)), "maxLoadedAdapters": 16},
            "readaptation": {"maxParallel": 2},
        }
        yield Act("create", "BaseModel", BASE, deepcopy(self.base), 0.0)
        for name in FIRST:
            self.adapters[name] = first_spec(name)
            yield Act("create", "LoraAdapter", name, deepcopy(self.adapters[name]), 0.05)
        # Something must be served before it can change.
        pause = 3.0
        for what in [*random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=ACTS - 1), "worsen"]:
            yield self._act(what, random, pause)
            pause = LONGEST_PAUSE_SECONDS * random.random()
        for name in [name for name, spec in self.adapters.items() if spec.get("suspend")]:
            change(self.adapters[name], "resume", random)
            yield Act("resume", "LoraAdapter", name, deepcopy(self.adapters[name]), 0.1)

    def _act(self, what: str, random: Random, pause: float) -> Act:
        if what in ("bump", "scale"):
            if what == "bump":
                self.base["source"] = source(2 if self.base["source"] == source(1) else 1)
            else:
                self.base["serving"]["replicas"] = random.choice((1, 2, 3))
            return Act(what, "BaseModel", BASE, deepcopy(self.base), pause)
        if what == "delete":
            name = random.choice(PLAIN)
            self.adapters.pop(name, None)
            return Act(what, "LoraAdapter", name, None, pause)
        name = WORSENED if what == "worsen" else random.choice([*(n for n in PLAIN if n in self.adapters), CANARY])
        if what == "create again":
            name = next((n for n in PLAIN if n not in self.adapters), name)
            self.adapters.setdefault(name, first_spec(name))
        change(self.adapters[name], what, random)
        return Act(what, "LoraAdapter", name, deepcopy(self.adapters[name]), pause)


WEIGHTS: Final = {
    "retrain": 6,
    "raise rank": 2,
    "pin": 2,
    "unpin": 2,
    "bump": 2,
    "scale": 1,
    "suspend": 1,
    "resume": 1,
    "delete": 1,
    "create again": 2,
}
"""What people do → how often, relative to the rest."""


def change(spec: Object, what: str, random: Random) -> None:
    """Change an adapter's spec as an act says."""
    match what:
        case "retrain":
            spec["training"]["seed"] = random.choice((1, 2, 3))
        case "worsen":
            spec["training"]["seed"] = BAD_SEED
        case "raise rank":
            spec["lora"]["rank"] = random.choice((8, 16))
        case "pin":
            spec["version"] = 1
        case "unpin":
            spec.pop("version", None)
        case "suspend":
            spec["suspend"] = True
        case "resume":
            spec.pop("suspend", None)


def source(number: int) -> Object:
    """Return one of the two sources of the base."""
    return {"s3": {"uri": f"s3://models/{BASE}/{number}"}}


def first_spec(name: str) -> Object:
    """Return what an adapter begins with."""
    spec: Object = {
        "baseModelRef": {"name": BASE},
        "dataset": {"s3": {"uri": f"s3://data/{name}.jsonl"}},
        "lora": {"rank": 8},
        "training": {"seed": 1},
        "evaluation": {"minImprovementOverBase": "0.02"},
        "serving": {"rollout": {"rollbackWindowSeconds": 1}},
    }
    if name == CANARY:
        steps = [{"weight": 20, "seconds": 1}, {"weight": 60, "seconds": 1}]
        spec["serving"]["rollout"] |= {"strategy": "Canary", "steps": steps}
    if name == UNSERVED:
        spec["serving"] = {"mode": "None"}
    return spec
