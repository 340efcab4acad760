"""From a plan in evaluation and the ranges of its values to integer steps."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from netspec import codes
from netspec.compiler.c_backend.calls import no_form
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.int8.scheme import HIGH, LOW, Array, Scale, factor_of, scale_of
from netspec.compiler.c_backend.int8.steps import (
    HEADROOM,
    Add,
    AvgPool,
    Concat,
    Conv,
    Linear,
    Lookup,
    MaxPool,
    Nearest,
    Part,
    Rescale,
    Reshaped,
    Softmax,
    Step,
    Term,
    Transpose,
    Weights,
    Window,
)
from netspec.compiler.c_backend.memory import without_unread
from netspec.compiler.c_backend.normalized_input import reading
from netspec.compiler.ir.expression import Var, evaluate, substitute, variables
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.plan import (
    Buffer,
    ElementwiseStep,
    KernelStep,
    Operand,
    Plan,
    ViewStep,
)
from netspec.compiler.ir.plan import Step as PlanStep
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.ops import registry
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.records import record

Ranges = Mapping[str, tuple[float, float]]
Ints = tuple[int, ...]

QUANTIZE, DEQUANTIZE = "int8.quantize", "int8.dequantize"
CONCAT, SOFTMAX = "int8.concat", "softmax.forward"
# Probabilities have this scale, as in TensorFlow Lite; so many of them are at most in a row.
SHARES = Scale(1 / 256, LOW)
MOST_SHARES = (1 << 15) - 1
# Pools whose windows follow from the sizes; they have a form if these are equal.
LARGEST_OF_EVEN, MEAN_OF_EVEN = "adaptive.max_forward", "adaptive.avg_forward"
_OF_EVEN = ("pool.global_avg_forward", LARGEST_OF_EVEN, MEAN_OF_EVEN)
# What a step does to the scale of its value.
_KEEPS = (
    "pool.max_forward",
    LARGEST_OF_EVEN,
    "copies.to_channels_first",
    "copies.to_channels_last",
    "upsample.nearest_forward",
)
_MEANS = ("pool.avg_forward", "pool.global_avg_forward", MEAN_OF_EVEN)
_CUTS = ("maximum(a, 0)", "minimum(maximum(a, 0), 6)")
_SUMS = ("(a + b)",)


@record(eq=False)
class QuantizedNet:
    """A net in whole numbers.

    Attributes:
        plan: the steps in order, from the caller's numbers to the caller's.
        steps: what each step of the plan does that is neither a view nor at one of the ends.
        scales: of each buffer that is no view.
        roots: what views are views of.
        float_names: what buffers are called in the plan of floating point, if not the same.
    """

    graph: Graph
    plan: Plan
    steps: Mapping[Buffer, Step]
    scales: Mapping[Buffer, Scale]
    roots: Mapping[Buffer, Buffer]
    float_names: Mapping[Buffer, str]

    def root(self, buffer: Operand) -> Buffer:
        """Return what a view is a view of."""
        assert isinstance(buffer, Buffer)
        while buffer in self.roots:
            buffer = self.roots[buffer]
        return buffer

    def run(self, inputs: Mapping[str, Array]) -> dict[Buffer, Array]:
        """Return the whole numbers of each buffer for a batch, and the numbers of the outputs."""
        values: dict[Buffer, Array] = {
            buffer: np.asarray(inputs[name]) for name, buffer in self.plan.inputs.items()
        }
        for step in self.plan.forward:
            (y,) = step.writes
            assert isinstance(y, Buffer)
            if isinstance(step, ViewStep):
                (source,) = step.reads
                assert isinstance(source, Buffer)
                values[y] = values[source].reshape(-1, *y.shape)
                continue
            given = [values[x] for x in step.reads if isinstance(x, Buffer) and x in values]
            if isinstance(step, KernelStep) and step.kernel == QUANTIZE:
                values[y] = self.scales[y].quantized(given[0])
            elif isinstance(step, KernelStep) and step.kernel == DEQUANTIZE:
                values[y] = self.scales[self.root(step.reads[0])].numbers(given[0])
            else:
                values[y] = self.steps[y].run(*given).reshape(-1, *y.shape)
        return values

    def outputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for a batch, by name."""
        values = self.run(inputs)
        return {name: values[buffer] for name, buffer in self.plan.outputs.items()}


