"""Regular expressions from outside, matched in time that grows with their length and no faster."""

from dataclasses import dataclass
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

_LONGEST: Final = 4096
"""Characters; what libraries write has a few hundred."""
_OTHERWISE_IN_RUST: Final = ("[[", "&&", "--", "~~", "*+", "++", "?+", "}+", "(?x")
"""Operators within a class of characters, which are plain characters to Python; repetitions that give nothing back,
which are repeated repetitions to Rust; and spaces that mean nothing, which Python takes for some within a class."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that means the same to Python, for which others wrote it, and to the engine that matches it here.

    That engine is Rust's, which comes with pydantic: it never goes back in the text, so no expression takes for ever,
    and one that would take much memory isn't compiled.
    """

    validator: SchemaValidator

    @classmethod
    def parse(cls, text: str) -> "Expression | None":
        """Read an expression; None for one that can't be matched so, such as one that looks ahead."""
        if len(text) > _LONGEST or any(operator in text for operator in _OTHERWISE_IN_RUST):
            return None
        try:
            # By itself first: one that closes more groups than it opens would end the group around it.
            _validator(text)
            return cls(_validator(f"^(?:{text})$"))
        except SchemaError:
            return None

    def matches(self, text: str) -> bool:
        """Tell whether it matches all of a text."""
        return self.validator.isinstance_python(text)


def _validator(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
