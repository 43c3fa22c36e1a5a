"""The chat templates of a model, and which of them an engine writes which conversation with.

A model may have several, by name, in any of the places that libraries have kept them in. An engine takes one by itself:
``tool_use`` for a request with tools where there is one of that name, else ``default``. All others are only for whoever
names them. These are the rules of Transformers' tokenizers and processors, and of vLLM, which asks the processor first
where the model has one (pictures or sound beside text) and the request no tools.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from graft_registry.digests import digest_of, sha256_digest
from graft_registry.errors import InvalidModel
from graft_registry.models.model_config import read_json
from graft_registry.sources.source_files import TEMPLATE_FOLDER

TEMPLATE_FILE: Final = "chat_template.jinja"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
PROCESSOR_CONFIG: Final = "processor_config.json"
OLDER_FILE: Final = "chat_template.json"
"""Where processors kept theirs before the other file was invented. Tokenizers don't read it."""
DEFAULT, TOOL_USE = "default", "tool_use"
TEMPLATE_PLACES: Final = frozenset(
    {
        TEMPLATE_FILE,
        TOKENIZER_CONFIG,
        PROCESSOR_CONFIG,
        OLDER_FILE,
        *(f"{TEMPLATE_FOLDER}/{name}.jinja" for name in (DEFAULT, TOOL_USE)),
    }
)
"""Files that may hold a template that an engine takes by itself."""
_REFUSAL: Final = (
    "{{{{ raise_exception('the base has no template for conversations {} tools, and engines refuse them; give it a "
    "chat_template.jinja') }}}}"
)
_KEY: Final = "chat_template"
_JINJA: Final = ".jinja"


