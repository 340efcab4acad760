"""`--explain-plan`: what each pass did, what it is expected to gain, and the resulting plan."""

from __future__ import annotations

from collections.abc import Collection

from netspec.compiler.analysis.costs_text import bytes_text
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.compiler.ir.sizes import TYPICAL
from netspec.compiler.numpy_backend.emit import file_name
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.pipeline import PassChange, make_plan
from netspec.compiler.passes.bind_sizes import open_sizes

FLOAT32 = 4
SHOWN = 12


def explain_plan(graph: Graph, *, training: bool, without: Collection[str] = ()) -> str:
    """Return an explanation of the program that `make_plan` plans, as text."""
    changes: list[PassChange] = []
    plan = make_plan(graph, training=training, backward=training, without=without, changes=changes)
    parts = [_change(change) for change in changes]
    parts += [f"{name}: left out" for name in PASS_NAMES if name in without]
    mode = "training" if training else "evaluation"
    head = f"The plan of {graph.name} in {mode}, made by netspec from {file_name(graph)}."
    if open_sizes(graph):
        head += f"\nSizes that the file leaves open count as {TYPICAL} here."
    return "\n\n".join([head, *parts, _memory(plan), str(plan)]) + "\n"


def _change(change: PassChange) -> str:
    head = [f"{change.by.name}: {PASS_NAMES[change.by.name]}", f"  to gain: {change.by.gain}"]
    *lines, last = change.lines or ("nothing to do here",)
    hidden = len(lines) - SHOWN
    shown = lines[:SHOWN] + ([f"... and {hidden} more"] if hidden > 0 else [])
    return "\n".join([*head, *(f"  {line}" for line in (*shown, last))])


def _memory(plan: Plan) -> str:
    memory = plan_memory(plan)
    shared = sum(len(storage.buffers) - 1 for storage in memory.storages)
    apart = sum(b.elements(1) for storage in memory.storages for b in storage.buffers)
    _, arena = memory.layout(1)
    return "\n".join(
        [
            "plan-memory: lay the buffers out in one arena by their lifetimes",
            "  to gain: nothing is allocated in a step, and little memory is touched",
            f"  {shared} values are made in the place of an operand that nobody reads again",
            f"  {bytes_text(FLOAT32 * apart)} of buffers an image in"
            f" {bytes_text(FLOAT32 * arena)} (at least"
            f" {bytes_text(FLOAT32 * memory.lower_bound(1))})",
        ]
    )
