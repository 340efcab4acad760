"""`a, b = x -> split(2)`: a short way to write one `slice` a part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.arguments import Bound
from netspec.compiler.elaborate.layer_names import LayerNamer
from netspec.compiler.elaborate.scope import UNKNOWN, Tensors
from netspec.compiler.ir.attributes import AxisOf, Int, IntList, Kind, WrongValueError, attribute
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.op import Fix, Op, ShapeError
from netspec.compiler.ir.storage import resolve_axis
from netspec.compiler.ops import registry
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span

MAX_PARTS = 4096


@dataclass(eq=False, repr=False)
class PartsOf(Kind):
    """The number of equal parts, or the list of their sizes."""

    def convert(self, value: Any) -> int | tuple[int, ...]:
        """The number, or the sizes."""
        if not isinstance(value, (tuple, range)):
            return Int(2, MAX_PARTS).convert(value)
        if not 2 <= len(value) <= MAX_PARTS:
            raise WrongValueError(f"a number of parts, or a list of 2 to {MAX_PARTS} sizes")
        return IntList(1).convert(value)

    def describe(self) -> str:
        """In a few words."""
        return "a number of equal parts, or a list of sizes"


@dataclass(frozen=True)
class Split(Op):
    """Cuts a value into parts along an axis.

    It is no layer of its own, and so not registered: its arguments are an op's, what it makes are
    slices.
    """

    parts: int | tuple[int, ...] = attribute(PartsOf(), "how many equal parts, or their sizes")
    axis: int = attribute(AxisOf(), "axis to cut; 1 is the channels", 1)

    name = "split"

    def ends(self, x: Shape) -> tuple[int, list[int]]:
        """The axis, counted from 1, and where each part ends.

        Raises:
            ShapeError: `shape/axis`, or `shape/slice` where the parts do not make up the axis.
        """
        axis = resolve_axis(self.name, self.axis, x)
        size = x[axis - 1]
        where = f"axis {axis} of {show_shape(x)}"
        if not isinstance(size, int):
            raise ShapeError(codes.SHAPE_SLICE, f"{where} has no fixed size to split", blame="axis")
        if isinstance(self.parts, tuple):
            if sum(self.parts) != size:
                terms = " + ".join(map(str, self.parts))
                rest = size - sum(self.parts[:-1])
                better = ", ".join(map(str, (*self.parts[:-1], rest)))
                why = f"the rest of the axis is {rest}: `[{better}]`"
                raise ShapeError(
                    codes.SHAPE_SLICE,
                    f"the parts make up {sum(self.parts)}, and {where} is {size} long",
                    blame="parts",
                    notes=(f"{terms} = {sum(self.parts)}",) if len(self.parts) <= 8 else (),
                    fixes=(Fix("parts", f"[{better}]", why),)
                    if rest > 0 and len(self.parts) <= 8
                    else (),
                )
            return axis, list(accumulate(self.parts))
        if size % self.parts:
            raise ShapeError(
                codes.SHAPE_SLICE,
                f"{where} cannot be split into {self.parts} equal parts",
                blame="parts",
                notes=(f"{size} / {self.parts} = {size / self.parts:g}",),
            )
        each = size // self.parts
        return axis, list(range(each, size + 1, each))


class Splitter(LayerNamer):
    """Calls `split`."""

    def apply_split(
        self, call: syntax.Call, inputs: list[Any], label: syntax.Label | None, span: Span
    ) -> Any:
        """One slice a part, named `label.0`, `label.1`, ... where there is a label."""
        bound = self.bind_arguments(Split, call, len(inputs))
        inputs = inputs + bound.inputs
        if not self.check_arity(Split.name, Split.arity, inputs, span):
            return UNKNOWN
        text = "" if label is None else self._label_text(label)
        if not bound.ok or UNKNOWN in inputs or text is None:
            return UNKNOWN
        (x,) = inputs
        split = Split(**bound.values)
        try:
            axis, stops = split.ends(x.shape)
        except ShapeError as error:
            self._shape_error(error, split, bound, inputs, call, span)
            return UNKNOWN
        cut = registry()["slice"]
        parts = []
        for i, (start, stop) in enumerate(zip([0, *stops], stops, strict=False)):
            self.count_work(span)
            path = self._path(f"{text}.{i}")
            if label is None:
                path = self._name_layer(cut.name, None, span) or ""
            elif not self._take(path, label.span, f"{text}.{i}"):
                return UNKNOWN
            ends: dict[str, Any] = {"axis": axis, "start": start, "stop": stop}
            parts.append(self.add_layer(cut(**ends), Bound(), [x], call, span, path, self.suffix))
        return Tensors(tuple(parts))