@dataclass(frozen=True, slots=True)
class ChatTemplates:
    """Templates by name: those of the tokenizer, and the one of the processor, where the model has one."""

    tokenizer: Mapping[str, str] = field(default_factory=dict)
    processor: str | None = None

    @property
    def without_tools(self) -> str | None:
        """What a conversation is written with; None where an engine refuses it."""
        return self.processor if self.processor is not None else self.tokenizer.get(DEFAULT)

    @property
    def with_tools(self) -> str | None:
        """What a conversation is written with whose row or request declares tools."""
        return self.tokenizer.get(TOOL_USE, self.tokenizer.get(DEFAULT))

    @property
    def used(self) -> dict[str, str]:
        """Those of the tokenizer that an engine takes by itself."""
        return {name: template for name, template in self.tokenizer.items() if name in (DEFAULT, TOOL_USE)}

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of those that no engine takes by itself."""
        return tuple(sorted(set(self.tokenizer) - {DEFAULT, TOOL_USE}))

    @property
    def several(self) -> bool:
        """Whether there is a choice that somebody should be told."""
        return len({*self.tokenizer.values(), *([self.processor] if self.processor is not None else [])}) > 1

    def for_tokenizer(self) -> str | dict[str, str] | None:
        """Return what a tokenizer is given to write every conversation as an engine does: one template, or two by name.

        Where an engine has none for one of the two, a template that refuses every conversation stands in its place.
        """
        without, with_ = self.without_tools, self.with_tools
        if without == with_:
            return without
        return {DEFAULT: without or _REFUSAL.format("without"), TOOL_USE: with_ or _REFUSAL.format("with")}

    def described(self) -> str:
        """Say in a line which template is for what, by name."""
        without = "the processor's" if self.processor is not None else DEFAULT if DEFAULT in self.tokenizer else "none"
        with_ = next((name for name in (TOOL_USE, DEFAULT) if name in self.tokenizer), "none")
        said = [f"conversations are written by {without}", f"those with tools by {with_}"]
        return ", ".join([*said, *(f"{name} is not used" for name in self.unused)])


def read_chat_templates(directory: Path, *, wrapped: bool) -> ChatTemplates:
    """Read the templates of a model's directory; ``wrapped``: it has a processor, for pictures or sound.

    Raises:
        InvalidModel: a file is not what it should be; the message names it.
    """
    files = _template_files(directory)
    return ChatTemplates(
        tokenizer=files or _named(_value(directory / TOKENIZER_CONFIG), TOKENIZER_CONFIG),
        processor=_of_processor(directory, files) if wrapped else None,
    )


def chat_template_digest(directory: Path, *, wrapped: bool) -> str | None:
    """Return the digest of what conversations are written with, None where there is nothing.

    A single template has the digest of its text, wherever it is kept, and a list in ``tokenizer_config.json`` that of
    the list, as in all releases. What no engine takes by itself is no part of it.
    """
    found, files = read_chat_templates(directory, wrapped=wrapped), _paths(directory)
    own = found.used
    if own and found.processor not in (None, own.get(DEFAULT)):
        return digest_of({"processor": found.processor, "tokenizer": own})
    if files and set(own) == {DEFAULT}:
        return sha256_digest(files[DEFAULT].read_bytes())
    if files:
        return digest_of(own) if own else _digest_of_value(found.processor)
    kept = _without_unused(_value(directory / TOKENIZER_CONFIG))
    if kept is None:
        kept = _value(directory / OLDER_FILE)
    return _digest_of_value(found.processor if kept is None else kept)


def former_chat_template_digest(directory: Path) -> str | None:
    """Return the digest by the rule of earlier releases, which knew one template, the tokenizer's, and lists of them.

    It says nothing of ``additional_chat_templates``, nor of a processor's template that differs from the tokenizer's.
    """
    path = directory / TEMPLATE_FILE
    if path.is_file():
        return sha256_digest(path.read_bytes())
    kept = _value(directory / TOKENIZER_CONFIG)
    return _digest_of_value(_value(directory / OLDER_FILE) if kept is None else kept)


def _digest_of_value(value: Any) -> str | None:
    if value is None:
        return None
    return sha256_digest(value.encode()) if isinstance(value, str) else digest_of(value)


def _without_unused(value: Any) -> Any:
    """Return a list, or an object, of templates by name without those that no engine takes; None where none is left."""
    if isinstance(value, list):
        return [item for item in value if item["name"] in (DEFAULT, TOOL_USE)] or None
    if isinstance(value, dict):
        return {name: template for name, template in value.items() if name in (DEFAULT, TOOL_USE)} or None
    return value


def _template_files(directory: Path) -> dict[str, str]:
    """Return the templates that are files, by name; where there is one, nothing else counts."""
    return {name: _text(path) for name, path in _paths(directory).items()}


def _paths(directory: Path) -> dict[str, Path]:
    paths = {DEFAULT: directory / TEMPLATE_FILE}
    if (folder := directory / TEMPLATE_FOLDER).is_dir():
        paths |= {path.name.removesuffix(_JINJA): path for path in sorted(folder.glob(f"*{_JINJA}"))}
    return {name: path for name, path in paths.items() if path.is_file()}


def _of_processor(directory: Path, files: Mapping[str, str]) -> str | None:
    """Return the one template of a processor. Several of them are no text, which engines can't do anything with."""
    for name in (PROCESSOR_CONFIG, OLDER_FILE):
        if (template := _named(_value(directory / name), name).get(DEFAULT)) is not None:
            return template
    return files.get(DEFAULT)


def _value(path: Path) -> Any:
    return read_json(path).get(_KEY) if path.is_file() else None


def _named(value: Any, file: str) -> dict[str, str]:
    """Return templates by name: of one text, of an object, or of a list of names and templates."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {DEFAULT: value}
    if isinstance(value, list):
        pairs = [(item.get("name"), item.get("template")) if isinstance(item, dict) else (None, None) for item in value]
    else:
        pairs = list(value.items()) if isinstance(value, dict) else [(None, None)]
    named = {name: template for name, template in pairs if isinstance(name, str) and isinstance(template, str)}
    if len(named) < len(pairs):
        raise InvalidModel(
            f'{file}: {_KEY} is neither a text nor a list of {{"name": …, "template": …}}; give one text, or a file '
            f"{TEMPLATE_FILE} with it"
        )
    return named


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{path.name} is not UTF-8: {error}") from error
