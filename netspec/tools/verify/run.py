"""`netspec.verify`: run every evaluator on the same weights and batch, and compare."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import require_onnx
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.diagnostics import DiagnosticSink, NetspecError
from netspec.runtime.engine.native.c_compiler import require_compiler
from netspec.runtime.models.classifier_shape import require_sizes, require_training_batch
from netspec.runtime.models.inputs import Inputs
from netspec.runtime.models.loaded_state import fitted_state
from netspec.runtime.models.onnx_session import require_onnxruntime
from netspec.runtime.models.room import parameter_count, require_room, value_count
from netspec.runtime.models.torch_build import build_module, require_torch
from netspec.runtime.weights.safetensors_file import Weights
from netspec.tools.agreement.case import HasGraph, Trial, in_single, magnify, make_case
from netspec.tools.agreement.compare import Agreement, Side
from netspec.tools.agreement.describe import describe_parting, describe_step, shows_values
from netspec.tools.agreement.difference import share_of_spread
from netspec.tools.agreement.evaluators import PYTORCH, compare_sides, trace_sides, witnesses
from netspec.tools.agreement.numpy_trace import (
    draw_masks,
    plan_unfused,
    trace_reference,
    trace_reference_outputs,
)
from netspec.tools.agreement.onnx_file import OnnxFile
from netspec.tools.agreement.onnx_trace import DTYPE
from netspec.tools.agreement.quantities import Item, Trace
from netspec.tools.verify.report import PrecisionRun, StepRow, VerifyReport

DTYPES = ("float64", "float32")

TOLERANCE = 1e-10
# Rounding errors add up along the longest path of layers: this much for each layer, with a minimum.
SINGLE_A_LAYER = 1e-6
SINGLE_LEAST = 1e-5
# Optimizers divide by square roots of small numbers.
STEP_TOLERANCE = 1e-9

# Arrays in float64 that are held at once, of the size of all parameters and of all values: the
# least that was measured. The references of both modes alone hold values, gradients and terms.
PARAMETER_COPIES, VALUE_COPIES = 10, 10


def verify(
    net: HasGraph,
    *,
    batch: int = 3,
    steps: int = 3,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    torch: bool = True,
    c: bool = False,
    onnx: bool = False,
    weights: Mapping[str, Any] | Weights | None = None,
    against: str | os.PathLike[str] | None = None,
    outputs_only: bool = False,
    x: ArrayLike | Mapping[str, ArrayLike] | None = None,
    advance: Callable[[str], object] = lambda what: None,  # noqa: ARG005
) -> VerifyReport:
    """Compare the reference, the NumPy program and the generated PyTorch module.

    Args:
        net: a net, as returned by `netspec.load`.
        batch: the number of images in the batch, which are random numbers. Where these are too few
            to train on, only evaluation is compared.
        steps: the number of steps to take with each optimizer in NumPy and in PyTorch; 0 for none.
        seed: the seed of the weights, the batch and the dropout masks.
        dtypes: `float64`, `float32` or both.
        torch: whether to compare the PyTorch module too.
        c: whether to compare the C files too, and the program as machine code, compiled with the
            compiler of this machine.
        onnx: whether to compare the ONNX model too, run by onnxruntime, in evaluation and float32.
        weights: parameters and buffers by name, in place of initial values; also `Weights`, as
            `netspec.load_weights` returns them.
        against: an ONNX file, of any origin, that is to give the outputs of the net with these weights,
            in evaluation and float32. One that normalises its inputs gets them as they were before, if
            the weights say how.
        outputs_only: whether to compare nothing but the outputs, in evaluation and float32, without
            PyTorch: `dtypes`, `steps` and `torch` are then as good as not given.
        x: a batch of your own, (N, ...) as the net takes it, or one for each input by name, in place of
            random numbers and of `batch`.
        advance: called with a description of each comparison before it is made.

    Raises:
        NetspecError: `compile/no-compiler` and `compile/no-c` for the C file; `library/onnx`,
            `library/onnxruntime` and `compile/no-onnx` for the ONNX model; `torch/missing` if
            PyTorch is not installed; `model/open-size` if the net has open sizes; `limit/memory`;
            `weights/mismatch`; `onnx/file`; `model/inputs`, `model/input-shape`, `model/input-type`,
            `model/places`.
    """
    graph = net.graph
    if outputs_only:
        dtypes, steps, torch = (DTYPE,), 0, False
    own = _own_batch(graph, x)
    batch = len(next(iter(own.values()))) if own else batch
    _check(graph, batch, dtypes, torch)
    if c:
        require_compiler()
    if onnx or against is not None:
        _check_onnx(dtypes, writes=onnx)
    given_file = None if against is None else _given_file(graph, against, weights)
    state = None if weights is None else fitted_state(graph, weights, np.dtype(np.float32))
    untrained = "" if outputs_only else _why_untrained(graph, batch)
    steps = 0 if untrained else steps
    report = VerifyReport(graph, batch, seed, steps if torch else 0, left_out=untrained)
    sink = DiagnosticSink(report.diagnostics)
    modes = (False,) if untrained or outputs_only else (True, False)
    cases = [_make_case(graph, batch, seed, training, state, own) for training in modes]
    advance("the reference")
    plain, given = _references(graph, cases, dtypes, outputs_only=outputs_only)
    module = build_module(cast(Any, net)) if torch else None
    if (onnx or given_file is not None) and batch > 1:
        report.varies = _varies(graph, plain[-1][1])
    for dtype in sorted(dtypes, key=DTYPES.index):
        for case, reference in given[dtype]:
            advance(f"{dtype}, {'training' if case.training else 'evaluation'}")
            sides = trace_sides(
                graph, case, dtype, reference, module, c=c, onnx=onnx, given=given_file,
                outputs_only=outputs_only,
            )  # fmt: skip
            found = compare_sides(graph, case, sides, tolerance_of(graph, dtype))
            if dtype == "float32" and "float64" in dtypes and not report.diagnostics:
                _suppose_rounding(found, sides)
            run = PrecisionRun(dtype, case.training, found)
            report.runs.append(run)
            _describe(graph, run, sides, sink)
            report.unseen = _unseen(graph, sides)
        if given_file is not None:
            report.takes = given_file.takes
            report.softmax = tuple(sorted(given_file.softmax))
            report.is_half = given_file.is_half
        if steps and module is not None:
            advance(f"steps of each optimizer, {dtype}")
            _take_steps(graph, module, cases[0], dtype, report)
    return report


def _given_file(
    graph: Graph, path: str | os.PathLike[str], weights: Mapping[str, Any] | Weights | None
) -> OnnxFile:
    """Return the file that is to give the outputs of a net, after a look at its inputs."""
    by = weights.normalization if isinstance(weights, Weights) else None
    file = OnnxFile(Path(path), by)
    file.require_inputs(graph)
    return file


def _own_batch(
    graph: Graph, x: ArrayLike | Mapping[str, ArrayLike] | None
) -> Mapping[str, NDArray[Any]]:
    """Return a batch that is given, by the name of the input; nothing if none is."""
    return {} if x is None else Inputs(graph, np.dtype(np.float64)).check(x)


_Compared = list[tuple[Trial, Trace]]


def _references(
    graph: Graph, cases: Sequence[Trial], dtypes: Sequence[str], *, outputs_only: bool
) -> tuple[_Compared, dict[str, _Compared]]:
    """Return the cases with what the reference computes, as they are and for each precision.

    In float32, the rounding errors of numbers that are zero in exact arithmetic would be magnified
    without bounds.
    """
    compute = trace_reference_outputs if outputs_only else trace_reference
    plain = [(case, compute(graph, case)) for case in cases]
    given = {"float32": plain}
    if "float64" in dtypes:
        given["float64"] = [magnify(*pair) for pair in plain]
    return plain, given


def _check(graph: Graph, batch: int, dtypes: Sequence[str], torch: bool) -> None:
    if not dtypes or not set(dtypes) <= set(DTYPES):
        raise NetspecError.simple(
            codes.MODEL_DTYPE, f"dtypes must be some of {', '.join(DTYPES)}, not {list(dtypes)}"
        )
    require_sizes(graph)
    require_few_layers(graph)
    parameters = PARAMETER_COPIES * parameter_count(graph)
    values = VALUE_COPIES * value_count(graph)
    require_room(graph, lambda images: 8 * (parameters + images * values), batch, "verifying")
    if torch:  # last, because importing it takes seconds
        require_torch()


def _why_untrained(graph: Graph, batch: int) -> str:
    """Return why a batch is too small to train on; an empty text if it is not."""
    try:
        require_training_batch(graph, batch)
    except NetspecError as error:
        return error.diagnostics[0].message
    return ""


def _check_onnx(dtypes: Sequence[str], *, writes: bool) -> None:
    if writes:
        require_onnx()
    require_onnxruntime()
    if DTYPE not in dtypes:
        raise NetspecError.simple(codes.MODEL_DTYPE, f"ONNX models compute in {DTYPE}")


def _make_case(
    graph: Graph,
    batch: int,
    seed: int,
    training: bool,
    state: Mapping[str, Any] | None,
    own: Mapping[str, Any],
) -> Trial:
    """Draw a case, with the given parameters and buffers, and inputs, if there are any."""
    case = make_case(graph, batch=batch, seed=seed, training=training, state=state)
    if own:
        case = dataclasses.replace(case, inputs={n: in_single(array) for n, array in own.items()})
    masks = draw_masks(graph, plan_unfused(graph, training), batch, seed)
    return dataclasses.replace(case, masks=masks)


def tolerance_of(graph: Graph, dtype: str) -> float:
    """Return how far apart correct programs may be, relative to max(1, the largest number)."""
    if dtype == "float64":
        return TOLERANCE
    depth: dict[str, int] = {}
    for node in graph.nodes:
        depth[node.name] = 1 + max((depth.get(value, 0) for value in node.inputs), default=0)
    return max(SINGLE_LEAST, SINGLE_A_LAYER * max(depth.values(), default=0))


def _suppose_rounding(found: Sequence[Agreement], sides: Mapping[str, Side]) -> None:
    """Excuse small differences of gradients of sides whose values are not seen: rounding can decide on
    which side of a kink a number lies, and a fault shows in float64, where all have agreed.
    """
    silent = {side.name for side in sides.values() if not shows_values(side)}
    for comparison in found:
        parting = comparison.parting
        is_unseen = bool({comparison.left, comparison.right} & silent)
        if is_unseen and parting is not None and parting.checkpoint.item.is_backward:
            comparison.suppose_rounding()


def _describe(
    graph: Graph, run: PrecisionRun, sides: Mapping[str, Side], sink: DiagnosticSink
) -> None:
    # A fault shows in both precisions; the place found in the finer one is right.
    if run.dtype != "float64" and sink.diagnostics:
        return
    for comparison in run.comparisons:
        if comparison.parting is not None:
            where = f"{run.dtype}, {run.mode}"
            sink.add(describe_parting(graph, comparison.parting, where, witnesses(sides)))


def _varies(graph: Graph, reference: Trace) -> float:
    """Return how far the outputs of different images are apart, relative to the largest number."""
    return max(share_of_spread(reference[Item("output", name)]) for name in graph.outputs)


def _unseen(graph: Graph, sides: Mapping[str, Side]) -> tuple[str, ...]:
    if PYTORCH not in sides:
        return ()
    found = sides[PYTORCH].trace
    return tuple(node.name for node in graph.nodes if Item("value", node.name) not in found)


def _take_steps(graph: Graph, module: Any, case: Trial, dtype: str, report: VerifyReport) -> None:
    from netspec.tools.agreement.torch_trace import one_thread
    from netspec.tools.verify.optimizer_steps import compare_steps

    sound = not report.diagnostics  # otherwise the steps differ because of a fault already found
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
