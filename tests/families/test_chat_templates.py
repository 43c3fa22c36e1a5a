"""A base with several chat templates on the real engine: it writes each conversation as training has written it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from demo.environment import Environment
from tests.families import bases
from tests.families.engine import MODEL, engine_of
from tests.trainer.toy_base import CHAT_TEMPLATE
from tests.unit.trainer.row_files.test_templates import TOOLS

from graft_trainer.data.chat_template import ChatTemplate
from graft_trainer.data.dropped_rows import UnusableRowError
from graft_trainer.model import load_tokenizer

pytestmark = [pytest.mark.families, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

WITH_TOOLS = "{% if tools %}this tool {% endif %}" + CHAT_TEMPLATE
NAMED = {"default": CHAT_TEMPLATE, "tool_use": WITH_TOOLS, "rag": "and " + CHAT_TEMPLATE}
QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "what is the oak"}]


def in_the_config(base: Path) -> None:
    (base / "chat_template.jinja").unlink()
    path = base / "tokenizer_config.json"
    listed = [{"name": name, "template": template} for name, template in NAMED.items()]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": listed}))


def in_files(base: Path) -> None:
    (base / "additional_chat_templates").mkdir()
    for name in ("tool_use", "rag"):
        (base / "additional_chat_templates" / f"{name}.jinja").write_text(NAMED[name])


def for_tools_only(base: Path) -> None:
    in_files(base)
    (base / "chat_template.jinja").unlink()


@pytest.mark.parametrize("form", [in_the_config, in_files, for_tools_only])
def test_the_engine_writes_what_training_has_written_or_refuses_it_too(
    form: Callable[[Path], None], environment: Environment, tmp_path: Path
) -> None:
    base = bases.save("llama", tmp_path / "base")
    form(base)
    tokenizer = load_tokenizer(base)
    template = ChatTemplate(tokenizer)
    with engine_of(environment, base, tmp_path, adapters=False) as engine:
        for tools in (None, TOOLS):
            body = {"model": MODEL, "messages": QUESTION, **({"tools": tools} if tools else {})}
            answer = urllib3.request("POST", f"{engine.url}/tokenize", json=body, timeout=60, retries=False)
            try:
                written = template.render(QUESTION, tools, ask=True)
            except UnusableRowError:
                assert answer.status == 400, answer.data
                continue
            assert answer.status == 200, answer.data
            assert answer.json()["tokens"] == tokenizer(written, add_special_tokens=False)["input_ids"]
            assert ("tool" in written.split()) == bool(tools)
