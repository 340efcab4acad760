"""The arguments of the call that the cursor is in, and which of them it is at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.language_server.analysis import Analysis
from netspec.language_server.callables import Callable, callables, constant_functions, rules
from netspec.language_server.heads import heads
from netspec.language_server.tokens import Token, before, follows_arrow, opening


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument: the range of its text in the signature, and what is said of it."""

    start: int
    end: int
    about: str


@dataclass(frozen=True, slots=True)
class Signature:
    """How something is called. `active` is the argument at the cursor, None for a value, and for a name
    that it does not have.
    """

    text: str
    about: str
    parameters: tuple[Parameter, ...]
    active: int | None


def signature_at(analysis: Analysis, offset: int) -> Signature | None:
    """Return the signature of the innermost call around a place; None if there is none."""
    found = analysis.tokens
    at = before(found, offset)
    bracket = opening(found, at)
    while bracket is not None and found[bracket].text == "[":
        bracket = opening(found, bracket)
    if bracket is None or found[bracket].text != "(" or not bracket:
        return None
    if any(head.start < bracket < head.body for head in heads(found)):
        return None
    is_piped = follows_arrow(found, bracket - 1)
    inside = [token for token in found[bracket + 1 : at] if token.kind not in ("line", "comment")]
    called = _called(analysis, found, bracket, is_piped)
    if called is None:
        return None
    parameters, start = [], len(called.name) + 1
    for argument in called.arguments:
        end = start + len(argument.written)
        parameters.append(Parameter(start, end, argument.about))
        start = end + 2
    active = _active(called, inside, called.values - is_piped)
    return Signature(called.signature, called.about, tuple(parameters), active)


def _called(
    analysis: Analysis, found: Sequence[Token], bracket: int, is_piped: bool
) -> Callable | None:
    """Return what is called. A name that is a layer and a function of constants, such as `max`, is the
    function if the first argument is a constant.
    """
    name, first = found[bracket - 1].text, found[bracket + 1 : bracket + 2]
    known, functions = callables(analysis), constant_functions()
    if name in rules():
        return rules()[name]
    if name not in functions or is_piped:
        return known.get(name)
    if name not in known or (first and _is_constant(first[0], found, bracket)):
        return functions[name]
    return known[name]


def _is_constant(first: Token, found: Sequence[Token], at: int) -> bool:
    """Whether a token is a number, a list, or an argument of the net or block around it."""
    around = heads(found[:at])
    written = around[-1].parameters if around else ()
    names = {each.partition(" ")[0] for each in written}
    return first.kind == "number" or first.text in ("[", "-") or first.text in names


def _active(called: Callable, inside: Sequence[Token], values: int) -> int | None:
    """Return the argument that the end of what is given so far is at; None if it is a value, or has a
    name that there is not.
    """
    names = [argument.name for argument in called.arguments]
    commas, name, depth = 0, "", 0
    given: list[str] = []
    for i, token in enumerate(inside):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if depth == 0 and token.text == ",":
            commas, name = commas + 1, ""
        elif depth == 0 and token.text == "=" and inside[i - 1].kind == "name":
            name = inside[i - 1].text
            given.append(name)
    if name:
        return names.index(name) if name in names else None
    place = commas - len(given) - values
    if place < 0:
        return None
    left = [i for i in range(place, len(names)) if names[i] not in given]
    return left[0] if left else None
