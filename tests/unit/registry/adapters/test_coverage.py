"""Which modules an adapter has to have tensors for: by lists, by expressions, and by what it changes elsewhere."""

import re
import time
from typing import Any

import pytest

from graft_registry.adapters.coverage import covered_modules, missing_modules
from graft_registry.adapters.expressions import Expression
from graft_registry.adapters.peft_config import LoraSettings

KINDS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
BLOCKS = 12
MODULES = [f"model.layers.{block}.{kind}" for block in range(BLOCKS) for kind in KINDS]
BASE = [*MODULES, "lm_head", "model.embed_tokens"]

UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|v_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp)\.(?:(?:q_proj|v_proj)))"
)
AXOLOTL = r"model.layers.[\d]+.(mlp|self_attn).(up|q|v)_proj"
LLAMA_FACTORY = r"^(?!.*(?:visual|lm_head)).*(?:q_proj|v_proj|up_proj).*"
SWIFT = r"^(model)(?=\.).*\.(q_proj|v_proj)$"


@pytest.mark.parametrize(
    "text",
    [
        *(UNSLOTH, AXOLOTL, r".*\.(q|v)_proj", ".*", "lm_head|.*up_proj", r"(?i).*\.Q_PROJ", r".*layers\.(1|11)\..*"),
        *(
            r"model\.layers\.\d\.\w+\.[qv]_proj",
            r".*\.[^.]*_proj$",
            "q_proj",
            "",
            r".*(?P<kind>q|v)_proj",
            r".*v\_proj",
        ),
    ],
)
def test_an_expression_matches_what_it_matches_in_python(text: str) -> None:
    expression = Expression.parse(text)
    assert expression is not None
    assert [name for name in BASE if expression.matches(name)] == [name for name in BASE if re.fullmatch(text, name)]


@pytest.mark.parametrize(
    "text",
    [
        LLAMA_FACTORY,
        SWIFT,
        r"(a)\1",
        "a)|(b",
        "(",
        "((a{1000}){1000}){1000}",
        "a" * 5000,
        "[a&&b]",
        "[[a]b]",
        "{'a'}",
        ".*+a",
    ],
)
def test_an_expression_that_could_mean_something_else_is_not_read(text: str) -> None:
    assert Expression.parse(text) is None


def test_no_expression_takes_for_ever() -> None:
    begin = time.process_time()
    for text in ("(a+)+", "(a|a)*b", "(.*a){30}"):
        expression = Expression.parse(text)
        assert expression is not None
        assert not expression.matches("a" * 2000 + "!")
    assert time.process_time() - begin < 5


def settings(**fields: Any) -> LoraSettings:
    return LoraSettings.model_validate({"peft_type": "LORA"} | fields)


@pytest.mark.parametrize(
    ("fields", "covered"),
    [
        ({"target_modules": ["q_proj"]}, MODULES[::3]),
        ({"target_modules": "all-linear"}, MODULES),
        ({"target_modules": "ALL-linear"}, MODULES),
        ({"target_modules": ["q_proj", "up_proj"], "exclude_modules": ".*up.*"}, MODULES[::3]),
        ({"target_modules": ["q_proj", "lm_head"], "exclude_modules": ["lm_head"]}, MODULES[::3]),
        ({"target_modules": r".*\.layers\.1\.self_attn\.q_proj"}, ["model.layers.1.self_attn.q_proj"]),
        ({"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]}, MODULES[::3]),
        ({"target_modules": ["q_proj"], "layers_to_transform": [2]}, ["model.layers.2.self_attn.q_proj"]),
        ({"target_modules": [MODULES[0], "v_proj"], "layers_to_transform": [2]}, [MODULES[0], MODULES[7]]),
        ({"target_modules": ["fc1"]}, []),
        ({"target_modules": LLAMA_FACTORY}, None),
        ({"target_modules": ["q_proj"], "exclude_modules": SWIFT}, None),
        ({}, None),
    ],
)
def test_settings_cover_what_peft_would_adapt(fields: dict[str, Any], covered: list[str] | None) -> None:
    assert covered_modules(settings(**fields), BASE) == covered


ATTENTION = [name for name in MODULES if "self_attn" in name]
LAST = MODULES[-2]


@pytest.mark.parametrize(
    "targets",
    [
        ["q_proj", "v_proj"],
        r".*\.(q|v)_proj",
        UNSLOTH,
        LLAMA_FACTORY,
        SWIFT,
        None,
        "{'q_proj', 'v_proj'}",
        r"model\.language_model\.layers\.\d+\.self_attn\.(q|v)_proj",
    ],
)
@pytest.mark.parametrize(
    ("adapted", "missing"),
    [
        (ATTENTION, []),
        ([name for name in ATTENTION if name != LAST], [LAST]),
        ([name for name in ATTENTION if ".11." not in name], [name for name in ATTENTION if ".11." in name]),
        (ATTENTION[:2], ATTENTION[2:]),
        ([name for name in ATTENTION if name != ATTENTION[5]], [ATTENTION[5]]),
    ],
    ids=["whole", "one module in the last block", "the last block", "all but the first block", "one in the midst"],
)
@pytest.mark.parametrize("excluded", [None, ["lm_head"], ".*visual.*", r"(?!a)b"])
def test_what_is_missing_is_seen_however_the_targets_are_given(
    targets: Any, adapted: list[str], missing: list[str], excluded: Any
) -> None:
    assert missing_modules(settings(target_modules=targets, exclude_modules=excluded), adapted, BASE) == missing


@pytest.mark.parametrize(
    ("targets", "adapted"),
    [
        (r".*layers\.(0|1)\..*(q|v)_proj", ATTENTION[:4]),
        (r".*layers\.0\..*(q|v)_proj|.*layers\.5\..*q_proj", [*ATTENTION[:2], "model.layers.5.self_attn.q_proj"]),
        (r"(?!vision).*layers\.(4|5)\..*", ATTENTION[8:12]),
        (r"(?!vision).*up_proj", [name for name in MODULES if "up_proj" in name]),
    ],
)
def test_an_expression_may_choose_layers(targets: str, adapted: list[str]) -> None:
    assert missing_modules(settings(target_modules=targets), adapted, BASE) == []


def test_what_only_some_blocks_have_is_missing_in_no_other() -> None:
    """As full attention is in every fourth block of some bases."""
    hybrid = [f"model.layers.{block}.self_attn.q_proj" for block in (3, 7, 11)]
    linear = [f"model.layers.{block}.linear_attn.in_proj" for block in range(12) if block % 4 != 3]
    assert missing_modules(settings(target_modules=SWIFT), hybrid, [*hybrid, *linear]) == []
    assert missing_modules(settings(target_modules=SWIFT), hybrid[:2], [*hybrid, *linear]) == hybrid[2:]
