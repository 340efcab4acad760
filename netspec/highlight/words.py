"""The words of the language by what they are, read from its grammar and from the registry of ops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from netspec.compiler.ops import registry

_GRAMMAR = Path(__file__).parents[1] / "grammar.lark"
_WORD = re.compile(r'"([a-z]+)"')
# The rules whose words are operators, constants, and names of what follows.
_OPERATORS = ("either", "both", "negation")
_CONSTANTS = ("literal",)
_DECLARED = ("declared",)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of the language, each in alphabetical order.

    Attributes:
        keywords: words that begin a statement or stand in one.
        operators: `and`, `or`, `not`.
        constants: `true`, `false`, `none`.
        declared: words that begin a declaration where a name follows, and are names elsewhere.
        ops: the names of the layers.
    """

    keywords: tuple[str, ...]
    operators: tuple[str, ...]
    constants: tuple[str, ...]
    declared: tuple[str, ...]
    ops: tuple[str, ...]


@cache
def words() -> Words:
    """Return the words of the language."""
    rules = dict(_rules())
    operators, constants, declared = (
        {word for rule in names for word in _WORD.findall(rules[rule])}
        for names in (_OPERATORS, _CONSTANTS, _DECLARED)
    )
    every = {word for text in rules.values() for word in _WORD.findall(text)}
    keywords = every - operators - constants - declared
    found = (keywords, operators, constants, declared, registry())
    return Words(*(tuple(sorted(some)) for some in found))


def _rules() -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^//.*$|(?<=\s)//.*$", "", _GRAMMAR.read_text("utf-8"))
    return re.findall(r"(?ms)^\??([a-z]\w*): (.*?)(?=^\S|\Z)", re.sub(r"\n +\|", " |", text))
