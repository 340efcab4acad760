"""netspec's side of a check: a layer or a short chain of layers, compiled, with a course's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node, Parameter
from netspec.diagnostics import NetspecError
from netspec.net import loads
from netspec.runtime.engine.program import Program, make_plan
from netspec.testing.courses import CourseArgument, CourseLayer, Mode, WrittenAttribute
from netspec.tools.agreement.case import draw_inputs

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Placed:
    """A part of the chain, with its place in the graph."""

    name: str
    part: CourseLayer
    node: Node

    def full(self, parameter: str) -> str:
        """Return the name of a parameter in the graph."""
        return self.node.parameters[parameter]


@dataclass
class Setting:
    """One check: the chain with its attributes, in one mode, with one set of numbers.

    Attributes:
        arrays: the arguments of the course's function, by its names and in its layouts; `x` or
            `x0`, `x1`, ...
        running: running statistics by name, before the step.
        masks: random masks by node.
    """

    layer: Layer
    training: bool
    arrays: Arrays
    dout: Array
    running: Arrays = field(default_factory=dict)
    masks: Arrays = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """The number of images."""
        return len(self.arrays[self.layer.inputs[0]])

    def settings(self) -> tuple[Any, ...]:
        """Return new settings, the arguments of the course's function after the arrays."""
        mode = Mode(self.training, {name: array.copy() for name, array in self.running.items()})
        return tuple(
            value for placed in self.layer.parts
            for value in placed.part.settings(placed.node.op, mode)
        )  # fmt: skip

    def changed(self, **changes: Any) -> Setting:
        """Return the same setting with other numbers: arrays by name, or `dout`."""
        dout = changes.pop("dout", self.dout)
        return replace(self, arrays={**self.arrays, **changes}, dout=dout)

    def on_rows(self, x: Array, dout: Array) -> Setting:
        """Return the same layers on vectors: x and dout are (rows, C)."""
        parts, _, attributes = self.layer.source
        layer = Layer(parts, (x.shape,), attributes)
        return replace(self, layer=layer, arrays={**self.arrays, "x": x}, dout=dout)

    def results(self) -> Arrays:
        """netspec's `out`, gradients (`dx`, `dw`, ...) and running statistics after the step."""
        return self.layer.run(self)


