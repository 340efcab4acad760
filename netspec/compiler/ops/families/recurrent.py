"""The base class of recurrent layers: `rnn`, `lstm` and `gru`."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileOperator
from netspec.records import record

RECURRENT_STATE = Code.error("shape/recurrent-state", "a first state of the wrong shape")

# The states of a layer: the hidden state, and for an LSTM the cell state.
States = tuple[Array, ...]


class _Step(NamedTuple):
    """What a step of the reference went through: its input, what it was given to add, its states."""

    x: Array
    pre: Array
    add: Array
    states: States


# So many operators of a file are read as one layer at most.
_MOST_LAYERS = 16
# A small file can ask for any number of layers above each other; each has parameters of its own.
MOST_STACKED = 1_000


class Run(NamedTuple):
    """One layer in one direction, as it is lowered: its name's end, its place, its buffers.

    Attributes:
        suffix: that of its parameters, as PyTorch writes it: `l0`, or `l0_reverse`.
        at: its place among all layers and directions.
        reverse: whether it goes from the last step to the first.
    """

    suffix: str
    at: int
    reverse: bool


@record
class RecurrentOp(Op):
    """Layers that go over the steps of a sequence (T, F) and hand a state from each to the next.

    A subclass says what one step does, and has the kernels that do all of them. PyTorch's parameters:
    `weight_ih_l0` (gates H, F), `weight_hh_l0` (gates H, H), `bias_ih_l0` and `bias_hh_l0` (gates H,)
    in the first layer, with `_reverse` behind them for the other direction.

    Attributes:
        gates: how many gates there are.
        state_names: what a layer hands on: `("h",)`, or `("h", "c")`.
        onnx_gates: the places of the gates in the order that ONNX has.
        onnx_activations: the functions of ONNX's operator.
    """

    features: int = attribute(Int(1), "numbers in the hidden state")
    layers: int = attribute(Int(1, MOST_STACKED), "layers, each above the last", 1)
    bias: bool = attribute(Bool(), "add a number to each gate", True)
    dropout: float = attribute(Real(0, 1), "probability to drop between layers", 0.0)
    bidirectional: bool = attribute(Bool(), "go over the steps backward too", False)

    storage = Storage.ROW_MAJOR
    inferred_axis = -1
    rate = "dropout"
    onnx_ends = ("Reshape",)

    gates: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    module: ClassVar[str]
    onnx_gates: ClassVar[tuple[int, ...]] = (0,)
    onnx_activations: ClassVar[tuple[str, ...]] = ("Sigmoid", "Tanh")

    # -- checking

    def is_unlikely(self) -> bool:
        """Whether there are so many layers that their number may be the features: `lstm(10, 20)`."""
        return self.layers >= 8

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _runs(self, layer: int) -> list[Run]:
        """Return the directions of a layer."""
        ends = ("", "_reverse")[: self._directions]
        return [
            Run(f"l{layer}{end}", layer * self._directions + i, bool(i))
            for i, end in enumerate(ends)
        ]

    def shape(self, *inputs: Shape) -> Shape:
        """(T, features), or (T, 2 features) of both directions.

        Raises:
            ShapeError: `shape/rank` if x is no sequence, `shape/recurrent-state` for a first state
                of another shape than the layer's.
        """
        x, *states = inputs
        if len(x) != 2:
            raise ShapeError(
                codes.SHAPE_RANK,
                f"`{self.name}` goes over a sequence [N, length, features], not {show_shape(x)}",
            )
        count = self.layers * self._directions
        wanted = (self.features,) if count == 1 else (count, self.features)
        for state, name in zip(states, self.state_names, strict=False):
            if state != wanted:
                what = "the features" if count == 1 else "layers times directions, and the features"
                raise ShapeError(
                    RECURRENT_STATE,
                    f"the first state {name} of this `{self.name}` is {show_shape(wanted)}, {what},"
                    f" not {show_shape(state)}",
                )
        return (x[0], self._directions * self.features)

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """Weights and biases of each layer and direction, uniform within 1 / sqrt(features)."""
        bound = 1 / math.sqrt(self.features)
        rule, rows, specs = Uniform(-bound, bound), self.gates * self.features, []
        for layer in range(self.layers):
            ins = inputs[0][-1] if layer == 0 else self._directions * self.features
            for run in self._runs(layer):
                for kind, columns in (("ih", ins), ("hh", self.features)):
                    name = f"weight_{kind}_{run.suffix}"
                    specs.append(ParameterSpec(name, (rows, columns), rule, "weight"))
                for kind in ("ih", "hh") if self.bias else ():
                    name = f"bias_{kind}_{run.suffix}"
                    specs.append(ParameterSpec(name, (rows,), rule, "bias"))
        return tuple(specs)

    def macs(self, *inputs: Shape) -> int:
        """The sizes of all weights, for each step."""
        specs = self.parameters(*inputs)
        return inputs[0][0] * sum(math.prod(s.shape) for s in specs if s.role == "weight")

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: a step depends on all before it."""
        return None

    def draws(self) -> bool:
        """A mask between layers."""
        return self.layers > 1 and self.dropout > 0

    # -- position by position

    def next_states(
        self, to: StepForm, pre: str, add: str, states: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Add the layers that compute the states after a step, all of them (1, ...), as `step` does."""
        raise NotImplementedError

    def advance(self, to: StepForm) -> str:
        """One step, from the states that the one before left.

        Raises:
            NotCausalError: if it goes backward too, or begins with states that are given.
        """
        if self.bidirectional:
            raise to.refused("goes over the positions backward too")
        if to.over != (1,):
            raise to.refused("begins with a state that is computed")
        to.singly()
        value = to.x[0]
        for layer in range(self.layers):
            (one,) = self._runs(layer)
            held = tuple(
                to.hold(f"{name}_{one.suffix}", (1, self.features), 0.0, None)
                for name in self.state_names
            )
            pre, add = self._sum(to, one, "ih", value), self._sum(to, one, "hh", held[0])
            states = self.next_states(to, pre, add, held)
            for before, state in zip(held, states, strict=True):
                to.leave(before, state)
            value = states[0]
        return value

    def _sum(self, to: StepForm, one: Run, kind: str, x: str) -> str:
        """Add x W^T + b, for the input or the hidden state."""
        names = {"weight": f"weight_{kind}_{one.suffix}"}
        if self.bias:
            names["bias"] = f"bias_{kind}_{one.suffix}"
        held = {own: to.node.parameters[name] for own, name in names.items()}
        return to("linear", x, parameters=held, features=self.gates * self.features, bias=self.bias)

    def parts(self, to: StepForm, value: str) -> list[str]:
        """Cut a value for all gates into one for each."""
        ends = range(0, self.gates * self.features, self.features)
        return [to("slice", value, axis=2, start=at, stop=at + self.features) for at in ends]

    # -- reference

    def step(self, pre: Array, add: Array, states: States) -> States:
        """Return the states after a step, for `pre` = x W_ih^T + b_ih and `add` = h W_hh^T + b_hh."""
        raise NotImplementedError

    def step_backward(
        self, dstates: States, pre: Array, add: Array, states: States
    ) -> tuple[Array, Array, States]:
        """Return the gradients of `pre`, of `add`, and of the states before but for what `add` does."""
        raise NotImplementedError

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """One step after the other."""
        return self._all(run, *x)[0]

    def _all(self, run: Evaluation, *x: Array) -> tuple[Array, list[list[list[_Step]]]]:
        """Return the value, and the steps of each layer and direction."""
        value, *given = x
        kept: list[list[list[_Step]]] = []
        for layer in range(self.layers):
            if layer:
                value = value * self._mask(run, layer)
            sides, steps = zip(
                *(self._over(run, each, value, given) for each in self._runs(layer)), strict=True
            )
            kept.append(list(steps))
            value = np.concatenate(sides, axis=2)
        return value, kept

    def _mask(self, run: Evaluation, layer: int) -> Array | float:
        if not (run.training and self.dropout):
            return 1.0
        wide = self._directions * self.features
        return run.masks[run.node.name][:, :, (layer - 1) * wide : layer * wide]

    def _over(
        self, run: Evaluation, one: Run, x: Array, given: list[Array]
    ) -> tuple[Array, list[_Step]]:
        """Go over all steps of one layer in one direction."""
        p, zeros = run.parameters, np.zeros((len(x), self.features), x.dtype)
        states: States = tuple(
            given[i].reshape(len(x), -1, self.features)[:, one.at] if i < len(given) else zeros
            for i in range(len(self.state_names))
        )
        out, steps = np.empty((*x.shape[:2], self.features), x.dtype), []
        for t in range(x.shape[1])[:: -1 if one.reverse else 1]:
            pre = x[:, t] @ p[f"weight_ih_{one.suffix}"].T
            add = states[0] @ p[f"weight_hh_{one.suffix}"].T
            if self.bias:
                pre, add = pre + p[f"bias_ih_{one.suffix}"], add + p[f"bias_hh_{one.suffix}"]
            steps.append(_Step(x[:, t], pre, add, states))
            states = self.step(pre, add, states)
            out[:, t] = states[0]
        return out, steps

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The same steps backward."""
        value, *given = x
        _, kept = self._all(run, *x)
        dgiven = [np.zeros_like(state) for state in given]
        for layer in reversed(range(self.layers)):
            sides = np.split(dy, self._directions, axis=2)
            dy = np.zeros((*value.shape[:2], kept[layer][0][0].x.shape[1]), value.dtype)
            for one, steps, dside in zip(self._runs(layer), kept[layer], sides, strict=True):
                dy += self._over_backward(run, one, steps, dside, dgiven)
            if layer:
                dy = dy * self._mask(run, layer)
        return (dy, *dgiven)

    def _over_backward(
        self, run: Evaluation, one: Run, steps: list[_Step], dy: Array, dgiven: list[Array]
    ) -> Array:
        """Return the gradient of one layer's input in one direction."""
        p, g = run.parameters, run.gradients
        names = [
            f"{what}_{kind}_{one.suffix}" for what in ("weight", "bias") for kind in ("ih", "hh")
        ]
        w_ih, w_hh, b_ih, b_hh = names
        g[w_ih], g[w_hh] = np.zeros_like(p[w_ih]), np.zeros_like(p[w_hh])
        if self.bias:
            g[b_ih], g[b_hh] = np.zeros_like(p[b_ih]), np.zeros_like(p[b_hh])
        dx = np.empty((*dy.shape[:2], steps[0].x.shape[1]), dy.dtype)
        order = range(len(steps))[:: -1 if one.reverse else 1]
        dstates: States = tuple(np.zeros_like(state) for state in steps[0].states)
        for t, step in zip(reversed(order), reversed(steps), strict=True):
            dstates = (dstates[0] + dy[:, t], *dstates[1:])
            dpre, dadd, (dh, *rest) = self.step_backward(dstates, step.pre, step.add, step.states)
            g[w_ih] += dpre.T @ step.x
            g[w_hh] += dadd.T @ step.states[0]
            if self.bias:
                g[b_ih] += dpre.sum(axis=0)
                g[b_hh] += dadd.sum(axis=0)
            dx[:, t] = dpre @ p[w_ih]
            dstates = (dh + dadd @ p[w_hh], *rest)
        for dstate, target in zip(dstates, dgiven, strict=False):
            target.reshape(len(dy), -1, self.features)[:, one.at] = dstate
        return dx

    # -- lowering

    def loop(self, to: Lowering, one: Run, pre: Buffer, out: Buffer) -> None:
        """Append the kernel that goes over all steps; what backward reads goes to `to.saved`."""
        raise NotImplementedError

    def loop_backward(
        self, to: Lowering, one: Run, dy: Buffer, dpre: Buffer, dstates: list[Buffer | None]
    ) -> Buffer:
        """Append the kernel that goes back over them; return the gradient of what the states add."""
        raise NotImplementedError

    def first_states(self, to: Lowering) -> list[Buffer | None]:
        """Return the states that the layer was given, None for those that begin at zero."""
        given: list[Buffer | None] = list(to.x[1:])
        return given + [None] * (len(self.state_names) - len(given))

    def saved(self, to: Lowering, one: Run, name: str, gates: int = 1) -> Buffer:
        """Return a new array (T, gates features) that backward finds in `to.saved`."""
        buffer = to.buffer(f"{name}_{one.suffix}", (to.x_shapes[0][0], gates * self.features))
        to.saved[f"{name}_{one.suffix}"] = buffer
        return buffer

    def lower(self, to: Lowering) -> None:
        """For each layer and direction a matrix product over all steps, and a loop over them."""
        steps, wide = to.x_shapes[0][0], self._directions * self.features
        value = to.x[0]
        if self._drops(to):
            mask = to.buffer("mask", (steps, (self.layers - 1) * wide))
            to.saved["mask"] = mask
            to.call("dropout.sample_mask", to.rng, mask, writes=[mask], p=self.dropout)
        for layer in range(self.layers):
            if layer and self._drops(to):
                dropped = to.buffer(f"dropped_l{layer}", (steps, wide))
                self._drop(to, layer, value, dropped)
                value = dropped
            to.saved[f"x_l{layer}"] = value
            last = layer == self.layers - 1
            out = to.out if last else to.buffer(f"out_l{layer}", (steps, wide))
            sides = []
            for one in self._runs(layer):
                pre = to.buffer(f"pre_{one.suffix}", (steps, self.gates * self.features))
                bias = to.parameter(f"bias_ih_{one.suffix}")
                to.call(
                    "linear.forward", value, to.parameter(f"weight_ih_{one.suffix}"), bias, pre,
                    to.scratch, writes=[pre], scratch=to.needs("linear.scratch_size", (pre.shape,)),
                )  # fmt: skip
                side = to.buffer(f"h_{one.suffix}", (steps, self.features))
                sides.append(side if self.bidirectional else out)
                to.saved[f"h_{one.suffix}"] = sides[-1]
                self.loop(to, one, pre, sides[-1])
            if self.bidirectional:
                to.call("recurrent.join", *sides, out, writes=[out])
            value = out

    def _drops(self, to: Lowering) -> bool:
        return to.training and self.layers > 1 and self.dropout > 0

    def _drop(self, to: Lowering, layer: int, x: Buffer, out: Buffer) -> None:
        start = (layer - 1) * self._directions * self.features
        to.call("recurrent.drop", x, to.saved["mask"], out, writes=[out], start=start)

    def lower_backward(self, to: Lowering) -> None:
        """The same backward: the loop, then the products that give the gradients of weights."""
        dy, ends = to.dy, self._state_gradients(to)
        for layer in reversed(range(self.layers)):
            x, parts = to.saved[f"x_l{layer}"], []
            sides = self._sides(to, layer, dy)
            for one, side in zip(self._runs(layer), sides, strict=True):
                dpre = to.buffer(f"dpre_{one.suffix}", (side.shape[0], self.gates * self.features))
                dadd = self.loop_backward(to, one, side, dpre, [end[one.at] for end in ends])
                self._weights(to, one, x, dpre, dadd)
                if layer or to.wanted[0]:
                    only = layer == 0 and not self.bidirectional
                    dx = to.gradient_buffer(0) if only else to.buffer(f"dx_{one.suffix}", x.shape)
                    weight = to.parameter(f"weight_ih_{one.suffix}")
                    to.call("linear.backward_input", dpre, weight, dx, writes=[dx])
                    parts.append(dx)
            if parts:
                dy = self._joined(to, layer, parts)
        if to.wanted[0]:
            to.gradient(0, dy)
        self._end_states(to, ends)

    def _sides(self, to: Lowering, layer: int, dy: Buffer) -> list[Buffer]:
        """Return the gradients of the directions of a layer, from that of both."""
        if not self.bidirectional:
            return [dy]
        shape = (dy.shape[0], self.features)
        sides = [to.buffer(f"dh_{one.suffix}", shape) for one in self._runs(layer)]
        to.call("recurrent.separate", dy, *sides, writes=sides)
        return sides

    def _weights(self, to: Lowering, one: Run, x: Buffer, dpre: Buffer, dadd: Buffer) -> None:
        """Append the products for the gradients of a layer's weights, and the sums for its biases."""
        before = to.saved[f"before_{one.suffix}"]
        for kind, given, gradient in (("ih", x, dpre), ("hh", before, dadd)):
            dweight = to.parameter_gradient(f"weight_{kind}_{one.suffix}")
            to.call("linear.backward_weight", given, gradient, dweight, writes=[dweight])
            if self.bias:
                dbias = to.parameter_gradient(f"bias_{kind}_{one.suffix}")
                to.call("linear.backward_bias", gradient, dbias, writes=[dbias])

    def _joined(self, to: Lowering, layer: int, parts: list[Buffer]) -> Buffer:
        """Return the gradient of a layer's input: the sum of both directions, behind the mask."""
        dx, drops = parts[0], bool(layer) and self._drops(to)
        if self.bidirectional:
            dx = to.buffer(f"dsum_l{layer}", dx.shape) if layer else to.gradient_buffer(0)
            a, b = parts
            to.elementwise(dx, Var("a") + Var("b"), a=a, b=b)
        if drops:
            dropped = to.buffer(f"ddropped_l{layer}", dx.shape)
            self._drop(to, layer, dx, dropped)
            dx = dropped
        return dx

    def _state_gradients(self, to: Lowering) -> list[list[Buffer | None]]:
        """Return, for each state, the array for the gradient of each layer's and direction's."""
        count = self.layers * self._directions
        ends: list[list[Buffer | None]] = []
        for i in range(1, 1 + len(self.state_names)):
            if i >= len(to.x) or not to.wanted[i]:
                ends.append([None] * count)
            elif count == 1:
                ends.append([to.gradient_buffer(i)])
            else:
                name, shape = self.state_names[i - 1], (self.features,)
                ends.append([to.buffer(f"d{name}0_{at}", shape) for at in range(count)])
        return ends

    def _end_states(self, to: Lowering, ends: list[list[Buffer | None]]) -> None:
        """Set the gradients of the first states."""
        for i, parts in enumerate(ends, 1):
            if parts[0] is None:
                continue
            whole = to.gradient_buffer(i)
            if len(parts) > 1:
                to.call("recurrent.stack", whole, *parts, writes=[whole])
            to.gradient(i, whole)

    # -- PyTorch

    def module_options(self) -> dict[str, object]:
        """Return the arguments of PyTorch's module that only this layer has."""
        return {}

    def torch(self, *inputs: Shape) -> Torch:
        """The first result of PyTorch's module."""
        options = {
            "num_layers": self.layers, "bias": self.bias, "batch_first": True,
            "dropout": self.dropout, "bidirectional": self.bidirectional, **self.module_options(),
        }  # fmt: skip
        defaults = {
            "num_layers": 1, "bias": True, "dropout": 0.0, "bidirectional": False,
            "nonlinearity": "tanh",
        }  # fmt: skip
        states = tuple(_in_front(i, shape) for i, shape in enumerate(inputs[1:], 1))
        given = (X(0), *([states[0] if len(states) == 1 else states] if states else []))
        module = Torch(
            self.module, (inputs[0][1], self.features), options, inputs=given, defaults=defaults
        )
        return Torch(ITEM, (module, 0))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Operators of ONNX, one above the other."""
        last = read.behind(read.root.inputs[0], "Transpose", cls.onnx_operator)
        if last is None:
            return
        found = [last]
        while len(found) < _MOST_LAYERS and (at := cls._below(read, found[0])) is not None:
            found.insert(0, at)
        begin = read.behind(found[0].inputs[0], "Transpose")
        if begin is not None:
            yield from cls._in_own_form(read, begin, found)
        suffixes = (found[count:] for count in range(len(found)))
        stored = (cls._as_stored(read, suffix) for suffix in suffixes)
        yield next((layer for layer in stored if layer is not None), None)
        if len(found) > 1:  # something else may read a layer below
            yield cls._as_stored(read, found[-1:])

    @classmethod
    def _below(cls, read: OnnxReader, operator: FileOperator) -> FileOperator | None:
        """Return the operator of the layer below. The axes go back to the batch first between them
        in some files.
        """
        x = operator.inputs[0]
        turned = read.behind(x, "Transpose", "Reshape")
        steps = None if turned is None else turned.inputs[0]
        return (
            read.behind(x, "Reshape", "Transpose", cls.onnx_operator)
            or read.behind(steps, "Transpose", cls.onnx_operator)
        )  # fmt: skip

    @classmethod
    def _in_own_form(
        cls, read: OnnxReader, begin: FileOperator, found: Sequence[FileOperator]
    ) -> Iterable[OnnxLayer | None]:
        """Yield the layer as this op writes it."""
        first = found[0]
        states = [cls._source_of_state(first.given(i)) for i in (5, 6)]
        inputs = [v for v in (begin.inputs[0], *states) if v is not None]
        for options in cls.onnx_variants(first):
            yield read.form(cls(**cls._onnx_attributes(found), **options), *inputs)

    @staticmethod
    def _onnx_attributes(found: Sequence[FileOperator]) -> dict[str, Any]:
        given = found[0].attributes
        return {
            "features": given.whole("hidden_size"),
            "layers": len(found),
            "bias": found[0].given(3) is not None,
            "bidirectional": given.text("direction") == "bidirectional",
        }

    @classmethod
    def _as_stored(cls, read: OnnxReader, found: Sequence[FileOperator]) -> OnnxLayer | None:
        """Return the layer with the weights that a file has in ONNX's order."""
        begin = read.behind(found[0].inputs[0], "Transpose")
        if begin is None or begin.attributes.ints("perm") != (1, 0, 2):
            return None
        if len({cls._onnx_kind(operator) for operator in found}) > 1:
            return None
        states = [cls._source_of_state(found[0].given(i)) for i in (5, 6)]
        if len(found) > 1 and any(operator.given(5) for operator in found):
            return None
        for options in cls.onnx_variants(found[0]):
            op = cls(**cls._onnx_attributes(found), **options)
            held: dict[str, Held] = {}
            for layer, operator in enumerate(found):
                if not op._is_plain_onnx(operator):
                    return None
                held |= op._onnx_held(read, layer, operator)
            inputs = (begin.inputs[0], *(v for v in states if v is not None))
            covers = Found({}, cls._onnx_chain(read.root, begin))
            return read.layer(op, *inputs, parameters=held, found=covers)
        return None

    @staticmethod
    def _onnx_chain(last: FileOperator, first: FileOperator) -> tuple[FileOperator, ...]:
        """Return the operators from the first to the last one, along their first inputs."""
        found = [last]
        while found[-1] is not first:
            x = found[-1].inputs[0]
            assert x is not None
            assert x.maker is not None
            found.append(x.maker)
        return tuple(found)

    @staticmethod
    def _onnx_kind(operator: FileOperator) -> tuple[Any, ...]:
        given = operator.attributes
        where = operator.metadata.get("pkg.torch.onnx.name_scopes", "")
        module = operator.name.rpartition("/")[0]
        size, way = given.whole("hidden_size"), given.text("direction")
        return (size, way, operator.given(3) is None, where, module)

    def _is_plain_onnx(self, operator: FileOperator) -> bool:
        """Whether an operator does nothing that this op does not."""
        given, own = operator.attributes, self.onnx_options()
        names = ("layout", "input_forget", "linear_before_reset")
        if any(given.whole(name) != own.get(name, 0) for name in names) or given.real("clip"):
            return False
        usual = self.onnx_activations * (2 if self.bidirectional else 1)
        functions = given.texts("activations")
        return operator.given(4) is None and functions in ((), own.get("activations", usual))

    def _onnx_held(self, read: OnnxReader, layer: int, operator: FileOperator) -> dict[str, Held]:
        """Return the parameters of a layer, with the gates in the order of this op."""
        found: dict[str, Held] = {}
        runs, gates = self._runs(layer), len(self.onnx_gates)
        for i, kind in enumerate(("ih", "hh")):
            value, bias = operator.inputs[1 + i], operator.given(3)
            for names, whole in ((f"weight_{kind}", value), (f"bias_{kind}", bias)):
                array = read.array(whole)
                if whole is None or array is None:
                    continue
                if names.startswith("bias"):
                    array = np.split(array, 2, axis=1)[i]
                for run, part in zip(runs, array, strict=True):
                    pieces = np.split(part, gates)
                    order = sorted(range(gates), key=lambda g: self.onnx_gates[g])
                    found[f"{names}_{run.suffix}"] = Held(
                        whole, np.concatenate([pieces[g] for g in order])
                    )
        return found

    @classmethod
    def onnx_variants(cls, operator: FileOperator) -> Iterable[dict[str, Any]]:
        """Yield the attributes that only this layer has, for an operator of a file."""
        yield {}

    @staticmethod
    def _source_of_state(value: FileValue | None) -> FileValue | None:
        """Return the first state of which a layer gets its part."""
        for operator in ("Slice", "Transpose", "Unsqueeze"):
            maker = None if value is None else value.maker
            if maker is not None and maker.operator == operator:
                value = maker.inputs[0]
        return value

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """One operator for each layer, with both directions; steps are its first axis."""
        states = [self._onnx_states(to, i) for i in range(1, len(to.x))]
        value = to("Transpose", to.x[0], perm=(1, 0, 2))
        for layer in range(self.layers):
            runs = self._runs(layer)
            places = runs[0].at, runs[-1].at + 1
            first = [to.part(state, 0, *places) for state in states]
            weights = [self._onnx_joined(to, runs, "weight", kind) for kind in ("ih", "hh")]
            bias = self._onnx_bias(to, runs) if self.bias else None
            found = to(
                self.onnx_operator, value, *weights, bias, None, *first,
                hidden_size=self.features, direction="bidirectional" if len(runs) > 1 else "forward",
                **self.onnx_options(),
            )  # fmt: skip
            if layer < self.layers - 1:  # (T, directions, N, H)
                turned = to("Transpose", found, perm=(0, 2, 1, 3))
                value = to("Reshape", turned, to.ints(0, 0, len(runs) * self.features))
        return to.reshaped(to("Transpose", found, perm=(2, 0, 1, 3)), to.shape)

    def onnx_options(self) -> dict[str, OnnxAttribute]:
        """Return the attributes of ONNX's operator that only this layer has."""
        return {}

    def _onnx_states(self, to: OnnxForm, index: int) -> OnnxValue:
        """Return a first state as (layers times directions, N, H)."""
        if len(to.x_shapes[index]) == 1:
            return to("Unsqueeze", to.x[index], to.ints(0))
        return to("Transpose", to.x[index], perm=(1, 0, 2))

    def _onnx_bias(self, to: OnnxForm, runs: list[Run]) -> OnnxValue:
        """Return (directions, 2 gates H)."""
        both = [self._onnx_joined(to, runs, "bias", kind) for kind in ("ih", "hh")]
        return to("Concat", *both, axis=1)

    def _onnx_joined(self, to: OnnxForm, runs: list[Run], what: str, kind: str) -> OnnxValue:
        """Return a parameter of all directions, with the gates in ONNX's order."""
        sides = []
        for run in runs:
            parameter = to.parameters[f"{what}_{kind}_{run.suffix}"]
            if len(self.onnx_gates) > 1:
                gates = to.split(parameter, len(self.onnx_gates), axis=0)
                parameter = to("Concat", *(gates[i] for i in self.onnx_gates), axis=0)
            sides.append(to("Unsqueeze", parameter, to.ints(0)))
        return to("Concat", *sides, axis=0) if len(sides) > 1 else sides[0]


def logistic(a: Array) -> Array:
    """Return 1 / (1 + exp(-a)), without overflow."""
    y: Array = 0.5 * np.tanh(0.5 * a) + 0.5
    return y


def _in_front(index: int, shape: Shape) -> Torch:
    """Return a state with the axis of layers in front of the batch, as PyTorch takes it."""
    if len(shape) == 1:
        return Torch("torch.unsqueeze", (X(index), 0))
    return Torch("torch.Tensor.contiguous", (Torch("torch.transpose", (X(index), 0, 1)),))
