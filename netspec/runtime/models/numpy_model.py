"""A compiled net with its parameters: forward, loss, gradients, state."""

from __future__ import annotations

import copy
import numbers
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Parameter
from netspec.compiler.ir.initializers import draw
from netspec.diagnostics import NetspecError
from netspec.fork_lock import ForkLock
from netspec.runtime.data.batches import batch_slices
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.engine.memory import Buffers
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.recent import Recent
from netspec.runtime.models.activations import activations
from netspec.runtime.models.classifier_shape import (
    image_shape,
    label_count,
    require_training_batch,
    require_training_batches,
    scores_output,
)
from netspec.runtime.models.continuing import Continued, continued
from netspec.runtime.models.elsewhere import no_attribute
from netspec.runtime.models.engines import Engine, NumpyEngine
from netspec.runtime.models.evaluation import (
    Evaluation,
    Normalize,
    evaluate_part,
    predicted,
)
from netspec.runtime.models.fixed_arrays import FixedArrays, write
from netspec.runtime.models.generation import SAMPLING, Sampling, generate
from netspec.runtime.models.history import History
from netspec.runtime.models.inputs import Inputs, require_real_input
from netspec.runtime.models.loaded_state import fitted_state
from netspec.runtime.models.numpy_continuing import NumpyArrays, program_of
from netspec.runtime.models.numpy_steps import numpy_training
from netspec.runtime.models.odd_pixels import warn_of_bytes
from netspec.runtime.models.predictor import Predictor
from netspec.runtime.models.protocols import Backend, Job
from netspec.runtime.models.room import require_room_for_parameters
from netspec.runtime.optim.losses import AnyLoss, Loss, OutputLoss, chosen_loss
from netspec.runtime.optim.members import L2Term, Member
from netspec.runtime.weights.data_facts import TrainedOn
from netspec.runtime.weights.safetensors_file import Weights

if TYPE_CHECKING:
    from netspec.compiler.onnx_backend import OnnxOptions

Array = NDArray[Any]

DTYPES = {"float32": np.float32, "float64": np.float64}


def draw_parameter(parameter: Parameter, seed: int) -> NDArray[np.float64]:
    """Return the initial values of a parameter, in float64; see `draw`."""
    return draw(parameter.name, parameter.shape, parameter.initializer, seed)


# For how many picture sizes programs are kept, if the net has open sizes.
REMEMBERED = 8

# What a copy rebuilds from the rest.
_DERIVED = (
    "_parameters",
    "_gradients",
    "members",
    "_l2",
    "_inputs",
    "_programs",
    "_continuing",
    "_one_at_a_time",
)


