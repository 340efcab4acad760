"""Mutations of good files by hand-written operators, which imitate mistakes of people."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\(([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)")
KEYWORDS = set(
    "net block input output return init assert for in if else layer from import language and or not"
    " true false none range len".split()
)


@dataclass(frozen=True)
class Mutation:
    """A change of one line: its number, counted from 1, and its new text."""

    operator: str
    line: int
    text: str

    def apply(self, source: str) -> str:
        lines = source.split("\n")
        lines[self.line - 1] = self.text
        return "\n".join(lines)


def calls(line: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Yield the calls on a line, with their arguments.

    The head of a net or a block is not a call.
    """
    if re.match(r"(?:net|block)\b", line):
        return
    for match in CALL.finditer(line):
        arguments = [part.strip() for part in re.split(r",(?![^\[(]*[\])])", match[2])]
        if match[1] not in KEYWORDS and arguments != [""]:
            yield match, arguments


def with_arguments(line: str, call: re.Match[str], arguments: list[str]) -> str:
    new = f"({', '.join(arguments)})" if arguments else ""
    return line[: call.end(1)] + new + line[call.end() :]


def drop_an_argument(line: str, names: list[str]) -> Iterator[str]:
    for call, arguments in calls(line):
        for i in range(len(arguments)):
            yield with_arguments(line, call, arguments[:i] + arguments[i + 1 :])


def misspell(line: str, names: list[str]) -> Iterator[str]:
    for match in WORD.finditer(line):
        word = match[0]
        if len(word) >= 3 and word not in KEYWORDS:
            middle = len(word) // 2
            swapped = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
            for wrong in {swapped, word[:middle] + word[middle + 1 :], word + word[-1]} - {word}:
                yield line[: match.start()] + wrong + line[match.end() :]


def change_a_stride(line: str, names: list[str]) -> Iterator[str]:
    for match in re.finditer(r"stride = (\d+)", line):
        for other in ("0", "1", "2", "3", "4"):
            if other != match[1]:
                yield line[: match.start(1)] + other + line[match.end(1) :]
    for call, arguments in calls(line):
        if call[1] in ("conv", "max_pool", "avg_pool") and "stride" not in call[2]:
            yield with_arguments(line, call, [*arguments, "stride = 2"])
            yield with_arguments(line, call, [*arguments, "stride = 3"])


def break_a_wire(line: str, names: list[str]) -> Iterator[str]:
    """Yield lines that read another value, or give the result another name."""
    target = re.match(r"\s*([a-z_]\w*) = .*->", line)
    for match in re.finditer(r"(?<![\w.])([a-z_]\w*)(?= (?:->|\+|\)|$))|(?<=\+ )[a-z_]\w*", line):
        for other in names:
            if match[0] in names and other != match[0]:
                yield line[: match.start()] + other + line[match.end() :]
    if target:
        yield line[: target.start(1)] + target[1] + "_2" + line[target.end(1) :]


def swap_operands(line: str, names: list[str]) -> Iterator[str]:
    for call, arguments in calls(line):
        for i in range(len(arguments) - 1):
            if "=" not in arguments[i] + arguments[i + 1]:
                swapped = [*arguments[:i], arguments[i + 1], arguments[i], *arguments[i + 2 :]]
                yield with_arguments(line, call, swapped)
    for match in re.finditer(r"(\w+) (//|-(?!>)|%|\*\*|/) (\w+)", line):
        yield f"{line[: match.start()]}{match[3]} {match[2]} {match[1]}{line[match.end() :]}"


OPERATORS: tuple[Callable[[str, list[str]], Iterator[str]], ...] = (
    drop_an_argument, misspell, change_a_stride, break_a_wire, swap_operands,
)  # fmt: skip


def values_of(source: str) -> list[str]:
    """Return the names that stand for values somewhere in the file."""
    found = re.findall(r"^\s*(?:input )?([a-z_]\w*)(?:: \[| = .*->)", source, re.MULTILINE)
    heads = re.findall(r"^block \w+(?:\([^)]*\))? ([a-z_]\w*) \{", source, re.MULTILINE)
    return sorted({*found, *heads})


def mutations(source: str, each: int, seed: int) -> list[Mutation]:
    """Return up to `each` mutations by each operator, drawn from all that exist."""
    rng = random.Random(seed)
    names = values_of(source)
    drawn: list[Mutation] = []
    for operator in OPERATORS:
        found = []
        for number, line in enumerate(source.split("\n"), start=1):
            code = line.partition("#")[0]
            if not code.strip().startswith("assert"):
                found += [
                    Mutation(operator.__name__, number, new + line[len(code) :])
                    for new in operator(code, names)
                    if new != code
                ]
        found = sorted(set(found), key=lambda m: (m.line, m.text))
        drawn += rng.sample(found, min(each, len(found)))
    return drawn
