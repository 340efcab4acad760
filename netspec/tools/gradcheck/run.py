"""`netspec.gradcheck`: checks the gradients that a net is trained with against measured slopes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import Diagnostic, DiagnosticSink, NetspecError, plural
from netspec.runtime.engine.native.require import require_c
from netspec.runtime.engine.program import make_plan
from netspec.runtime.engine.reference import Reference
from netspec.runtime.models.classifier_shape import require_training_batch
from netspec.runtime.models.odd_pixels import warn_of_bytes
from netspec.runtime.optim.losses import AnyLoss
from netspec.tools.agreement.case import HasGraph, Trial
from netspec.tools.agreement.difference import distance
from netspec.tools.agreement.limits import SHARES
from netspec.tools.agreement.numpy_trace import draw_masks, plan_unfused
from netspec.tools.agreement.quantities import LOSS, Item
from netspec.tools.gradcheck.locate import locate
from netspec.tools.gradcheck.point import Point, span_of
from netspec.tools.gradcheck.probes import Probing, Target
from netspec.tools.gradcheck.report import Check, GradcheckReport, GradientRow, ModeRows
from netspec.tools.gradcheck.setup import Subject, choose_parameters, prepare

Array = NDArray[Any]

DIRECTIONS = 10
TOLERANCE = 1e-7
BATCH = 4
# The loss and the buffers of correct programs agree to this tolerance.
CLOSE = 1e-10

# If checking each parameter would take longer than this, all are moved at once. The time is
# estimated rather than measured, so that a net is checked in the same way on every machine.
PATIENCE_S = 60.0
MACS_PER_S = 4e9
NODE_S = 4e-5
RUNS_PER_PROBE = 6

MODES = {"train": (True,), "eval": (False,), "both": (True, False)}
BACKENDS = {
    "numpy": ("numpy",), "c": ("c",), "torch": ("torch",), "both": ("numpy", "torch"),
}  # fmt: skip


def gradcheck(
    net: HasGraph,
    x: ArrayLike | Mapping[str, ArrayLike] | None = None,
    y: ArrayLike | None = None,
    *,
    params: str = "all",
    directions: int | None = None,
    elements: int | None = None,
    full: bool = False,
    whole: bool | None = None,
    start: str | None = None,
    end: str | None = None,
    backend: Literal["numpy", "c", "torch", "both"] | None = None,
    batch: int = BATCH,
    seed: int = 0,
    loss: AnyLoss | None = None,
    mode: Literal["train", "eval", "both"] = "both",
    tolerance: float = TOLERANCE,
    advance: Callable[[str], object] = lambda what: None,  # noqa: ARG005
) -> GradcheckReport:
    """Check the gradients of a net by central differences in float64.

    A model is checked with its own parameters. For a net they are drawn: none is all zeros or all
    ones, and they are scaled so that signals neither vanish nor explode.

    Args:
        net: a net, as returned by `netspec.load`, or a model.
        x: a batch (N, C, H, W) or (N, F), or a dict of them by input; random if not given.
        y: labels (N,), or (N, T) for an output of scores (N, T, classes); random if not given.
        params: `all`, or names of parameters or inputs with wildcards, such as
            `layer1.*,fc.weight`.
        directions: the number of random directions for each parameter and input (default 10).
        elements: probe this many random elements of each instead of directions.
        full: probe every element instead of directions.
        whole: move all parameters at once in each direction. This is the default if checking each
            of them would take long.
        start: check only the part of the net that begins with this layer, block or input, with
            random values as its inputs and a random linear functional of its outputs.
        end: check only the part that ends with this layer or block.
        backend: `numpy`, `c`, `torch` or `both`, the first and the third. By default that of a
            model; of a net NumPy, and PyTorch too if it is installed and the whole net is checked.
        batch: the size of a random batch.
        seed: the seed of everything random.
        loss: a loss, its name, or a function; by default softmax if the output is [N, classes], else
            a random linear functional.
        mode: `train`, `eval` or `both`.
        tolerance: gradients agree if |a - b| <= tolerance * max(1, max|a|).
        advance: called with the mode and the name of each row before it is probed.

    Raises:
        NetspecError: for arguments that do not fit the net (see `prepare`), `model/batch` for a batch
            that is too small to train on, `gradcheck/option`, `gradcheck/params`, `torch/missing`.
    """
    _check_options(directions, elements, full, whole, mode, backend)
    warn_of_bytes(getattr(net, "trained_on", None), x)
    if backend is None and getattr(net, "target", None) == "c":
        backend = "c"
    subject = prepare(net, x, y, batch=batch, seed=seed, loss=loss, start=start, end=end)
    graph = subject.graph
    if True in MODES[mode]:
        require_training_batch(graph, subject.batch)
    module = _module(net, backend, is_part=graph is not net.graph and (start or end) is not None)
    backends = BACKENDS[backend or ("numpy" if module is None else "both")]
    if "c" in backends:
        require_c(graph, training=True)
    names, inputs = choose_parameters(graph, params)
    count = directions or DIRECTIONS
    modes = _different_modes(graph, MODES[mode])
    if whole is None:
        each = len(names) + len(inputs)
        default = not (directions or elements or full)
        whole = default and _seconds(graph, subject.batch, each * count * len(modes)) > PATIENCE_S
    targets = _targets(subject, names, inputs, whole=whole)
    probing = Probing(seed, count, elements, full)
    how = _how(count, elements, full, whole=whole)
    report = GradcheckReport(
        graph, subject.batch, seed, tolerance, backends, how, notes=subject.notes
    )
    sink = DiagnosticSink(report.diagnostics)
    for training, title in modes:
        case = _case(subject, training, seed)
        section = ModeRows(title)
        report.sections.append(section)
        point = Point(graph, case, module, backends, tolerance)
        advance(title)
        section.rows, notes = point.rows(targets, probing, _within(title, advance))
        section.checks += _checks(graph, case, point)
        notes += _note_of_small_loss(point, tolerance)
        for diagnostic in _diagnose(graph, case, section, tolerance, module, notes):
            sink.add(diagnostic)
        report.notes += [note for note in notes if note not in report.notes]
    return report


# ---------------------------------------------------------------------------------- what to check


def _check_options(
    directions: int | None,
    elements: int | None,
    full: bool,
    whole: bool | None,
    mode: str,
    backend: str | None,
) -> None:
    ways = [directions is not None, elements is not None, full]
    wrong = None
    if sum(ways) > 1:
        wrong = "give one of directions, elements and full"
    elif whole and (full or elements is not None):
        wrong = "whole needs directions: elements are moved one at a time"
    elif any(number is not None and number < 1 for number in (directions, elements)):
        wrong = "at least one direction or element is needed"
    elif mode not in MODES:
        wrong = f"mode must be one of {', '.join(MODES)}, not {mode!r}"
    elif backend is not None and backend not in BACKENDS:
        wrong = f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}"
    if wrong:
        raise NetspecError.simple(codes.GRADCHECK_OPTION, wrong)


def _module(net: HasGraph, backend: str | None, *, is_part: bool) -> Any:
    """Return the generated module, if PyTorch is to be checked and is available.

    Raises:
        NetspecError: `torch/missing`, or `gradcheck/option` if it is requested but cannot be
            checked.
    """
    if backend in ("numpy", "c"):
        return None
    from netspec.runtime.models.torch_build import build_module, require_torch

    why = None
    if is_part:
        why = "start and end are for the NumPy program: the generated module is checked as a whole"
    elif not hasattr(net, "written"):
        why = "a NumPy model has no PyTorch module: give the net"
    if why is not None:
        if backend is None:
            return None
        raise NetspecError.simple(codes.GRADCHECK_OPTION, why)
    try:
        require_torch()
    except NetspecError:
        if backend is None:
            return None
        raise
    return build_module(cast(Any, net), dtype="float64")


def _different_modes(graph: Graph, wanted: Sequence[bool]) -> list[tuple[bool, str]]:
    """Return the modes to run, with their titles; only one if both are the same program."""
    if len(wanted) == 2:
        programs = [make_plan(graph, training=t, input_gradients=True) for t in wanted]
        if programs[0].steps == programs[1].steps:
            return [(True, "training and evaluation")]
    return [(t, "training" if t else "evaluation") for t in wanted]


def _seconds(graph: Graph, batch: int, probes: int) -> float:
    """Estimate the seconds that a number of probes takes."""
    macs = sum(node.op.macs(*graph.shapes_into(node)) for node in graph.nodes)
    once = batch * macs / MACS_PER_S + NODE_S * len(graph.nodes)
    return probes * RUNS_PER_PROBE * once


def _targets(
    subject: Subject, names: Sequence[str], inputs: Sequence[str], *, whole: bool
) -> list[Target]:
    groups = [tuple(names)] if whole and names else [(name,) for name in names]
    targets = [
        Target(
            "parameter",
            group,
            tuple(subject.parameters[name] for name in group),
            subject.graph.untrained_rows,
        )
        for group in groups
    ]
    return targets + [Target("input", (name,), (subject.inputs[name],)) for name in inputs]


def _how(count: int, elements: int | None, full: bool, *, whole: bool) -> str:
    if full:
        return "every element"
    if elements is not None:
        return f"{plural(elements, 'random element')} of each"
    of = "all parameters at once" if whole else "each"
    return f"{plural(count, 'random direction')} of {of}"


def _case(subject: Subject, training: bool, seed: int) -> Trial:
    graph = subject.graph
    masks = draw_masks(graph, plan_unfused(graph, training), subject.batch, seed)
    return Trial(subject.inputs, subject.parameters, subject.objective, training, masks)


def _within(mode: str, advance: Callable[[str], object]) -> Callable[[str], object]:
    return lambda row: advance(f"{mode}: {row}")


# -------------------------------------------------------------------------- against the reference


def _checks(graph: Graph, case: Trial, point: Point) -> Iterator[Check]:
    """Compare the loss, and the buffers after a training pass, with the reference."""
    reference = Reference(graph, case.parameters, training=case.training, masks=case.masks)
    loss, _ = case.objective.reference(reference.forward(case.inputs))
    # The differences are taken of the landscape, so it must be the function whose gradient is
    # checked.
    computed = [point.landscape.loss, *(each.loss for each in point.results.values())]
    own, *losses = (_error(point, LOSS, np.array(loss), np.array(each)) for each in computed)
    errors = {name: max(own, each) for name, each in zip(point.results, losses, strict=True)}
    yield Check("loss", None, errors, CLOSE)
    for parameter in graph.parameters.values():
        if parameter.trainable or not case.training:
            continue
        expected, item = reference.parameters[parameter.name], Item("buffer", parameter.name)
        errors = {
            name: _error(point, item, expected, each.buffers[parameter.name])
            for name, each in point.results.items()
        }
        yield Check(parameter.name, span_of(graph, parameter.name), errors, CLOSE)


def _error(point: Point, item: Item, expected: Array, computed: Array) -> float:
    """Return how far apart two arrays are: relative to max(1, the largest), or to the largest if they
    are tiny and rounding does not explain it.
    """
    found = distance(expected, computed)
    tiny = found.share > SHARES["float64"] and point.limits.is_large_share(item, found, "float64")
    return found.share if tiny else found.size


def _note_of_small_loss(point: Point, tolerance: float) -> list[str]:
    """Return a note if all gradients are too small to be told from 0: the net is sure and right."""
    landscape = point.landscape
    if not point.case.objective.has_labels or not abs(landscape.loss) < tolerance:
        return []
    shown = "0" if abs(landscape.loss) <= landscape.rounding else f"{landscape.loss:.1e}"
    return [f"the loss is {shown}, and gradients are nearly 0: are the images normalised?"]


def _diagnose(
    graph: Graph, case: Trial, section: ModeRows, tolerance: float, module: Any, notes: list[str]
) -> Iterator[Diagnostic]:
    """Locate the first fault of a mode, in the NumPy program if it has one, else in PyTorch.

    Checks that fail only because of rounding are marked as such, and noted.
    """
    failed = [row for row in section.rows if row.verdict == "failed"]
    wrong = {name for row in failed for name, s in row.scores.items() if s.wrong}
    checks = [check for check in section.checks if check.verdict == "failed"]
    wrong |= {name for check in checks for name in check.beyond}
    if not wrong:
        return
    only_torch = wrong == {"torch"}
    found = locate(graph, case, tolerance, module=module if only_torch else None)
    if found is not None:
        yield dataclasses.replace(found, notes=(*found.notes, _seen_in(failed, checks)))
    elif failed:
        yield Diagnostic(
            codes.GRADCHECK_GRADIENT,
            f"a gradient is wrong, but each layer is right by itself: {_seen_in(failed, checks)}",
            span=failed[0].span,
        )
    else:
        section.checks = [
            dataclasses.replace(check, rounding=bool(check.beyond)) for check in section.checks
        ]
        names = ", ".join(check.name for check in checks)
        notes.append(f"{names}: off by rounding only, given each side's own values")


def _seen_in(rows: Sequence[GradientRow], checks: Sequence[Check]) -> str:
    names = [row.name for row in rows] + [check.name for check in checks]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"seen in {', '.join(names[:4])}{more}"
