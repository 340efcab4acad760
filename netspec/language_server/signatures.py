"""The arguments of the call that the cursor is in, and which of them it is at."""

from __future__ import annotations

from dataclasses import dataclass

from netspec.language_server.analysis import Analysis
from netspec.language_server.callables import callables
from netspec.language_server.heads import heads
from netspec.language_server.tokens import before, opening


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument: the range of its text in the signature, and what is said of it."""

    start: int
    end: int
    about: str


@dataclass(frozen=True, slots=True)
class Signature:
    """How a layer or a block is called. `active` is the argument at the cursor, None for a name that
    it does not have.
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
    called = callables(analysis).get(found[bracket - 1].text)
    if called is None:
        return None
    parameters, start = [], len(called.name) + 1
    for argument in called.arguments:
        end = start + len(argument.written)
        parameters.append(Parameter(start, end, argument.about))
        start = end + 2
    names = [argument.name for argument in called.arguments]
    place, name, depth = 0, "", 0
    inside = [token for token in found[bracket + 1 : at] if token.kind not in ("line", "comment")]
    for i, token in enumerate(inside):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if depth == 0 and token.text == ",":
            place, name = place + 1, ""
        elif depth == 0 and token.text == "=" and inside[i - 1].kind == "name":
            name = inside[i - 1].text
    if name:
        active = names.index(name) if name in names else None
    else:
        active = place if place < len(names) else None
    return Signature(called.signature, called.about, tuple(parameters), active)
