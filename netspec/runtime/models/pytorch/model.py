"""A PyTorch module with the methods of `netspec.Model`: `netspec.fit` trains it with PyTorch."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.lower import is_frozen
from netspec.diagnostics import NetspecError
from netspec.fork_lock import ForkLock
from netspec.runtime.data.choices import require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.models.activations import activations
from netspec.runtime.models.classifier_shape import (
    image_shape,
    label_count,
    require_training_batch,
    scores_output,
)
from netspec.runtime.models.continuing import Continued, continued
from netspec.runtime.models.elsewhere import no_attribute
from netspec.runtime.models.evaluation import (
    Evaluation,
    Normalize,
    evaluate_part,
    predicted,
    scores_among,
)
from netspec.runtime.models.generation import SAMPLING, Sampling, generate
from netspec.runtime.models.history import History
from netspec.runtime.models.inputs import Inputs, require_real_input
from netspec.runtime.models.loaded_state import fitted_state
from netspec.runtime.models.memory_check import value_bytes
from netspec.runtime.models.odd_pixels import warn_of_bytes
from netspec.runtime.models.protocols import Backend, Job
from netspec.runtime.models.pytorch.continuing import TorchArrays
from netspec.runtime.models.pytorch.device import Execution, ordinary_errors
from netspec.runtime.models.pytorch.input_types import as_declared
from netspec.runtime.optim.losses import AnyLoss, chosen_loss
from netspec.runtime.weights.data_facts import TrainedOn
from netspec.runtime.weights.host import machine_memory
from netspec.runtime.weights.safetensors_file import Weights

if TYPE_CHECKING:
    from netspec.compiler.onnx_backend import OnnxOptions

# PyTorch's threads do not exist in a forked child, which would wait for them. PyTorch's DataLoader
# does the same.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


class TorchModel:
    """A net's module, its device and way of running, and its state as NumPy arrays.

    Threads: several may call `forward` at a time; while any of them does, the module is in
    evaluation mode, and afterwards in its previous mode. While one thread trains, others must not
    use the model. It can be copied and pickled. A forked process may use it; PyTorch then has one
    thread there, because the threads of the parent do not exist in the child.

    Args:
        graph: the graph of the checked net.
        module: its module, as returned by `netspec.runtime.models.torch_build.build_module`; moved
            to the device in place.
        execution: the device and way of running; on the CPU by default.
        dtype: the type of the outputs of a module without parameters.

    Raises:
        NetspecError: `train/bad-option` for mixed precision of a float64 module.
    """

    def __init__(
        self,
        graph: Graph,
        module: nn.Module,
        execution: Execution | None = None,
        dtype: str = "float32",
    ) -> None:
        self.graph = graph
        self.execution = execution or Execution(torch.device("cpu"))
        self.torch_dtype = next(
            (p.dtype for p in module.parameters() if p.is_floating_point()), getattr(torch, dtype)
        )
        if self.execution.half and self.torch_dtype != torch.float32:
            raise NetspecError.simple(
                codes.TRAIN_BAD_OPTION,
                "mixed precision keeps its weights in float32, not in float64",
            )
        self.module: nn.Module = module.to(self.execution.device)
        if self.execution.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)
        self.frozen: frozenset[str] = frozenset()
        self.trained_on: TrainedOn | None = None
        self.arguments: Mapping[str, object] = {}
        self.history: History | None = None
        self._evaluating = _Evaluating(self.module)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_evaluating"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._evaluating = _Evaluating(self.module)

    if not TYPE_CHECKING:  # for mypy an attribute that is not there stays an error

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name)

    def __repr__(self) -> str:
        size = sum(parameter.size for parameter in self.graph.trainable())
        where = f"on {self.execution.device}, {size:,} parameters"
        return f"<netspec.TorchModel {self.graph.name} {self.dtype} {where}>"

    def __copy__(self) -> TorchModel:
        return copy.deepcopy(self)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, for a net with one input."""
        return image_shape(self.graph)

    @property
    def classes(self) -> int:
        """The number of classes that the loss reads scores of."""
        return label_count(self.graph)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64, the type of the parameters."""
        return np.dtype(str(self.torch_dtype).removeprefix("torch."))

    def forward(self, x: ArrayLike | Mapping[str, ArrayLike], *, training: bool = False) -> Any:
        """Return the outputs of a batch.

        Args:
            x: an array (N, C, H, W) or (N, F), or a dict of arrays for a net with several inputs.
            training: whether to use batch statistics and dropout, which updates the buffers.

        Returns:
            An array of the output's shape, preceded by N; a dict of arrays if there are several
            outputs.

        Raises:
            NetspecError: `model/input-shape` and its like, as `netspec.Model.forward`.
        """
        warn_of_bytes(self.trained_on, x)
        return self._forward(x, training=training)

    def _forward(self, x: ArrayLike | Mapping[str, ArrayLike], *, training: bool = False) -> Any:
        inputs = Inputs(self.graph, self.dtype)
        batch = inputs.check(x)
        if training:
            require_training_batch(self.graph, len(next(iter(batch.values()))))
        try:
            with self._in_training() if training else self._evaluating.one_pass():
                outputs = self._outputs(batch)
        except RuntimeError:
            inputs.sized(batch)  # a layer that cannot take the sizes says so
            raise
        if not isinstance(outputs, tuple):
            return _array(outputs.to(self.torch_dtype))
        arrays = (_array(output.to(self.torch_dtype)) for output in outputs)
        return dict(zip(self.graph.outputs, arrays, strict=True))

    def _outputs(self, batch: Mapping[str, NDArray[Any]]) -> Any:
        with torch.no_grad(), self.autocast():
            # Copies, so that arrays with negative strides and read-only arrays are accepted.
            given = {name: torch.from_numpy(array.copy()) for name, array in batch.items()}
            device = self.execution.device
            return self.module(*(self.stored(x.to(device), n) for n, x in given.items()))

    @contextmanager
    def _in_training(self) -> Iterator[None]:
        """Context manager: a pass in training mode, after which all modes are what they were."""
        modes = [(module, module.training) for module in self.module.modules()]
        try:
            self.start_training()
            yield
        finally:
            for module, mode in modes:
                module.training = mode

    __call__ = forward

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

    def activations(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return the value of every layer by its name, in evaluation mode; see `activations`."""
        return activations(self.graph, self.every_array(), self.dtype, x)

    def generate(
        self, prompt: Sequence[int], length: int | None = None, sampling: Sampling = SAMPLING
    ) -> Iterator[int]:
        """Yield the tokens that follow a prompt; see `netspec.runtime.models.generation.generate`."""
        return generate(self.graph, self.forward, prompt, length, sampling, self._continued)

    def _continued(self) -> Continued | None:
        """Return what reads a sequence token by token; None if it cannot be read so."""
        values = {**dict(self.module.named_parameters(remove_duplicate=False)),
                  **dict(self.module.named_buffers())}  # fmt: skip
        dtype, device = self.torch_dtype, self.execution.device
        return continued(self.graph, lambda g: TorchArrays(g, values, dtype, device, self.autocast))

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Every parameter and buffer by name: views, writing to which changes the module; or copies, of a
        module that is on another device than the processor.
        """
        held = {**self.module.state_dict(), **dict(self.module.named_buffers())}
        return {name: _array(held[name]) for name in self.graph.parameters}

    def scores(self, x: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[Any]:
        """Return the scores (N, ...) of a batch that the loss reads, in evaluation mode."""
        warn_of_bytes(self.trained_on, x)
        return scores_among(self.graph, self._forward(x))

    def loss(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: AnyLoss = "softmax",
        training: bool = False,
    ) -> float:
        """Return the mean loss of a batch, plus `l2 / 2 * sum(W^2)`; see `netspec.Model.loss`."""
        warn_of_bytes(self.trained_on, x)
        with torch.no_grad():
            return float(self._loss(x, y, l2, loss, training=training))

    def loss_and_grads(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        *,
        l2: float = 0.0,
        loss: AnyLoss = "softmax",
        training: bool = True,
        inputs: bool = False,
    ) -> tuple[float, dict[str, NDArray[Any]]]:
        """Return the mean loss of a batch, and its gradients by parameter name, as PyTorch computes them.

        The module's own `grad` stay as they are. With `inputs`, those of the inputs are added, see
        `netspec.Model.loss_and_grads`.
        """
        warn_of_bytes(self.trained_on, x)
        trained = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        if inputs:
            require_real_input(self.graph)
        of_inputs: dict[str, Tensor] | None = {} if inputs else None
        with torch.enable_grad():
            value = self._loss(x, y, l2, loss, training=training, of_inputs=of_inputs)
            trained |= of_inputs or {}
            found = torch.autograd.grad(value, [*trained.values()], allow_unused=True)
        grads = {
            name: np.zeros(tuple(p.shape), self.dtype) if grad is None else _array(grad)
            for (name, p), grad in zip(trained.items(), found, strict=True)
        }
        return float(value.detach()), grads

    def _loss(
        self,
        x: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike,
        l2: float,
        loss: AnyLoss,
        *,
        training: bool,
        of_inputs: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the loss as a tensor. `of_inputs` gets the inputs of real numbers, as leaves.

        Raises:
            NetspecError: `train/bad-option` for a loss without a PyTorch implementation.
        """
        chosen = chosen_loss(loss)
        in_torch = getattr(chosen, "in_torch", None)
        if in_torch is None:
            message = f"{chosen} has no PyTorch implementation (`in_torch`)"
            raise NetspecError.simple(codes.TRAIN_BAD_OPTION, message)
        batch = Inputs(self.graph, self.dtype).check(x)
        if training:
            require_training_batch(self.graph, len(next(iter(batch.values()))))
        device = self.execution.device
        with self._in_training() if training else self._evaluating.one_pass():
            given = {name: torch.from_numpy(array.copy()) for name, array in batch.items()}
            if of_inputs is not None:
                of_inputs |= {n: given[n].requires_grad_() for n in self.graph.real_inputs}
            with self.autocast():
                outputs = self.module(*(self.stored(t.to(device), n) for n, t in given.items()))
            scores = self.chosen_output(outputs).to(self.torch_dtype)
            labels = torch.from_numpy(np.array(y)).to(device)
            value: Tensor = in_torch(scores, labels)
            if l2:
                weights = (p for n, p in self.module.named_parameters()
                           if self.graph.parameters[n].role == "weight")  # fmt: skip
                value = value + 0.5 * l2 * sum(((w * w).sum() for w in weights), torch.zeros(()))
        return value

    def chosen_output(self, outputs: Any, name: str | None = None) -> Tensor:
        """Return an output, by default the one that the loss reads, of all outputs of the module."""
        if not isinstance(outputs, tuple):
            return outputs
        return outputs[list(self.graph.outputs).index(name or scores_output(self.graph))]

    def stored(self, x: Tensor, name: str | None = None) -> Tensor:
        """Return a batch in the type and the memory layout that the module requires.

        Args:
            x: the batch.
            name: the input; the only one if it is left out.
        """
        x = as_declared(self.graph, next(iter(self.graph.inputs)) if name is None else name, x)
        if self.execution.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x.contiguous()

    def autocast(self) -> torch.autocast:
        """Return the context manager of mixed precision, or one that does nothing."""
        half = self.execution.half
        return torch.autocast(self.execution.device.type, half, enabled=half is not None)

    # -- state

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of every parameter and buffer by name, in the order of the file."""
        state = self.module.state_dict()
        return {name: np.array(_array(state[name]), order="C") for name in self.graph.saved()}

    def to_onnx(self, path: str | os.PathLike[str], options: OnnxOptions | None = None) -> None:
        """Write the net with its parameters, in evaluation, as an ONNX file; see `write_onnx`."""
        from netspec.runtime.models.onnx_file import write_onnx

        write_onnx(path, self.graph, self.every_array(), options, self.arguments, self.trained_on)

    def every_array(self) -> dict[str, NDArray[Any]]:
        """Return copies of the parameters, buffers and constants."""
        held = {**self.module.state_dict(), **dict(self.module.named_buffers())}
        return {name: np.array(_array(held[name]), order="C") for name in self.graph.parameters}

    def load_state_dict(self, state: Mapping[str, ArrayLike] | Weights) -> None:
        """Load parameters and buffers from a dict that has each of them, or from a weights file.

        `Weights`, as `netspec.load_weights` returns them, say what they were trained on, too.

        Names in older published checkpoints are accepted, and the counters of batch norm, which
        these lack, may be missing.

        Raises:
            NetspecError: `weights/mismatch` naming every missing, unexpected or wrongly shaped one.
        """
        arrays = fitted_state(self.graph, state, self.dtype)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        # Checked above: only counters can be missing.
        self.module.load_state_dict(tensors, strict=False)
        if isinstance(state, Weights):
            self.trained_on = state.trained_on

    # -- training

    def step_bytes(self, batch: int, evaluated: int) -> int:
        """Return the least bytes for a step of `batch` images: the backward pass needs all values."""
        half = self.execution.half
        itemsize = half.itemsize if half is not None else self.dtype.itemsize
        return value_bytes(self.graph, -(-batch // self.execution.group.size), itemsize)

    def memory(self) -> int:
        """Return the memory of the device."""
        if self.execution.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.execution.device)[1])
        return machine_memory()

    def freeze(self, names: Collection[str]) -> None:
        """Exclude parameters from training; see `netspec.Model.freeze`."""
        self.frozen = frozenset(names)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name not in self.frozen)

    def start_training(self) -> None:
        """Switch to training mode, except for frozen layers, which keep their running statistics."""
        self.module.train()
        for node in self.graph.nodes:
            if is_frozen(self.graph, node, self.frozen):
                first = next(iter(node.parameters.values()))
                self.module.get_submodule(first.rpartition(".")[0]).eval()

    @contextmanager
    def training(self, job: Job) -> Iterator[Backend]:
        """Context manager: yields the backend with which `netspec.fit` takes steps."""
        from netspec.runtime.models.pytorch.shared_batch_norm import shared_batch_norms
        from netspec.runtime.models.pytorch.steps import TorchBackend

        group = self.execution.group
        size = group.size
        shares = self.execution.shares_batch_norm and size > 1
        require(
            not shares or job.accumulate == 1,
            "batch norm over all processes needs the whole step at once: accumulate is"
            f" {job.accumulate}",
        )
        device = self.execution.device
        # Dropout uses PyTorch's global generator; the caller's state is restored afterwards.
        with (
            torch.enable_grad(),  # an interrupt may have left `no_grad` on
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            ordinary_errors(-(-job.batch // size), self.execution.compiler),
            shared_batch_norms(self.module, group) if shares else nullcontext() as participation,
        ):
            backend = TorchBackend(self, job, participation)
            try:
                yield backend
            finally:
                backend.close()


class _Pass:
    """A pass in evaluation mode, which exists as long as it is in progress."""


class _Evaluating:
    """Keeps a module in evaluation mode while any pass is in progress, and then restores its mode.

    A mode that is already right is not touched, so other threads' passes are not disturbed. An
    interrupt may come anywhere: a pass that it ended disappears with its stack frame, and modes
    that were not restored are restored by the next pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._lock = ForkLock()
        self._inside: WeakSet[_Pass] = WeakSet()
        self._training: list[nn.Module] = []

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Context manager: a pass in evaluation mode."""
        this = _Pass()
        try:
            self.begin(this)
            yield
        finally:
            self.end(this)

    def begin(self, each: _Pass) -> None:
        """Begin a pass: switch to evaluation mode."""
        with self._lock.current:
            self._inside.add(each)
            for module in self._module.modules():
                if module.training:
                    self._training.append(module)
                    module.training = False

    def end(self, each: _Pass) -> None:
        """End a pass."""
        with self._lock.current:
            self._inside.discard(each)
            while self._training and not self._inside:
                self._training[-1].training = True
                self._training.pop()


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
