"""A base with several chat templates, kept as models keep them: each conversation has the one that an engine takes.

The real ones are TRL's copies of the models' own. What is held to is what Transformers' tokenizers and processors find
in the same directory, by the rule of vLLM: the processor's where there is one and no tools, else the tokenizer's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.trainer.byte_tokenizer import byte_tokenizer
from tests.unit.trainer.row_files.test_templates import FOLDER, TOOLS

from graft_registry.digests import sha256_digest
from graft_registry.errors import InvalidModel
from graft_registry.models.chat_templates import ChatTemplates, chat_template_digest, read_chat_templates
from graft_trainer.data.chat_template import ChatTemplate
from graft_trainer.data.dropped_rows import DropReason, UnusableRowError
from graft_trainer.outcome import BaseMismatchError

COMMAND, TOOLS_OF_IT, RAG = ((FOLDER / f"{name}.jinja").read_text() for name in ("cohere", "cohere2", "gemma"))
PICTURES, PLAIN = ((FOLDER / f"{name}.jinja").read_text() for name in ("qwen2_5_vl", "qwen2_5"))
WITH_TOOLS = (FOLDER / "qwen3.jinja").read_text()


def write_tokenizer(directory: Path) -> Path:
    """Write a tokenizer without any template."""
    byte_tokenizer(COMMAND + PLAIN, end="<eos>", begin="<BOS_TOKEN>").save_pretrained(directory)
    for path in directory.glob("*.jinja"):
        path.unlink()
    edit(directory / "tokenizer_config.json", chat_template=None)
    (directory / "config.json").write_text("{}")
    return directory


def edit(path: Path, **fields: Any) -> None:
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({name: value for name, value in (document | fields).items() if value is not None}))


def list_in_the_config(directory: Path) -> None:
    """Command R and R+: three in ``tokenizer_config.json``."""
    named = {"default": COMMAND, "tool_use": TOOLS_OF_IT, "rag": RAG}
    listed = [{"name": name, "template": template} for name, template in named.items()]
    edit(directory / "tokenizer_config.json", chat_template=listed)


def folder_of_files(directory: Path) -> None:
    """The same as Transformers saves them today."""
    (directory / "chat_template.jinja").write_text(COMMAND)
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "tool_use.jinja").write_text(TOOLS_OF_IT)
    (directory / "additional_chat_templates" / "rag.jinja").write_text(RAG)


def file_beside_another_in_the_config(directory: Path) -> None:
    """A file was added to a repository, and the old one left where it was."""
    (directory / "chat_template.jinja").write_text(PLAIN)
    edit(directory / "tokenizer_config.json", chat_template=COMMAND)


def tool_use_only(directory: Path) -> None:
    """A folder without a default: nothing in the tokenizer's configuration counts any more."""
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "tool_use.jinja").write_text(WITH_TOOLS)
    edit(directory / "tokenizer_config.json", chat_template=PLAIN)


def older_file_of_a_processor(directory: Path) -> None:
    """LLaVA, Qwen2-VL: ``chat_template.json``, which tokenizers don't read."""
    (directory / "chat_template.json").write_text(json.dumps({"chat_template": PICTURES}))


def older_file_beside_the_tokenizers(directory: Path) -> None:
    older_file_of_a_processor(directory)
    edit(directory / "tokenizer_config.json", chat_template=PLAIN)


def in_the_processors_config(directory: Path) -> None:
    """The first LLaVA conversions: within ``processor_config.json``."""
    edit(directory / "processor_config.json", chat_template=PICTURES, processor_class="LlavaProcessor")
    edit(directory / "tokenizer_config.json", chat_template=PLAIN)


def one_in_the_config(directory: Path) -> None:
    edit(directory / "tokenizer_config.json", chat_template=PLAIN)


def nothing(directory: Path) -> None:
    pass


FORMS: list[Callable[[Path], None]] = [
    list_in_the_config,
    folder_of_files,
    file_beside_another_in_the_config,
    tool_use_only,
    older_file_of_a_processor,
    older_file_beside_the_tokenizers,
    in_the_processors_config,
    one_in_the_config,
    nothing,
]


