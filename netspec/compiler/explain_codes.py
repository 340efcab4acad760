"""Explanations of diagnostic codes: each a section of `netspec/explain/AREA.md`, with an example
that triggers the code.

The codes of an op are shown by the op's own bad examples, so that a new op needs no other file. A
code that no single file can trigger has an example in Python or on the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from netspec import codes
from netspec.compiler.ops import registry
from netspec.diagnostics import Code, declared_codes
from netspec.records import record

_FOLDER = Path(codes.__file__).parent / "explain"
_SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```(net|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@record(slots=True)
class Explanation:
    """A code, what it means, and an example that triggers it: a file, Python code, or a command
    line.
    """

    code: Code
    text: str
    example: str | None
    kind: str = "net"


@functools.cache
def explanations() -> Mapping[str, Explanation]:
    """Return all explanations by code: those of the catalogue, and those that the ops declare."""
    of_ops: dict[str, Explanation] = {}
    for shown in _of_ops():
        of_ops.setdefault(shown.code, shown)
    sections = dict(pages())
    return {
        code: _explanation(code, sections.get(code), of_ops.get(code))
        for code in sorted(declared_codes().values())
    }


def pages() -> Iterator[tuple[str, str]]:
    """Return the sections of the catalogue: the text below each heading, by the code in the
    heading.
    """
    for path in sorted(_FOLDER.glob("*.md")):
        yield from _SECTION.findall(path.read_text("utf-8"))


def _explanation(code: Code, section: str | None, of_op: Explanation | None) -> Explanation:
    if section is None:
        return of_op or Explanation(code, f"That is {code.summary}.", None)
    text = _EXAMPLE.sub("", section).strip()
    example = _EXAMPLE.search(section)
    if example is not None:
        return Explanation(code, text, example[2], example[1])
    return Explanation(code, text, of_op.example if of_op is not None else None)


def _of_ops() -> Iterator[Explanation]:
    for name, op in registry().items():
        about = (op.__doc__ or "").strip().split("\n\n")[0]
        for bad in op.bad_examples:
            inputs = [f"    input x{i}: {list(shape)}\n" for i, shape in enumerate(bad.inputs)]
            values = ", ".join(f"x{i}" for i in range(len(inputs)))
            source = values if len(inputs) == 1 else f"({values})"
            example = f"net A {{\n{''.join(inputs)}    output {source} -> {bad.call}\n}}\n"
            text = f"`{name}` cannot do this with what it is given: {bad.code.summary}. {about}"
            yield Explanation(bad.code, text, example)
