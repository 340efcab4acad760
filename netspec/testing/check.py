"""`check_layer`: compares a layer written by hand with netspec's, argument by argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.attributes import spread
from netspec.compiler.ops import registry
from netspec.diagnostics import NetspecError, suggest
from netspec.testing import student
from netspec.testing.courses import LOSSES, CourseLayer, known, parts_of
from netspec.testing.layer import Layer, Setting
from netspec.testing.losses import check_loss
from netspec.testing.mistakes import explain
from netspec.testing.report import LayerCase, LayerMismatchError, LayerReport, compare
from netspec.testing.scene import Scene
from netspec.testing.student import FaultError

Array = NDArray[Any]
Function = Callable[..., Any]


def check_layer(
    forward: Function,
    backward: Function | None = None,
    like: str = "",
    *,
    inputs: Mapping[str, ArrayLike] | None = None,
    shape: tuple[int, ...] | None = None,
    training: bool | None = None,
    seed: int = 0,
    tol: float = 1e-7,
    raise_on_failure: bool = False,
    **attributes: Any,
) -> LayerReport:
    """Compare a layer written by hand with netspec's, in float64.

    The functions have CS231n's signatures, such as `out, cache = conv_forward(x, w, b, conv_param)`
    and `dx, dw, db = conv_backward(dout, cache)`. Everything is compared: `out`, each gradient, and
    the running statistics of a batch norm. Each difference is reported with its worst index and
    both values, and with the mistake that gives these numbers, if it is a common one. Exceptions in
    the functions are caught and shown; arrays that they change in place are named.

    Args:
        forward: the forward function of the layer; for a loss, the function `loss, dx = f(x, y)`.
        backward: the backward function; without it only `out` is compared.
        like: the layer, in CS231n's conventions: `affine`, `conv`, `max_pool`, `avg_pool`, `relu`,
            `batch_norm` and `spatial_batch_norm`, `layer_norm`, `group_norm`, `dropout`; the
            sandwiches `affine_relu`, `affine_bn_relu`, `affine_ln_relu`, `conv_relu`,
            `conv_bn_relu`, `conv_relu_pool`; the losses `softmax_loss` and `svm_loss`. Any other op
            of netspec is called `out, cache = f(x, weight, bias)`, with its own names, layouts and
            order of parameters, and `dx, dweight, dbias = g(dout, cache)`.
        inputs: arrays to use instead of random ones, by name: `x`, `w`, `b`, ..., `dout`.
        shape: the shape of x, including the batch axis.
        training: for batch norm and dropout, the only mode to check, instead of both. In
            evaluation, only `out` is compared.
        seed: the seed of the random numbers.
        tol: two arrays are equal if they differ by at most `tol * max(1, max |netspec's|)`.
        raise_on_failure: raise an error instead of returning a report that is not ok.
        attributes: attributes of netspec's op (`stride = 2, pad = 1`), from which `conv_param` and
            the like are made. `momentum` is PyTorch's, 1 minus the course's, and `p` is the
            probability to drop. In a sandwich an attribute applies to the first part that has it,
            and `max_pool = {"kernel": 3}` names the part. Without any, a few common ones are
            checked.

    Returns:
        A report, with `report.ok` and the text `str(report)`.

    Raises:
        LayerMismatchError: an `AssertionError`, if requested.
        NetspecError: `testing/...` for wrong use, or netspec's errors about the attributes.
    """
    arrays = {name: np.asarray(value) for name, value in (inputs or {}).items()}
    if like in LOSSES:
        case = check_loss(forward, like, LOSSES[like], arrays, shape, seed, tol, attributes)
        report = LayerReport(like, [case])
    else:
        _require_known(like)
        numbers = {name: array.astype(np.float64) for name, array in arrays.items()}
        report = LayerReport(like)
        for layer in _layers(like, numbers, shape, attributes):
            for mode in _modes(layer, training):
                setting = layer.draw(numbers, _batch(layer, numbers), mode, seed)
                report.cases.append(_check(setting, forward, backward, tol, seed))
    if raise_on_failure and not report.ok:
        raise LayerMismatchError(report)
    return report


# ------------------------------------------------------------------------------- what is to be done


def _require_known(like: str) -> None:
    if like in known():
        return
    if not like:
        message = "`like` must name the layer to compare with"
        raise NetspecError.simple(codes.TESTING_LIKE, message, 'such as like = "conv"')
    meant = suggest(like, known())
    raise NetspecError.simple(
        codes.TESTING_LIKE,
        f"there is no layer `{like}`",
        f"did you mean `{meant}`?" if meant else f"there are {', '.join(known())}",
    )


def _layers(
    like: str,
    given: Mapping[str, Array],
    shape: tuple[int, ...] | None,
    attributes: Mapping[str, Any],
) -> list[Layer]:
    """Return the layer with its attributes; several layers if none are given."""
    parts = parts_of(like)
    sizes = [
        part.sizes({a.name: given[a.name] for a in part.arguments if a.name in given})
        for _, part in parts
    ]
    wanted = _routed(parts, attributes)
    inputs = parts[0][1].inputs
    shapes = [
        given[name].shape if name in given else default
        for name, default in zip(inputs, parts[0][1].shapes, strict=True)
    ]
    if shape is not None and inputs[0] not in given:
        shapes[0] = tuple(shape)
    free = not attributes and not given and shape is None
    rounds = parts[0][1].cases if free and len(parts) == 1 else parts[0][1].cases[:1]
    found = []
    for usual in rounds:
        chosen = [
            {**part.attributes, **(_usual(part, usual, i) if free else {}), **size, **mine}
            for i, ((_, part), size, mine) in enumerate(zip(parts, sizes, wanted, strict=True))
        ]
        layer = Layer(parts, tuple(shapes), tuple(chosen))
        unknown = [name for name in given if name not in (*layer.names(), "dout")]
        if unknown:
            names = ", ".join(layer.names())
            message = f"`{like}` takes {names} and dout, not `{unknown[0]}`"
            raise NetspecError.simple(codes.TESTING_INPUTS, message)
        found.append(layer)
    return found


def _usual(part: CourseLayer, case: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    return case if index == 0 else part.cases[0]


def _routed(
    parts: tuple[tuple[str, CourseLayer], ...], attributes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the attributes of each part.

    A dict applies to the part of its name, another value to the first part that has the attribute.
    """
    wanted: list[dict[str, Any]] = [{} for _ in parts]
    names = [name for name, _ in parts]
    for key, value in attributes.items():
        if key in names and isinstance(value, Mapping):
            wanted[names.index(key)].update(value)
            continue
        fits = [i for i, (_, part) in enumerate(parts) if key in registry()[part.op].attributes()]
        wanted[fits[0] if fits else 0][key] = value  # the compiler reports an unknown one
    return wanted


