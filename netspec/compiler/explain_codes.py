"""What each diagnostic code means: `netspec/explain/AREA.md`, with a file that gives it.

The codes of an op are shown by the op's own bad examples, so that a new op needs no other file. A code
that no one file can give has an example in Python or on the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netspec.compiler.ops import registry

_FOLDER = Path(__file__).parents[1] / "explain"
_SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```(net|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code, what it means, and an example that gives it: a file, Python, or a command line."""

    code: str
    text: str
    example: str | None
    kind: str = "net"

    @property
    def summary(self) -> str:
        """The first sentence."""
        paragraph = " ".join(self.text.split("\n\n")[0].split())
        return re.split(r"(?<=[.:]) (?=[A-Z`])", paragraph)[0].rstrip(":")


@functools.cache
def explanations() -> Mapping[str, Explanation]:
    """Everything that can be explained, by code."""
    found: dict[str, Explanation] = {}
    for shown in _of_ops():
        found.setdefault(shown.code, shown)
    for path in sorted(_FOLDER.glob("*.md")):
        for code, section in _SECTION.findall(path.read_text("utf-8")):
            written = _explanation(code, section)
            if written.example is None and code in found:
                written = replace(written, example=found[code].example)
            found[code] = written
    return dict(sorted(found.items()))


def _explanation(code: str, section: str) -> Explanation:
    text = _EXAMPLE.sub("", section).strip()
    example = _EXAMPLE.search(section)
    if example is None:
        return Explanation(code, text, None)
    return Explanation(code, text, example[2], example[1])


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
