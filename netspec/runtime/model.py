"""A compiled net with its parameters: forward, loss, gradients, state."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.compiler.graph import Graph, Parameter
from netspec.compiler.passes.specialize import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.diagnostics import NetspecError
from netspec.runtime.executor import Program, make_plan
from netspec.runtime.losses import Loss, make_loss
from netspec.runtime.weights import check_tensors

Array = NDArray[Any]

DTYPES = {"float32": np.float32, "float64": np.float64}


def draw_parameter(parameter: Parameter, seed: int) -> NDArray[np.float64]:
    """The initial values of a parameter, in float64.

    Each parameter has a random stream of its own, from the seed and its name: changing one layer
    leaves the others' initial values alone, and every backend starts from the same ones.
    """
    rng = np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])
    return parameter.initializer.sample(rng, parameter.shape)


class Model:
    """A net compiled to NumPy, with parameters drawn from a seed.

    All trained parameters live in one vector, weights (on which L2 acts) first; `parameters` holds
    views of it by name, and of the buffers, which are arrays of their own.
    """

    def __init__(self, graph: Graph, *, dtype: str = "float32", seed: int = 0) -> None:
        if dtype not in DTYPES:
            raise NetspecError.simple(
                "model/dtype", f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}"
            )
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise NetspecError.simple("model/seed", f"seed must be a whole number, not {seed!r}")
        self.graph = graph
        self.dtype: np.dtype[Any] = np.dtype(DTYPES[dtype])
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self._lay_out()
        for parameter in graph.parameters.values():
            self.parameters[parameter.name][...] = draw_parameter(parameter, seed)
        self._rng = np.random.default_rng([seed, 1])
        self._open = open_sizes(graph)
        self._programs: dict[tuple[bool, bool, tuple[tuple[str, int], ...]], Program] = {}

    def _lay_out(self) -> None:
        trained = sorted(self.graph.trainable(), key=lambda p: p.role != "weight")
        size = sum(p.size for p in trained)
        self.flat_parameters: Array = np.zeros(size, self.dtype)
        self.flat_gradients: Array = np.zeros(size, self.dtype)
        self.decayed = sum(p.size for p in trained if p.role == "weight")
        offset = 0
        views: dict[str, tuple[Array, Array]] = {}
        for p in trained:
            part = slice(offset, offset + p.size)
            offset += p.size
            views[p.name] = (
                self.flat_parameters[part].reshape(p.shape),
                self.flat_gradients[part].reshape(p.shape),
            )
        for p in self.graph.parameters.values():  # in the order of the file
            if p.trainable:
                self.parameters[p.name], self.gradients[p.name] = views[p.name]
            else:
                dtype = np.dtype(np.int64) if p.role == "counter" else self.dtype
                self.parameters[p.name] = np.zeros(p.shape, dtype)

    # -- what it is

    def __repr__(self) -> str:
        return f"<netspec.Model {self.graph.name} {self.dtype}, {self.flat_parameters.size:,} parameters>"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, for a net with one input."""
        shapes = list(self.graph.inputs.values())
        if len(shapes) != 1:
            raise NetspecError.simple(
                "model/inputs", f"{self.graph.name} has {len(shapes)} inputs; this needs one"
            )
        if self._open:
            names = sorted(self._open)
            raise NetspecError.simple(
                "model/open-size",
                f"{self.graph.name} leaves the size of its input open",
                "give it: " + " ".join(f"--set {name}=..." for name in names),
            )
        return shapes[0]

    @property
    def classes(self) -> int:
        """How many scores the loss reads for an image."""
        shape = self.graph.shape_of(self.graph.outputs[self._scores()])
        if len(shape) != 1:
            raise NetspecError.simple(
                "model/scores",
                f"the output of {self.graph.name} is [N, {', '.join(map(str, shape))}];"
                " a loss over classes needs [N, classes]",
            )
        return shape[0]

    def _scores(self) -> str:
        """The output that the loss reads."""
        names = list(self.graph.outputs)
        if len(names) > 1 and "output" not in names:
            raise NetspecError.simple(
                "model/outputs",
                f"{self.graph.name} has the outputs {', '.join(names)}; a loss needs one",
                "leave the name of the output that is trained away",
            )
        return "output" if "output" in names else names[0]

    # -- running

    def forward(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """The outputs of a batch in evaluation mode.

        Args:
            x: an array (N, C, H, W) or (N, F), or a dict of them for a net of several inputs.

        Returns:
            An array of the output's shape with N in front; a dict of them for several outputs.

        Raises:
            NetspecError: `model/input-shape` if the shape does not fit.
        """
        outputs = self._run_forward(x, training=False, backward=False)[2]
        copies = {name: array.copy() for name, array in outputs.items()}
        return copies if len(copies) > 1 else next(iter(copies.values()))

    __call__ = forward

    def loss(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: Loss | str = "softmax",
        training: bool = False,
    ) -> float:
        """The mean loss of a batch, with `l2 / 2 * sum(W^2)` over the weights added.

        Args:
            x: as for `forward`.
            y: labels (N,), whole numbers below `classes`.
            l2: the L2 coefficient.
            loss: a loss or its name.
            training: with batch statistics and dropout (buffers are updated), or without.
        """
        outputs = self._run_forward(x, training=training, backward=False)[2]
        chosen = make_loss(loss) if isinstance(loss, str) else loss
        value = chosen.value(outputs[self._scores()], np.asarray(y))
        return value + self._penalty(l2)

    def loss_and_grads(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: Loss | str = "softmax",
        training: bool = True,
        copy: bool = True,
    ) -> tuple[float, dict[str, Array]]:
        """The mean loss of a batch and its gradients by parameter name.

        The gradients are the caller's to keep; with `copy=False` they are views that the next call
        overwrites.
        """
        chosen = make_loss(loss) if isinstance(loss, str) else loss
        value = self.gradients_(x, y, loss=chosen, l2=l2, training=training)
        grads = {name: g.copy() if copy else g for name, g in self.gradients.items()}
        return value, grads

    def gradients_(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        loss: Loss,
        l2: float = 0.0,
        training: bool = True,
    ) -> float:
        """Forward and backward in place: fills `flat_gradients`, gives the loss with its L2 term."""
        program, buffers, outputs = self._run_forward(x, training=training, backward=True)
        scores = self._scores()
        for name, buffer in program.plan.output_gradients.items():
            if name != scores:
                buffers[buffer.name].fill(0)
        dscores = buffers[program.plan.output_gradients[scores].name]
        value = loss.value_and_gradient(outputs[scores], np.asarray(y), dscores)
        program.backward(buffers, self.parameters, self.gradients)
        if l2:
            weights = self.flat_parameters[: self.decayed]
            self.flat_gradients[: self.decayed] += self.dtype.type(l2) * weights
        return value + self._penalty(l2)

    def reseed(self, seed: int) -> None:
        """Start the random numbers of dropout anew."""
        self._rng = np.random.default_rng([seed, 1])

    def _penalty(self, l2: float) -> float:
        if not l2:
            return 0.0
        weights = self.flat_parameters[: self.decayed]
        return 0.5 * l2 * float(np.dot(weights, weights))

    def _program(self, arrays: Mapping[str, Array], *, training: bool, backward: bool) -> Program:
        """The program for a batch; a net that leaves sizes open has one for each picture size."""
        sizes: dict[str, int] = {}
        if self._open:
            sizes = match_sizes(self.graph, {n: a.shape[1:] for n, a in arrays.items()}) or {}
        key = (training, backward, tuple(sizes.items()))
        if key not in self._programs:
            graph = specialize(self.graph, sizes) if sizes else self.graph
            plan = make_plan(graph, training=training, backward=backward)
            self._programs[key] = Program(graph, plan, self.dtype)
        return self._programs[key]

    def _run_forward(
        self, x: ArrayLike | Mapping[str, ArrayLike], *, training: bool, backward: bool
    ) -> tuple[Program, dict[str, Array], dict[str, Array]]:
        """Run a forward pass; gives the program, its buffers and the outputs among them."""
        arrays = self._check_inputs(x)
        program = self._program(arrays, training=training, backward=backward)
        batch = len(next(iter(arrays.values())))
        if program.plan.training:
            self._check_training_batch(batch)
        buffers = program.bind(batch)
        for name, buffer in program.plan.inputs.items():
            buffers[buffer.name] = arrays[name]
        program.sample(buffers, self._rng)
        program.forward(buffers, self.parameters)
        outputs = {name: buffers[b.name] for name, b in program.plan.outputs.items()}
        return program, buffers, outputs

    def _check_inputs(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        wanted = self.graph.inputs
        given = (
            x
            if isinstance(x, Mapping)
            else {"one array" if len(wanted) > 1 else next(iter(wanted)): x}
        )
        if set(given) != set(wanted):
            raise NetspecError.simple(
                "model/inputs",
                f"{self.graph.name} has the inputs {', '.join(wanted)},"
                f" and got {', '.join(map(str, given)) or 'none'}",
                "give a dict of arrays by these names" if len(wanted) > 1 else None,
            )
        arrays = {}
        for name, shape in wanted.items():
            array = np.asarray(given[name])
            if array.ndim == 0:
                array = array.reshape(1)
            expected = ", ".join(["N", *map(str, shape)])
            if match_sizes_of(shape, array.shape[1:]) is None or len(array) == 0:
                raise NetspecError.simple(
                    "model/input-shape",
                    f"`{name}` must be of shape [{expected}], not {list(array.shape)}",
                )
            if array.dtype.kind not in "fiub":
                raise NetspecError.simple(
                    "model/input-type", f"`{name}` must hold numbers, not {array.dtype}"
                )
            arrays[name] = np.ascontiguousarray(array, self.dtype)
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise NetspecError.simple("model/inputs", f"batches of different sizes: {sizes}")
        return arrays

    def _check_training_batch(self, batch: int) -> None:
        for node in self.graph.nodes:
            least = node.op.least_training_batch(*self.graph.shapes_into(node))
            if batch < least:
                raise NetspecError.simple(
                    "model/batch",
                    f"`{node.name}` ({node.op.name}) needs a batch of at least {least} to train on",
                    "one value a channel has no variance",
                )

    # -- state

    def state_dict(self) -> dict[str, Array]:
        """Every parameter and buffer by its name, copied, in the order of the file."""
        return {name: array.copy() for name, array in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take parameters and buffers from a dict that names each of them.

        Raises:
            NetspecError: `weights/mismatch` naming every missing, unexpected or wrongly shaped one.
        """
        arrays = {name: np.asarray(value) for name, value in state.items()}
        check_tensors(arrays, {name: p.shape for name, p in self.graph.parameters.items()})
        for name, array in arrays.items():
            self.parameters[name][...] = array
