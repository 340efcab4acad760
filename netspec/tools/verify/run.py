"""`netspec.verify`: run every evaluator on the same weights and batch, and compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import DiagnosticSink, NetspecError
from netspec.runtime.models.classifier_shape import require_sizes, require_training_batch
from netspec.runtime.models.torch_build import build_module, require_torch
from netspec.tools.verify.compare import Comparison, Side, checkpoints, compare
from netspec.tools.verify.describe import describe_parting, describe_step
from netspec.tools.verify.fused_steps import program_order
from netspec.tools.verify.inputs import Case, magnify, make_case
from netspec.tools.verify.local_reference import Local
from netspec.tools.verify.numpy_trace import (
    draw_masks,
    plan_as_run,
    plan_fused,
    plan_unfused,
    trace_program,
    trace_reference,
)
from netspec.tools.verify.quantities import Item, Trace, in_order
from netspec.tools.verify.report import Report, Run, StepRow

DTYPES = ("float64", "float32")

# What is compared: each evaluator with the one before it that is nearest to it.
REFERENCE, NUMPY, FUSED, AS_RUN, PYTORCH = "reference", "NumPy", "fused", "as run", "PyTorch"
PAIRS = ((REFERENCE, NUMPY), (NUMPY, FUSED), (FUSED, AS_RUN), (NUMPY, PYTORCH))

TOLERANCE = 1e-10
# Rounding errors add up along the longest path of layers: so much for each, and no less than this.
SINGLE_A_LAYER = 1e-6
SINGLE_LEAST = 1e-5
# Optimizers divide by roots of small numbers.
STEP_TOLERANCE = 1e-9


class HasGraph(Protocol):
    """A checked net."""

    @property
    def graph(self) -> Graph:
        """Its graph."""
        ...


def verify(
    net: HasGraph,
    *,
    batch: int = 3,
    steps: int = 3,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    torch: bool = True,
) -> Report:
    """Hold the reference, the NumPy program and the generated PyTorch module against each other.

    Args:
        net: what `netspec.load` gives.
        batch: images in the batch, of random numbers.
        steps: steps to take with each optimizer in NumPy and in PyTorch; 0 for none.
        seed: of the weights, the batch and the dropout masks.
        dtypes: `float64`, `float32` or both.
        torch: compare the PyTorch module too.

    Raises:
        NetspecError: `torch/missing` where PyTorch is not installed; `model/open-size` if the net
            leaves sizes open; `model/batch` if the batch is too small to train on.
    """
    graph = net.graph
    _check(graph, batch, dtypes, torch)
    report = Report(graph, batch, seed, steps if torch else 0)
    sink = DiagnosticSink(report.diagnostics)
    cases = [_make_case(graph, batch, seed, training) for training in (True, False)]
    plain = [(case, trace_reference(graph, case)) for case in cases]
    # In float32 the rounding of what is zero in exact arithmetic would be magnified beyond bounds.
    given = {"float64": [magnify(*pair) for pair in plain], "float32": plain}
    module = build_module(cast(Any, net)) if torch else None
    for dtype in sorted(dtypes, key=DTYPES.index):
        for case, reference in given[dtype]:
            sides = _sides(graph, case, dtype, reference, module)
            run = Run(dtype, case.training, _compare_all(graph, case, dtype, sides))
            report.runs.append(run)
            _describe(graph, run, sides, sink)
            report.unseen = _unseen(graph, sides)
        if steps and module is not None:
            _take_steps(graph, module, cases[0], dtype, report)
    return report


def _check(graph: Graph, batch: int, dtypes: Sequence[str], torch: bool) -> None:
    if torch:
        require_torch()
    if not dtypes or not set(dtypes) <= set(DTYPES):
        raise NetspecError.simple(
            "model/dtype", f"dtypes must be some of {', '.join(DTYPES)}, not {list(dtypes)}"
        )
    require_sizes(graph)
    require_training_batch(graph, batch)


def _make_case(graph: Graph, batch: int, seed: int, training: bool) -> Case:
    case = make_case(graph, batch=batch, seed=seed, training=training)
    masks = draw_masks(graph, plan_unfused(graph, training), batch, seed)
    return dataclasses.replace(case, masks=masks)


def _sides(graph: Graph, case: Case, dtype: str, reference: Trace, module: Any) -> dict[str, Side]:
    """Every evaluator's numbers, by the evaluator's name."""
    plans = {
        NUMPY: plan_unfused(graph, case.training),
        FUSED: plan_fused(graph, case.training),
        AS_RUN: plan_as_run(graph, case.training),
    }
    traces = {name: trace_program(graph, plan, case, dtype) for name, plan in plans.items()}
    if module is not None:
        from netspec.tools.verify.torch_trace import one_thread, trace_module

        with one_thread():
            traces[PYTORCH] = trace_module(graph, module, case, dtype)
    sides = {REFERENCE: Side(REFERENCE, reference)}
    for name, trace in traces.items():
        # The program as it runs is the fused one in less memory: not even rounding may differ much.
        local = Local(graph, case, trace) if name != AS_RUN else None
        sides[name] = Side(name, trace, local)
    return sides


def _compare_all(
    graph: Graph, case: Case, dtype: str, sides: Mapping[str, Side]
) -> list[Comparison]:
    tolerance = tolerance_of(graph, dtype)
    comparisons = []
    for left, right in PAIRS:
        if right not in sides:
            continue
        a, b = sides[left], sides[right]
        if right == FUSED:
            order = program_order(graph, plan_fused(graph, case.training), (a, b))
        else:
            order = checkpoints(graph, in_order(graph), (a, b))
        if right == AS_RUN:
            a = dataclasses.replace(a, local=None)
        comparisons.append(compare(graph, a, b, order, tolerance))
    return comparisons


def tolerance_of(graph: Graph, dtype: str) -> float:
    """How far apart sound programs may be, as a part of max(1, the largest number)."""
    if dtype == "float64":
        return TOLERANCE
    depth: dict[str, int] = {}
    for node in graph.nodes:
        depth[node.name] = 1 + max((depth.get(value, 0) for value in node.inputs), default=0)
    return max(SINGLE_LEAST, SINGLE_A_LAYER * max(depth.values(), default=0))


def _describe(graph: Graph, run: Run, sides: Mapping[str, Side], sink: DiagnosticSink) -> None:
    # A fault shows in both precisions; the place that the finer one finds is the right one.
    if run.dtype != "float64" and sink.diagnostics:
        return
    for comparison in run.comparisons:
        if comparison.parting is not None:
            where = f"{run.dtype}, {run.mode}"
            others = [side for side in sides.values() if side.name != AS_RUN]
            sink.add(describe_parting(graph, comparison.parting, where, others))


def _unseen(graph: Graph, sides: Mapping[str, Side]) -> tuple[str, ...]:
    if PYTORCH not in sides:
        return ()
    found = sides[PYTORCH].trace
    return tuple(node.name for node in graph.nodes if Item("value", node.name) not in found)


def _take_steps(graph: Graph, module: Any, case: Case, dtype: str, report: Report) -> None:
    from netspec.tools.verify.optimizer_steps import compare_steps
    from netspec.tools.verify.torch_trace import one_thread

    sound = not report.diagnostics  # else the steps differ for a reason that is known
    tolerance = STEP_TOLERANCE if dtype == "float64" else None
    with one_thread():
        results = list(compare_steps(graph, module, case, dtype, report.step_count, tolerance))
    for found in results:
        row = StepRow(found.optimizer, dtype, found.size, found.parameter, tolerance, found.excused)
        report.steps.append(row)
        if sound and row.is_beyond and not row.excused:
            report.diagnostics.append(
                describe_step(
                    graph,
                    found.optimizer,
                    report.step_count,
                    found.parameter,
                    found.index,
                    found.values,
                )
            )
