"""A summary as text: a table for the terminal, Markdown, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from netspec import codes
from netspec.compiler.analysis.costs import LayerSummary, Summary
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.sizes import Size
from netspec.diagnostics import (
    MOST_WRONG_NAMES,
    Diagnostic,
    Hint,
    NetspecError,
    located_names,
    suggest,
)
from netspec.records import record
from netspec.text import html, table

_MAX_CALL = 40


@record(slots=True)
class SummaryColumn:
    """A column of the table: its title, the cell of a layer, and the sum where there is one."""

    title: str
    cell: Callable[[LayerSummary], str]
    total: Callable[[Summary], str] = lambda _: ""
    is_number: bool = True
    in_table: Callable[[str], table.Column] = table.Column


def _number(value: int) -> str:
    """Format a number with thousands separators; zero is left blank, so that layers with costs
    stand out.
    """
    return "" if value == 0 else f"{value:,}"


def _summed(title: str, name: str) -> SummaryColumn:
    get = attrgetter(name)
    return SummaryColumn(title, lambda x: _number(get(x)), lambda summary: f"{get(summary):,}")


def _by_axis(title: str, name: str) -> SummaryColumn:
    """Make the column of a number for each axis, shown as one number where they are equal."""

    def cell(layer: LayerSummary) -> str:
        sizes = getattr(layer, name)
        if not sizes:
            return ""
        equal = all(size == sizes[0] for size in sizes)
        return str(sizes[0]) if equal else " x ".join(map(str, sizes))

    return SummaryColumn(title, cell)


def _short(call: str, width: int = _MAX_CALL) -> str:
    """Return a call with as many of its arguments as fit into `width`, and three dots for the rest."""
    if len(call) <= width:
        return call
    kept = call[: width - len(", ...)") + 1].rpartition(", ")[0]
    return f"{kept}, ...)" if kept else table.end_cut(call, width)


def _op_column(title: str) -> table.Column:
    return table.Column(title, left=True, least=8, cut=_short)


def _inputs_column(title: str) -> table.Column:
    return table.text_column(title, least=12)


COLUMNS: Mapping[str, SummaryColumn] = {
    "name": SummaryColumn("layer", lambda x: x.name, lambda _: "total", False, table.name_column),
    "op": SummaryColumn("op", lambda x: x.call, is_number=False, in_table=_op_column),
    "output": SummaryColumn(
        "output", lambda x: show_shape(x.shape), is_number=False, in_table=table.text_column
    ),
    "params": _summed("parameters", "parameters"),
    "buffers": _summed("not trained", "buffers"),
    "constants": _summed("constants", "constants"),
    "macs": _summed("MACs", "macs"),
    "flops": _summed("FLOPs", "flops"),
    "field": _by_axis("field", "field"),
    "stride": _by_axis("stride", "stride"),
    "inputs": SummaryColumn(
        "inputs", lambda x: ", ".join(x.inputs), is_number=False, in_table=_inputs_column
    ),
}
DEFAULT = ("name", "op", "output", "params", "macs")

Columns = Sequence[str] | None


def chosen_columns(text: str, where: str) -> tuple[str, ...]:
    """Return the names in a list with commas; `all` is all of them.

    Args:
        text: the list.
        where: what diagnostics are located in.

    Raises:
        NetspecError: `usage/column`, with the names that are wrong, `MOST_WRONG_NAMES` at most.
    """
    if text.strip() == "all":
        return tuple(COLUMNS)
    names, wrong = [], []
    for name, span in located_names(text, where):
        if name not in COLUMNS:
            meant = suggest(name, COLUMNS)
            known = f"the columns are {', '.join(COLUMNS)}; `all` is all of them"
            hints = ([Hint(f"did you mean `{meant}`?")] if meant else []) + [Hint(known)]
            message = f"there is no column `{name}`" if name else "the name of a column is missing"
            wrong.append(Diagnostic(codes.USAGE_COLUMN, message, span, hints=tuple(hints)))
            if len(wrong) == MOST_WRONG_NAMES:
                break
        names.append(name)
    if wrong:
        raise NetspecError(wrong)
    return tuple(names)


def as_table(summary: Summary, columns: Columns = None, width: int | None = None) -> str:
    """Return a table with the totals below it.

    Long calls are cut, and names too if it must fit `width`.
    """
    chosen = [COLUMNS[name] for name in columns or summary.columns or DEFAULT]
    rows = [
        [
            _short(column.cell(layer)) if column is COLUMNS["op"] else column.cell(layer)
            for column in chosen
        ]
        for layer in summary.layers
    ]
    lines = table.table_lines(
        [column.in_table(column.title) for column in chosen],
        rows,
        total=[column.total(summary) for column in chosen],
        width=width,
    )
    doc = [*summary.doc.splitlines(), ""] if summary.doc else []
    notes = (f"{title:10}  {text}" for title, text in _notes(summary))
    return "\n".join([f"{summary.net}{_inputs(summary)}", "", *doc, *lines, "", *notes])


def as_markdown(summary: Summary, columns: Columns = None) -> str:
    """A Markdown table, the totals in its last row."""
    chosen = [COLUMNS[name] for name in columns or DEFAULT]
    titles = [column.title for column in chosen]
    aligned = ["---:" if column.is_number else "---" for column in chosen]
    rows = [
        [
            f"`{layer.call}`" if column is COLUMNS["op"] else _literal(column.cell(layer))
            for column in chosen
        ]
        for layer in summary.layers
    ]
    totals = [_literal(column.total(summary)) for column in chosen]
    total = [f"**{cell}**" if cell else "" for cell in totals]
    table = [f"| {' | '.join(row)} |" for row in (titles, aligned, *rows, total)]
    notes = [f"- {title}: {_literal(text)}" for title, text in _notes(summary)]
    doc = [summary.doc, ""] if summary.doc else []
    return "\n".join([f"### {summary.net}{_inputs(summary)}", "", *doc, *table, "", *notes])


def as_html(summary: Summary, columns: Columns = None) -> str:
    """Return a table for a notebook, with the totals in its last row and the notes below it."""
    chosen = [COLUMNS[name] for name in columns or summary.columns or DEFAULT]
    words = sum(not column.is_number for column in chosen)
    rows = ([column.cell(layer) for column in chosen] for layer in summary.layers)
    total = [column.total(summary) for column in chosen]
    titles = [column.title for column in chosen]
    notes = "".join(
        f"<p>{html.text(title)}: {html.text(text)}</p>" for title, text in _notes(summary)
    )
    return html.table(titles, rows, left=words, total=total) + notes


def _literal(text: str) -> str:
    """Escape the `*` of products in the formula of an open size, which Markdown would take as
    emphasis.
    """
    return text.replace("*", r"\*")


def as_csv(summary: Summary, columns: Columns = None) -> str:
    """Return one line of CSV per layer.

    Totals are left out: a program can add up by itself. By default all columns are written.
    """
    import csv
    import io

    chosen = list(columns or COLUMNS)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(chosen)
    for layer in summary.layers:
        writer.writerow([_plain(layer)[name] for name in chosen])
    return out.getvalue()


def _plain(layer: LayerSummary) -> dict[str, Any]:
    """Return the cells of a layer as raw numbers, with shapes written like 16x32x32."""
    pairs = {
        name: None if pair is None else "x".join(map(str, pair))
        for name, pair in (("field", layer.field), ("stride", layer.stride))
    }
    return {
        "name": layer.name,
        "op": layer.call,
        "output": "x".join(map(str, layer.shape)),
        "params": layer.parameters,
        "buffers": layer.buffers,
        "constants": layer.constants,
        "macs": layer.macs,
        "flops": layer.flops,
        **pairs,
        "inputs": " ".join(layer.inputs),
    }


def as_json(summary: Summary, columns: Columns = None) -> str:
    """Return the whole summary as JSON with raw numbers, whatever the columns.

    Shapes are those of one image.
    """
    import json

    return json.dumps(to_jsonable(summary), indent=2, default=str)  # an open size is its formula


def to_jsonable(summary: Summary) -> dict[str, Any]:
    """Return the summary as plain data: dictionaries, lists, numbers and strings."""
    return {
        "net": summary.net,
        "doc": summary.doc,
        "inputs": [_input_json(summary, name) for name in summary.inputs],
        "outputs": [{"name": n, "layer": value} for n, value in summary.outputs.items()],
        "parameters": summary.parameters,
        "buffers": summary.buffers,
        "constants": summary.constants,
        "macs": summary.macs,
        "flops": summary.flops,
        "memory": {
            "batch": summary.batch,
            "dtype": "float32",
            "training_bytes": summary.training_bytes,
            "inference_bytes": summary.inference_bytes,
        },
        "layers": [_layer_json(layer) for layer in summary.layers],
    }


def _input_json(summary: Summary, name: str) -> dict[str, Any]:
    found = {"name": name, "shape": list(summary.inputs[name])}
    if name in summary.input_types:
        found["type"] = summary.input_types[name]
    return found


def _layer_json(layer: LayerSummary) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "attributes": dict(layer.attributes),
        "inputs": list(layer.inputs),
        "shape": list(layer.shape),
        "parameters": layer.parameters,
        "buffers": layer.buffers,
        "constants": layer.constants,
        "macs": layer.macs,
        "flops": layer.flops,
        "receptive_field": layer.field,
        "stride": layer.stride,
        "layers": layer.layers,
        **({} if layer.shares is None else {"shares": layer.shares}),
        **({} if layer.body is None else {"body": _body_json(layer.body)}),
    }


def _body_json(body: Summary) -> dict[str, Any]:
    """One step of a scan block: what it is given, what it hands on and its layers."""
    return {
        "block": body.net,
        "inputs": [_input_json(body, name) for name in body.inputs],
        "outputs": [{"name": n, "layer": value} for n, value in body.outputs.items()],
        "layers": [_layer_json(layer) for layer in body.layers],
    }


def _inputs(summary: Summary) -> str:
    shown = ", ".join(f"{name}: {summary.show_input(name)}" for name in summary.inputs)
    return f" ({shown})"


def _notes(summary: Summary) -> list[tuple[str, str]]:
    images = f"{summary.batch:,} image{'s' * (summary.batch != 1)}"
    others = ((summary.buffers, "in buffers, not trained"), (summary.constants, "in constants"))
    stored = [f"{count:,} {where}" for count, where in others if count != 0]
    return [
        ("parameters", ", and ".join([f"{summary.parameters:,} trained", *stored])),
        ("MACs", f"{summary.macs:,} multiply-adds for one image: convolutions, linear layers,"
                 " matrix products"),
        ("FLOPs", f"{summary.flops:,}: two for each MAC, and one for each number that a layer"
                  " without MACs gives"),
        ("training", f"{bytes_text(summary.training_bytes)} for the values of {images} in float32:"
                     " all are kept for backward"),
        ("inference", f"{bytes_text(summary.inference_bytes)} at the peak: each value is dropped after"
                      " its last reader"),
    ]  # fmt: skip


def bytes_text(count: int) -> str:
    """Format a number of bytes like 1.5 MiB, or as plain bytes where it depends on an open size."""
    if isinstance(count, Size):
        return f"{count} bytes"
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.1f} {unit}" if unit != "bytes" else f"{count} bytes"
        size /= 1024
    return f"{size:,.1f} TiB"


FORMATS: Mapping[str, Callable[[Summary, Columns], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "md": as_markdown,
}
