"""A compiled net with its parameters: forward, loss, gradients, state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Parameter
from netspec.compiler.ir.initializers import draw
from netspec.compiler.passes.bind_sizes import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.diagnostics import NetspecError
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.models.classifier_shape import (
    class_count,
    image_shape,
    require_training_batch,
    scores_output,
)
from netspec.runtime.models.numpy_steps import numpy_training
from netspec.runtime.models.predictor import Predictor
from netspec.runtime.models.protocols import Backend, Job
from netspec.runtime.optim.losses import Loss, make_loss
from netspec.runtime.weights.legacy_names import fit_state
from netspec.runtime.weights.safetensors_file import check_tensors

Array = NDArray[Any]

# Weights that the L2 term is added for at a time.
L2_BLOCK = 1 << 14

DTYPES = {"float32": np.float32, "float64": np.float64}


def draw_parameter(parameter: Parameter, seed: int) -> NDArray[np.float64]:
    """The initial values of a parameter, in float64; see `draw`."""
    return draw(parameter.name, parameter.shape, parameter.initializer, seed)


class Model:
    """A net compiled to NumPy, with parameters drawn from a seed.

    All trained parameters live in one vector, weights (on which L2 acts) first; `parameters` holds
    views of it by name, and the buffers and what is frozen, which are arrays of their own.
    """

    def __init__(self, graph: Graph, *, dtype: str = "float32", seed: int = 0) -> None:
        if dtype not in DTYPES:
            raise NetspecError.simple(
                codes.MODEL_DTYPE, f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}"
            )
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise NetspecError.simple(
                codes.MODEL_SEED, f"seed must be a whole number, not {seed!r}"
            )
        self.graph = graph
        self.dtype: np.dtype[Any] = np.dtype(DTYPES[dtype])
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.frozen: frozenset[str] = frozenset()
        self._lay_out()
        for parameter in graph.parameters.values():
            self.parameters[parameter.name][...] = draw_parameter(parameter, seed)
        self._rng = np.random.default_rng([seed, 1])
        self._open = open_sizes(graph)
        self._programs: dict[tuple[bool, bool, tuple[tuple[str, int], ...]], Program] = {}

    def _lay_out(self) -> None:
        moved = [p for p in self.graph.trainable() if p.name not in self.frozen]
        trained = sorted(moved, key=lambda p: p.role != "weight")
        size = sum(p.size for p in trained)
        self.flat_parameters: Array = np.zeros(size, self.dtype)
        self.flat_gradients: Array = np.zeros(size, self.dtype)
        self._l2_scratch: Array = np.empty(L2_BLOCK, self.dtype)
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
            if p.name in views:
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
        return image_shape(self.graph)

    @property
    def classes(self) -> int:
        """How many scores the loss reads for an image."""
        return class_count(self.graph)

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

    def scores(self, x: ArrayLike) -> Array:
        """What the loss reads of a batch (N, classes), in evaluation mode."""
        outputs = self._run_forward(x, training=False, backward=False)[2]
        return outputs[scores_output(self.graph)].copy()

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
        value = chosen.value(outputs[scores_output(self.graph)], np.asarray(y))
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
        scores = scores_output(self.graph)
        for name, buffer in program.plan.output_gradients.items():
            if name != scores:
                buffers[buffer.name].fill(0)
        dscores = buffers[program.plan.output_gradients[scores].name]
        value = loss.value_and_gradient(outputs[scores], np.asarray(y), dscores)
        program.backward(buffers, self.parameters, self.gradients)
        if l2:
            self._add_l2(self.dtype.type(l2))
        return value + self._penalty(l2)

    def _add_l2(self, l2: np.floating[Any]) -> None:
        """Add `l2 * weights` to the gradients, a block that stays in the cache at a time."""
        for start in range(0, self.decayed, L2_BLOCK):
            part = slice(start, min(start + L2_BLOCK, self.decayed))
            product = self._l2_scratch[: part.stop - start]
            np.multiply(self.flat_parameters[part], l2, out=product)
            self.flat_gradients[part] += product

    def reseed(self, seed: int) -> None:
        """Start the random numbers of dropout anew."""
        self._rng = np.random.default_rng([seed, 1])

    @property
    def random_state(self) -> dict[str, Any]:
        """Where the random numbers of dropout stand, as plain data; may be set to what it gave."""
        return dict(self._rng.bit_generator.state)

    @random_state.setter
    def random_state(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = dict(state)

    def _penalty(self, l2: float) -> float:
        if not l2:
            return 0.0
        weights = self.flat_parameters[: self.decayed]
        return 0.5 * l2 * float(np.dot(weights, weights))

    def _program(self, arrays: Mapping[str, Array], *, training: bool, backward: bool) -> Program:
        """The program for a batch; a net that leaves sizes open has one for each picture size."""
        sizes = self._sizes(arrays)
        key = (training, backward, tuple(sizes.items()))
        if key not in self._programs:
            graph = self.sized(arrays)
            plan = make_plan(graph, training=training, backward=backward, frozen=self.frozen)
            self._programs[key] = Program(graph, plan, self.dtype, replays=True)
        return self._programs[key]

    def _sizes(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """The numbers of the sizes that the net leaves open."""
        if not self._open:
            return {}
        return match_sizes(self.graph, {n: a.shape[1:] for n, a in arrays.items()}) or {}

    def sized(self, arrays: Mapping[str, Array]) -> Graph:
        """The graph for pictures of the size of these, where the net leaves sizes open."""
        sizes = self._sizes(arrays)
        return specialize(self.graph, sizes) if sizes else self.graph

    def _run_forward(
        self, x: ArrayLike | Mapping[str, ArrayLike], *, training: bool, backward: bool
    ) -> tuple[Program, dict[str, Array], dict[str, Array]]:
        """Run a forward pass; gives the program, its buffers and the outputs among them."""
        arrays = self.check_inputs(x)
        program = self._program(arrays, training=training, backward=backward)
        batch = len(next(iter(arrays.values())))
        if program.plan.training:
            require_training_batch(self.graph, batch)
        buffers = program.bind(batch)
        for name, buffer in program.plan.inputs.items():
            # Into an array that stays: what runs on the same arrays can be recorded.
            np.copyto(buffers[buffer.name], arrays[name])
        program.sample(buffers, self._rng)
        program.forward(buffers, self.parameters)
        outputs = {name: buffers[b.name] for name, b in program.plan.outputs.items()}
        return program, buffers, outputs

    def predictor(self) -> Predictor:
        """What answers with the parameters as they are now, faster than `forward` for few images."""
        return Predictor(self)

    def check_inputs(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """A batch as contiguous arrays of the model's type, by the name of the input.

        Raises:
            NetspecError: `model/inputs`, `model/input-shape`, `model/input-type`.
        """
        wanted = self.graph.inputs
        given = (
            x
            if isinstance(x, Mapping)
            else {"one array" if len(wanted) > 1 else next(iter(wanted)): x}
        )
        if set(given) != set(wanted):
            raise NetspecError.simple(
                codes.MODEL_INPUTS,
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
                    codes.MODEL_INPUT_SHAPE,
                    f"`{name}` must be of shape [{expected}], not {list(array.shape)}",
                )
            if array.dtype.kind not in "fiub":
                raise NetspecError.simple(
                    codes.MODEL_INPUT_TYPE, f"`{name}` must hold numbers, not {array.dtype}"
                )
            arrays[name] = np.ascontiguousarray(array, self.dtype)
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise NetspecError.simple(codes.MODEL_INPUTS, f"batches of different sizes: {sizes}")
        return arrays

    # -- state

    def state_dict(self) -> dict[str, Array]:
        """Every parameter and buffer by its name, copied, in the order of the file."""
        return {name: array.copy() for name, array in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take parameters and buffers from a dict that names each of them.

        Names of older published checkpoints count as the newer ones, and the counters of batch norm,
        which those lack, may be missing.

        Raises:
            NetspecError: `weights/mismatch` naming every missing, unexpected or wrongly shaped one.
        """
        expected = {name: p.shape for name, p in self.graph.parameters.items()}
        fitted, needed = fit_state(state, expected)
        arrays = {name: np.asarray(value) for name, value in fitted.items()}
        check_tensors(arrays, needed)
        for name, array in arrays.items():
            self.parameters[name][...] = array

    # -- training

    def step_bytes(self, batch: int, evaluated: int) -> int:
        """The memory that training steps of `batch` images, and accuracies of `evaluated`, take.

        Of a net of one input whose sizes are known.
        """
        sizes = {name: np.empty((0, *shape)) for name, shape in self.graph.inputs.items()}
        train = self._program(sizes, training=True, backward=True)
        measure = self._program(sizes, training=False, backward=False)
        return train.needed_bytes(batch) + measure.needed_bytes(evaluated)

    def training(self, job: Job) -> AbstractContextManager[Backend]:
        """What `netspec.fit` takes steps with."""
        return numpy_training(self, job)

    def freeze(self, names: Collection[str]) -> None:
        """Train without these parameters: they get no gradient, no L2, no update.

        A layer whose trained parameters are all frozen runs as in evaluation, so that a batch
        norm normalises with its running statistics and leaves them alone. Calling it again says
        anew what is frozen.

        Args:
            names: of parameters and buffers, as `netspec.runtime.training.transfer.choose_frozen` gives.
        """
        values = self.state_dict()
        self.frozen = frozenset(names)
        self.gradients = {}
        self._lay_out()
        self._programs = {}
        self.load_state_dict(values)
