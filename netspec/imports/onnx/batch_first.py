"""Values of a file whose batch is not their first axis, by others whose batch is.

PyTorch computes attention and recurrent layers with the steps in front, (T, N, C), or with the batch
and the heads in one axis, (N h, T, D), or with the batch and the steps, (N T, C). A number for each
image, (N), has no other axis. Values of a net have the batch in front and alone, and an axis more.
So operators that only arrange axes are followed here, and those that compute between them are
written for values with the batch in front.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netspec.compiler.ir.elementwise_op import ElementwiseOp
from netspec.compiler.ir.expression import FUNCTIONS
from netspec.compiler.ir.onnx_read import ARRANGING, FileOperator, FileValue, product
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.ops import registry
from netspec.imports.onnx.apart import end_behind, part_of
from netspec.imports.onnx.constants import Constants
from netspec.imports.onnx.modern import defaults
from netspec.imports.onnx.op_forms import shapeless_forms
from netspec.imports.onnx.proto_file import Array

# More axes than any value of a net has, even in parts.
_MOST_AXES = 32

Groups = tuple[tuple[int, ...], ...]

_ALONG_ONE = frozenset(["Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"])
_REDUCING = frozenset(
    f"Reduce{name}" for name in ("Sum", "Mean", "Max", "Min", "Prod", "LogSumExp", "L1", "L2")
) | {"ArgMax", "ArgMin"}
# These can give values with another arrangement than those that they read.
_MAY_BEGIN = _REDUCING | {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Gather"}
RECURRENT = frozenset(["LSTM", "GRU", "RNN"])
_FILLED = frozenset(["ConstantOfShape", "Expand"])


@dataclass(frozen=True)
class View:
    """How a value of the file is made of one whose batch is in front.

    Attributes:
        own: that value.
        sizes: of its axes, the batch's first. An axis that the file cuts into several is several.
        of: for each of these, the axis of `own` that it is a part of.
        groups: for each axis of the file's value those that it is made of, in order.
    """

    own: FileValue
    sizes: tuple[Dim, ...]
    of: tuple[int, ...]
    groups: Groups

    @classmethod
    def plain(cls, own: FileValue, sizes: Sequence[Dim]) -> View:
        """Return the view of a value as it is."""
        places = tuple(range(len(sizes)))
        return cls(own, tuple(sizes), places, tuple((place,) for place in places))

    @property
    def is_plain(self) -> bool:
        """Whether the batch is in front, and alone."""
        return self.groups[:1] == ((0,),) and len(self.groups) > 1

    @property
    def is_number(self) -> bool:
        """Whether it is a single number for each image, which `own` has an axis for."""
        return self.groups == ((0, 1),) and self.sizes[1] == 1

    def tidy(self) -> View:
        """Return the view with axes of one place, which the batch has beside it, in the next axis."""
        if len(self.groups) < 2 or 0 not in self.groups[0]:
            return self
        first, second, *rest = self.groups
        others = tuple(i for i in first if i)
        if any(self.sizes[i] != 1 for i in others):
            return self
        return replace(self, groups=((0,), (*others, *second), *rest))

    def shape(self) -> tuple[Dim, ...]:
        """Return the sizes of the file's value."""
        return tuple(product([self.sizes[i] for i in group]) for group in self.groups)

    def axis(self, axis: int) -> int | None:
        """Return the axis of `own` that an axis of the file is; None if it has the batch in it."""
        if not -len(self.groups) <= axis < len(self.groups):
            return None
        group = self.groups[axis]
        return group[0] if len(group) == 1 and group[0] else None


# Those of no op, or that pass numbers on.
_OTHER_POINTWISE = frozenset(
    "Cast Ceil Dropout Equal Floor GreaterOrEqual Identity LessOrEqual Mean Not Or Reciprocal Swish"
    " Tan".split()
)


@functools.cache
def pointwise() -> frozenset[str]:
    """Return the operators that compute each number alone: those of formulas and of ops with one."""
    kinds = [op for op in registry().values() if issubclass(op, ElementwiseOp)]
    formulas = (function.onnx for function in FUNCTIONS.values())
    forms = (
        form.operator for op in kinds for each in op.onnx_forms() for form in shapeless_forms(each)
    )
    own = (op.onnx_operator for op in kinds)
    return _OTHER_POINTWISE.union(formulas, forms, own, *(op.onnx_ends for op in kinds)) - {""}


