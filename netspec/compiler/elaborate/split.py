"""`a, b = x -> split(2)`: a short form for one `slice` per part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments, Bound
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.layers import Layers
from netspec.compiler.elaborate.names import SPLIT
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, Tensors, Unknown
from netspec.compiler.ir.attributes import AxisOf, Int, IntList, Kind, WrongValueError, attribute
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.op import Fix, Op, ShapeError
from netspec.compiler.ir.storage import resolve_axis
from netspec.compiler.ops import registry
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.records import record

MAX_PARTS = 4096


@dataclass(eq=False, repr=False)
class PartsOf(Kind):
    """The number of equal parts, or the list of their sizes."""

    def convert(self, value: object) -> int | tuple[int, ...]:
        """Return the number of parts, or their sizes."""
        if not isinstance(value, (tuple, range)):
            return Int(2, MAX_PARTS).convert(value)
        if not 2 <= len(value) <= MAX_PARTS:
            raise WrongValueError(f"a number of parts, or a list of 2 to {MAX_PARTS} sizes")
        return IntList(1).convert(value)

    def describe(self) -> str:
        """Describe the kind in a few words."""
        return "a number of equal parts, or a list of sizes"


@record
class Split(Op):
    """Cuts a value into parts along an axis.

    It is not a layer, and so it is not registered: it has arguments like an op, but adds slices to
    the graph.
    """

    parts: int | tuple[int, ...] = attribute(PartsOf(), "how many equal parts, or their sizes")
    axis: int = attribute(AxisOf(), "axis to cut; 1 is the channels", 1)

    name = SPLIT

    def ends(self, x: Shape) -> tuple[int, list[int]]:
        """Return the axis, counted from 1, and where each part ends.

        Raises:
            ShapeError: `shape/axis`, or `shape/slice` if the parts do not add up to the axis.
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
        return axis, [each * count for count in range(1, self.parts + 1)]


class Splits:
    """Calls the built-in `split`."""

    def __init__(
        self, reporter: Reporter, layer_names: LayerNames, arguments: Arguments, layers: Layers
    ) -> None:
        self.reporter = reporter
        self.layer_names = layer_names
        self.arguments = arguments
        self.layers = layers

    def apply(
        self, call: syntax.Call, inputs: Sequence[Input], label: syntax.Label | None, span: Span
    ) -> Result:
        """Add one slice per part. They are named `label.0`, `label.1`, ... if there is a label."""
        names = self.layer_names
        bound = self.arguments.bind(Split, call, len(inputs))
        values = [*inputs, *bound.inputs]
        if not self.arguments.check_arity(Split.name, Split.arity, values, span):
            return UNKNOWN
        text = "" if label is None else names.text(label)
        (x,) = values
        if not bound.ok or isinstance(x, Unknown) or text is None:
            return UNKNOWN
        split = bound.make(Split)
        try:
            axis, stops = split.ends(x.shape)
        except ShapeError as error:
            self.layers.report_shape(error, split, bound, [x], call, span)
            return UNKNOWN
        cut = registry()["slice"]
        parts = []
        for i, (start, stop) in enumerate(zip([0, *stops], stops, strict=False)):
            self.reporter.count_work(span)
            path = names.path(f"{text}.{i}")
            if label is None:
                path = names.name(cut.name, None, span) or ""
            elif not names.take(path, label.span, f"{text}.{i}"):
                return UNKNOWN
            ends = {"axis": axis, "start": start, "stop": stop}
            part = cut(**ends)
            parts.append(self.layers.add(part, Bound(), [x], call, span, path, names.suffix))
        return Tensors(tuple(parts))
