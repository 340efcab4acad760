"""The scheduled NumPy program as data: buffers, and the steps that read and write them.

Ops lower themselves to steps with the help of `Lowering`, passes rewrite the steps, and the emitter
prints them. Each value has a layout: the order in which its axes are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from netspec.compiler.ir.expression import Expression
from netspec.compiler.ir.graph import Graph, Node, Shape
from netspec.compiler.ir.layout import Layout
from netspec.compiler.ir.sizes import typical
from netspec.records import record

Option = int | float | bool | str | None | tuple[int, ...] | tuple[str, ...]
Emitter = Literal["numpy", "numexpr"]


@record(slots=True)
class Buffer:
    """An array of the program. A `batched` one has the batch size N in front of its shape."""

    name: str
    shape: tuple[int, ...]
    batched: bool = True

    def elements(self, batch: int) -> int:
        """Return the number of elements for a batch size. Open sizes count as `TYPICAL`."""
        return typical(math.prod(self.shape)) * (batch if self.batched else 1)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f'b["{self.name}"]'


@record(slots=True)
class ParameterRef:
    """A parameter of the net, in its own layout."""

    name: str

    def __str__(self) -> str:
        return f'p["{self.name}"]'


@record(slots=True)
class GradientRef:
    """The gradient of a parameter."""

    name: str

    def __str__(self) -> str:
        return f'g["{self.name}"]'


@record(slots=True)
class Marker:
    """An argument that the program itself provides: `scratch` or `rng`.

    A program calls its scratch `s`, as it calls its buffers `b`.
    """

    name: Literal["scratch", "rng"]

    def __str__(self) -> str:
        return "s" if self.name == "scratch" else self.name


SCRATCH = Marker("scratch")
RNG = Marker("rng")

Operand = Buffer | ParameterRef | GradientRef
Argument = Operand | Marker | None


@record(slots=True)
class Scratch:
    """The scratch memory that a kernel needs: `function(n, *arguments, **options)` elements."""

    function: str
    arguments: tuple[tuple[int, ...] | int, ...]
    options: Mapping[str, Option] = field(default_factory=dict)


@record(slots=True)
class Loop:
    """Steps that a kernel runs again and again, over arrays by the names of their buffers.

    Attributes:
        way: `forward` or `backward`.
        steps: the steps.
        nodes: the nodes that they compute, by name.
    """

    way: Literal["forward", "backward"]
    steps: tuple[Step, ...]
    nodes: Mapping[str, Node]


@record(slots=True)
class KernelStep:
    """A call of a function of `netspec.kernels`. `writes` are the arguments that it writes.

    A kernel with a `loop` gets a function of its steps, the parameters and the scratch in front.
    """

    kernel: str
    arguments: tuple[Argument, ...]
    writes: tuple[Operand, ...]
    options: Mapping[str, Option]
    scratch: Scratch | None
    node: str
    loop: Loop | None = None

    @property
    def reads(self) -> tuple[Operand, ...]:
        """The arguments that it only reads."""
        # Asked for each step by many passes: names are compared in a fifth of the time of operands.
        written = {(type(w), w.name) for w in self.writes}
        return tuple(
            a
            for a in self.arguments
            if isinstance(a, (Buffer, ParameterRef, GradientRef))
            and (type(a), a.name) not in written
        )

    def __str__(self) -> str:
        read = [
            "-" if a is None else a.name if isinstance(a, Marker) else _named(a)
            for a in self.arguments
            if a is None or a not in self.writes
        ]
        given = ", ".join([*read, *(f"{key}={value!r}" for key, value in self.options.items())])
        return f"{', '.join(map(_made, self.writes))} = {self.kernel}({given})"


@record(slots=True)
class ElementwiseStep:
    """`output = formula` for every element.

    Operands without a batch axis are broadcast over the rows.

    Attributes:
        nodes: the nodes that it computes.
        parts: what the formulas that it is made of are called, such as `affine` and `relu`.
        emitter: which code computes it: blocked NumPy ufuncs, or numexpr.
    """

    output: Buffer | GradientRef
    formula: Expression
    operands: Mapping[str, Operand]
    nodes: tuple[str, ...]
    parts: tuple[str, ...] = ()
    emitter: Emitter = "numpy"

    @property
    def vectors(self) -> tuple[str, ...]:
        """The operands that are broadcast: one number for each index of an axis, or one for all."""
        if not (isinstance(self.output, Buffer) and self.output.batched):
            return ()
        return tuple(
            name
            for name, operand in self.operands.items()
            if isinstance(operand, Buffer) and not operand.batched
        )

    @property
    def writes(self) -> tuple[Operand, ...]:
        """The output."""
        return (self.output,)

    @property
    def reads(self) -> tuple[Operand, ...]:
        """The operands."""
        return tuple(self.operands.values())

    def __str__(self) -> str:
        where = ", ".join(f"{name} = {_named(operand)}" for name, operand in self.operands.items())
        by = "" if self.emitter == "numpy" else f" by {self.emitter}"
        return f"{_made(self.output)} = {self.formula}{by}, where {where}"


@record(slots=True)
class ViewStep:
    """`output` is a view of `source`, a buffer or a parameter, with another shape."""

    output: Buffer
    source: Buffer | ParameterRef
    node: str

    @property
    def writes(self) -> tuple[Operand, ...]:
        """The output of the step, which is the view."""
        return (self.output,)

    @property
    def reads(self) -> tuple[Operand, ...]:
        """The operand that it is a view of."""
        return (self.source,)

    def __str__(self) -> str:
        return f"{_made(self.output)} = view of {_named(self.source)}"


Step = KernelStep | ElementwiseStep | ViewStep


def with_loops(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps, and those of the loops in them."""
    for step in steps:
        yield step
        if isinstance(step, KernelStep) and step.loop is not None:
            yield from with_loops(step.loop.steps)


