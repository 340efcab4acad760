"""What each diagnostic code means: `netspec/explain/AREA.md`, with a file that gives it.

The codes of an op are explained by the op's own bad examples, so that a new op needs no other file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netspec.compiler.op import registry

_FOLDER = Path(__file__).parents[1] / "explain"
_SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```net\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code, what it means, and the text of a file that gives it (none if no single file can)."""

    code: str
    text: str
    example: str | None


@functools.cache
def explanations() -> Mapping[str, Explanation]:
    """Everything that can be explained, by code."""
    written = {
        code: _explanation(code, section)
        for path in sorted(_FOLDER.glob("*.md"))
        for code, section in _SECTION.findall(path.read_text("utf-8"))
    }
    found = {e.code: e for e in _of_ops()} | written
    return dict(sorted(found.items()))


def _explanation(code: str, section: str) -> Explanation:
    example = _EXAMPLE.search(section)
    text = _EXAMPLE.sub("", section).strip()
    return Explanation(code, text, example.group(1) if example else None)


def _of_ops() -> Iterator[Explanation]:
    for name, op in registry().items():
        about = (op.__doc__ or "").strip().split("\n\n")[0]
        for bad in op.bad_examples:
            inputs = [f"    input x{i}: {list(shape)}\n" for i, shape in enumerate(bad.inputs)]
            values = ", ".join(f"x{i}" for i in range(len(inputs)))
            source = values if len(inputs) == 1 else f"({values})"
            example = f"net A {{\n{''.join(inputs)}    output {source} -> {bad.call}\n}}\n"
            text = f"`{name}` cannot do this with what it is given. {about}"
            yield Explanation(bad.code, text, example)