def _modes(layer: Layer, training: bool | None) -> tuple[bool, ...]:
    if training is not None:
        return (training,)
    known_masks = all(p.part.keeps for p in layer.parts) or not layer.random
    if not known_masks:
        return (False,)
    return (True, False) if layer.modal else (True,)


def _batch(layer: Layer, given: Mapping[str, Array]) -> int:
    name = layer.inputs[0]
    return len(given[name]) if name in given else layer.source[1][0][0]


# -------------------------------------------------------------------------------------- one setting


def _check(
    setting: Setting, forward: Function, backward: Function | None, tol: float, seed: int
) -> LayerCase:
    layer = setting.layer
    mode = (", training" if setting.training else ", evaluation") if layer.modal else ""
    shapes = ", ".join(f"{name} {list(setting.arrays[name].shape)}" for name in layer.inputs)
    case = LayerCase(f"{layer} on {shapes}{mode}")
    try:
        passed, settings = _copies(setting), setting.settings()
        out, cache = student.forward(forward, *passed.values(), *settings)
        case.faults += student.changes(forward, setting.arrays, passed)
        _match_masks(setting, np.asarray(out), case)
        ours = setting.results()
        _compare(setting, {"out": out}, ours, case, tol)
        if setting.training:
            _compare(setting, _running(setting, settings), ours, case, tol)
        if backward is None or (layer.modal and not setting.training):
            return case
        if np.shape(out) != ours["out"].shape:
            case.fail("backward was not called, for `out` has the wrong shape")
            return case
        gradients = _backward(setting, backward, passed, cache, case)
        _compare(setting, gradients, ours, case, tol)
        if layer.parts[0].part.pools and len(layer.parts) == 1:
            _try_ties(setting, forward, backward, case)
        if not setting.masks:
            case.faults += _second_call(setting, forward, backward, gradients, seed)
    except FaultError as fault:
        case.fail(str(fault))
    return case


def _copies(setting: Setting) -> dict[str, Array]:
    return {name: setting.arrays[name].copy() for name in setting.layer.names()}


def _backward(
    setting: Setting, backward: Function, passed: dict[str, Array], cache: Any, case: LayerCase
) -> dict[str, Array]:
    """Return the gradients, and faults for other arrays that backward changed."""
    dout = setting.dout.copy()
    before = {"dout": setting.dout, **{name: array.copy() for name, array in passed.items()}}
    names = [f"d{name}" for name in setting.layer.names()]
    gradients = student.backward(backward, dout, cache, names)
    kept = {name: np.array(value) for name, value in gradients.items()}
    case.faults += student.changes(backward, before, {"dout": dout, **passed})
    return kept


def _second_call(
    setting: Setting,
    forward: Function,
    backward: Function,
    first: Mapping[str, Array],
    seed: int,
) -> list[str]:
    """Return a fault if a second forward call, with other numbers, changes the cache of the first."""
    _, cache = student.forward(forward, *_copies(setting).values(), *setting.settings())
    other = setting.layer.draw({}, setting.batch, setting.training, seed + 1)
    student.forward(forward, *_copies(other).values(), *other.settings())
    again = student.backward(backward, setting.dout.copy(), cache, list(first))
    spoilt = [
        name for name, array in first.items()
        if not np.allclose(array, again[name], 1e-9, equal_nan=True)
    ]  # fmt: skip
    if not spoilt:
        return []
    return [
        f"{student.name_of(backward)} gives a different {', '.join(spoilt)} after"
        f" {student.name_of(forward)} has run again: each call needs a cache of its own\n"
        "look for arrays that are reused by every call, and for globals"
    ]


