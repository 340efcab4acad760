"""The result of `netspec verify`, as a table for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import Diagnostic, NetspecError, plural, to_json
from netspec.text import html
from netspec.text.table import Column, name_column, table_lines
from netspec.tools.agreement.compare import Agreement
from netspec.tools.agreement.limits import HALF_TOLERANCE
from netspec.tools.agreement.quantities import ROWS
from netspec.tools.agreement.text import batch_shapes, finite, grouped

_ROUNDING = (
    "~ rounding: each side is what the reference computes from that side's own preceding values"
)
_SUPPOSED = (
    "~ rounding, as float64 agrees: on which side of a kink a number lies; the values are not seen"
)
_GROWN = (
    "~ after steps: rounding that grew; each single step agrees, starting from PyTorch's weights"
)

LEAST_SPREAD = 1e-3
"""Outputs whose images are closer together, relative to the largest number, say little of the inputs."""


@dataclass
class PrecisionRun:
    """The comparisons of one precision and mode."""

    dtype: str
    training: bool
    comparisons: list[Agreement] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """`training` or `evaluation`."""
        return "training" if self.training else "evaluation"


@dataclass(frozen=True)
class StepRow:
    """The largest difference after some steps of an optimizer.

    If `tolerance` is None it is shown without a verdict; `excused` is True if it has grown from
    rounding.
    """

    optimizer: str
    dtype: str
    size: float
    parameter: str
    tolerance: float | None
    excused: bool = False

    @property
    def is_beyond(self) -> bool:
        """True if it has a tolerance and exceeds it."""
        return self.tolerance is not None and not self.size <= self.tolerance


@dataclass(repr=False)
class VerifyReport:
    """What was compared, and where the evaluators diverge.

    Attributes:
        runs: a table for each precision and mode.
        steps: the parameters after `step_count` steps of each optimizer.
        diagnostics: where evaluators diverge, in the order found; empty if they agree.
        unseen: nodes whose values could not be identified among the PyTorch module's calls.
        left_out: why training was not compared; empty if it was.
        takes: what the given ONNX file took, as it normalises inputs itself; empty if it took the net's.
        softmax: the outputs of which the given ONNX file gives probabilities, and the net scores.
        is_half: whether the given ONNX file stores numbers in half precision.
        varies: how far the outputs of different images are apart, as a part of the largest number, where
            an ONNX model is compared by its outputs; else None.
    """

    graph: Graph
    batch: int
    seed: int
    step_count: int
    runs: list[PrecisionRun] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    unseen: tuple[str, ...] = ()
    left_out: str = ""
    takes: str = ""
    softmax: tuple[str, ...] = ()
    is_half: bool = False
    varies: float | None = None

    @property
    def says_little(self) -> bool:
        """True if the outputs hardly depend on the images, so that little of what is wrong would show."""
        return self.varies is not None and self.varies < LEAST_SPREAD

    @property
    def ok(self) -> bool:
        """True if the evaluators agree."""
        return not self.diagnostics

    def require(self) -> None:
        """Raise NetspecError with the diagnostics, if there are any."""
        if self.diagnostics:
            raise NetspecError(self.diagnostics)

    def __repr__(self) -> str:
        return f"<netspec.VerifyReport of {self.graph.name}: {'ok' if self.ok else 'not ok'}>"

    def _repr_html_(self) -> str:
        shown = "\n\n".join([str(self), *map(str, self.diagnostics)])
        return html.preformatted(shown)

    def __str__(self) -> str:
        """Return the tables and a verdict, without the diagnostics."""
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the same, with names shortened to fit the tables to `width`."""
        return "\n".join(self._lines(width)) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; an infinite difference is null."""
        return {
            "net": self.graph.name,
            "ok": self.ok,
            "batch": self.batch,
            "seed": self.seed,
            "runs": [_run_as_dict(run) for run in self.runs],
            "steps": {
                "count": self.step_count,
                "optimizers": [
                    {
                        "optimizer": row.optimizer,
                        "dtype": row.dtype,
                        "largest": finite(row.size),
                        "parameter": row.parameter,
                        "tolerance": row.tolerance,
                        "rounding": row.excused,
                    }
                    for row in self.steps
                ],
            },
            "unseen": list(self.unseen),
            "left_out": self.left_out,
            "takes": self.takes,
            "softmax": list(self.softmax),
            "half": self.is_half,
            "varies": None if self.varies is None else finite(self.varies),
            "diagnostics": [to_json(diagnostic) for diagnostic in self.diagnostics],
        }

    # -- text

    def _lines(self, width: int | None) -> Iterator[str]:
        graph = self.graph
        shapes = batch_shapes(graph, self.batch)
        yield f"{graph.name}: {shapes}, seed {self.seed}, {plural(len(graph.nodes), 'layer')}"
        yield ""
        notes: dict[str, None] = {}
        for run in self.runs:
            yield from _table(run, notes, width)
            yield ""
        yield from self._steps_table(notes, width)
        if self.unseen:
            yield (
                f"not found among the PyTorch module's calls, and judged by later values:"
                f" {grouped(self.unseen)}"
            )
        yield from notes
        if self.left_out:
            yield f"training was left out: {self.left_out}"
        if self.takes:
            does = "normalises its inputs, and got" if self.ok else "is nearest where it gets"
            yield f"the given ONNX file {does} {self.takes}"
        if self.softmax:
            yield (
                "the given ONNX file ends in a softmax: its probabilities are compared with those of the"
                f" scores: {grouped(self.softmax)}"
            )
        if self.is_half:
            yield (
                "the given ONNX file stores numbers in half precision: its outputs are compared to"
                f" {HALF_TOLERANCE:g}"
            )
        if self.says_little:
            yield (
                f"the outputs are nearly the same for all images of this batch ({self.varies:.1e} of the"
                " largest number apart), so"
            )
            yield "this says little of the ONNX model: compare on data of your own, with --data"
        if self.ok:
            yield "all agree"
        else:
            yield f"{plural(len(self.diagnostics), 'difference')} found"

    def _steps_table(self, notes: dict[str, None], width: int | None) -> Iterator[str]:
        if not self.steps:
            return
        dtypes = list(dict.fromkeys(row.dtype for row in self.steps))
        heads = []
        for dtype in dtypes:
            judged = next(r.tolerance for r in self.steps if r.dtype == dtype)
            heads.append(f"{dtype}, to {judged:g}" if judged else f"{dtype}, not judged")
        rows = []
        for optimizer in dict.fromkeys(row.optimizer for row in self.steps):
            found = {r.dtype: r for r in self.steps if r.optimizer == optimizer}
            rows.append([optimizer, *(_stepped(found[d], notes) for d in dtypes)])
        title = f"parameters after {plural(self.step_count, 'step')}, NumPy | PyTorch"
        columns = [name_column(title), *map(Column, heads)]
        yield from table_lines(columns, rows, width=width)
        yield ""


def _stepped(row: StepRow, notes: dict[str, None]) -> str:
    if not row.is_beyond:
        return _cell(row.size)
    if not row.excused:
        return _cell(row.size, " !")
    notes[_GROWN] = None
    return _cell(row.size, " ~")


def _table(run: PrecisionRun, notes: dict[str, None], width: int | None) -> Iterator[str]:
    rows = []
    for name in ROWS:
        if any(name in comparison.largest for comparison in run.comparisons):
            rows.append([name, *(_compared(c, name, notes) for c in run.comparisons)])
    tolerance = run.comparisons[0].tolerance
    title = f"{run.dtype}, {run.mode}, to {tolerance:.2g}"
    heads = [f"{c.left} | {c.right}" for c in run.comparisons]
    columns = [name_column(title), *map(Column, heads)]
    yield from table_lines(columns, rows, width=width)


def _compared(comparison: Agreement, row: str, notes: dict[str, None]) -> str:
    size = comparison.largest.get(row)
    if size is None:
        return ""
    if size <= comparison.tolerance:
        return _cell(size, " !" if row == comparison.parted_row else "")
    if comparison.is_supposed:
        notes[_SUPPOSED] = None
        return _cell(size, " ~")
    if row not in comparison.excused or comparison.parting is not None:
        return _cell(size, " !")
    notes[_ROUNDING] = None
    return _cell(size, " ~")


def _cell(size: float, mark: str = "") -> str:
    shown = "0" if size == 0 else f"{size:.1e}"
    return f"{shown}{mark or '  '}"


# -- data


def _run_as_dict(run: PrecisionRun) -> dict[str, Any]:
    return {
        "dtype": run.dtype,
        "mode": run.mode,
        "comparisons": [
            {
                "left": c.left,
                "right": c.right,
                "tolerance": c.tolerance,
                "largest": {row: finite(size) for row, size in c.largest.items()},
                "rounding": {
                    row: [item.name for item in items] for row, items in c.excused.items()
                },
                "agree": c.parting is None,
            }
            for c in run.comparisons
        ],
    }