def engines_choice(directory: Path, tools: list[Any] | None, *, wrapped: bool) -> str | None:
    """What vLLM resolves (``resolve_chat_template``), by Transformers' own reading of the directory."""
    from transformers import AutoTokenizer
    from transformers.processing_utils import ProcessorMixin

    if tools is None and wrapped:
        processor = ProcessorMixin.get_processor_dict(str(directory))[0].get("chat_template")
        if isinstance(processor, str):
            return processor
    try:
        chosen: str = AutoTokenizer.from_pretrained(directory).get_chat_template(tools=tools)
    except ValueError:
        return None
    return chosen


@pytest.mark.parametrize("wrapped", [False, True], ids=["text", "pictures"])
@pytest.mark.parametrize("form", FORMS)
def test_the_templates_that_are_used_are_the_engines(
    form: Callable[[Path], None], wrapped: bool, tmp_path: Path
) -> None:
    form(write_tokenizer(tmp_path))
    found = read_chat_templates(tmp_path, wrapped=wrapped)
    assert found.without_tools == engines_choice(tmp_path, None, wrapped=wrapped)
    assert found.with_tools == engines_choice(tmp_path, TOOLS, wrapped=wrapped)


@pytest.mark.parametrize("wrapped", [False, True], ids=["text", "pictures"])
@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_written_as_an_engine_would_or_refused_as_it_would(
    form: Callable[[Path], None], wrapped: bool, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    form(write_tokenizer(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.chat_template = read_chat_templates(tmp_path, wrapped=wrapped).for_tokenizer()
    if tokenizer.chat_template is None:
        assert (
            engines_choice(tmp_path, None, wrapped=wrapped) is engines_choice(tmp_path, TOOLS, wrapped=wrapped) is None
        )
        return
    turns: list[dict[str, Any]] = [{"role": "user", "content": "what is red"}]
    for tools in (None, TOOLS):
        chosen = engines_choice(tmp_path, tools, wrapped=wrapped)
        if chosen is None:
            with pytest.raises(UnusableRowError, match="no template for conversations with") as raised:
                ChatTemplate(tokenizer).render(turns, tools)
            assert raised.value.reason is DropReason.REFUSED_BY_TEMPLATE
            assert "chat_template.jinja" in str(raised.value)
            continue
        parts = [{"type": "text", "text": "what is red"}] if chosen == PICTURES else "what is red"
        expected = tokenizer.apply_chat_template(
            [{"role": "user", "content": parts}], tools=tools, chat_template=chosen, tokenize=False
        )
        assert "what is red" in expected
        assert ChatTemplate(tokenizer).render(turns, tools) == expected


def test_what_is_told() -> None:
    several = ChatTemplates({"default": "a", "tool_use": "b", "rag": "c"})
    assert several.several
    assert several.described() == "conversations are written by default, those with tools by tool_use, rag is not used"
    assert (
        ChatTemplates({"tool_use": "b"}, processor="p").described()
        == "conversations are written by the processor's, those with tools by tool_use"
    )
    assert (
        ChatTemplates({"tool_use": "b"}).described()
        == "conversations are written by none, those with tools by tool_use"
    )
    assert not ChatTemplates({"default": "a"}).several
    assert not ChatTemplates({"default": "a"}, processor="a").several


@pytest.mark.parametrize(
    ("form", "change"),
    [
        (list_in_the_config, lambda path: edit(path / "tokenizer_config.json", chat_template=PLAIN)),
        (folder_of_files, lambda path: (path / "additional_chat_templates" / "tool_use.jinja").write_text(PLAIN)),
        (folder_of_files, lambda path: (path / "additional_chat_templates" / "tool_use.jinja").unlink()),
        (file_beside_another_in_the_config, lambda path: (path / "chat_template.jinja").unlink()),
        (tool_use_only, lambda path: (path / "chat_template.jinja").write_text(PLAIN)),
        (older_file_beside_the_tokenizers, lambda path: (path / "chat_template.json").unlink()),
        (in_the_processors_config, lambda path: edit(path / "processor_config.json", chat_template=COMMAND)),
    ],
)
def test_another_choice_is_another_base(
    form: Callable[[Path], None], change: Callable[[Path], Any], tmp_path: Path
) -> None:
    form(write_tokenizer(tmp_path))
    before = chat_template_digest(tmp_path, wrapped=True)
    change(tmp_path)
    assert chat_template_digest(tmp_path, wrapped=True) != before


def mend_the_list(directory: Path) -> None:
    named = {"default": COMMAND, "tool_use": TOOLS_OF_IT, "rag": "mended"}
    listed = [{"name": name, "template": template} for name, template in named.items()]
    edit(directory / "tokenizer_config.json", chat_template=listed)


def mend_the_file(directory: Path) -> None:
    (directory / "additional_chat_templates" / "rag.jinja").write_text("mended")


def delete_the_file(directory: Path) -> None:
    (directory / "additional_chat_templates" / "rag.jinja").unlink()


@pytest.mark.parametrize("wrapped", [False, True], ids=["text", "pictures"])
@pytest.mark.parametrize(
    ("form", "change"),
    [(list_in_the_config, mend_the_list), (folder_of_files, mend_the_file), (folder_of_files, delete_the_file)],
)
def test_what_no_engine_takes_by_itself_is_no_part_of_a_base(
    form: Callable[[Path], None], change: Callable[[Path], None], wrapped: bool, tmp_path: Path
) -> None:
    form(write_tokenizer(tmp_path))
    if wrapped:
        older_file_of_a_processor(tmp_path)
    before = chat_template_digest(tmp_path, wrapped=wrapped)
    assert before is not None
    change(tmp_path)
    assert chat_template_digest(tmp_path, wrapped=wrapped) == before


def test_a_default_in_the_folder_is_the_one_that_counts(tmp_path: Path) -> None:
    one_in_the_config(write_tokenizer(tmp_path))
    inline = chat_template_digest(tmp_path, wrapped=False)
    (tmp_path / "chat_template.jinja").write_text(COMMAND)
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "default.jinja").write_text(PLAIN)
    assert chat_template_digest(tmp_path, wrapped=False) == inline


@pytest.mark.parametrize("wrapped", [False, True])
def test_without_a_template_that_is_used_only_the_processors_counts(wrapped: bool, tmp_path: Path) -> None:
    one_in_the_config(write_tokenizer(tmp_path))
    older_file_of_a_processor(tmp_path)
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text(RAG)
    expected = sha256_digest(PICTURES.encode()) if wrapped else None
    assert chat_template_digest(tmp_path, wrapped=wrapped) == expected


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_same_text_in_the_one_place_or_the_other_is_the_same_base(wrapped: bool, tmp_path: Path) -> None:
    one_in_the_config(write_tokenizer(tmp_path))
    inline = chat_template_digest(tmp_path, wrapped=wrapped)
    (tmp_path / "chat_template.jinja").write_text(PLAIN)
    assert chat_template_digest(tmp_path, wrapped=wrapped) == inline
    edit(tmp_path / "tokenizer_config.json", chat_template=None)
    assert chat_template_digest(tmp_path, wrapped=wrapped) == inline


@pytest.mark.parametrize("value", [3, ["default"], [{"name": "default"}], {"default": 1}, [{"template": "a"}], [None]])
def test_what_is_no_template_is_named(value: Any, tmp_path: Path) -> None:
    edit(tmp_path / "tokenizer_config.json", chat_template=value)
    with pytest.raises(InvalidModel, match=r"tokenizer_config\.json: chat_template is neither"):
        chat_template_digest(tmp_path, wrapped=False)


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe{")
    with pytest.raises(InvalidModel, match=r"chat_template\.jinja is not UTF-8"):
        chat_template_digest(tmp_path, wrapped=False)


def test_several_templates_of_which_none_is_meant_are_the_bases_fault() -> None:
    tokenizer = byte_tokenizer(PLAIN, end="<|im_end|>")
    tokenizer.chat_template = {"rag": RAG, "chat": PLAIN}
    with pytest.raises(BaseMismatchError, match="the base's chat template can't be read") as refusal:
        ChatTemplate(tokenizer).render([{"role": "user", "content": "a"}], None)
    assert refusal.value.field == "spec.baseModelRef"