class Layer:
    """A chain of parts as a compiled net.

    Args:
        parts: the parts by name.
        shapes: the shapes of the inputs, including the batch.
        attributes: the attributes of each part.
    """

    def __init__(
        self,
        parts: tuple[tuple[str, CourseLayer], ...],
        shapes: tuple[tuple[int, ...], ...],
        attributes: tuple[Mapping[str, Any], ...],
    ) -> None:
        self.inputs = parts[0][1].inputs
        self.source = (parts, shapes, attributes)
        lines = [
            f"input {name}: {list(shape[1:])}"
            for name, shape in zip(self.inputs, shapes, strict=True)
        ]
        stages = [
            f"layer{i}: {_call(part.op, given)}"
            for i, ((_, part), given) in enumerate(zip(parts, attributes, strict=True))
        ]
        if parts[0][1].flat and len(shapes[0]) > 2:
            stages.insert(0, "flatten")
        body = "\n    ".join(lines)
        text = f"net Layer() {{\n    {body}\n    output ({', '.join(self.inputs)})"
        self.graph: Graph = loads(f"{text} -> {' -> '.join(stages)}\n}}\n", name="layer").graph
        self.parts = tuple(
            Placed(name, part, self.graph.by_name[f"layer{i}"])
            for i, (name, part) in enumerate(parts)
        )
        self._programs: dict[bool, Program] = {}

    def __str__(self) -> str:
        return " -> ".join(str(placed.node.op) for placed in self.parts)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The output shape for one image."""
        return self.graph.nodes[-1].shape

    @property
    def modal(self) -> bool:
        """True if training differs from evaluation."""
        return any(placed.part.modal for placed in self.parts)

    @property
    def random(self) -> bool:
        """True if training draws masks."""
        return bool(self._program(True).plan.sample)

    def arguments(self) -> list[tuple[Placed, CourseArgument]]:
        """The arrays after the inputs, in the order of the arguments of a course's function."""
        return [
            (placed, argument) for placed in self.parts for argument in placed.part.arguments
            if argument.parameter in placed.node.parameters
        ]  # fmt: skip

    def names(self) -> list[str]:
        """The names of all arrays that are arguments of a course's function."""
        return [*self.inputs, *(argument.name for _, argument in self.arguments())]

    def without(self, index: int) -> Layer:
        """Return the chain without one part; it must be one that does not change shapes."""
        parts, shapes, attributes = self.source
        keep = [i for i in range(len(parts)) if i != index]
        return Layer(tuple(parts[i] for i in keep), shapes, tuple(attributes[i] for i in keep))

    # -- running

    def run(self, setting: Setting) -> Arrays:
        """Run forward and backward of the compiled program, in float64."""
        program = self._program(setting.training)
        parameters = self._parameters(setting)
        gradients = {p.name: np.zeros(p.shape) for p in self.graph.trainable()}
        buffers, plan = program.bind(setting.batch), program.plan
        for name, buffer in plan.inputs.items():
            buffers[buffer.name] = np.ascontiguousarray(setting.arrays[name], np.float64)
        program.sample(buffers, np.random.default_rng(0))
        for node, mask in setting.masks.items():
            buffers[f"{node}.mask"][...] = mask
        program.forward(buffers, parameters)
        found = {"out": buffers[plan.outputs["output"].name].copy()}
        buffers[plan.output_gradients["output"].name][...] = setting.dout
        program.backward(buffers, parameters, gradients)
        for name, buffer in plan.input_gradients.items():
            found[f"d{name}"] = buffers[buffer.name].copy()
        for placed, argument in self.arguments():
            gradient = gradients[placed.full(argument.parameter)]
            found[f"d{argument.name}"] = argument.to_course(gradient)
        if setting.training:
            found |= self._running(setting, parameters)
        return found

    def _program(self, training: bool) -> Program:
        if training not in self._programs:
            plan = make_plan(self.graph, training=training, input_gradients=True)
            self._programs[training] = Program(self.graph, plan, np.dtype(np.float64))
        return self._programs[training]

    def _parameters(self, setting: Setting) -> Arrays:
        values: Arrays = {
            p.name: np.zeros(p.shape, np.int64 if p.role == "counter" else np.float64)
            for p in self.graph.parameters.values()
        }
        for placed, argument in self.arguments():
            given = np.asarray(setting.arrays[argument.name], np.float64)
            values[placed.full(argument.parameter)] = np.ascontiguousarray(argument.to_op(given))
        for placed in self.parts:
            for name in placed.part.running:
                values[placed.full(name)] = setting.running[name].copy()
        return values

    def _running(self, setting: Setting, after: Arrays) -> Arrays:
        """Return the running statistics as the course defines them: with the biased variance."""
        found = {}
        for placed in self.parts:
            for name in placed.part.running:
                updated, kept = after[placed.full(name)], self.kept(placed, setting.running[name])
                rows = self.rows(placed, setting)
                share = (rows - 1) / rows if name.endswith("var") else 1.0
                found[name] = kept + (updated - kept) * share
        return found

    @staticmethod
    def kept(placed: Placed, before: Array) -> Array:
        """Return what a step keeps of the running statistics."""
        op: Any = placed.node.op
        left: Array = (1 - op.momentum) * before
        return left

    @staticmethod
    def rows(placed: Placed, setting: Setting) -> int:
        """The number of values in a channel that are normalized together."""
        return setting.batch * int(np.prod(placed.node.shape[1:]))

    # -- random numbers

    def shape_of(self, placed: Placed, argument: CourseArgument) -> tuple[int, ...]:
        """Return the shape of an array in the course's layout."""
        return argument.to_course(np.zeros(self._spec(placed, argument.parameter).shape)).shape

    def _spec(self, placed: Placed, parameter: str) -> Parameter:
        return self.graph.parameters[placed.full(parameter)]

    def draw(self, given: Mapping[str, Array], batch: int, training: bool, seed: int) -> Setting:
        """Draw random numbers for a setting; given arrays replace them."""
        rng = np.random.default_rng(seed)
        arrays: Arrays = draw_inputs(self.graph, batch, rng)
        for placed, argument in self.arguments():
            shape = self.shape_of(placed, argument)
            # Far from values that would hide a factor left out or applied twice.
            around = 1.5 if self._spec(placed, argument.parameter).role == "scale" else 0.0
            arrays[argument.name] = around + 0.5 * rng.standard_normal(shape)
        if self.parts[0].part.gates:  # what it does at 0 shows at numbers that are 0
            for name in self.graph.inputs:
                arrays[name].reshape(-1)[::5] = 0
        dout = rng.standard_normal((batch, *self.out_shape))
        running: Arrays = {
            name: rng.uniform(0.5, 2.0, self._spec(placed, name).shape)
            for placed in self.parts for name in placed.part.running
        }  # fmt: skip
        for name, array in given.items():
            expected = dout.shape if name == "dout" else arrays[name].shape
            if array.shape != expected:
                message = f"`{name}` must be of shape {list(expected)}, not {list(array.shape)}"
                raise NetspecError.simple(codes.TESTING_SHAPE, message)
        dout = given.get("dout", dout)
        arrays |= {name: array for name, array in given.items() if name != "dout"}
        return Setting(self, training, arrays, dout, running)


def _call(op: str, attributes: Mapping[str, Any]) -> str:
    """Format a call as in a `.net` file."""
    given = ", ".join(f"{name} = {_constant(value)}" for name, value in attributes.items())
    return f"{op}({given})" if given else op


def _constant(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, WrittenAttribute):
        return str(value)
    if isinstance(value, str):
        return value  # a word such as `same`
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_constant(item) for item in value) + "]"
    return repr(value.item() if isinstance(value, np.generic) else value)