class BatchFirst:
    """Follows the arrangement of axes through one file.

    Attributes:
        is_read: tells whether something reads a value of the file.
    """

    def __init__(
        self, constants: Constants, batch: int | None, is_read: Callable[[FileValue], bool]
    ) -> None:
        self.is_read = is_read
        self._constants = constants
        self._batch: Dim = BATCH if batch is None else batch
        self._views: dict[FileValue, View] = {}
        self._filled: dict[FileValue, float] = {}

    def instead(self, op: FileOperator) -> Sequence[FileOperator]:
        """Return the operators on values with the batch in front that stand for an operator, in
        order; it alone if it reads no others and gives no others.
        """
        try:
            found = self._written(op)
        except (ArithmeticError, IndexError, TypeError, ValueError):
            found = None  # what a file says of axes may be anything
        return (op,) if found is None else found

    def _written(self, op: FileOperator) -> Sequence[FileOperator] | None:
        if not op.outputs or self._note_filled(op):
            return None
        has_views = any(v in self._views for v in op.inputs)
        if not has_views and op.operator not in _MAY_BEGIN:
            return None
        return _Writing(self, op).operators(has_views=has_views)

    def begin_with_number(self, value: FileValue) -> FileValue:
        """Return the value with an axis of one place for an input that is a number for each image."""
        own = FileValue(value.name, None, (1,), value.is_whole, value.is_bool)
        self._views[value] = replace(View.plain(own, (self._batch, 1)), groups=((0, 1),))
        return own

    def number_of(self, value: FileValue) -> FileValue | None:
        """Return the value with an axis of one place for a number for each image; else None."""
        view = self._views.get(value)
        return view.own if view is not None and view.is_number and len(view.sizes) == 2 else None

    def axes_if_second(self, value: FileValue) -> int:
        """Return how many axes a value has whose batch is the second one, alone; 0 for others."""
        view = self._views.get(value)
        is_second = view is not None and view.groups[1:2] == ((0,),)
        return len(view.groups) if view is not None and is_second else 0

    # -- what is known of values

    def has_view(self, value: FileValue | None) -> bool:
        """Whether the batch of a value is not its first axis."""
        return value in self._views

    def keep_view(self, value: FileValue, view: View) -> None:
        """Keep the view of a value."""
        self._views[value] = view

    def knows(self, value: FileValue) -> bool:
        """Whether a value is known to those that read it, without a layer that gives it."""
        return value in self._views or value in self._filled

    def view(self, value: FileValue | None) -> View | None:
        """Return the view of a value of the net; None for other values."""
        known = None if value is None else self._views.get(value)
        if known is not None or value is None or value.shape is None:
            return known
        return View.plain(value, (self._batch, *value.shape))

    def sizes(self, value: FileValue | None) -> tuple[Dim, ...] | None:
        """Return the sizes that a value holds."""
        return self._constants.sizes(value)

    def array(self, value: FileValue | None) -> Array | None:
        """Return the numbers of a value that depends on no input."""
        return self._constants.array(value)

    def number(self, array: Array) -> FileValue:
        """Return a value that holds these numbers."""
        return self._constants.of_numbers(array)

    def of_sizes(self, sizes: Sequence[Dim]) -> FileValue:
        """Return a value that holds these sizes."""
        return self._constants.of_sizes(sizes)

    def note_shape(self, op: FileOperator, shape: Sequence[Dim]) -> None:
        """Keep what `Shape` gives."""
        self._constants.note_shape(op, shape)

    def filled(self, value: FileValue | None) -> float | None:
        """Return the number that a value for the whole batch has everywhere; else None."""
        return None if value is None else self._filled.get(value)

    def _note_filled(self, op: FileOperator) -> bool:
        """Note a value that has one number everywhere; return whether it is one."""
        if self._constants.is_fixed(op.outputs[0]):
            return False
        number = None
        if op.operator == "ConstantOfShape":
            array = op.attributes.values.get("value")
            number = float(array.reshape(-1)[0]) if isinstance(array, np.ndarray) else 0.0
        elif op.operator == "Expand":
            source = self.array(op.given(0))
            number = None if source is None or source.size != 1 else float(source.reshape(-1)[0])
        elif op.operator in ARRANGING:
            number = self.filled(op.given(0))
        if number is None:
            return False
        self._filled[op.outputs[0]] = number
        return True


