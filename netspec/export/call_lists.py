"""Functions that are plain lists of calls, as generated programs have them, read line by line.

The syntax tree of a net's program takes a hundred times the memory of its text, and most of the
time that a standalone file takes. What such a function names can be told from its words.
"""

from __future__ import annotations

import re

from netspec.export.source_units import (
    NameUse,
    SourceModule,
    Target,
    Unit,
    module,
    read,
    resolve,
    target_of,
)

# A line of a body that only calls, or sets items: a comment, a docstring, a statement that gives no
# name a value, its end, or what goes on.
_LINE = re.compile(r'(?: {4}(?:#|""".*"""$|\)|[A-Za-z_][\w.]*[(\[])| {5})')
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|#.*|(?<![\w.])([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)(?!=|\w)')
# Shorter functions are left to Python's parser.
_LONG = 4_000


def read_program(name: str, text: str) -> SourceModule:
    """Parse a generated program, and determine what each of its functions uses.

    Blank lines part its functions.
    """
    parts = text.split("\n\n\n")
    long = {i: part for i, part in enumerate(parts) if len(part) > _LONG and _only_calls(part)}
    for i, part in long.items():
        parts[i] = part.split("\n", 1)[0] + "\n    ..."
    made = read(name, "\n\n\n".join(parts))
    for unit in made.units.values():
        resolve(made, unit)
    for part in long.values():
        unit = made.units[part.partition("(")[0].removeprefix("def ")]
        unit.text = part.rstrip("\n")
        _find_uses(made, unit)
    return made


def _only_calls(function: str) -> bool:
    head, *body = function.rstrip("\n").split("\n")
    return head.startswith("def ") and head.endswith(":") and all(map(_LINE.match, body))


def _find_uses(made: SourceModule, unit: Unit) -> None:
    """Add what a list of calls names to the uses of its unit."""
    for number, line in enumerate(unit.text.split("\n")):
        for match in _WORD.finditer(line) if number else ():
            name, dotted = match[1], match[2]
            if not name or name in unit.local:
                continue
            target, length = _target(made, name, dotted)
            if isinstance(target, tuple):
                start = len(line[: match.start()].encode())
                used = NameUse(number, start, start + length, target, length > len(name))
                unit.uses.append(used)
            elif name in made.imported and target is None:
                unit.imports.add(made.imported[name])


def _target(made: SourceModule, name: str, dotted: str) -> tuple[Target | str | None, int]:
    """Return what a dotted name refers to, and the length of the part that does."""
    target, length = target_of(made, name), len(name)
    for attribute in dotted.split(".")[1:]:
        if not isinstance(target, str):
            break
        target = target_of(module(target), attribute)
        length += 1 + len(attribute)
    return target, length
