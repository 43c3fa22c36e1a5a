"""Several sets are read each in its own way, and mixed by their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_trainer.data.conversation import Conversation
from graft_trainer.data.dataset import Dataset, load_dataset
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.outcome import BadDatasetError

TICKETS = [{"prompt": f"ticket {number}", "completion": "done"} for number in range(70)]
CHATS = [
    {"conversations": [{"from": "human", "value": f"chat {number}"}, {"from": "gpt", "value": "hello"}]}
    for number in range(100)
]


def source(path: Path) -> dict[str, Any]:
    return {"file": {"path": str(path), "uri": f"persistentVolumeClaim:data/{path.name}"}}


def mixed(folder: Path, *, percent: int = 0, seed: int = 1, **chats: Any) -> Dataset:
    """Seven tenths of tickets and three of chats; a third set asks and answers in columns of its own."""
    for name, rows in (("tickets.jsonl", TICKETS), ("chats.jsonl", CHATS)):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    (folder / "faq.csv").write_text("asked,said\n" + "\n".join(f"faq {number},yes" for number in range(50)))
    document = {
        "source": source(folder / "tickets.jsonl"),
        "weight": "7",
        "mix": [
            {"source": source(folder / "chats.jsonl"), "weight": "2", "format": "ShareGPT"} | chats,
            {
                "source": source(folder / "faq.csv"),
                "weight": "1",
                "fileType": "CSV",
                "columns": {"prompt": "asked", "completion": "said"},
            },
        ],
        "evaluation": {"splitPercent": percent},
    }
    config = DatasetConfig.model_validate_json(json.dumps(document))
    return load_dataset(config, DataFetcher(RegistryConfig(bucket="none"), folder / "work"), seed=seed)


def asked(dataset: Dataset) -> list[str]:
    examples = [example for example in dataset.training if isinstance(example, Conversation)]
    return [example.messages[0].content for example in examples]


def test_each_set_is_read_in_its_own_way_and_has_its_part(tmp_path: Path) -> None:
    dataset = mixed(tmp_path)
    kinds = [question.partition(" ")[0] for question in asked(dataset)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"ticket": 70, "chat": 20, "faq": 10}
    assert [(one.uri, one.weight, one.rows, one.usable) for one in dataset.sets] == [
        ("persistentVolumeClaim:data/tickets.jsonl", 7.0, 70, 70),
        ("persistentVolumeClaim:data/chats.jsonl", 2.0, 20, 100),
        ("persistentVolumeClaim:data/faq.csv", 1.0, 10, 50),
    ]
    assert "20 of 100 rows of persistentVolumeClaim:data/chats.jsonl" in str(dataset)
    # Evenly: each tenth of the mix is as the whole.
    assert [kinds[start : start + 10].count("ticket") for start in range(0, 100, 10)] == [7] * 10


def test_the_digest_is_of_all_sets_and_their_weights(tmp_path: Path) -> None:
    dataset = mixed(tmp_path)
    assert dataset.digest == digest_of([[one.digest, one.weight] for one in dataset.sets])
    assert mixed(tmp_path, weight="3").digest != dataset.digest


def test_the_seed_chooses_the_rows(tmp_path: Path) -> None:
    assert asked(mixed(tmp_path)) == asked(mixed(tmp_path))
    assert asked(mixed(tmp_path)) != asked(mixed(tmp_path, seed=2))


def test_rows_are_held_out_of_the_mix(tmp_path: Path) -> None:
    dataset = mixed(tmp_path, percent=20)
    assert (len(dataset.training), len(dataset.evaluation)) == (80, 20)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"digest": "sha256:" + "0" * 64}, "chats.jsonl has digest"),
        ({"format": "Alpaca"}, "100 of 100 rows cannot be used"),
        ({"source": source(Path("/nowhere/chats.jsonl"))}, "chats.jsonl does not exist"),
    ],
)
def test_what_is_wrong_with_a_set_names_it(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadDatasetError, match=says) as raised:
        mixed(tmp_path, **change)
    assert raised.value.field == "spec.dataset.mix[0]"