class _Writing:
    """Writes what stands for one operator."""

    def __init__(self, known: BatchFirst, op: FileOperator) -> None:
        self._known = known
        self._op = op
        self._found: list[FileOperator] = []
        self._ready_views: dict[FileValue, View] = {}

    def operators(self, *, has_views: bool) -> list[FileOperator] | None:
        """Return the operators; None if the operator stays, or is not known."""
        write = self._writer()
        written = None if write is None else write()
        if written is None:
            return None
        views = [view.tidy() for view in written]
        if not has_views and all(view.is_plain for view in views):
            return None  # it is a layer as it stands
        for value, view in self._ready_views.items():  # others that read them need not write again
            self._known.keep_view(value, view)
        for value, view in zip(self._op.outputs, views, strict=False):
            self._keep(value, view)
        return self._found

    def _writer(self) -> Callable[[], Sequence[View] | None] | None:
        operator = self._op.operator
        if operator in pointwise():
            return self._pointwise
        if operator in _ALONG_ONE:
            return self._along_one
        return {
            "Transpose": self._transposed, "Reshape": self._reshaped, "Unsqueeze": self._unsqueezed,
            "Squeeze": self._squeezed, "Shape": self._shape, "MatMul": self._product,
            "Gemm": self._gemm, "Gather": self._selected, "GatherND": self._rows, "Slice": self._sliced,
            "Split": self._split, "Concat": self._joined, "OneHot": self._one_hot,
            **dict.fromkeys(RECURRENT, self._recurrent),
            **dict.fromkeys(_REDUCING, self._reduced),
        }.get(operator)  # fmt: skip

    def _keep(self, value: FileValue, view: View) -> None:
        if view.is_plain:
            own, shape = self._settled(view).own, view.shape()
            if () in view.groups:
                self._add("Reshape", (own, self._known.of_sizes(shape)), (value,), allowzero=0)
            else:
                self._add("Identity", (own,), (value,))
        else:
            self._known.keep_view(value, view)

    def _add(
        self, operator: str, inputs: Sequence[FileValue | None],
        outputs: tuple[FileValue, ...] = (), **attributes: int | tuple[int, ...],
    ) -> FileValue:  # fmt: skip
        made = outputs or (FileValue(""),)
        given = {**defaults(operator), **attributes}
        self._found.append(part_of(self._op, operator, tuple(inputs), made, given))
        return made[0]

    def _again(self, inputs: Sequence[FileValue | None], **changed: int) -> FileValue:
        """Write the operator itself for other inputs."""
        value = FileValue("")
        attributes = {**self._op.attributes.values, **changed}
        name = self._op.operator
        self._found.append(part_of(self._op, name, tuple(inputs), (value,), attributes))
        return value

    # -- arrangements

    def _settled(self, view: View) -> View:
        """Write a value whose axes are the batch and then those of the file, and return the view of
        it. What is before or behind the batch in one axis is one.
        """
        wanted: list[tuple[int, ...]] = [(0,)]
        groups: list[tuple[int, ...]] = []
        for group in view.groups:
            at = group.index(0) if 0 in group else len(group)
            parts = [part for part in (group[:at], group[at : at + 1], group[at + 1 :]) if part]
            places = []
            for part in parts:
                if part == (0,):
                    places.append(0)
                else:
                    places.append(len(wanted))
                    wanted.append(part)
            groups.append(tuple(places))
        own = self._arranged(view, wanted)
        sizes = tuple(product([view.sizes[i] for i in part]) for part in wanted)
        return View(own, sizes, tuple(range(len(sizes))), tuple(groups))

    def _arranged(self, view: View, wanted: Sequence[tuple[int, ...]]) -> FileValue:
        own, order = view.own, [i for part in wanted for i in part]
        whole = [i for k, i in enumerate(order) if not k or view.of[order[k - 1]] != view.of[i]]
        if len(whole) == len(set(view.of)) and all(
            self._follow(view, order[k - 1], i) for k, i in enumerate(order) if k
        ):
            axes = [view.of[i] for i in whole]
            parts = [tuple(i for i in order if view.of[i] == axis) for axis in axes]
        else:
            own = self._add("Reshape", (own, self._known.of_sizes(view.sizes)), allowzero=0)
            axes, parts = order, [(i,) for i in order]
        if axes != sorted(axes):
            own = self._add("Transpose", (own,), perm=tuple(axes))
        if parts != list(wanted):
            sizes = [product([view.sizes[i] for i in part]) for part in wanted]
            own = self._add("Reshape", (own, self._known.of_sizes(sizes)), allowzero=0)
        return own

    @staticmethod
    def _follow(view: View, before: int, after: int) -> bool:
        """Whether a part of an axis stands where it does in the whole one, or is of another one."""
        return view.of[before] != view.of[after] or after == before + 1

    def _ready(self, value: FileValue | None) -> View | None:
        """Return the view of a value with its axes in the file's order; None if it has none."""
        if value is None:
            return None
        view = self._ready_views.get(value) or self._known.view(value)  # it may be read twice
        if view is None:
            return None
        found = self._settled(view)
        if self._known.has_view(value):
            self._ready_views[value] = found
        return found

    # -- operators that only arrange

    def _transposed(self) -> Sequence[View] | None:
        view = self._known.view(self._op.given(0))
        if view is None:
            return None
        axes = self._op.attributes.ints("perm") or tuple(reversed(range(len(view.groups))))
        return [replace(view, groups=tuple(view.groups[axis] for axis in axes))]

    def _reshaped(self) -> Sequence[View] | None:
        view = self._known.view(self._op.given(0))
        target = self._known.sizes(self._op.given(1))
        if view is None or target is None:
            return None
        shape = view.shape()
        copies = not self._op.attributes.whole("allowzero")
        wanted = [shape[i] if s == 0 and copies else s for i, s in enumerate(target)]
        found = _regrouped(view, wanted)
        return None if found is None else [found]

    def _axes(self, rank: int) -> list[int] | None:
        axes = self._known.array(self._op.given(1))
        if axes is None or axes.size > _MOST_AXES:
            return None
        return sorted(int(a) % rank for a in axes.reshape(-1))

    def _unsqueezed(self) -> Sequence[View] | None:
        view = self._known.view(self._op.given(0))
        array = self._known.array(self._op.given(1))
        if view is None or array is None or len(view.groups) + array.size > _MOST_AXES:
            return None
        groups = list(view.groups)
        for axis in self._axes(len(groups) + array.size) or ():
            groups.insert(axis, ())
        return [replace(view, groups=tuple(groups))]

    def _squeezed(self) -> Sequence[View] | None:
        view = self._known.view(self._op.given(0))
        axes = None if view is None else self._axes(len(view.groups))
        if view is None or axes is None or any(view.shape()[axis] != 1 for axis in axes):
            return None
        for axis in reversed(axes):
            view = _squeezed(view, axis)
        return [view]

    def _shape(self) -> Sequence[View] | None:
        view = self._known.view(self._op.given(0))
        if view is not None:
            self._known.note_shape(self._op, view.shape())
        return None if view is None else []

    # -- operators that compute

    def _pointwise(self) -> Sequence[View] | None:
        given = self._op.inputs
        views = [self._ready(v) for v in given]
        first = next(view for view in views if view is not None)
        inputs: list[FileValue | None] = []
        for value, view in zip(given, views, strict=True):
            if view is None:
                fixed = None if value is None else self._fitting(value, first)
                if value is not None and fixed is None:
                    return None
                inputs.append(fixed)
            elif view.groups != first.groups or view.sizes != first.sizes:
                return None
            else:
                inputs.append(view.own)
        return [replace(first, own=self._again(inputs))]

    def _fitting(self, value: FileValue, view: View) -> FileValue | None:
        """Return numbers of the file so that they lie along the same axes of the view's own value."""
        array = self._known.array(value)
        if array is None or array.ndim > len(view.groups):
            return None
        if array.size == 1:
            return value
        sizes = (1,) * (len(view.groups) - array.ndim) + array.shape
        own = [1] * len(view.sizes)
        for size, group in zip(sizes, view.groups, strict=True):
            if size == 1:
                continue
            if len(group) != 1 or group == (0,):
                return None
            own[group[0]] = size
        while own and own[0] == 1:
            own.pop(0)
        return value if tuple(own) == array.shape else self._known.number(array.reshape(own))

    def _along_one(self) -> Sequence[View] | None:
        view = self._ready(self._op.given(0))
        is_norm = self._op.operator.endswith("Normalization")
        axis = self._op.attributes.values.get("axis", -1)
        place = view.axis(axis) if view is not None and isinstance(axis, int) else None
        if view is None or place is None or (is_norm and place != len(view.sizes) - 1):
            return None
        return [replace(view, own=self._again((view.own, *self._op.inputs[1:]), axis=place))]

    def _product(self) -> Sequence[View] | None:
        left, right = (self._ready(v) for v in self._op.inputs)
        if left is None:
            return None
        if right is None:
            matrix = self._known.array(self._op.given(1))
            if matrix is None or matrix.ndim != 2 or left.axis(-1) is None:
                return None
            own = self._again((left.own, self._op.given(1)))
            return [replace(left, own=own, sizes=(*left.sizes[:-1], matrix.shape[1]))]
        if left.groups != right.groups or left.sizes[:-2] != right.sizes[:-2]:
            return None
        last = len(left.sizes)
        if left.groups[-2:] != ((last - 2,), (last - 1,)) or last < 3:
            return None
        own = self._again((left.own, right.own))
        return [replace(left, own=own, sizes=(*left.sizes[:-1], right.sizes[-1]))]

    def _gemm(self) -> Sequence[View] | None:
        view = self._ready(self._op.given(0))
        matrix = self._known.array(self._op.given(1))
        if view is None or matrix is None or view.axis(-1) is None:
            return None
        if self._op.attributes.whole("transA"):
            return None
        wide = matrix.shape[0 if self._op.attributes.whole("transB") else 1]
        own = self._again((view.own, *self._op.inputs[1:]))
        return [replace(view, own=own, sizes=(*view.sizes[:-1], wide))]

    def _selected(self) -> Sequence[View] | None:
        index = self._known.array(self._op.given(1))
        if index is None:
            return self._looked_up()
        view = self._ready(self._op.given(0))
        if view is None:
            return None
        if index.ndim:
            return self._several(view, self._op.attributes.whole("axis"), index)
        axis = self._op.attributes.whole("axis") % len(view.groups)
        if view.groups[axis] == ():
            return [_squeezed(view, axis)]
        place = view.axis(axis)
        if place is None:
            return None
        if len(view.sizes) > 2:
            own = self._again((view.own, self._op.given(1)), axis=place)
            return [_without(replace(view, own=own), axis, place)]
        number = int(index)
        own = self._part(view.own, axis=place, first=number, end=end_behind(number))
        return [_squeezed(replace(view, own=own, sizes=_with_size(view.sizes, place, 1)), axis)]

    def _several(self, view: View, axis: int, index: Array) -> Sequence[View] | None:
        """Some places of an axis."""
        place = view.axis(axis)
        if place is None or index.ndim != 1:
            return None
        own = self._add("Gather", (view.own, self._known.number(index)), axis=place)
        return [replace(view, own=own, sizes=_with_size(view.sizes, place, index.size))]

    def _rows(self) -> Sequence[View] | None:
        """`GatherND` with places of the first axis alone."""
        view, index = self._ready(self._op.given(0)), self._known.array(self._op.given(1))
        if view is None or index is None or index.ndim != 2 or index.shape[1] != 1:
            return None
        if self._op.attributes.whole("batch_dims"):
            return None
        return self._several(view, 0, index[:, 0])

    def _looked_up(self) -> Sequence[View] | None:
        """Rows of a table of the file, for places that are values."""
        table = self._known.array(self._op.given(0))
        places = self._ready(self._op.given(1))
        if table is None or places is None or table.ndim != 2 or self._op.attributes.whole("axis"):
            return None
        if places.is_plain:
            return None  # a layer as it stands
        own = self._again((self._op.given(0), places.own))
        view = View.plain(own, (*places.sizes, table.shape[1]))
        return [replace(view, groups=(*places.groups, (len(places.sizes),)))]

    def _one_hot(self) -> Sequence[View] | None:
        """A new last axis, with one of two numbers at each place."""
        places, count = self._ready(self._op.given(0)), self._known.array(self._op.given(1))
        if places is None or count is None or count.size != 1:
            return None
        axis = self._op.attributes.values.get("axis", -1)
        if axis not in (-1, len(places.groups)):
            return None
        own = self._again((places.own, *self._op.inputs[1:]), axis=-1)
        view = View.plain(own, (*places.sizes, int(count.reshape(-1)[0])))
        return [replace(view, groups=(*places.groups, (len(places.sizes),)))]

    def _reduced(self) -> Sequence[View] | None:
        view = self._ready(self._op.given(0))
        by_attribute = self._op.operator.startswith("Arg")
        if view is None:
            return None
        if by_attribute:
            axes = [self._op.attributes.whole("axis") % len(view.groups)]
        else:
            axes = self._axes(len(view.groups)) or []
        place = view.axis(axes[0]) if len(axes) == 1 else None
        if place is None:
            return None
        if by_attribute:
            own = self._again((view.own,), axis=place, keepdims=1)
        else:
            own = self._again((view.own, self._known.of_sizes((place,))), keepdims=1)
        left = replace(view, own=own, sizes=_with_size(view.sizes, place, 1))
        return [left if self._op.attributes.whole("keepdims") else _squeezed(left, axes[0])]

    def _sliced(self) -> Sequence[View] | None:
        view = self._ready(self._op.given(0))
        starts, ends, axes, *steps = (self._known.sizes(v) for v in self._op.inputs[1:])
        if view is None or axes is None or len(axes) != 1 or not isinstance(axes[0], int):
            return None
        if starts is None or ends is None:
            return None
        if view.groups[axes[0]] == () and starts[0] in (0, -1) and ends[0] != 0:
            return [view]  # of one place
        place = view.axis(axes[0])
        if place is None:
            return None
        size, (start,), (end,) = view.sizes[place], starts, ends
        step = steps[0][0] if steps and steps[0] else 1
        if not all(isinstance(n, int) for n in (size, start, end, step)):
            return None
        left = len(range(*slice(start, end, step).indices(size)))  # type: ignore[arg-type]
        given = (self._known.of_sizes((n,)) for n in (start, end, place, step))
        own = self._again((view.own, *given))
        return [replace(view, own=own, sizes=_with_size(view.sizes, place, left))]

    def _split(self) -> Sequence[View] | None:
        view = self._ready(self._op.given(0))
        place = None if view is None else view.axis(self._op.attributes.whole("axis"))
        if view is None or place is None:
            return None
        sizes, count = self._known.sizes(self._op.given(1)), len(self._op.outputs)
        if sizes is None:
            sizes = (view.sizes[place] // count,) * count
        outputs = tuple(FileValue("") for _ in sizes)
        attributes = {**self._op.attributes.values, "axis": place}
        given = (view.own, *self._op.inputs[1:])
        self._found.append(part_of(self._op, "Split", given, outputs, attributes))
        return [
            replace(view, own=own, sizes=_with_size(view.sizes, place, size))
            for own, size in zip(outputs, sizes, strict=True)
        ]

    def _joined(self) -> Sequence[View] | None:
        views = [view for v in self._op.inputs if (view := self._ready(v)) is not None]
        if len(views) < len(self._op.inputs):
            return None
        first, axis = views[0], self._op.attributes.whole("axis")
        place = first.axis(axis)
        if place is None or any(view.groups != first.groups for view in views):
            return None
        size = views[0].sizes[place]
        for view in views[1:]:
            size = size + view.sizes[place]
        own = self._again([view.own for view in views], axis=place)
        return [replace(first, own=own, sizes=_with_size(first.sizes, place, size))]

    # -- recurrent layers

    def _recurrent(self) -> Sequence[View] | None:
        """The steps of the operator are its first axis, and those of a layer its second one."""
        view = self._ready(self._op.given(0))
        if view is None or view.groups != ((1,), (0,), (2,)) or self._op.given(4) is not None:
            return None
        states = [self._state(v) for v in self._op.inputs[5:7]]
        if any(state is None for state in states) or len(self._op.inputs) > 7:
            return None
        steps = self._add("Transpose", (view.own,), perm=(1, 0, 2))
        inputs = [steps, *self._op.inputs[1:5], *(state for (state,) in states if state)]  # type: ignore[misc]
        while inputs and inputs[-1] is None:
            del inputs[-1]
        wide = self._op.attributes.whole("hidden_size")
        ways = 2 if self._op.attributes.text("direction") == "bidirectional" else 1
        turned = self._add("Transpose", (self._again(inputs),), perm=(2, 0, 1, 3))
        sizes = (*view.sizes[:2], ways * wide)
        own = self._add("Reshape", (turned, self._known.of_sizes(sizes)), allowzero=0)
        whole = View(own, (*view.sizes[:2], ways, wide), (0, 1, 2, 2), ((1,), (2,), (0,), (3,)))
        if ways == 1:
            whole = View(own, sizes, (0, 1, 2), ((1,), (), (0,), (2,)))
        return [whole, *self._last_step(whole, wide)]

    def _state(self, value: FileValue | None) -> tuple[FileValue | None] | None:
        """Return a first state in a tuple, which holds nothing if it is zeros; None if it is not
        one that a layer takes.
        """
        stored = self._known.array(value)
        if value is None or self._known.filled(value) == 0:
            return (None,)
        if stored is not None:
            return None if stored.any() else (None,)
        view = self._ready(value)
        if view is None:
            return None
        if view.groups == ((), (0,), (1,)):
            return (self._add("Unsqueeze", (view.own, self._known.of_sizes((0,)))),)
        if view.groups == ((1,), (0,), (2,)) and view.sizes[1] == 1:
            flat = self._known.of_sizes((view.sizes[0], view.sizes[2]))
            own = self._add("Reshape", (view.own, flat), allowzero=0)
            return (self._add("Unsqueeze", (own, self._known.of_sizes((0,)))),)
        if view.groups == ((1,), (0,), (2,)):
            return (self._add("Transpose", (view.own,), perm=(1, 0, 2)),)
        return None

    def _last_step(self, whole: View, wide: int) -> list[View]:
        """Return the last state of each direction: the last step, and the first one backward."""
        if len(self._op.outputs) < 2 or not self._known.is_read(self._op.outputs[1]):
            return []
        parts = [self._part(whole.own, axis=1, first=-1, end=end_behind(-1))]
        if self._op.attributes.text("direction") == "bidirectional":
            first = self._part(whole.own, axis=1, first=0, end=1)
            parts = [
                self._part(parts[0], axis=2, first=0, end=wide),
                self._part(first, axis=2, first=wide, end=2 * wide),
            ]
        own = parts[0] if len(parts) == 1 else self._add("Concat", parts, axis=1)
        sizes = (whole.sizes[0], len(parts), wide)
        return [replace(View.plain(own, sizes), groups=((1,), (0,), (2,)))]

    def _part(self, x: FileValue, *, axis: int, first: int, end: int) -> FileValue:
        given = (self._known.of_sizes((number,)) for number in (first, end, axis, 1))
        return self._add("Slice", (x, *given))


def _with_size(sizes: Sequence[Dim], place: int, size: Dim) -> tuple[Dim, ...]:
    return (*sizes[:place], size, *sizes[place + 1 :])


def _squeezed(view: View, axis: int) -> View:
    """Return a view without an axis of one place, which is now one with the axis before it."""
    groups = list(view.groups)
    gone = groups.pop(axis)
    if groups and axis:
        groups[axis - 1] = (*groups[axis - 1], *gone)
    elif groups:
        groups[0] = (*gone, *groups[0])
    return replace(view, groups=tuple(groups))


def _without(view: View, axis: int, place: int) -> View:
    """Return a view without an axis of the file, which is one of its own."""
    groups = [group for i, group in enumerate(view.groups) if i != axis]
    kept = tuple(tuple(i - (i > place) for i in group) for group in groups)
    sizes = (*view.sizes[:place], *view.sizes[place + 1 :])
    return View(view.own, sizes, tuple(range(len(sizes))), kept)


@dataclass
class _Part:
    """A part of an axis: its size, and the axis that it is a part of."""

    size: Dim
    of: int


def _regrouped(view: View, wanted: Sequence[Dim]) -> View | None:
    """Return a view of a value with the same numbers in the same order, in other axes; None if these
    do not fit. One of them may be -1.
    """
    parts = [_Part(view.sizes[i], view.of[i]) for group in view.groups for i in group]
    order = [i for group in view.groups for i in group]
    inferred = [i for i, size in enumerate(wanted) if isinstance(size, int) and size == -1]
    if len(inferred) > 1:
        return None
    until = inferred[0] if inferred else len(wanted)
    rest = [*zip(parts, order, strict=True)]
    front = _taken(rest, wanted[:until], at_end=False)
    back = None if front is None else _taken(rest, [*reversed(wanted[until + 1 :])], at_end=True)
    if front is None or back is None:
        return None
    groups = [*front, *([rest[:]] if inferred else []), *reversed(back)]
    if not inferred:
        if not groups or any(part.size != 1 for part, _ in rest):
            return None
        groups[-1] = [*groups[-1], *rest]
    return _numbered(view, groups)


_Piece = tuple[_Part, int]


def _taken(rest: list[_Piece], sizes: Sequence[Dim], *, at_end: bool) -> list[list[_Piece]] | None:
    """Take parts with these sizes away from one end, and return them; None if they do not fit.

    A part that is larger than what is left to take is cut.
    """
    place = -1 if at_end else 0
    found = []
    for size in sizes:
        group: list[_Piece] = []
        taken: Dim = 1
        while taken != size or (rest and rest[place][0].size == 1 and not group):
            if not rest:
                return None
            part, axis = rest.pop(place)
            needed = _divided(size, taken)
            if needed is not None and isinstance(part.size, int) and part.size > needed:
                if part.size % needed:
                    return None
                other = _Part(part.size // needed, part.of)
                rest.insert(len(rest) if at_end else 0, (other, axis))
                part = _Part(needed, part.of)
            group.insert(0 if at_end else len(group), (part, axis))
            taken = taken * part.size
        found.append(group)
    return found


def _divided(size: Dim, taken: Dim) -> int | None:
    """Return how often a size is another one; None if it is no whole number."""
    (names, count), (other_names, other) = _factors(size), _factors(taken)
    return count // other if names == other_names and other and count % other == 0 else None


def _factors(size: Dim) -> tuple[object, int]:
    """Return the names in a product and its number."""
    if not isinstance(size, Size):
        return (), size
    return next(iter(size.terms.items())) if len(size.terms) == 1 else (size, 1)


def _numbered(view: View, groups: Sequence[Sequence[_Piece]]) -> View:
    """Return a view of parts, which are numbered in the order of the axes of its own value."""
    places = [
        (part.of, axis, k, g)
        for g, group in enumerate(groups)
        for k, (part, axis) in enumerate(group)
    ]
    ranked = sorted(range(len(places)), key=lambda i: (places[i][0], places[i][1], i))
    number = {at: rank for rank, at in enumerate(ranked)}
    flat: Mapping[tuple[int, int], int] = {
        (g, k): number[i] for i, (_, _, k, g) in enumerate(places)
    }
    pieces = [piece for group in groups for piece in group]
    return View(
        view.own,
        tuple(pieces[i][0].size for i in ranked),
        tuple(pieces[i][0].of for i in ranked),
        tuple(tuple(flat[g, k] for k in range(len(group))) for g, group in enumerate(groups)),
    )