def evaluated_plan(graph: Graph) -> Plan:
    """Return the plan that is quantized, in which a sum and what follows it are steps of their own."""
    return make_plan(graph, training=False, backward=False, without=("fuse",))


def quantized(graph: Graph, parameters: Mapping[str, Array], ranges: Ranges) -> QuantizedNet:
    """Return a net in whole numbers.

    Args:
        graph: a checked graph whose sizes are all known.
        parameters: the numbers of its parameters and buffers, by name.
        ranges: the smallest and the largest number of each buffer of `evaluated_plan`, by name.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in whole numbers.
    """
    return _Quantizer(graph, parameters, ranges).net()


class _Quantizer:
    def __init__(self, graph: Graph, parameters: Mapping[str, Array], ranges: Ranges) -> None:
        self.graph, self.ranges = graph, ranges
        self.constants = Constants(parameters)
        plan = evaluated_plan(graph)
        steps = _with_concats(
            without_unread(self.constants.fold(plan.forward), list(plan.outputs.values()))
        )
        self.plan = plan
        self._refuse(steps)
        self.forward = steps
        self.roots = {
            s.output: s.source
            for s in steps
            if isinstance(s, ViewStep) and isinstance(s.source, Buffer)
        }
        readers = Counter(
            self._root(x) for s in steps for x in s.reads if not isinstance(s, ViewStep)
        )
        readers.update(self._root(buffer) for buffer in plan.outputs.values())
        self.readers = readers
        self.groups: dict[Buffer, Buffer] = {}
        self.hidden: set[Buffer] = set()
        self._join()
        self.scales = self._scales()

    def _root(self, buffer: Operand) -> Operand:
        while isinstance(buffer, Buffer) and buffer in self.roots:
            buffer = self.roots[buffer]
        return buffer

    # -- which layers have a form

    def _refuse(self, steps: Sequence[PlanStep]) -> None:
        found: dict[str, Diagnostic] = {}
        for step in steps:
            if isinstance(step, ViewStep) or self._form(step) is not None:
                continue
            names = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
            for name in names:
                node = self.graph.by_name.get(name) or self.plan.nodes.get(name)
                if node is not None:
                    shown = no_form(node, "float alone")
                    message = f"`{node.op.name}` has no form in whole numbers"
                    found[name] = dataclasses.replace(
                        shown, message=message, hints=tuple(_instead(step, node, self.graph))
                    )
        if found:
            raise NetspecError(tuple(found.values()))
        constant = [name for name, buffer in self.plan.outputs.items() if buffer in self.constants]
        if constant:
            message = f"the output {constant[0]} is constant: there is nothing to quantize"
            raise NetspecError.simple(codes.COMPILE_NO_C, message)

    def _form(self, step: PlanStep) -> Callable[[PlanStep], Step] | None:
        if isinstance(step, ElementwiseStep):
            whole = all(self._is_value(x) for x in step.reads)
            kind = _formula(step)
            if kind in _CUTS:
                return self._cut
            if whole and kind in _SUMS:
                return self._sum
            return self._lookup if whole and kind and len(step.reads) == 1 else None
        assert isinstance(step, KernelStep)
        (y,) = step.writes[:1]
        assert isinstance(y, Buffer)
        forms: dict[str, Callable[[PlanStep], Step]] = {
            "linear.forward": self._linear,
            "copies.to_channels_first": self._channels_first,
            "copies.to_channels_last": self._channels_last,
        }
        if step.kernel in _OF_EVEN and _even_window(step) is not None:
            forms |= {
                "pool.global_avg_forward": self._even_mean,
                LARGEST_OF_EVEN: self._even_largest,
                MEAN_OF_EVEN: self._even_mean,
            }
        if len(y.shape) in (2, 3):  # signals, pictures
            forms |= {
                "conv.forward": self._conv,
                "pool.max_forward": self._max_pool,
                "pool.avg_forward": self._avg_pool,
                "upsample.nearest_forward": self._nearest,
            }
        if step.options.get("axis") == len(y.shape) and y.shape[-1] <= MOST_SHARES:
            forms[SOFTMAX] = self._softmax
        values = [x for x in step.reads if self._is_value(x)]
        if step.kernel == CONCAT:
            return self._concat if len(values) == len(step.reads) else None
        return forms.get(step.kernel) if len(values) == 1 else None

    def _is_value(self, operand: Operand) -> bool:
        return isinstance(operand, Buffer) and operand.batched and operand not in self.constants

    # -- scales

    def _join(self) -> None:
        """Find the values that share a scale, and those whose own range does not matter."""
        for step in self.forward:
            if isinstance(step, ViewStep):
                continue
            x, y = self._root(step.reads[0]), step.writes[0]
            assert isinstance(x, Buffer)
            assert isinstance(y, Buffer)
            alone = self.readers[x] == 1 and x not in self.plan.inputs.values()
            kernel = step.kernel if isinstance(step, KernelStep) else ""
            cuts = isinstance(step, ElementwiseStep) and _formula(step) in _CUTS
            if kernel in _KEEPS or kernel in _MEANS or (cuts and alone):
                self.groups[y] = x
                if alone and kernel not in _MEANS:
                    self.hidden.add(x)

    def _group(self, buffer: Buffer) -> Buffer:
        while buffer in self.groups:
            found = self._root(self.groups[buffer])
            assert isinstance(found, Buffer)
            buffer = found
        return buffer

    def _scales(self) -> dict[Buffer, Scale]:
        made = [s.writes[0] for s in self.forward if not isinstance(s, ViewStep)]
        buffers = [*self.plan.inputs.values(), *(b for b in made if isinstance(b, Buffer))]
        spans: dict[Buffer, tuple[float, float]] = {}
        for buffer in buffers:
            if buffer not in self.hidden:
                low, high = self.ranges[buffer.name]
                a, b = spans.get(self._group(buffer), (low, high))
                spans[self._group(buffer)] = (min(a, low), max(b, high))
        found = {group: scale_of(*span) for group, span in spans.items()}
        for step in self.forward:
            if isinstance(step, KernelStep) and step.kernel == SOFTMAX:
                (y,) = step.writes
                assert isinstance(y, Buffer)
                found[y] = SHARES
        return {buffer: found[self._group(buffer)] for buffer in buffers}

    def _scale(self, operand: Operand) -> Scale:
        root = self._root(operand)
        assert isinstance(root, Buffer)
        return self.scales[root]

    # -- the plan and its steps

    def net(self) -> QuantizedNet:
        """Return the net."""
        forward: list[PlanStep] = []
        steps: dict[Buffer, Step] = {}
        scales = dict(self.scales)
        for step in self.forward:
            (y,) = step.writes[:1]
            assert isinstance(y, Buffer)
            if isinstance(step, ViewStep):
                forward.append(step)
                continue
            x = step.reads[0]
            cuts = isinstance(step, ElementwiseStep) and _formula(step) in _CUTS
            if cuts and y in self.groups:
                assert isinstance(x, Buffer)
                forward.append(ViewStep(y, x, step.nodes[0]))  # type: ignore[union-attr]
                continue
            form = self._form(step)
            assert form is not None
            steps[y] = form(step)
            forward.append(step)
        ends: dict[str, Buffer] = {}
        float_names: dict[Buffer, str] = {}
        for name, buffer in reversed(list(self.plan.inputs.items())):  # each is put first
            whole = Buffer(f"{name}.int8", buffer.shape)
            scales[whole] = scales.pop(buffer)
            float_names[whole] = buffer.name
            forward = [reading(step, buffer, whole) for step in forward]
            forward.insert(0, KernelStep(QUANTIZE, (buffer, whole), (whole,), {}, None, name))
        for name, buffer in self.plan.outputs.items():
            ends[name] = Buffer(f"{name}.float", buffer.shape)
            source = self._renamed(buffer)
            forward.append(
                KernelStep(DEQUANTIZE, (source, ends[name]), (ends[name],), {}, None, name)
            )
        plan = dataclasses.replace(self.plan, forward=tuple(forward), outputs=ends)
        roots = {s.output: s.source for s in forward if isinstance(s, ViewStep)}
        return QuantizedNet(
            self.graph, plan, steps, scales,
            {y: x for y, x in roots.items() if isinstance(x, Buffer)}, float_names,
        )  # fmt: skip

    def _renamed(self, buffer: Buffer) -> Buffer:
        """Return the buffer of whole numbers of an output, which may be an input."""
        for name, given in self.plan.inputs.items():
            if buffer == given:
                return Buffer(f"{name}.int8", buffer.shape)
        return buffer

    def _weights(self, step: PlanStep, shape_of: Callable[[Array], Array]) -> Weights:
        assert isinstance(step, KernelStep)
        x, weight, bias, y = step.arguments[:4]
        assert isinstance(x, Buffer)
        assert isinstance(y, Buffer)
        numbers = shape_of(self.constants[weight])  # type: ignore[index]
        largest = np.abs(numbers).reshape(len(numbers), -1).max(axis=1)
        widths = np.where(largest > 0, largest / 127, 1.0)
        column = widths.reshape(-1, *[1] * (numbers.ndim - 1))
        whole = np.clip(np.rint(numbers / column), -127, 127).astype(np.int64)
        given, made = self._scale(x), self._scale(y)
        added = np.zeros(len(numbers)) if bias is None else self.constants[bias]  # type: ignore[index]
        biases = np.rint(added / (given.scale * widths))
        limits = np.iinfo(np.int32)
        return Weights(
            step.node, whole, np.clip(biases, limits.min // 2, limits.max // 2).astype(np.int64),
            tuple(factor_of(given.scale * width / made.scale) for width in widths.tolist()),
            given.zero, made.zero,
        )  # fmt: skip

    def _conv(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        weights = self._weights(step, _filters)
        groups = step.options["groups"]
        assert isinstance(groups, int)
        window = self._window(step, weights.whole.shape[1:3], 3)
        return Reshaped(Conv(window, weights, groups), _picture(_shape(step.arguments[0])))

    def _linear(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        y = step.arguments[3]
        assert isinstance(y, Buffer)
        return Linear(self._weights(step, lambda array: array), _size(y.shape[:-1]))

    def _window(self, step: KernelStep, kernel: Ints, at: int) -> Window:
        x, y = (_picture(_shape(step.arguments[i]))[:2] for i in (0, at))
        stride, dilation = (_pair(_ints(step, name, (1, 1)), 1) for name in ("stride", "dilation"))
        start = _pair(_ints(step, "pad", (0, 0, 0, 0))[::2], 0)
        return Window(x, y, _pair(kernel, 1), stride, start, dilation)

    def _max_pool(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        shape = _picture(_shape(step.arguments[0]))
        window = self._window(step, _ints(step, "kernel", ()), 1)
        return Reshaped(MaxPool(window, shape[-1]), shape)

    def _avg_pool(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        x = step.arguments[0]
        assert isinstance(x, Buffer)
        shape = _picture(x.shape)
        window = self._window(step, _ints(step, "kernel", ()), 1)
        counts = bool(step.options["count_include_pad"])
        return Reshaped(AvgPool(window, shape[-1], self._scale(x).zero, counts), shape)

    def _nearest(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        shape = _picture(_shape(step.arguments[0]))
        return Nearest(shape, _pair(_ints(step, "scale", ()), 1))

    def _softmax(self, step: PlanStep) -> Step:
        x, y = step.reads[0], step.writes[0]
        assert isinstance(y, Buffer)
        return Softmax.of(self._scale(x), _size(y.shape[:-1]), y.shape[-1])

    def _concat(self, step: PlanStep) -> Step:
        assert isinstance(step, KernelStep)
        (y,) = step.writes
        (axis,) = _ints(step, "axis", ())
        assert isinstance(y, Buffer)
        made, parts = self._scale(y), []
        for x in step.reads:
            given = self._scale(x)
            factor = factor_of(given.scale / made.scale)
            parts.append(Part(given.zero, factor, _size(_shape(x)[axis:])))
        return Concat(tuple(parts), made.zero, _size(y.shape[:axis]))

    def _lookup(self, step: PlanStep) -> Step:
        assert isinstance(step, ElementwiseStep)
        (x,) = variables(step.formula)
        given, made = self._scale(step.operands[x]), self._scale(step.output)
        numbers = given.scale * (np.arange(LOW, HIGH + 1) - float(given.zero))
        table = made.quantized(np.asarray(evaluate(step.formula, {x: numbers}), np.float64))
        return Lookup(step.nodes[-1], table, _size(_shape(step.output)))

    def _even_mean(self, step: PlanStep) -> Step:
        window, channels = _window_of(step)
        pool = AvgPool(window, channels, 0, counts_padding=False)
        return Reshaped(pool, (*window.x, channels))

    def _even_largest(self, step: PlanStep) -> Step:
        window, channels = _window_of(step)
        return Reshaped(MaxPool(window, channels), (*window.x, channels))

    def _channels_first(self, step: PlanStep) -> Step:
        x, y = step.reads[0], step.writes[0]
        assert isinstance(x, Buffer)
        assert isinstance(y, Buffer)
        return Transpose(_size(x.shape[:-1]), x.shape[-1], y.shape)

    def _channels_last(self, step: PlanStep) -> Step:
        x, y = step.reads[0], step.writes[0]
        assert isinstance(x, Buffer)
        assert isinstance(y, Buffer)
        return Transpose(x.shape[0], _size(x.shape[1:]), y.shape)

    def _cut(self, step: PlanStep) -> Step:
        x, y = step.reads[0], step.writes[0]
        given, made = self._scale(x), self._scale(y)
        assert isinstance(y, Buffer)
        return Rescale(given.zero, factor_of(given.scale / made.scale), made.zero, _size(y.shape))

    def _sum(self, step: PlanStep) -> Step:
        assert isinstance(step, ElementwiseStep)
        assert isinstance(step.output, Buffer)
        one, two = (self._scale(step.operands[name]) for name in variables(step.formula))
        made, twice = self._scale(step.output), 2 * max(one.scale, two.scale)
        terms = (
            Term(one.zero, factor_of(one.scale / twice)),
            Term(two.zero, factor_of(two.scale / twice)),
        )
        factor = factor_of(twice / (2**HEADROOM * made.scale))
        return Add(terms, factor, made.zero, _size(step.output.shape))


def _with_concats(steps: Sequence[PlanStep]) -> list[PlanStep]:
    """Return the steps, where those that put values beside each other are one."""
    inserts: dict[Buffer, list[KernelStep]] = {}
    for step in steps:
        if isinstance(step, KernelStep) and step.kernel == "copies.insert":
            (y,) = step.writes
            assert isinstance(y, Buffer)
            inserts.setdefault(y, []).append(step)
    joined = {y: found for y, own in inserts.items() if (found := _concat_of(y, own)) is not None}
    left: list[PlanStep] = []
    for step in steps:
        (written,) = step.writes[:1]
        own = inserts.get(written, []) if isinstance(written, Buffer) else []
        if written not in joined or step not in own:
            left.append(step)
        elif step is own[-1]:
            left.append(joined[written])
    return left


def _concat_of(y: Buffer, steps: Sequence[KernelStep]) -> KernelStep | None:
    """Return one step for those that fill a value part by part along an axis; None if they do not."""
    parts = [step.reads[0] for step in steps]
    if not all(isinstance(x, Buffer) and x.batched for x in parts):
        return None
    shapes = [_shape(x) for x in parts]
    for axis in range(len(y.shape)):
        at = 0
        for step, shape in zip(steps, shapes, strict=True):
            start = tuple(at if i == axis else 0 for i in range(len(y.shape)))
            whole = all(shape[i] == y.shape[i] for i in range(len(shape)) if i != axis)
            plain = set(_ints(step, "step", (1,))) == {1}
            if not whole or not plain or _ints(step, "start", start) != start:
                break
            at += shape[axis]
        else:
            if at == y.shape[axis]:
                return KernelStep(
                    CONCAT, (*parts, y), (y,), {"axis": (axis,)}, None, steps[-1].node
                )
    return None


def _filters(weight: Array) -> Array:
    """Return filters (O, height, width, C) of those with the channels in front."""
    behind = np.moveaxis(weight, 1, -1)
    return behind if behind.ndim == 4 else behind[:, None]


def _instead(step: PlanStep, node: Node, graph: Graph) -> Iterator[Hint]:
    """Yield what helps where a layer has no form: what computes the same, or what would have one."""
    if isinstance(step, KernelStep) and step.kernel in _OF_EVEN:
        yield Hint("windows of one size have a form: sizes that divide those of what is pooled")
    given = {name: getattr(node.op, name) for name in type(node.op).attributes()}
    (shape, *others) = graph.shapes_into(node)
    for op in registry().values() if not others else ():
        same = any(
            idiom.ops == (node.op.name,) and idiom.attributes((given,), shape) == {}
            for idiom in op.idioms
        )
        if same:
            yield Hint(f"`{op.name}` computes the same, and has one")


def _even_window(step: KernelStep) -> Window | None:
    """Return the windows of a pool whose windows are equal and beside each other; None if they are not.

    Of a value (..., C) with any number of axes there may be one window, over everything.
    """
    if len(step.arguments) < 2:
        return None
    x, y = step.arguments[:2]
    if not isinstance(x, Buffer) or not isinstance(y, Buffer):
        return None
    sizes, cells = x.shape[:-1], y.shape[:-1]
    if _size(cells) == 1:
        places = (1, _size(sizes))
        return Window(places, (1, 1), places, (1, 1), (0, 0), (1, 1))
    if len(sizes) != len(cells) or len(sizes) not in (1, 2):
        return None
    high, wide = _pair(sizes, 1), _pair(cells, 1)
    if any(size % count for size, count in zip(high, wide, strict=True)):
        return None
    kernel = tuple(size // count for size, count in zip(high, wide, strict=True))
    return Window(high, wide, kernel, kernel, (0, 0), (1, 1))


def _window_of(step: PlanStep) -> tuple[Window, int]:
    """Return the windows of a pool that has equal ones, and how many channels there are."""
    assert isinstance(step, KernelStep)
    window = _even_window(step)
    assert window is not None
    return window, _shape(step.arguments[0])[-1]


def _picture(shape: Ints) -> Ints:
    """Return (height, width, C) of a picture or of a signal (length, C)."""
    return shape if len(shape) == 3 else (1, *shape)


def _pair(numbers: Ints, other: int) -> Ints:
    """Return what there is for height and width, of a signal too."""
    return numbers if len(numbers) == 2 else (other, *numbers[-1:])


def _shape(operand: object) -> Ints:
    assert isinstance(operand, Buffer)
    return operand.shape


def _formula(step: ElementwiseStep) -> str:
    """Return a formula as text, in which variables are called a, b and so on, in order."""
    names = variables(step.formula)
    same = {name: Var(letter) for name, letter in zip(names, "abcdef", strict=False)}
    operands = [step.operands[name] for name in names]
    shapes = {each.shape for each in operands if isinstance(each, Buffer)}
    if len(names) > 2 or len(shapes) != 1:
        return ""
    return str(substitute(step.formula, same))


def _ints(step: KernelStep, name: str, otherwise: Ints) -> Ints:
    found = step.options.get(name, otherwise)
    assert isinstance(found, tuple)
    return tuple(int(n) for n in found)


def _size(shape: Ints) -> int:
    return int(np.prod(shape, dtype=np.int64))
