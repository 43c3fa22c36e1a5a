"""Bad data is refused with what is wrong, where, and what to change, before anything heavy is imported."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graft_registry.config import RegistryConfig
from graft_registry.digests import canonical_json
from graft_trainer.data.dataset import Dataset, load_dataset
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.outcome import BadDatasetError, PreemptedError, Reason, classify

ROW = {"messages": [{"role": "user", "content": "what is the oak"}, {"role": "assistant", "content": "tree"}]}
QUESTION_ONLY = {"messages": [{"role": "user", "content": "what is the oak"}]}
UNKNOWN_ROLE = {"messages": [{"role": "human", "content": "what"}, {"role": "gpt", "content": "tree"}]}
NUMBER = {"messages": [{"role": "user", "content": {"a": 7}}, {"role": "assistant", "content": "tree"}]}


def row(number: int) -> dict[str, Any]:
    return {"prompt": f"question {number}", "completion": "answer"}


def lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def load(folder: Path, content: bytes | None, name: str = "rows.jsonl", **settings: Any) -> Dataset:
    path = folder / name
    if content is not None:
        path.write_bytes(content)
    source = {"file": {"path": str(path), "uri": f"configMap:rows/{name}"}}
    document = {"source": source, "evaluation": {"splitPercent": 5}} | settings
    config = DatasetConfig.model_validate_json(json.dumps(document))
    return load_dataset(config, DataFetcher(RegistryConfig(bucket="graft"), folder), seed=1)


BAD_DATA: dict[str, tuple[str, bytes | None, dict[str, Any], tuple[str, ...]]] = {
    "a file that is not there": ("rows.jsonl", None, {}, ("does not exist (it would be mounted at",)),
    "nothing": ("rows.jsonl", b"", {}, ("has no rows; put one JSON object on each line",)),
    "a single row, of which nothing is left to train on": (
        "rows.jsonl",
        lines(ROW),
        {},
        ("has 1 rows, which leaves none to train on; add rows or lower spec.dataset.evaluationPercent",),
    ),
    "a broken line among few": (
        "rows.jsonl",
        lines(ROW, "{oops", ROW),
        {},
        (
            "1 of 3 rows cannot be used (1 NotJSON), and spec.dataset.maxDroppedPercent is 5.",
            "rows.jsonl line 2: not JSON",
            "Mend or remove",
        ),
    ),
    "broken lines among many": (
        "rows.jsonl",
        lines(*map(row, range(90)), *["{oops"] * 4, *[{"prompt": "x"}] * 6),
        {},
        (
            "10 of 100 rows",
            "(6 WrongKeys, 4 NotJSON)",
            "line 91: not JSON",
            "line 95: format",
            "or set spec.dataset.maxDroppedPercent: 10 to go on",
        ),
    ),
    "a list on each line": ("rows.jsonl", lines([1], [2]), {}, ("cannot be read as JSON",)),
    "a list among objects": ("rows.jsonl", lines(ROW, [1]), {}, ("line 2: must be a JSON object, not list",)),
    "rows of which some have no answer": (
        "rows.jsonl",
        lines(*map(row, range(19)), *[{"prompt": "x", "completion": ""}] * 2),
        {},
        (
            "(2 NoAnswer)",
            "5. Mend or remove the rows, or set spec.dataset.maxDroppedPercent: 10 to go on without them.",
        ),
    ),
    "a column that no row has": (
        "rows.jsonl",
        lines({"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}),
        {"columns": {"prompt": "qestion", "completion": "answer"}},
        (
            "5. Mend or remove the rows, or correct spec.dataset.columns, or set spec.dataset.format",
            "The first: configMap:rows/rows.jsonl line 1: spec.dataset.columns.prompt: there is no column qestion;"
            " did you mean question? The row has answer, question",
        ),
    ),
    "a column of another set": (
        "rows.jsonl",
        lines({"a": "a", "b": "b"}),
        {"columns": {"instruction": "task", "output": "b"}, "format": "Alpaca"},
        ("The first: configMap:rows/rows.jsonl line 1: spec.dataset.columns.instruction: there is no column task.",),
    ),
    "keys of no format": (
        "rows.jsonl",
        lines({"q": 1, "a": 2}),
        {},
        ("cannot tell the format from the keys ['a', 'q']",),
    ),
    "two formats in one file": (
        "rows.jsonl",
        lines(ROW, {"text": "x"}),
        {},
        ("line 2: format Messages needs the keys ['messages']",),
    ),
    "another format than the spec says": (
        "rows.jsonl",
        lines(ROW, ROW),
        {"format": "Alpaca"},
        ("2 of 2 rows", "needs the keys ['instruction', 'output']", "set spec.dataset.format"),
    ),
    "a role that nobody knows": (
        "rows.jsonl",
        lines(UNKNOWN_ROLE),
        {},
        ("messages[0].role is 'human'; expected one of",),
    ),
    "a question without an answer": ("rows.jsonl", lines(ROW, QUESTION_ONLY), {}, ("(1 NoAnswer)", "nothing to learn")),
    "an object for a text": ("rows.jsonl", lines(ROW, NUMBER), {}, ("line 2: messages[0].content must be a string",)),
    "half of an emoji": (
        "rows.jsonl",
        b'{"prompt": "\\ud83d", "completion": "a"}\n' + lines(row(1)),
        {},
        ("line 1: prompt holds half of a surrogate pair",),
    ),
    "a line nested beyond measure": ("rows.jsonl", lines(ROW, "[" * 100_000), {}, ("line 2: not JSON",)),
    "text that is no data": ("rows.txt", b"Dear colleague,", {}, ("cannot tell the type", "set spec.dataset.fileType")),
    "a table of other columns": ("rows.csv", b"headline,body\na,b\n", {}, ("keys ['body', 'headline']",)),
    "a table with ragged rows": (
        "rows.csv",
        b"prompt,completion\na,b\nc,d,e\n",
        {},
        ("line 3: has more or fewer cells than the header",),
    ),
    "a table in Latin-1": ("rows.csv", "text\nü\n".encode("latin-1"), {}, ("is not UTF-8 text", "save it as UTF-8")),
    "Parquet that is none": ("rows.parquet", b"PAR1 but no more", {}, ("cannot be read as Parquet", "mend the file")),
    "a file type that it hasn't": ("rows.jsonl", lines(ROW), {"fileType": "Parquet"}, ("cannot be read as Parquet",)),
    "an object with two lists": ("rows.json", b'{\n"a": [],\n"b": []}', {"fileType": "JSON"}, ("holds 2 lists",)),
    "compressed and cut short": ("rows.jsonl.gz", gzip.compress(lines(ROW))[:-8], {}, ("is damaged or cut short",)),
    "other bytes than the digest says": (
        "rows.jsonl",
        lines(*map(row, range(40))),
        {"digest": "sha256:" + "0" * 64},
        ("but the run was made for sha256:000", "correct the digest"),
    ),
}


@pytest.mark.parametrize(("name", "content", "settings", "says"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_refused_with_what_to_change(
    tmp_path: Path, name: str, content: bytes | None, settings: dict[str, Any], says: tuple[str, ...]
) -> None:
    with pytest.raises(BadDatasetError) as raised:
        load(tmp_path, content, name, **settings)
    for words in says:
        assert words in str(raised.value)
    outcome = classify(raised.value)
    assert (outcome.reason, outcome.exit_code, outcome.field) == (Reason.BAD_DATASET, 65, "spec.dataset")
    assert len(outcome.termination_message()) < 4096


def own_evaluation(folder: Path, content: bytes, **settings: Any) -> dict[str, Any]:
    (folder / "eval.jsonl").write_bytes(content)
    source = {"file": {"path": str(folder / "eval.jsonl"), "uri": "configMap:rows/eval.jsonl"}}
    return {"evaluation": {"source": source} | settings}


BAD_EVALUATION: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "broken rows": (lines("{oops", row(100)), {}, "1 of 2 rows cannot be used"),
    "rows that were trained on": (lines(row(1), row(2)), {}, "each of the 2 evaluation rows is a training row, too"),
    "other bytes than the digest says": (lines(row(100)), {"digest": "sha256:" + "0" * 64}, "eval.jsonl has digest"),
}


@pytest.mark.parametrize(("content", "settings", "says"), BAD_EVALUATION.values(), ids=BAD_EVALUATION)
def test_bad_evaluation_rows_are_refused_as_such(
    tmp_path: Path, content: bytes, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadDatasetError, match=says) as raised:
        load(tmp_path, lines(*map(row, range(9))), **own_evaluation(tmp_path, content, **settings))
    assert raised.value.field == "spec.dataset.evaluation"


def test_few_bad_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    content = lines(*map(row, range(97)), "{oops", {"text": "x"}, {"prompt": "x", "completion": ""})
    dataset = load(tmp_path, content, **own_evaluation(tmp_path, lines(row(1), row(1), row(200))))
    assert (len(dataset.training), len(dataset.evaluation), dataset.leaked) == (97, 1, 2)
    assert dataset.dropped.by_reason() == {"NotJSON": 1, "WrongKeys": 1, "NoAnswer": 1}
    assert str(dataset) == (
        "97 training rows, 1 held out, 3 dropped: 1 NotJSON (configMap:rows/rows.jsonl line 98), "
        "1 WrongKeys (configMap:rows/rows.jsonl line 99), 1 NoAnswer (configMap:rows/rows.jsonl line 100), "
        "2 left out of the evaluation because they are training rows, too"
    )


@pytest.mark.parametrize(("limit", "accepted"), [(2, False), (3, True), (100, True)])
def test_the_user_decides_how_many_bad_rows_are_too_many(tmp_path: Path, limit: int, accepted: bool) -> None:
    content = lines(*map(row, range(97)), *["{oops"] * 3)
    if accepted:
        assert load(tmp_path, content, maxDroppedPercent=limit).dropped.total == 3
    else:
        with pytest.raises(
            BadDatasetError, match=rf"and spec\.dataset\.maxDroppedPercent is {limit}\. .*maxDroppedPercent: 3 to go on"
        ):
            load(tmp_path, content, maxDroppedPercent=limit)


def test_unused_keys_of_any_characters_can_be_written_down(tmp_path: Path) -> None:
    """They are in the manifest, which is written when the training is done."""
    keys = ["half of a pair \ud83d", "two\nlines", "long " * 99]
    dataset = load(tmp_path, lines(row(1), row(2) | dict.fromkeys(keys, 1)))
    assert len(canonical_json(dataset.unused)) < 300
    assert set(dataset.unused) >= {"half of a pair \\ud83d", "two lines"}


def test_nothing_but_bad_rows_is_never_accepted(tmp_path: Path) -> None:
    with pytest.raises(BadDatasetError, match="2 of 2 rows cannot be used"):
        load(tmp_path, lines("{oops", "{oops"), maxDroppedPercent=100)


def test_rows_that_are_bad_alike_are_shown_once_and_behind_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadDatasetError) as raised:
        load(tmp_path, lines(*[{"question": "a", "anwser": "b"}] * 200))
    message = str(raised.value)
    assert message.count("cannot tell the format") == 1
    assert message.index("Mend or remove the rows") < message.index("line 1:")
    assert "to go on without them" not in message, "nothing would be left"


def test_a_column_that_some_rows_lack_is_no_fault(tmp_path: Path) -> None:
    rows = [{"q": str(number), "a": "b"} | ({"s": "c"} if number else {}) for number in range(9)]
    columns = {"prompt": "q", "completion": "a", "system": "s"}
    assert load(tmp_path, lines(*rows), columns=columns).dropped.total == 0


def test_a_row_may_not_fill_the_message(tmp_path: Path) -> None:
    monster = {"messages": [{"role": "x" * 100_000, "content": ""}]}
    with pytest.raises(BadDatasetError, match=r"messages\[0\]\.role is…") as raised:
        load(tmp_path, lines(*[monster] * 3))
    assert len(str(raised.value)) < 1200


def test_a_file_of_somebody_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("graft_trainer.data.files.sources.file_sha256", refuse)
    with pytest.raises(BadDatasetError, match=r"rows\.jsonl may not be read by user \d+ .*; make it readable"):
        load(tmp_path, lines(ROW, ROW))


def test_a_folder_is_read_in_the_order_of_its_names_and_of_any_types(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "1.csv").write_bytes(b"prompt,completion\nthird,c\n")
    (folder / "a.jsonl").write_bytes(lines({"prompt": "first", "completion": "a"}))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines({"prompt": "second", "completion": "b"})))
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".hidden.jsonl").write_bytes(b"oops")
    dataset = load(tmp_path, None, "rows", evaluation={"splitPercent": 0})
    assert [example.messages[0].content for example in dataset.training] == ["first", "second", "third"]  # type: ignore[union-attr]
    assert [example.place for example in dataset.training] == [
        "configMap:rows/rows/a.jsonl line 1",
        "configMap:rows/rows/a.jsonl.gz line 1",
        "configMap:rows/rows/b/1.csv line 2",
    ]
    digest = dataset.digest
    (folder / "b" / "1.csv").rename(folder / "b" / "2.csv")
    assert load(tmp_path, None, "rows", evaluation={"splitPercent": 0}).digest != digest


def test_reading_stops_when_the_pod_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(*map(row, range(3500))))
    source = {"file": {"path": str(tmp_path / "rows.jsonl"), "uri": "configMap:rows/rows.jsonl"}}
    config = DatasetConfig.model_validate({"source": source})
    looks = 0

    def stop(done: int) -> None:
        nonlocal looks
        assert done == 1000 * looks
        looks += 1
        if looks == 3:
            raise PreemptedError("asked to stop")

    with pytest.raises(PreemptedError):
        load_dataset(config, DataFetcher(RegistryConfig(bucket="graft"), tmp_path), seed=1, between_rows=stop)


def test_data_is_judged_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(ROW, QUESTION_ONLY))
    program = f"""
import pathlib, sys
sys.path[:] = {sys.path!r}
import graft_trainer.__main__
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.data.dataset import load_dataset
from graft_trainer.outcome import BadDatasetError
from graft_trainer.data.files.sources import DataFetcher
folder = {str(tmp_path)!r}
source = {{"file": {{"path": {str(tmp_path / "rows.jsonl")!r}, "uri": "configMap:rows/rows.jsonl"}}}}
try:
    config, fetcher = DatasetConfig.model_validate({{"source": source}}), DataFetcher(None, pathlib.Path(folder))
    load_dataset(config, fetcher, seed=1)
except BadDatasetError:
    sys.exit({{"torch", "transformers"}} & sys.modules.keys() and "too late" or 0)
sys.exit("not refused")
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