def _named(operand: Operand) -> str:
    """Return the name of an operand in the text of a plan."""
    if isinstance(operand, Buffer):
        return f"%{operand.name}"
    return f"@{operand.name}" if isinstance(operand, ParameterRef) else f"d@{operand.name}"


def _made(operand: Operand) -> str:
    """Return the name of an operand, with the shape if it is a buffer."""
    if not isinstance(operand, Buffer):
        return _named(operand)
    sizes = (["N"] if operand.batched else []) + [str(n) for n in operand.shape]
    return f"{_named(operand)}[{', '.join(sizes)}]"


@record
class Plan:
    """A whole program: `sample` draws random masks, then `forward`, then `backward`.

    Attributes:
        inputs: the arrays that the caller fills, by the names of the net's inputs, as (N, C, H, W).
        outputs: the buffers that hold the net's outputs after `forward`.
        output_gradients: the arrays that the caller fills between `forward` and `backward`.
        input_gradients: the buffers that hold the gradients of the inputs after `backward`, if
            requested.
        activations, activation_gradients: the buffers of each node's value and of its gradient; at
            the end only the `kept` ones still hold it.
        contributions: the buffer of what each node adds to the gradient of each of its inputs, by
            node and index of the input; at the end only the `kept` ones still hold it.
        kept: buffers that must keep their contents to the end (activations that a checker reads).
        nodes: the nodes that were lowered, by name: those of the net after the graph passes.
        layouts: how each value is stored, its gradient too.
    """

    training: bool
    inputs: Mapping[str, Buffer]
    outputs: Mapping[str, Buffer]
    output_gradients: Mapping[str, Buffer]
    input_gradients: Mapping[str, Buffer]
    sample: tuple[Step, ...]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    activations: Mapping[str, Buffer]
    activation_gradients: Mapping[str, Buffer]
    contributions: Mapping[tuple[str, int], Buffer]
    kept: frozenset[Buffer] = frozenset()
    nodes: Mapping[str, Node] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in the order in which they run."""
        return self.sample + self.forward + self.backward

    def __str__(self) -> str:
        """Return one step per line; `%name` is a buffer, `@name` a parameter, `d@name` its
        gradient.
        """
        lines = ["plan in training" if self.training else "plan in evaluation"]
        for title, buffers in (
            ("input", self.inputs),
            ("output", self.outputs),
            ("output gradient", self.output_gradients),
            ("input gradient", self.input_gradients),
        ):
            lines += [f"  {title} {name} = {_made(buffer)}" for name, buffer in buffers.items()]
        for title in ("sample", "forward", "backward"):
            steps: tuple[Step, ...] = getattr(self, title)
            lines += [f"  {title}:"] if steps else []
            lines += [f"    {step}" for step in steps]
        return "\n".join(lines)

    def external(self) -> Iterator[Buffer]:
        """Yield the buffers that the caller reads or fills, and those kept for a checker."""
        for group in (self.inputs, self.outputs, self.output_gradients, self.input_gradients):
            yield from group.values()
        yield from sorted(self.kept, key=lambda b: b.name)


class Lowering:
    """The interface through which an op lowers one node: its operands, and methods that append
    steps.

    `x` are stored by `x_layouts`, and `out` by `layout`.

    Forward: read `x` and `parameter(...)`, write `out`. Backward: read `dy`, what forward put into
    `saved`, and `x` and `out` if they are needed, which keeps them until then; set the gradient of
    each input with `gradient(i, ...)` and fill `parameter_gradient`.
    """

    def __init__(
        self,
        node: Node,
        x: Sequence[Buffer],
        x_shapes: Sequence[Shape],
        out: Buffer,
        x_layouts: Sequence[Layout],
        layout: Layout,
        *,
        training: bool,
        emit: Callable[[Step], None],
        sample: Callable[[Step], None],
        inner: Callable[[Graph], Plan],
    ) -> None:
        self.node = node
        self.x = tuple(x)
        self.x_shapes = tuple(x_shapes)
        self.out = out
        self.x_layouts = tuple(x_layouts)
        self.layout = layout
        self.training = training
        self.saved: dict[str, Buffer] = {}
        self._emit = emit
        self._sample = sample
        self._inner = inner
        self._inner_plan: Plan | None = None
        # These are set for the backward pass.
        self.dy: Buffer = out
        self.wanted: tuple[bool, ...] = ()
        self.input_gradients: dict[int, Buffer] = {}
        self._parameter_gradient: Callable[[str], Buffer | GradientRef] | None = None

    # -- operands

    def parameter(self, name: str) -> ParameterRef | None:
        """Return a parameter by the op's own name; None if this node does not have it (no bias)."""
        full = self.node.parameters.get(name)
        return ParameterRef(full) if full is not None else None

    def parameter_gradient(self, name: str) -> Buffer | GradientRef:
        """Return the array for this node's gradient of a parameter."""
        assert self._parameter_gradient is not None
        return self._parameter_gradient(self.node.parameters[name])

    def buffer(self, suffix: str, shape: tuple[int, ...], *, batched: bool = True) -> Buffer:
        """Return a new array `node.suffix` with a stored shape."""
        return Buffer(f"{self.node.name}.{suffix}", shape, batched)

    def inner(self, graph: Graph) -> Plan:
        """Return the plan of a graph within the op, with the gradients of its inputs if any are
        computed. It is made once.
        """
        if self._inner_plan is None:
            self._inner_plan = self._inner(graph)
        return self._inner_plan

    @property
    def scratch(self) -> Marker:
        """The program's scratch memory, as an argument of a kernel that declares how much it
        `needs`.
        """
        return SCRATCH

    @property
    def rng(self) -> Marker:
        """The program's random generator, as an argument of a kernel."""
        return RNG

    @staticmethod
    def needs(
        function: str, arguments: tuple[tuple[int, ...] | int, ...], /, **options: Option
    ) -> Scratch:
        """Return the scratch that a kernel needs, given by the function of `netspec.kernels` that
        computes it.
        """
        return Scratch(function, arguments, options)

    def gradient_buffer(self, index: int) -> Buffer:
        """Return a new array for the gradient of input `index`."""
        suffix = "dx" if len(self.x) == 1 else f"dx{index}"
        return self.buffer(suffix, self.x[index].shape)

    # -- steps

    def call(
        self,
        kernel: str,
        /,
        *arguments: Argument,
        writes: Sequence[Operand | None],
        scratch: Scratch | None = None,
        loop: Loop | None = None,
        **options: Option,
    ) -> None:
        """Append a kernel call."""
        written = tuple(w for w in writes if w is not None)
        step = KernelStep(kernel, arguments, written, options, scratch, self.node.name, loop)
        (self._sample if RNG in arguments else self._emit)(step)

    def elementwise(
        self, output: Buffer | GradientRef, formula: Expression, **operands: Operand
    ) -> None:
        """Append `output = formula`, whose variables are the names of `operands`."""
        op = self.node.op
        is_backward = self._parameter_gradient is not None
        part = f"{op.name}_grad" if is_backward else op.formula_name or op.name
        self._emit(ElementwiseStep(output, formula, operands, (self.node.name,), (part,)))

    def view(self, output: Buffer, source: Buffer | ParameterRef) -> None:
        """Append `output` as a view of `source` with another shape.

        `output` must then not be written.
        """
        self._emit(ViewStep(output, source, self.node.name))

    def parameter_view(self, name: str, shape: tuple[int, ...]) -> Buffer:
        """Return a parameter of this node in the shape in which elementwise code broadcasts it.

        The shape applies to the last axes of a stored value: (C,), or (C, 1) where one number
        applies to many elements.
        """
        output = self.buffer(name, shape, batched=False)
        self.view(output, ParameterRef(self.node.parameters[name]))
        return output

    # -- results of the backward pass

    def gradient(self, index: int, buffer: Buffer) -> None:
        """Set the buffer that holds the gradient of input `index`."""
        self.input_gradients[index] = buffer

    def begin_backward(
        self,
        dy: Buffer,
        wanted: tuple[bool, ...],
        emit: Callable[[Step], None],
        parameter_gradient: Callable[[str], Buffer | GradientRef],
    ) -> None:
        """Switch to the backward pass. `dy` is the gradient of `out`."""
        self.dy = dy
        self.wanted = wanted
        self._emit = emit
        self._parameter_gradient = parameter_gradient
