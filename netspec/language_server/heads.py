"""The nets and blocks of a text by their first lines, and the names of a body, also in text that does
not parse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netspec.highlight.words import words
from netspec.language_server.tokens import Token

_DEFINES = ("net", "block")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a net or a block.

    Attributes:
        kind: `net` or `block`.
        name: its name; empty while there is none.
        parameters: its arguments, each as written, such as `stride = 1`.
        inputs: the values of a block.
        start: the index of its first token.
        body: the index of the token behind its `{`, or of the end of what is there of the head.
    """

    kind: str
    name: str
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    start: int
    body: int


def heads(found: Sequence[Token]) -> list[Head]:
    """Return the heads in a text, in order; none goes on in the next."""
    starts = [
        i
        for i, token in enumerate(found)
        if token.text in _DEFINES
        and (i == 0 or found[i - 1].kind == "line" or found[i - 1].text in ("inline", "scan", "}"))
    ]
    return [_head(found, start, most) for start, most in pairwise([*starts, len(found)])]


def _head(found: Sequence[Token], start: int, most: int) -> Head:
    end, depth = start + 1, 0
    while end < most and found[end].text != "{":
        depth += (found[end].text in ("(", "[")) - (found[end].text in (")", "]"))
        if found[end].kind == "line" and depth <= 0:
            break
        end += 1
    inside = [token for token in found[start + 1 : end] if token.kind not in ("line", "comment")]
    name = inside.pop(0).text if inside and inside[0].kind == "name" else ""
    body = end + (end < most and found[end].text == "{")
    return Head(found[start].text, name, *_parameters_and_inputs(inside), start, body)


def _parameters_and_inputs(inside: list[Token]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arguments in brackets as written, and the names behind the brackets."""
    parameters: list[list[str]] = [[]]
    inputs: list[str] = []
    depth = 0
    for token in inside:
        closes = token.text in (")", "]")
        depth -= closes
        if depth == 1 and token.text == ",":
            parameters.append([])
        elif depth >= 1:
            parameters[-1].append(token.text)
        elif token.kind == "name":
            inputs.append(token.text)
        depth += token.text in ("(", "[")
    return tuple(_written(each) for each in parameters if each), tuple(inputs)


def _written(parts: Sequence[str]) -> str:
    """Return tokens with the blanks that the formatter puts between them, or nearly so."""
    text = ""
    for part in parts:
        is_close = not text or text[-1] in "([" or part in (")", "]", ",")
        text += part if is_close else f" {part}"
    return text


def names_before(found: Sequence[Token], head: Head, end: int) -> list[str]:
    """Return the names that a body binds before the token `end`, each once, in order."""
    names = [parameter.partition(" ")[0] for parameter in head.parameters]
    names += head.inputs
    names += _bound(found, head.body, end)
    taken = {*words().keywords, *words().operators, *words().constants}
    return [name for name in dict.fromkeys(names) if name not in taken]


def _bound(found: Sequence[Token], start: int, end: int) -> Iterator[str]:
    declaring = {"input", "layer", *words().declared}
    for i in range(start, end):
        token = found[i]
        before = found[i - 1] if i else None
        if token.text in declaring and i + 1 < end:
            if found[i + 1].kind == "name":
                yield found[i + 1].text
        elif token.text == "for":
            for each in map(found.__getitem__, range(i + 1, end)):
                if each.kind == "name" and each.text not in ("in", "for"):
                    yield each.text
                elif each.text != ",":
                    break
        elif token.kind == "name" and before is not None and _starts_statement(before):
            yield from _targets(map(found.__getitem__, range(i, end)))


def _starts_statement(before: Token) -> bool:
    return before.kind == "line" or before.text in ("{", "}")


def _targets(found: Iterable[Token]) -> list[str]:
    """Return the names before the `=` of an assignment; none if the tokens begin with no other."""
    names: list[str] = []
    for i, token in enumerate(found):
        if i % 2 == 0 and token.kind == "name":
            names.append(token.text)
        elif i % 2 == 1 and token.text == "=":
            return names
        elif not (i % 2 == 1 and token.text == ","):
            break
    return []
