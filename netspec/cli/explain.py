"""`netspec explain [CODE|LAYER]`."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import emit
from netspec.diagnostics import Diagnostic, Hint, NetspecError, Source, render, suggest
from netspec.text.table import table_lines, text_column
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.compiler.explain_codes import Explanation
    from netspec.compiler.ir.op import Op

_WHERE = {"net": "in a file", "python": "in Python", "console": "on the command line"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "code", metavar="CODE", nargs="?",
        help="the code in brackets in a message, such as shape/rank, or the name of a layer; without it"
             " all codes are listed",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the explanation of one code or layer, or a list of all codes with a line for each."""
    from netspec.compiler.explain_codes import explanations
    from netspec.compiler.ops import registry

    known = explanations()
    if options.code is None:
        rows = [(code, e.code.summary) for code, e in known.items()]
        columns = [text_column("code"), text_column("summary", least=20)]
        emit("\n".join(table_lines(columns, rows, titled=False, width=terminal_width())))
        return OK
    # The code may be pasted from a message: `error[shape/rank]`, or just `[shape/rank]`.
    code = options.code.removeprefix("error").removeprefix("warning").strip("[]:")
    layers = registry()
    if code in known:
        emit(_shown(known[code]))
    elif code in layers:
        emit(_layer(layers[code]))
    else:
        raise _unknown(code, list(known), list(layers))
    return OK


def _shown(explanation: Explanation) -> str:
    parts = [str(explanation.code), explanation.text]
    if explanation.example is not None:
        parts += [f"For example, {_WHERE[explanation.kind]}:", _indented(explanation.example)]
    if explanation.example is not None and explanation.kind == "net":
        from netspec.compiler.driver import Request, compile_request

        source = Source("example.net", explanation.example)
        diagnostics = compile_request(Request(source=source)).diagnostics
        parts += [_indented(render(d)) for d in diagnostics if d.code == explanation.code][:1]
    return "\n\n".join(parts)


def _layer(op: type[Op]) -> str:
    """Return what a layer is: how it is called, what it computes, and its attributes."""
    from netspec.compiler.elaborate.arguments import signature

    parts = [signature(op), inspect.cleandoc(op.__doc__ or "")]
    rows = [
        (name, op.kind(name).describe(), field.metadata["doc"])
        for name, field in op.attributes().items()
    ]
    if rows:
        columns = [text_column("attribute"), text_column("value"), text_column("what it is", 20)]
        parts.append("\n".join(table_lines(columns, rows, width=terminal_width())))
    if op.examples:
        parts.append(f"For example: x -> {op.examples[0].call}")
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return textwrap.indent(text.rstrip(), "    ")


def _unknown(code: str, known: list[str], layers: list[str]) -> NetspecError:
    """The error for an unknown code.

    Suggests a code whose area was left out, a layer that another framework calls so, or what is spelt
    alike.
    """
    from netspec.compiler.syntax.other_frameworks import layer_meant, why_absent

    meant = [other for other in known if other.partition("/")[2] == code]
    meant = meant or [other for other in (suggest(code, known),) if other is not None]
    if not meant and (layer := layer_meant(code, layers) or suggest(code, layers)) is not None:
        meant = [layer]
    if not meant:
        by_name = {other.partition("/")[2]: other for other in known}
        near = suggest(code.rpartition("/")[2], by_name)
        meant = [by_name[near]] if near is not None else []
    text = f"did you mean {' or '.join(f'`{other}`' for other in meant)}?" if meant else (
        why_absent(code) or "`netspec explain` lists all codes"
    )  # fmt: skip
    message = f"there is no code or layer `{code}`"
    return NetspecError([Diagnostic(codes.USAGE_CODE, message, hints=(Hint(text),))])
