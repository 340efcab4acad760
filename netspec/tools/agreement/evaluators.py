"""The evaluators of a net, each compared with the previous one that is most similar to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from netspec.compiler.ir.graph import Graph
from netspec.runtime.engine.native.code import native_program
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.compare import Agreement, Side, checkpoints, compare
from netspec.tools.agreement.fused_steps import program_order
from netspec.tools.agreement.limits import Limits
from netspec.tools.agreement.local_reference import LocalReference
from netspec.tools.agreement.numpy_trace import (
    plan_as_run,
    plan_fused,
    plan_unfused,
    trace_program,
)
from netspec.tools.agreement.onnx_trace import DTYPE, trace_onnx
from netspec.tools.agreement.probabilities import with_softmax
from netspec.tools.agreement.quantities import Trace, in_order

if TYPE_CHECKING:
    from torch import nn

    from netspec.tools.agreement.onnx_file import OnnxFile

REFERENCE, NUMPY, FUSED, AS_RUN, PYTORCH = "reference", "NumPy", "fused", "as run", "PyTorch"
C, NATIVE, ONNX, GIVEN = "C", "as run in C", "ONNX", "given"
PAIRS = (
    (REFERENCE, NUMPY), (NUMPY, FUSED), (FUSED, AS_RUN), (NUMPY, PYTORCH), (REFERENCE, C),
    (REFERENCE, NATIVE), (REFERENCE, ONNX), (REFERENCE, GIVEN),
)  # fmt: skip

Sides = Mapping[str, Side]


def trace_sides(
    graph: Graph,
    case: Trial,
    dtype: str,
    reference: Trace,
    module: nn.Module | None,
    *,
    backward: bool | None = None,
    before: Trial | None = None,
    c: bool = False,
    onnx: bool = False,
    given: OnnxFile | None = None,
    outputs_only: bool = False,
) -> dict[str, Side]:
    """Run every evaluator, and return the sides by name.

    Args:
        graph: the net.
        case: the batch.
        dtype: `float64` or `float32`, for all evaluators but the reference.
        reference: what the reference computes for the case.
        module: the PyTorch module, or None to leave it out.
        backward: whether the program as it runs includes the backward pass; by default in training.
        before: another batch to run through the programs first, so that numbers left over from it
            show.
        c: whether the C file, and the program as machine code, are compiled and run too.
        onnx: whether onnxruntime runs the ONNX model too, in evaluation and float32.
        given: an ONNX file that is run likewise.
        outputs_only: whether the NumPy program is run for its outputs alone, as a model runs it.
    """
    as_run = plan_as_run(graph, case.training, backward=backward)
    plans = (
        {NUMPY: as_run}
        if outputs_only
        else {
            NUMPY: plan_unfused(graph, case.training),
            FUSED: plan_fused(graph, case.training),
            AS_RUN: as_run,
        }
    )
    traces = {
        name: trace_program(graph, plan, case, dtype, before=before) for name, plan in plans.items()
    }
    if outputs_only:
        traces = {name: _outputs_of(trace) for name, trace in traces.items()}
    if module is not None:
        from netspec.tools.agreement.torch_trace import one_thread, trace_module

        with one_thread():
            traces[PYTORCH] = trace_module(graph, module, case, dtype)
    sides = {REFERENCE: Side(REFERENCE, reference)}
    if c:
        from netspec.tools.agreement.c_trace import trace_c

        sides[C] = Side(C, trace_c(graph, case, dtype))
        sides[NATIVE] = Side(
            NATIVE, trace_program(graph, as_run, case, dtype, before=before, make=native_program)
        )
    if onnx and not case.training and dtype == DTYPE:
        sides[ONNX] = Side(ONNX, trace_onnx(graph, case))
    if given is not None and not case.training and dtype == DTYPE:
        trace = given.trace(graph, case, reference)
        sides[GIVEN] = Side(GIVEN, trace, softmax=given.softmax, is_half=given.is_half)
    for name, trace in traces.items():
        # The program as it runs is the fused program with less memory, so not even rounding may
        # differ much.
        judges = name != AS_RUN and not outputs_only
        local = LocalReference(graph, case, trace) if judges else None
        sides[name] = Side(name, trace, local)
    return sides


def _outputs_of(trace: Trace) -> Trace:
    return {item: array for item, array in trace.items() if item.kind == "output"}


def compare_sides(graph: Graph, case: Trial, sides: Sides, tolerance: float) -> list[Agreement]:
    """Make the comparisons of `PAIRS`, among the sides that exist."""
    comparisons = []
    limits = Limits(graph, case, sides[REFERENCE].trace, tolerance)
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
        if b.softmax:
            a = dataclasses.replace(a, trace=with_softmax(a.trace, b.softmax))
            own = Limits(graph, case, sides[REFERENCE].trace, tolerance, b.softmax)
        comparisons.append(compare(graph, a, b, order, own if b.softmax else limits))
    return comparisons


def witnesses(sides: Sides) -> list[Side]:
    """The sides whose numbers tell which one is wrong. The program as it runs keeps too few numbers."""
    return [side for side in sides.values() if side.name != AS_RUN]
