"""A page for each layer: what it computes, its attributes, and an example as picture and code."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

import netspec
from netspec.compiler.elaborate.arguments import signature
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.diagnostics import NetspecError
from netspec.testing.op_examples import net_of
from website.playground.address import opened

Pages = dict[str, str | bytes]
_CODE, _EXAMPLES = 90, 8


def layer_pages(*, has_playground: bool = False) -> Pages:
    """Return the pages and pictures of all layers, and the list of them.

    Where there is a playground, the first example of each can be opened there.
    """
    pages: Pages = {}
    rows = ["# Layers", "", "| layer | what it is |", "|---|---|"]
    for name, op in sorted(registry().items()):
        first = inspect.cleandoc(op.__doc__ or "").splitlines()[0]
        rows.append(f"| [`{name}`]({name}.md) | {first.replace('|', chr(92) + '|')} |")
        pages |= _pages_of(name, op, has_playground)
    pages["layers/index.md"] = "\n".join(rows) + "\n"
    return pages


def _pages_of(name: str, op: type[Op], has_playground: bool) -> Pages:
    texts = [net_of(example.call, example.inputs) for example in op.examples[:_EXAMPLES]]
    nets = [netspec.loads(text) for text in texts]
    address = opened(texts[0], f"layers/{name}.md") if texts and has_playground else ""
    pages: Pages = {f"layers/{name}.md": "\n".join(_lines(name, op, nets, address))}
    if nets:
        pages[f"layers/{name}.svg"] = nets[0].draw().svg()
    return pages


def _lines(name: str, op: type[Op], nets: list[netspec.Net], address: str) -> Iterator[str]:
    first, *rest = inspect.cleandoc(op.__doc__ or "").splitlines()
    yield f"# {name}\n"
    yield f"{first}\n"
    yield f"```text\n{signature(op)}\n```\n"
    yield from _formulas(rest)
    yield from _attributes(op)
    if not nets:
        return
    yield "## Examples\n"
    yield "| layer | of | gives |\n|---|---|---|"
    for example, net in zip(op.examples, nets, strict=False):
        given = ", ".join(str([*shape]) for shape in example.inputs)
        yield f"| `{example.call}` | {given} | {_shapes(net)} |"
    yield ""
    yield f"![{op.examples[0].call}]({name}.svg)\n"
    if address:
        yield f"{address}\n"
    yield "## As PyTorch\n"
    yield f"```python\n{_shortened(nets[0].source('torch'))}```\n"
    yield "## As NumPy\n"
    yield "The form to learn from, with its backward pass: `netspec compile --plain` prints it.\n"
    yield f"```python\n{_shortened(nets[0].source('numpy', plain=True))}```\n"
    yield from _mistakes(op)


def _formulas(lines: list[str]) -> Iterator[str]:
    """Return the rest of a docstring; paragraphs with formulas keep their lines."""
    for paragraph in "\n".join(lines).strip().split("\n\n"):
        is_prose = paragraph.endswith(".") and paragraph[:1].isupper() and "\n " not in paragraph
        if paragraph and not is_prose:
            yield f"```text\n{textwrap.dedent(paragraph)}\n```\n"
        elif paragraph:
            yield f"{paragraph}\n"


def _attributes(op: type[Op]) -> Iterator[str]:
    rows = [
        f"| `{name}` | {op.kind(name).describe()} | {field.metadata['doc']} |"
        for name, field in op.attributes().items()
    ]
    if rows:
        yield "## Attributes\n"
        yield "| name | value | what it is |\n|---|---|---|"
        yield from rows
        yield ""


def _shapes(net: netspec.Net) -> str:
    return ", ".join(str([*net.graph.shape_of(value)]) for value in net.graph.outputs.values())


def _shortened(source: str) -> str:
    lines = source.splitlines(keepends=True)
    if len(lines) <= _CODE:
        return source
    return "".join(lines[:_CODE]) + f"# ... and {len(lines) - _CODE} more lines\n"


def _mistakes(op: type[Op]) -> Iterator[str]:
    shown = []
    for example in op.bad_examples[:3]:
        try:
            netspec.loads(net_of(example.call, example.inputs), name="example.net")
        except NetspecError as error:
            shown.append(f"```text\n{error}\n```\n")
    if shown:
        yield "## What can be wrong\n"
        yield from shown