class Model:
    """A net compiled to NumPy or to machine code, with parameters drawn from a seed.

    All trained parameters are in one vector, beginning with the weights (on which L2 acts); `members`
    says where each lies.
    `parameters` has views of it by name, and also the buffers and the frozen parameters, which are
    separate arrays.

    Threads: `forward`, `scores`, `loss` and `loss_and_grads` may be called by several threads at a
    time, and give each the same result as if it were alone. Forward passes in evaluation mode run
    in parallel, each in memory of its own; a call that changes the model (a pass in training mode)
    or fills `gradients` waits for its turn. While one thread changes the parameters, by `fit`, by
    an optimizer or directly, others must not use the model. A forked process may use it, and it can
    be pickled.

    Copies: `copy.copy`, `copy.deepcopy` and `pickle` give a model with a vector of its own, which
    is trained independently. Its random numbers for dropout continue where those of the original
    were.

    Args:
        graph: the net.
        dtype: `float32` or `float64`.
        seed: of the initial values.
        engine: what computes; NumPy by default.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        dtype: str = "float32",
        seed: int = 0,
        engine: Engine | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise NetspecError.simple(
                codes.MODEL_DTYPE, f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}"
            )
        whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
        if not whole or seed < 0:
            raise NetspecError.simple(
                codes.MODEL_SEED, f"seed must be a whole number, not {seed!r}"
            )
        self.graph = graph
        self.dtype: np.dtype[Any] = np.dtype(DTYPES[dtype])
        require_room_for_parameters(graph, self.dtype.itemsize, copies=2)  # and their gradients
        self.frozen: frozenset[str] = frozenset()
        self.trained_on: TrainedOn | None = None
        self.arguments: Mapping[str, object] = {}
        self.history: History | None = None
        self._engine: Engine = NumpyEngine() if engine is None else engine
        self._allot()
        for parameter in graph.parameters.values():
            self._parameters[parameter.name][...] = draw_parameter(parameter, seed)
        self._rng = np.random.default_rng([seed, 1])

    def _allot(self) -> None:
        """Allocate the parameters and everything derived from them."""
        size = sum(p.size for p in self.graph.trainable() if p.name not in self.frozen)
        self._flat_parameters: Array = np.zeros(size, self.dtype)
        self._flat_gradients: Array = np.zeros(size, self.dtype)
        self._lay_out({})

    def _lay_out(self, apart: Mapping[str, Array]) -> None:
        """Make views of the two vectors by name; `apart` has existing arrays outside of them."""
        moved = [p for p in self.graph.trainable() if p.name not in self.frozen]
        trained = sorted(moved, key=lambda p: p.role != "weight")
        ends = [*accumulate((p.size for p in trained), initial=0)]
        self.members = tuple(
            Member(p.name, slice(*bounds), p.shape, decay=float(p.role == "weight"))
            for p, bounds in zip(trained, pairwise(ends), strict=True)
        )
        views = {
            m.name: (
                self._flat_parameters[m.part].reshape(m.shape),
                self._flat_gradients[m.part].reshape(m.shape),
            )
            for m in self.members
        }
        parameters, gradients = dict[str, Array](), dict[str, Array]()
        for p in self.graph.parameters.values():  # in the order of the file
            if p.name in views:
                parameters[p.name], gradients[p.name] = views[p.name]
            elif p.name in apart:
                parameters[p.name] = apart[p.name]
            else:
                dtype = np.dtype(np.int64) if p.role == "counter" else self.dtype
                parameters[p.name] = np.zeros(p.shape, dtype)
        self._parameters, self._gradients = FixedArrays(parameters), FixedArrays(gradients)
        self._l2 = L2Term(self.members, self.dtype)
        self._inputs = Inputs(self.graph, self.dtype)
        self._programs: Recent[tuple[tuple[str, int], ...], _Programs] = Recent(REMEMBERED)
        self._continuing: Recent[object, Program] = Recent(REMEMBERED)
        self._one_at_a_time = ForkLock()

    # -- copies

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in _DERIVED}
        apart = {n: a for n, a in self._parameters.items() if n not in self._gradients}
        return {**state, "apart": apart}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lay_out(self.__dict__.pop("apart"))

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        memo[id(self.graph)] = self.graph  # a graph is immutable
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def __copy__(self) -> Model:
        return copy.deepcopy(self)

    if not TYPE_CHECKING:  # for mypy an attribute that is not there stays an error

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name)

    # -- what it is

    def __repr__(self) -> str:
        size = f"{self._flat_parameters.size:,} parameters"
        kind = "" if self.target == "numpy" else f" in {self.target.upper()}"
        return f"<netspec.Model {self.graph.name} {self.dtype}{kind}, {size}>"

    @property
    def target(self) -> str:
        """What it was compiled to: `numpy` or `c`."""
        return self._engine.target

    @property
    def parameters(self) -> dict[str, Array]:
        """Every parameter and buffer by name, as live views of `flat_parameters` or separate arrays.

        Assigning to a name writes into its array, after checking the shape and the type.
        """
        return self._parameters

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients of the trained parameters by name, as views of `flat_gradients`."""
        return self._gradients

    @property
    def flat_parameters(self) -> Array:
        """(P,), live: writing to it changes the model. Assigning an array copies it into this one."""
        return self._flat_parameters

    @flat_parameters.setter
    def flat_parameters(self, values: ArrayLike) -> None:
        if values is not self._flat_parameters:
            write(self._flat_parameters, values, "flat_parameters")

    @property
    def flat_gradients(self) -> Array:
        """(P,), the gradients of `flat_parameters`, filled by `loss_and_grads`."""
        return self._flat_gradients

    @flat_gradients.setter
    def flat_gradients(self, values: ArrayLike) -> None:
        if values is not self._flat_gradients:
            write(self._flat_gradients, values, "flat_gradients")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, for a net with one input."""
        return image_shape(self.graph)

    @property
    def classes(self) -> int:
        """The number of classes that the loss reads scores of."""
        return label_count(self.graph)

    # -- running

    def forward(self, x: ArrayLike | Mapping[str, ArrayLike], *, training: bool = False) -> Any:
        """Return the outputs of a batch.

        Args:
            x: an array (N, C, H, W) or (N, F), or a dict of arrays for a net with several inputs.
            training: whether to use batch statistics and dropout, which updates the buffers.

        Returns:
            An array of the output's shape, preceded by N; a dict of arrays if there are several
            outputs.

        Raises:
            NetspecError: `model/input-shape` if the shape does not fit.
        """
        warn_of_bytes(self.trained_on, x)
        with self._turn(training), self._run(x, Needs(training)) as pass_:
            copies = {name: array.copy() for name, array in pass_.outputs.items()}
        return copies if len(copies) > 1 else next(iter(copies.values()))

    __call__ = forward

    def scores(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Array:
        """Return the scores (N, ...) of a batch that the loss reads, in evaluation mode.

        As `forward`, it takes `x` normalised as in training; `predict` and `evaluate` take data as
        they are stored, and normalise them.
        """
        warn_of_bytes(self.trained_on, x)
        with self._run(x, Needs()) as pass_:
            return pass_.outputs[scores_output(self.graph)].copy()

    def loss(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: AnyLoss = "softmax",
        training: bool = False,
    ) -> float:
        """Return the mean loss of a batch, plus `l2 / 2 * sum(W^2)` over the weights.

        Args:
            x: as for `forward`.
            y: labels (N,), integers below `classes`; or more for each image, as the loss says.
            l2: the L2 coefficient.
            loss: a loss, its name, or a function (see `OwnLoss`).
            training: whether to use batch statistics and dropout, which updates the buffers.
        """
        warn_of_bytes(self.trained_on, x)
        chosen = chosen_loss(loss)
        with self._turn(training), self._run(x, Needs(training)) as pass_:
            value = chosen.value(pass_.outputs[scores_output(self.graph)], np.asarray(y))
        return value + self._penalty(l2)

    def loss_and_grads(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: AnyLoss = "softmax",
        training: bool = True,
        copy: bool = True,
        inputs: bool = False,
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of a batch, and its gradients by parameter name.

        The gradients are copies; with `copy=False` they are views that the next call overwrites.

        Args:
            x: as for `forward`.
            y: as for `loss`.
            l2: the L2 coefficient.
            loss: as for `loss`.
            training: whether to use batch statistics and dropout, which updates the buffers.
            copy: whether the gradients are copies.
            inputs: whether to add the gradients with respect to the inputs, by their names: of the
                shape of `x`, and for `x` as it is given, normalised. Those of whole numbers have none.

        Raises:
            NetspecError: `model/input-type` for gradients of inputs that all hold whole numbers.
        """
        warn_of_bytes(self.trained_on, x)
        chosen = chosen_loss(loss)
        if inputs:
            require_real_input(self.graph)
        of_inputs: dict[str, Array] | None = {} if inputs else None
        with self._one_at_a_time.current:
            value = self.gradients_(
                x, y, loss=chosen, l2=l2, training=training, of_inputs=of_inputs
            )
            grads = {name: g.copy() if copy else g for name, g in self._gradients.items()}
        return value, {**grads, **(of_inputs or {})}

    def gradients_(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        loss: Loss,
        l2: float = 0.0,
        training: bool = True,
        also: Sequence[OutputLoss] = (),
        of_inputs: dict[str, Array] | None = None,
    ) -> float:
        """Run forward and backward: fills `flat_gradients` and returns the loss with its L2 term.

        The losses of further outputs are added. `of_inputs`, if it is given, gets the gradients of the
        inputs, by name.
        """
        scores = scores_output(self.graph)
        turn = self._one_at_a_time.current
        needs = Needs(training=training, backward=True, of_inputs=of_inputs is not None)
        with turn, self._run(x, needs) as pass_:
            program, buffers = pass_.program, pass_.buffers
            for name, buffer in program.plan.output_gradients.items():
                if name != scores:
                    buffers[buffer.name].fill(0)
            dscores = buffers[program.plan.output_gradients[scores].name]
            with as_ieee():
                value = loss.value_and_gradient(pass_.outputs[scores], np.asarray(y), dscores)
                for term in also:
                    slope = buffers[program.plan.output_gradients[term.output].name]
                    found = pass_.outputs[term.output]
                    one = term.loss.value_and_gradient(found, np.asarray(y), slope)
                    value += term.weight * one
                    slope *= term.weight
            program.backward(buffers, self._parameters, self._gradients)
            if of_inputs is not None:
                found_at = program.plan.input_gradients
                of_inputs.update({name: buffers[b.name].copy() for name, b in found_at.items()})
        self._l2.add_gradient(self._flat_parameters, self._flat_gradients, l2)
        return value + self._penalty(l2)

    def _turn(self, training: bool) -> AbstractContextManager[object]:
        """Return the lock of passes that change the model, or what does nothing for the others."""
        return self._one_at_a_time.current if training else nullcontext()

    def reseed(self, seed: int) -> None:
        """Reset the random numbers of dropout to a seed."""
        self._rng = np.random.default_rng([seed, 1])

    @property
    def random_state(self) -> dict[str, Any]:
        """The state of the random numbers of dropout, as plain data; can be set to an earlier state."""
        return dict(self._rng.bit_generator.state)

    @random_state.setter
    def random_state(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = dict(state)

    @property
    def emitters(self) -> dict[str, str]:
        """Whether NumPy or numexpr computes each formula over how many numbers, as plain data.

        Set it to another model's value to make this model use the same choices.
        """
        return self._engine.kept

    @emitters.setter
    def emitters(self, kept: Mapping[str, str]) -> None:
        self._engine = self._engine.keeping(kept)
        self._programs.clear()

    def _penalty(self, l2: float) -> float:
        return self._l2.value(self._flat_parameters, l2)

    def _program(self, arrays: Mapping[str, Array], needs: Needs) -> Program:
        """Return the program for a batch; a net with open sizes has one for each picture size."""
        sizes = self._inputs.sizes(arrays)
        programs = self._programs.get(
            tuple(sizes.items()),
            lambda: _Programs(self._inputs.sized(arrays), self.dtype, self.frozen, self._engine),
        )
        return programs.get(needs)

    @contextmanager
    def _run(self, x: ArrayLike | Mapping[str, ArrayLike], needs: Needs) -> Iterator[_Pass]:
        """Run a forward pass; its buffers belong to the caller until the end of the `with` block."""
        arrays = self._inputs.check(x)
        program = self._program(arrays, needs)
        batch = len(next(iter(arrays.values())))
        if program.plan.training:
            require_training_batch(self.graph, batch)
        with program.memory() as memory:
            buffers = memory.bind(batch)
            for name, buffer in program.plan.inputs.items():
                # Copied into an array that stays, because only runs on the same arrays can be
                # recorded.
                np.copyto(buffers[buffer.name], arrays[name])
            program.sample(buffers, self._rng)
            program.forward(buffers, self._parameters)
            outputs = {name: buffers[b.name] for name, b in program.plan.outputs.items()}
            yield _Pass(program, buffers, outputs)

    def predict(self, images: ArrayLike, *, normalize: Normalize = None) -> NDArray[np.int64]:
        """Return the class of each image (N, ...), given as stored; see `evaluation.predicted`."""
        return predicted(self, images, normalize)

    def evaluate(
        self,
        data: Dataset | tuple[ArrayLike, ArrayLike],
        part: str = "test",
        *,
        loss: AnyLoss = "softmax",
        normalize: Normalize = None,
        tta: Sequence[str] = (),
    ) -> Evaluation:
        """Return loss, accuracy and confusions on data or a pair; see `evaluation.evaluate_part`."""
        return evaluate_part(self, data, part, loss=loss, normalize=normalize, tta=tta)

    def activations(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Return the value of every layer by its name, in evaluation mode; see `activations`."""
        return activations(self.graph, self._parameters, self.dtype, x)

    def generate(
        self, prompt: Sequence[int], length: int | None = None, sampling: Sampling = SAMPLING
    ) -> Iterator[int]:
        """Yield the tokens that follow a prompt; see `netspec.runtime.models.generation.generate`."""
        return generate(self.graph, self.forward, prompt, length, sampling, self._continued)

    def _continued(self) -> Continued | None:
        return continued(self.graph, self._arrays)

    def _arrays(self, graph: Graph) -> NumpyArrays:
        """Return what runs the graph for a number of new tokens, which is compiled once."""
        key = tuple(graph.inputs.items())
        program = self._continuing.get(key, lambda: program_of(graph, self.dtype, self._engine))
        return NumpyArrays(program, self._parameters)

    def predictor(self) -> Predictor:
        """Return a predictor with the current parameters: faster than `forward` for few images."""
        return Predictor(self.graph, self.dtype, self.every_array(), self._engine)

    # -- state

    def state_dict(self) -> dict[str, Array]:
        """Return copies of every parameter and buffer by name, in the order of the file."""
        return {name: self._parameters[name].copy() for name in self.graph.saved()}

    def to_onnx(self, path: str | os.PathLike[str], options: OnnxOptions | None = None) -> None:
        """Write the net with its parameters, in evaluation, as an ONNX file; see `write_onnx`."""
        from netspec.runtime.models.onnx_file import write_onnx

        write_onnx(path, self.graph, self.every_array(), options, self.arguments, self.trained_on)

    def load_state_dict(self, state: Mapping[str, ArrayLike] | Weights) -> None:
        """Load parameters and buffers from a dict that has each of them, or from a weights file.

        `Weights`, as `netspec.load_weights` returns them, say what they were trained on, too.

        Names in older published checkpoints are accepted, and the counters of batch norm, which
        these lack, may be missing.

        Raises:
            NetspecError: `weights/mismatch` naming every missing, unexpected or wrongly shaped one.
        """
        for name, array in fitted_state(self.graph, state, self.dtype).items():
            self._parameters[name][...] = array
        if isinstance(state, Weights):
            self.trained_on = state.trained_on

    # -- training

    def step_bytes(self, batch: int, evaluated: int) -> int:
        """Return the bytes for training steps of `batch` images and accuracies of `evaluated` images.

        For a net with one input whose sizes are known.
        """
        sizes = {name: np.empty((0, *shape)) for name, shape in self.graph.inputs.items()}
        train = self._program(sizes, Needs(training=True, backward=True))
        measure = self._program(sizes, Needs())
        return train.needed_bytes(batch) + measure.needed_bytes(evaluated)

    def training(self, job: Job) -> AbstractContextManager[Backend]:
        """Context manager: yields the backend with which `netspec.fit` takes steps.

        Raises:
            NetspecError: `model/batch` if a batch, or the last one of an epoch, is too small.
        """
        parts = batch_slices(len(job.data.x_train), job.batch)
        require_training_batches(self.graph, parts)
        return numpy_training(self, job)

    def freeze(self, names: Collection[str]) -> None:
        """Exclude parameters from training: they get no gradient, no L2, no update.

        A layer whose trained parameters are all frozen runs as in evaluation mode, so that a batch
        norm uses its running statistics and does not update them. Each call replaces the set of
        frozen parameters.

        Args:
            names: of parameters and buffers, as returned by
                `netspec.runtime.training.transfer.choose_frozen`.
        """
        values = self.every_array()
        self.frozen = frozenset(names)
        self._allot()
        for name, array in values.items():
            self._parameters[name][...] = array

    def every_array(self) -> dict[str, Array]:
        """Return copies of the parameters, buffers and constants."""
        return {name: array.copy() for name, array in self._parameters.items()}


class Needs(NamedTuple):
    """What a pass computes: in training mode or not, with a backward pass, with inputs' gradients."""

    training: bool = False
    backward: bool = False
    of_inputs: bool = False


class _Pass(NamedTuple):
    """A completed forward pass: the program, its buffers, and the outputs among them."""

    program: Program
    buffers: Buffers
    outputs: dict[str, Array]


class _Programs:
    """The programs of a net for pictures of one size, each made on first use."""

    def __init__(
        self, graph: Graph, dtype: np.dtype[Any], frozen: frozenset[str], engine: Engine
    ) -> None:
        self._graph, self._dtype, self._frozen = graph, dtype, frozen
        self._engine = engine
        self._made: dict[Needs, Program] = {}

    def get(self, needs: Needs) -> Program:
        """Return the program that computes what is needed."""
        if needs not in self._made:
            plan = make_plan(
                self._graph, training=needs.training, backward=needs.backward, frozen=self._frozen,
                input_gradients=needs.of_inputs,
            )  # fmt: skip
            program = self._engine.program(self._graph, plan, self._dtype)
            # Two threads may both make it; both get the one that is kept.
            self._made.setdefault(needs, program)
        return self._made[needs]

    def __iter__(self) -> Iterator[Program]:
        return iter(self._made.values())