def _try_ties(setting: Setting, forward: Function, backward: Function, case: LayerCase) -> None:
    """Return a fault if a max pool distributes more or less than dout among equal numbers.

    Which of them gets it is a matter of choice. Windows that overlap, where this cannot be
    determined, are not checked.
    """
    (placed,) = setting.layer.parts
    op: Any = placed.node.op
    x = setting.arrays["x"]
    windows = list(op.windows(x.shape[1:]))
    seen = np.zeros(x.shape[2:], int)
    for _, read in windows:
        seen[read[2:]] += 1
    if seen.max() > 1:
        return
    tied = setting.changed(x=np.round(x))
    _, cache = student.forward(forward, *_copies(tied).values(), *tied.settings())
    dx = np.asarray(student.backward(backward, tied.dout.copy(), cache, ["dx"])["dx"])
    if dx.shape != x.shape:
        return
    for at, read in windows:
        window, given = tied.arrays["x"][read], dx[read]
        total, dout = given.sum(axis=(2, 3)), tied.dout[at]
        equal = window == window.max(axis=(2, 3), keepdims=True)
        if not np.allclose(total, dout, 1e-9, 1e-9):
            n, c = np.argwhere(~np.isclose(total, dout, 1e-9, 1e-9))[0]
            case.fail(
                f"where {equal[n, c].sum()} numbers of a window are equal and the largest, dx adds up"
                f" to {total[n, c] / dout[n, c]:.3g} times dout\n"
                "give it to one of them (np.argmax), or divide it among them"
            )
            return


def _match_masks(setting: Setting, out: Array, case: LayerCase) -> None:
    """Use the mask that the function drew, if it is a possible one."""
    if not setting.training or not setting.layer.random:
        return
    (placed,) = setting.layer.parts
    x = setting.arrays["x"]
    if out.shape != x.shape or placed.part.keeps is None:
        return
    share, kept = placed.part.keeps(placed.node.op), out != 0
    found, spread = float(kept.mean()), np.sqrt(share * (1 - share) / kept.size)
    near = 5 * spread + 1 / kept.size
    dropped = abs(found - (1 - share)) <= near < abs(found - share)
    if dropped and np.allclose(out, x * kept / (1 - share)):
        case.notes.append(
            f"p = {share:g} is taken as the probability to drop, as in the assignments of 2016 and"
            " 2017; since 2018 it is the probability to keep"
        )
        share = 1 - share
    mask = kept / share
    setting.masks[placed.node.name] = mask.transpose(0, 2, 3, 1) if mask.ndim == 4 else mask
    if abs(found - share) > near:
        hint = f"\nhint: p = {share:g} is the probability to keep, not to drop" if dropped else ""
        case.fail(
            f"{found:.0%} of the numbers are kept, where p = {share:g} keeps {share:.0%}{hint}"
        )


def _running(setting: Setting, settings: tuple[Any, ...]) -> dict[str, Any]:
    """Return the running statistics as the function left them in its settings."""
    dicts = [value for value in settings if isinstance(value, dict)]
    return {name: d[name] for name in setting.running for d in dicts if name in d}


def _compare(
    setting: Setting,
    yours: Mapping[str, Any],
    ours: Mapping[str, Array],
    case: LayerCase,
    tol: float,
) -> None:
    factors = {
        "the number of images": float(setting.batch),
        "the numbers in an output": float(setting.dout[0].size),
        "the numbers in dout": float(setting.dout.size),
        "2": 2.0,
    }
    for placed in setting.layer.parts:
        if placed.part.keeps is not None:
            factors["p, the probability to keep"] = placed.part.keeps(placed.node.op)
        kernel = getattr(placed.node.op, "kernel", None)
        if kernel is not None:
            factors["the size of a window"] = float(np.prod(spread(kernel, 2)))
    for name, value in yours.items():
        comparison = compare(name, value, ours[name], tol)
        if not comparison.ok:
            array = np.asarray(value)
            scene = Scene(
                name, array.astype(np.float64), ours[name], setting.batch, factors, setting
            )
            comparison.hints = _of_type(array, ours[name]) + explain(scene)
        case.comparisons.append(comparison)


def _of_type(array: Array, ours: Array) -> list[str]:
    """Return a hint if the type of an array, rather than its computation, loses digits."""
    if array.dtype == np.float64 or array.shape != ours.shape:
        return []
    digits = 1e3 * np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0.0
    if np.abs(array - ours.astype(array.dtype)).max() > digits * max(1.0, np.abs(ours).max()):
        return []
    return [f"it is of type {array.dtype}, x of float64: make it with np.zeros_like or x.dtype"]
