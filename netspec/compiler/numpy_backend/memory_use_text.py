"""The memory of a NumPy program, as a table and as objects for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from netspec.compiler.analysis.costs_text import bytes_text
from netspec.compiler.numpy_backend.memory_use import Footprint
from netspec.text.table import Column, table_lines, text_column

ROWS: tuple[tuple[str, Callable[[Footprint], str], str], ...] = (
    ("arena", lambda f: bytes_text(f.arena), "the buffers of a step, by their lifetimes"),
    ("  at least", lambda f: bytes_text(f.least), "the largest set of them alive at once"),
    ("  ratio", lambda f: f"{f.ratio:.3f}", "the arena over that"),
    ("  apart", lambda f: bytes_text(f.apart), "what they would take without sharing"),
    ("scratch", lambda f: bytes_text(f.scratch), "what the kernels work in"),
    ("outside", lambda f: bytes_text(f.outside), "outputs and their gradients"),
    ("parameters", lambda f: bytes_text(f.parameters), "with the buffers of batch norms"),
    ("gradients", lambda f: bytes_text(f.gradients), "of the parameters"),
    (
        "total",
        lambda f: bytes_text(f.total),
        "everything except the inputs, which belong to the caller",
    ),
)


def as_table(name: str, footprints: Sequence[Footprint], width: int | None = None) -> str:
    """Return a table with a column for each program.

    The titles of the rows are cut to fit a `width`.
    """
    first = footprints[0]
    images = f"{first.batch:,} image{'s' * (first.batch != 1)}"
    heads = ["training" if f.training else "inference" for f in footprints]
    rows = [["", *heads, ""]]
    rows += [[title, *(show(f) for f in footprints), note] for title, show, note in ROWS]
    columns = [text_column(""), *(Column(head) for head in heads), text_column("", least=12)]
    title = f"{name}: the memory of its NumPy program, {images} in float32"
    return "\n".join([title, "", *table_lines(columns, rows, titled=False, width=width)])


def as_object(footprints: Sequence[Footprint]) -> dict[str, Any]:
    """Return the numbers of bytes by name, for each program."""
    return {
        "training" if f.training else "inference": {
            key: value for key, value in dataclasses.asdict(f).items() if key != "training"
        }
        | {"ratio": f.ratio, "total": f.total}
        for f in footprints
    }
