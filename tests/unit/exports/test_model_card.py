"""The front matter of a README, whoever wrote it."""

from __future__ import annotations

import pytest
from tests.builders import version

from graft_registry.exports.model_card import front_matter, split_card


@pytest.mark.parametrize(
    ("text", "matter", "body"),
    [
        ("---\na: 1\n---\n# B\n", "a: 1\n", "# B\n"),
        ("---\r\na: 1\r\n---\r\n# B\r\n", "a: 1\r\n", "# B\r\n"),
        ("\ufeff---\na: 1\n---\n# B\n", "a: 1\n", "# B\n"),
        ("# B\n\n---\n\nrule\n", "", "# B\n\n---\n\nrule\n"),
        ("---\nnever closed\n", "", "---\nnever closed\n"),
        ("---\n---\n", "", ""),
        ("", "", ""),
    ],
)
def test_a_card_is_parted(text: str, matter: str, body: str) -> None:
    assert split_card(text) == (matter, body)


def test_what_a_card_says_already_stays() -> None:
    before = {"license": "mit", "language": ["de"], "tags": ["mine", "lora"], "pipeline_tag": "summarization"}
    said = front_matter(version(1).manifest, before)
    assert (said["license"], said["language"], said["pipeline_tag"]) == ("mit", ["de"], "summarization")
    assert said["tags"] == ["mine", "lora", "graft"]
    assert (said["base_model"], said["base_model_relation"], said["library_name"]) == ("tiny", "adapter", "peft")
    (model,) = said["model-index"]
    assert model["results"][0]["metrics"] == [{"type": "loss", "value": 1.0}]


def test_a_version_that_was_not_judged_has_no_scores() -> None:
    said = front_matter(version(1, loss=None).manifest, {"tags": "not a list"})
    assert "model-index" not in said
    assert said["tags"] == ["graft", "lora"]
