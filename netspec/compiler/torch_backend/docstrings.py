"""Docstrings of generated classes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from netspec.compiler.ir.graph import Graph, show_shape
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.python_layout import INDENT, WIDTH


def docstring(doc: str, source: str, facts: Sequence[str]) -> list[str]:
    """The lines of a class's docstring.

    Args:
        doc: the comment above the net or the block.
        source: what the class is made of.
        facts: lines that follow; those that are empty stay so.
    """
    doc = "\n".join(plain_text(line) for line in doc.splitlines()).strip()
    text = [*wrapped(doc), "", *wrapped(f"{source}.")] if doc else wrapped(f"{source}.")
    first, *rest = [*text, *facts]
    lines = [f'{INDENT}"""{first}', *(INDENT + line if line else "" for line in rest)]
    if len(lines) == 1:
        return [lines[0] + '"""']
    return [*lines, f'{INDENT}"""']


def opens_file(definition: syntax.Net | syntax.Block) -> bool:
    """Return whether the comment above a block opens its file, and so speaks of all of it."""
    if not isinstance(definition, syntax.Block) or not definition.doc:
        return False
    before = definition.span.source.text[: definition.span.start]
    # Lines end as in the file, not at every character that `splitlines` takes for an end.
    lines = map(str.strip, before.replace("\r", "\n").split("\n"))
    return all(line.startswith("#") or not line for line in lines)


def module_docstring(about: str) -> list[str]:
    """Return the docstring of the generated module; nothing without a text."""
    text = "\n".join(plain_text(line) for line in about.splitlines()).strip()
    if not text:
        return []
    lines = wrapped(text)
    lines[0] = f'"""{lines[0]}'
    return ["", *lines[:-1], f'{lines[-1]}"""'] if len(lines) == 1 else ["", *lines, '"""']


def net_facts(graph: Graph) -> list[str]:
    """The number of parameters, and the shapes that go in and come out."""
    count = sum(p.size for p in graph.trainable())
    lines = ["", f"Parameters: {count:,} with the arguments' defaults.", "", "Shapes:"]
    for name, shape in graph.inputs.items():
        shown = show_shape(_ints(shape), graph.holds(name))
        lines.append(f"{INDENT}{safe_name(name)}: {shown}")
    for name, value in graph.outputs.items():
        word = name if len(graph.outputs) > 1 else "returns"
        lines.append(f"{INDENT}{word}: {show_shape(_ints(graph.shape_of(value)))}")
    return lines


def _ints(shape: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(int(d) if isinstance(d, int) else d for d in shape)


def wrapped(text: str) -> list[str]:
    """Paragraphs in lines that fit; a line of its own, such as one that is indented, stays one."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text):
        if any(len(line) + len(INDENT) + 3 > WIDTH for line in part.splitlines()):
            part = textwrap.fill(
                part, WIDTH - len(INDENT) - 3, break_long_words=False, break_on_hyphens=False
            )
        lines += [*part.splitlines(), ""]
    return lines[:-1]


def plain_text(line: str) -> str:
    """A line of a comment as text of a docstring: printable, and nothing that could end it."""
    kept = "".join(c if c.isprintable() else " " for c in line).strip()
    return kept.replace("\\", "\\\\").replace('"', "'")
