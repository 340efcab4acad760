"""An operator that does several things at once, as several that do one each, which layers can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from netspec.compiler.ir.onnx_read import (
    MOST_AXES,
    NO_END,
    FileAttribute,
    FileAttributes,
    FileOperator,
    FileValue,
)
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim
from netspec.imports.onnx.constants import Constants
from netspec.imports.onnx.modern import defaults
from netspec.imports.onnx.patterns import Applied, Numbers, Pattern, Wanted, pattern_of

_Cut = tuple[int, Dim, Dim, int]


def apart(op: FileOperator, constants: Constants, batch: int | None) -> Sequence[FileOperator]:
    """Return the operators that an operator stands for, in order; mostly it alone.

    A `Slice` along several axes is one for each; axes of which it keeps all are left out. Some places
    of an axis are cuts, and new axes come one by one. Operators that ONNX itself describes by others,
    such as `ReduceL2`, are these.

    Args:
        op: the operator.
        constants: what is known of the values before it.
        batch: the size of the batch, if the file has a fixed one.
    """
    if not op.outputs:
        return (op,)
    if op.operator in _OF_ANY_COUNT and len(op.inputs) == 1:
        return (part_of(op, "Identity", op.inputs, op.outputs),)
    formula = None if constants.is_fixed(op.outputs[0]) else _formula(op)
    if formula is not None:
        return _written(op, pattern_of(formula), constants)
    if not op.layer and op.operator in _FOREIGN:  # in netspec's own files they are parts of layers
        return _FOREIGN[op.operator](op, constants)
    cuts = _cuts(op, constants, batch)
    x = op.given(0)
    if cuts is None or x is None:
        return (op,)
    if not cuts:
        return (part_of(op, "Identity", (x,), op.outputs),)
    found: list[FileOperator] = []
    for i, (axis, start, end, step) in enumerate(cuts, 1):
        outputs = op.outputs if i == len(cuts) else (FileValue(""),)
        given = (constants.of_sizes((size,)) for size in (start, end, axis, step))
        found.append(part_of(op, "Slice", (x, *given), outputs))
        (x,) = outputs
    return found


def _selected(op: FileOperator, constants: Constants) -> Sequence[FileOperator]:
    """Return a cut of one place and a `Squeeze` for `Gather` with one place of an axis, and a cut for
    each run of places for several.
    """
    x, index = op.given(0), constants.array(op.given(1))
    if x is None or x.shape is None or index is None or index.dtype.kind not in "iu":
        return (op,)
    axis = op.attributes.whole("axis") % (len(x.shape) + 1)
    if axis == 0 or index.ndim > 1 or not 0 < index.size <= _MOST_PLACES:
        return (op,)
    if max(map(abs, index.reshape(-1).tolist())) > NO_END:
        return (op,)

    def cut(first: int, last: int, outputs: tuple[FileValue, ...]) -> FileOperator:
        given = [constants.of_sizes((n,)) for n in (first, end_behind(last), axis, 1)]
        return part_of(op, "Slice", (x, *given), outputs)

    if index.ndim == 0:
        one = FileValue("")
        squeezed = (one, constants.of_sizes((axis,)))
        return (
            cut(int(index), int(index), (one,)),
            part_of(op, "Squeeze", squeezed, op.outputs),
        )
    runs = _runs(index.tolist())
    if len(runs) == 1:
        return (cut(*runs[0], op.outputs),)
    parts = [cut(first, last, (FileValue(""),)) for first, last in runs]
    joined = tuple(part.outputs[0] for part in parts)
    return (*parts, part_of(op, "Concat", joined, op.outputs, {"axis": axis}))


def end_behind(place: int) -> int:
    """Return the end of a cut whose last place this is, counted from the end of the axis below 0."""
    return NO_END * NO_END if place == -1 else place + 1


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of places that follow each other."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and place == found[-1][1] + 1 and place != 0:
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return found


_MOST_PLACES = 64


def _one_by_one(op: FileOperator, constants: Constants) -> Sequence[FileOperator]:
    """Return an `Unsqueeze` for each axis of one."""
    x, axes = op.given(0), constants.sizes(op.given(1))
    if x is None or x.shape is None or axes is None or len(axes) < 2:
        return (op,)
    rank = len(x.shape) + 1 + len(axes)
    places = sorted(axis % rank for axis in axes if isinstance(axis, int))
    if len(set(places)) < len(axes) or rank > MOST_AXES:
        return (op,)
    found: list[FileOperator] = []
    for i, place in enumerate(places, 1):
        outputs = op.outputs if i == len(places) else (FileValue(""),)
        found.append(part_of(op, "Unsqueeze", (x, constants.of_sizes((place,))), outputs))
        (x,) = outputs
    return found


# Those that take any number of values, and give a single one as it is.
_OF_ANY_COUNT = frozenset(["Max", "Mean", "Min", "Sum"])


def _with_last_axis(op: FileOperator, constants: Constants) -> Sequence[FileOperator]:
    """Return `OneHot` with its new axis behind the others, and a turn that brings it where it belongs."""
    x = op.given(0)
    rank = None if x is None or x.shape is None else len(x.shape) + 1
    axis = op.attributes.values.get("axis", -1)
    if rank is None or not isinstance(axis, int) or axis == -1 or not -rank - 1 <= axis <= rank:
        return (op,)
    at, attributes = axis % (rank + 1), {**op.attributes.values, "axis": -1}
    if at == rank:
        return (part_of(op, "OneHot", op.inputs, op.outputs, attributes),)
    value = FileValue("")
    perm = (*range(at), rank, *range(at, rank))
    return (
        part_of(op, "OneHot", op.inputs, (value,), attributes),
        part_of(op, "Transpose", (value,), op.outputs, {"perm": perm}),
    )


def _places_of_one(op: FileOperator, constants: Constants) -> Sequence[FileOperator]:
    """Return `OneHot` for a comparison with 0, 1, 2 and so on along a last axis, which has one place."""
    arrays = [constants.array(v) for v in op.inputs]
    others = [v for v, a in zip(op.inputs, arrays, strict=True) if a is None]
    counted = next((a for a in arrays if a is not None), None)
    x = others[0] if len(others) == 1 else None
    if x is None or counted is None or x.shape is None or x.shape[-1:] != (1,):
        return (op,)
    is_counted = (
        counted.dtype.kind == "i" and counted.size > 1 and counted.size == counted.shape[-1]
    )
    if not is_counted or counted.reshape(-1).tolist() != [*range(counted.size)]:
        return (op,)
    op.outputs[0].is_whole = True  # for a cast behind it
    given = (constants.of_sizes((counted.size,)), constants.of_numbers(np.array([0, 1])))
    bare = None if x.maker is None or x.maker.operator != "Unsqueeze" else x.maker.given(0)
    if bare is not None and bare.shape is not None and bare.shape == x.shape[:-1]:
        return (part_of(op, "OneHot", (bare, *given), op.outputs, {"axis": -1}),)
    value = FileValue("")
    squeezed = (value, constants.of_sizes((len(x.shape),)))
    return (
        part_of(op, "OneHot", (x, *given), (value,), {"axis": -1}),
        part_of(op, "Squeeze", squeezed, op.outputs),
    )


_FOREIGN = {
    "Equal": _places_of_one,
    "Gather": _selected,
    "OneHot": _with_last_axis,
    "Unsqueeze": _one_by_one,
}

_KEYS = (0, 2, 3, 1)


def with_keys_apart(operators: Sequence[FileOperator]) -> list[FileOperator]:
    """Return operators with two turns for one that brings heads in front and turns the keys, which
    exporters join: the heads in front, as a layer of attention takes keys, and then the rest.
    """
    readers: dict[FileValue, list[FileOperator]] = {}
    for op in operators:
        for value in op.inputs:
            if value is not None:
                readers.setdefault(value, []).append(op)
    found: list[FileOperator] = []
    for op in operators:
        behind = readers.get(op.outputs[0], []) if op.outputs else []
        is_key = bool(behind) and all(each.operator in ("MatMul", "Mul") for each in behind)
        if op.operator != "Transpose" or op.attributes.ints("perm") != _KEYS or not is_key:
            found.append(op)
            continue
        keys = FileValue("")
        found += [
            part_of(op, "Transpose", op.inputs, (keys,), {"perm": (0, 2, 1, 3)}),
            part_of(op, "Transpose", (keys,), op.outputs, {"perm": (0, 1, 3, 2)}),
        ]
    return found


# What operators of one or two inputs, `a` and `b`, are made of.
_FORMULAS = {
    "ArgMin": "ArgMax(Neg(a))",
    "ReduceL1": "ReduceSum(Abs(a), b)",
    "ReduceL2": "Sqrt(ReduceSum(Mul(a, a), b))",
    "ReduceLogSum": "Log(ReduceSum(a, b))",
    "ReduceSumSquare": "ReduceSum(Mul(a, a), b)",
    "Tan": "Div(Sin(a), Cos(a))",
}
# Those to which the attributes of the whole belong.
_MAIN = ("ArgMax", "ReduceSum")


def _formula(op: FileOperator) -> str | None:
    """Return what an operator is made of; None if it is one of a kind."""
    x = op.given(0)
    given = op.attributes.values
    if op.operator == "RMSNormalization" and x is not None and x.shape is not None:
        rank, axis, eps = len(x.shape) + 1, given.get("axis", -1), given.get("epsilon", 1e-5)
        if not isinstance(axis, int) or axis % rank == 0 or not isinstance(eps, float):
            return None
        mean = f"ReduceMean(Mul(a, a), {list(range(axis % rank, rank))})"
        return f"Mul(Div(a, Sqrt(Add({mean}, {eps!r}))), b)"
    if op.operator == "Swish":
        slope = given.get("alpha", 1.0)
        return "Mul(a, Sigmoid(a))" if slope == 1 else f"Mul(a, Sigmoid(Mul(a, {slope!r})))"
    if op.operator == "Mean" and len(op.inputs) == 2:
        return "Mul(Add(a, b), 0.5)"
    return _FORMULAS.get(op.operator)


def _written(op: FileOperator, formula: Applied, constants: Constants) -> list[FileOperator]:
    """Return the operators of a formula, the last of which is the operator itself."""
    found: list[FileOperator] = []

    def value(part: Pattern | None) -> FileValue | None:
        if isinstance(part, Wanted):
            return op.given("ab".index(part.name))
        if isinstance(part, Numbers):
            return constants.of_numbers(part.array)
        return add(part, (FileValue(""),)) if isinstance(part, Applied) else None

    def add(part: Applied, outputs: tuple[FileValue, ...]) -> FileValue:
        inputs = [value(each) for each in part.inputs]
        while inputs and inputs[-1] is None:
            del inputs[-1]
        given = op.attributes.values if part.operator in _MAIN else part.attributes
        attributes = {**defaults(part.operator), **given}
        found.append(part_of(op, part.operator, tuple(inputs), outputs, attributes))
        return outputs[0]

    add(formula, op.outputs)
    return found


def under_name(
    op: FileOperator, operator: str, inputs: tuple[FileValue | None, ...],
    outputs: tuple[FileValue, ...], attributes: Mapping[str, FileAttribute],
) -> FileOperator:  # fmt: skip
    """Return an operator with the name of another one, and what the file says of that one."""
    given = FileAttributes(dict(attributes))
    return replace(op, operator=operator, inputs=inputs, outputs=outputs, attributes=given)


def part_of(
    op: FileOperator, operator: str, inputs: tuple[FileValue | None, ...],
    outputs: tuple[FileValue, ...], attributes: Mapping[str, FileAttribute] | None = None,
) -> FileOperator:  # fmt: skip
    """Return an operator that does a part of what another one does, under its name, as the maker of
    its outputs.
    """
    made = under_name(op, operator, inputs, outputs, attributes or {})
    for value in outputs:
        value.maker = made
    return made


def _cuts(op: FileOperator, constants: Constants, batch: int | None) -> list[_Cut] | None:
    """Return what a `Slice` cuts along each axis; None for another operator, or for a single cut.

    A single one that keeps all is a layer too, unless it is along the batch.
    """
    x = op.given(0)
    if op.operator != "Slice" or x is None or x.shape is None or len(op.outputs) != 1:
        return None
    sizes: tuple[Dim, ...] = (BATCH if batch is None else batch, *x.shape)
    starts, ends = (constants.sizes(op.given(i)) for i in (1, 2))
    if starts is None or ends is None:
        return None
    axes = constants.sizes(op.given(3)) if op.given(3) else range(len(starts))
    steps = constants.sizes(op.given(4)) if op.given(4) else (1,) * len(starts)
    if axes is None or steps is None:
        return None
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    found: list[_Cut] = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not isinstance(axis, int) or not isinstance(step, int):
            return None
        axis = axis + len(sizes) if axis < 0 else axis
        if not 0 <= axis < len(sizes):
            return None
        if start != 0 or step != 1 or not _is_whole(end, sizes[axis]):
            found.append((axis, start, end, step))
    is_one_cut = len(starts) == 1 and (found or axes[0] != 0)
    return None if is_one_cut else found


def _is_whole(end: Dim, size: Dim) -> bool:
    """Whether a cut to `end` reaches the end of an axis."""
    if end == size:
        return True
    return isinstance(end, int) and (end > NO_END or (isinstance(size, int) and end >= size))
