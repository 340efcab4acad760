"""A summary as text: a table for the terminal, Markdown, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netspec.compiler.graph import show_shape
from netspec.compiler.summary import LayerSummary, Summary
from netspec.compiler.symbolic import Size

_HEAD = ("layer", "op", "output", "parameters", "MACs")
_NUMBERS_FROM = 3  # the columns from here on are numbers, and stand to the right


def as_table(summary: Summary) -> str:
    """Columns under a title, the totals below."""
    rows = [_HEAD, *_rows(summary), ("total", "", "", *_totals(summary))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i >= _NUMBERS_FROM else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(
        [f"{summary.net}{_inputs(summary)}", "", lines[0], rule, *lines[1:-1], rule, lines[-1], "",
         *(f"{title:10}  {text}" for title, text in _notes(summary))]
    )  # fmt: skip


def as_markdown(summary: Summary) -> str:
    """A Markdown table, the totals in its last row."""
    rows = [(name, f"`{call}`", *rest) for name, call, *rest in _rows(summary)]
    total = ("**total**", "", "", *(f"**{cell}**" for cell in _totals(summary)))
    aligned = ["---"] * _NUMBERS_FROM + ["---:"] * (len(_HEAD) - _NUMBERS_FROM)
    table = [f"| {' | '.join(row)} |" for row in (_HEAD, aligned, *rows, total)]
    notes = [f"- {title}: {text}" for title, text in _notes(summary)]
    return "\n".join([f"### {summary.net}{_inputs(summary)}", "", *table, "", *notes])


def as_csv(summary: Summary) -> str:
    """A line a layer, without totals: a program adds up by itself."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layer", "op", "call", "output", "parameters", "buffers", "macs"])
    for layer in summary.layers:
        shape = "x".join(map(str, layer.shape))
        writer.writerow([layer.name, layer.op, layer.call, shape, layer.parameters, layer.buffers,
                         layer.macs])  # fmt: skip
    return out.getvalue()


def as_json(summary: Summary) -> str:
    """Everything, as raw numbers. Shapes are those of one image."""
    import json

    return json.dumps(to_jsonable(summary), indent=2, default=str)  # an open size is its formula


def to_jsonable(summary: Summary) -> dict[str, Any]:
    """The summary as plain data."""
    return {
        "net": summary.net,
        "inputs": [{"name": n, "shape": list(shape)} for n, shape in summary.inputs.items()],
        "outputs": [{"name": n, "layer": value} for n, value in summary.outputs.items()],
        "parameters": summary.parameters,
        "buffers": summary.buffers,
        "macs": summary.macs,
        "memory": {
            "batch": summary.batch,
            "dtype": "float32",
            "training_bytes": summary.training_bytes,
            "inference_bytes": summary.inference_bytes,
        },
        "layers": [_layer_json(layer) for layer in summary.layers],
    }


def _layer_json(layer: LayerSummary) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "attributes": dict(layer.attributes),
        "inputs": list(layer.inputs),
        "shape": list(layer.shape),
        "parameters": layer.parameters,
        "buffers": layer.buffers,
        "macs": layer.macs,
    }


def _rows(summary: Summary) -> list[tuple[str, ...]]:
    return [
        (x.name, x.call, show_shape(x.shape), _number(x.parameters), _number(x.macs))
        for x in summary.layers
    ]


def _totals(summary: Summary) -> tuple[str, str]:
    return f"{summary.parameters:,}", f"{summary.macs:,}"


def _number(value: int) -> str:
    """Zero is left blank, so that the layers that matter stand out."""
    return f"{value:,}" if value else ""


def _inputs(summary: Summary) -> str:
    shown = ", ".join(f"{name}: {show_shape(shape)}" for name, shape in summary.inputs.items())
    return f" ({shown})"


def _notes(summary: Summary) -> list[tuple[str, str]]:
    images = f"{summary.batch:,} image{'s' * (summary.batch != 1)}"
    buffers = f", and {summary.buffers:,} numbers in buffers" if summary.buffers else ""
    return [
        ("parameters", f"{summary.parameters:,} trained{buffers}"),
        ("MACs", f"{summary.macs:,} multiply-adds for one image"),
        ("training", f"{_size(summary.training_bytes)} for the values of {images} in float32:"
                     " all are kept for backward"),
        ("inference", f"{_size(summary.inference_bytes)} at the peak: each value is dropped after"
                      " its last reader"),
    ]  # fmt: skip


def _size(count: int) -> str:
    """1.5 MiB; bytes where the size of the picture is left open."""
    if isinstance(count, Size):
        return f"{count} bytes"
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.1f} {unit}" if unit != "bytes" else f"{count} bytes"
        size /= 1024
    return f"{size:,.1f} TiB"


FORMATS: Mapping[str, Callable[[Summary], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "md": as_markdown,
}
