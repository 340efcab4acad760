"""The base classes of a network in a standalone file: what is the same for every network.

A generated class adds what is particular: its inputs and parameters, and its programs.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from netspec.compiler.ir.initializers import Initializer, draw
from netspec.export.memory import Memories, Memory, Program
from netspec.export.weights_file import read_tensors, tensors_in, write_tensors
from netspec.kernels import softmax
from netspec.kernels.arrays import Array
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.input_normalization import _decode, _encode
from netspec.runtime.optim.losses import softmax_cross_entropy
from netspec.runtime.optim.targets import class_axis, over_places

# The parameters and buffers of a net: name, shape, the initializer of its values, and role.
Drawn = tuple[str, tuple[int, ...], Initializer, str]

# (mean, scale) of the numbers of an input.
Statistics = tuple[Array, Array]

# Counters of batches: integers, which not every weights file has.
COUNTER = "counter"
CONSTANT = "constant"
# The key in a weights file under which netspec stores everything besides the numbers.
METADATA = "netspec"
# The keys in there of the names of the classes, a list in JSON, and of the type of the pixels.
CLASS_NAMES = "class_names"
IMAGE_TYPE = "image_type"


class Network:
    """A network: forward passes, and reading and writing of weights.

    Several threads may call `forward` and `predict` at a time, as long as none changes the
    parameters; each call has its own memory. A net can be copied and pickled, and used in a forked
    process.

    A file that was made with trained weights holds them, and a network starts from these.

    Args:
        seed: the seed of the initial values, where the file holds no weights, and of dropout.
        dtype: `float32` or `float64`.

    Attributes:
        parameters: arrays by name, including buffers (running statistics).
        normalization: (mean, scale) of the input: `predict` takes (x - mean) / scale; a dict of such
            pairs by name if there are several inputs.
        about: other facts about the training in a weights file: texts by name.
    """

    inputs: ClassVar[Mapping[str, tuple[int, ...]]]
    # The inputs that hold whole numbers, with the number that all are below, if there is one; or with
    # lists of such numbers, as the input is, where 0 lets any number be, and -1 any whole one.
    whole: ClassVar[Mapping[str, Any]] = {}
    drawn: ClassVar[tuple[Drawn, ...]]
    evaluation: ClassVar[Program]
    # Buffers by name that `prepare` computes from the parameters once, instead of in every pass.
    prepared: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    # Whether the scores are probabilities already.
    gives_probabilities: ClassVar[bool] = False
    # The weights that the file holds: a safetensors file in base64.
    held: ClassVar[str] = ""

    def __init__(self, seed: int = 0, dtype: str = "float32") -> None:
        self.dtype = np.dtype(dtype)
        self.normalization: Statistics | dict[str, Statistics] | None = None
        self.about: dict[str, str] = {}
        self.parameters: dict[str, Array] = {}
        for name, shape, initializer, role in self.drawn:
            values = draw(name, shape, initializer, seed)
            self.parameters[name] = values.astype(np.int64 if role == COUNTER else self.dtype)
        self._prepared = {name: np.empty(s, self.dtype) for name, s in self.prepared.items()}
        self._rng = np.random.default_rng([seed, 1])
        # Whether nothing has given it weights: `predict` then warns, once.
        self._as_drawn = True
        # Whether it has warned of pixels that are given in another way than in training.
        self._is_told = False
        self._allot()
        if self.held:
            content = base64.b64decode(self.held)
            name = "the weights in this file"
            self._take(*tensors_in(io.BytesIO(content), len(content), name), name)

    def _allot(self) -> None:
        """Allocate the memory to run in."""
        self._memories = Memories(self.evaluation, self.dtype)
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {n: v for n, v in self.__dict__.items() if n not in ("_memories", "_training")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._allot()

    def __copy__(self) -> Network:
        return copy.deepcopy(self)

    @staticmethod
    def prepare(b: dict[str, Array], p: dict[str, Array], scratch: Array) -> None:
        """Fill the prepared buffers `b`, given the parameters `p`."""

    def forward(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """Return the output of a batch in evaluation mode; a dict by name if there are several.

        Args:
            x: an array with the batch axis in front, as `normalized` returns it; a dict of arrays if
                there are several inputs.
        """
        if self._are_bytes(x):
            self._tell("these are bytes as they are stored: forward takes net.normalized(x)", 3)
        with self._memories.borrowed() as memory:
            buffers = self._forward(memory, x)
            outputs = {name: buffers[b].copy() for name, b in self.evaluation.outputs.items()}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def predict(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """Return the class of each image of a batch, given as before `normalization`.

        Args:
            x: as for `forward`.

        For a net without scores [N, classes], the outputs themselves are returned.
        """
        scores = self._outputs(x)
        return scores.argmax(axis=1) if getattr(scores, "ndim", 0) == 2 else scores

    def predict_proba(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Array:
        """Return the probabilities of each image, [N, classes]: the softmax of the scores, or the net's
        own; images as for `predict`.

        Raises:
            ValueError: for a net without scores [N, classes].
        """
        scores = self._outputs(x)
        if getattr(scores, "ndim", 0) != 2:
            raise ValueError("the net gives no scores [N, classes]")
        if self.gives_probabilities:
            own: Array = scores
            return own
        probabilities: Array = np.empty_like(scores)
        softmax.forward(scores, probabilities, axis=1)
        return probabilities

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, as read by `load_weights`; empty if they are unknown."""
        return tuple(json.loads(self.about.get(CLASS_NAMES, "[]")))

    def _outputs(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """Return the outputs of `forward` for a batch that is not normalized yet."""
        if self._as_drawn:
            self._as_drawn = False
            message = "no weights were loaded, so all answers are chance: call load_weights first"
            warnings.warn(message, UserWarning, stacklevel=3)
        if odd := self._doubt(x):
            self._tell(odd, 4)
        values = self.normalized(x)
        return self.forward(values)

    def normalized(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Return a batch as the net takes it in `forward` and in training, by the names of its inputs.

        Args:
            x: as for `forward`, but as the training data were stored, such as bytes.
        """
        values = {name: array.copy() for name, array in self._arrays(x).items()}
        for name, (mean, scale) in self._statistics().items():
            if name in values:
                values[name] -= mean
                values[name] /= scale
        return values

    def _statistics(self) -> dict[str, Statistics]:
        """Return (mean, scale) of each input that is normalized."""
        known = self.normalization or {}
        return known if isinstance(known, dict) else {next(iter(self.inputs)): known}

    def _are_bytes(self, x: ArrayLike | Mapping[str, ArrayLike]) -> bool:
        """Return True for bytes that should be normalised, and are not yet."""
        given = x if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        return any(
            getattr(given.get(name), "dtype", None) == np.uint8
            and (mean.any() or (scale != 1).any())
            for name, (mean, scale) in self._statistics().items()
        )

    def _doubt(self, x: ArrayLike | Mapping[str, ArrayLike]) -> str | None:
        """Return what is odd about a batch beside the images of training, or None."""
        if isinstance(x, Mapping) or IMAGE_TYPE not in self.about:
            return None
        array, known = np.asarray(x), self.about[IMAGE_TYPE]
        if known == "uint8":
            said = (
                "these pixels lie between 0 and 1, and the net was trained on bytes from 0 to 255,"
            )
            said += " which are normalised here: give them as they are stored"
            return said if _are_shares(array) else None
        is_whole = next(iter(self.inputs)) in self.whole
        said = f"these are bytes from 0 to 255, and the net was trained on {known} numbers:"
        said += " give such numbers"
        return said if array.dtype == np.uint8 and not is_whole else None

    def _tell(self, message: str, stacklevel: int) -> None:
        """Warn, once."""
        if not self._is_told:
            self._is_told = True
            warnings.warn(message, UserWarning, stacklevel=stacklevel)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load parameters, and the known facts about their training, from a safetensors file.

        Raises:
            ValueError: if the file is damaged, or is of another network.
        """
        self._take(*read_tensors(path), os.fspath(path))

    def _take(self, tensors: Mapping[str, Array], texts: Mapping[str, str], path: str) -> None:
        """Set the parameters and the facts from a weights file; see `load_weights`."""
        optional = {name for name, _, _, role in self.drawn if role == COUNTER}
        saved = self._saved()
        wrong = [f"{name} is not of this network" for name in tensors.keys() - saved.keys()]
        wrong += [f"{name} is missing" for name in saved.keys() - tensors.keys() - optional]
        wrong += [
            f"{name} is {list(tensor.shape)}, not {list(saved[name].shape)}"
            for name, tensor in tensors.items()
            if name in saved and saved[name].shape != tensor.shape
        ]
        if wrong:
            raise ValueError(f"{path}: {'; '.join(sorted(wrong))}")
        normalization, about = _normalization(texts, path), _about(texts, path)
        for name, tensor in tensors.items():
            self.parameters[name][...] = tensor
        self.normalization, self.about = normalization, about
        self._as_drawn = False
        self.refresh()

    def _saved(self) -> dict[str, Array]:
        """Return the parameters and buffers of a weights file, which lacks constants."""
        constants = {name for name, _, _, role in self.drawn if role == CONSTANT}
        return {name: a for name, a in self.parameters.items() if name not in constants}

    def refresh(self) -> None:
        """Call this after changing parameters, so that what is computed from them once is updated."""
        with self._memories.borrowed() as memory:
            self.prepare(self._prepared, self.parameters, memory.scratch)

    def _forward(self, memory: Memory, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Run a program's forward pass; returns its buffers."""
        arrays = self._arrays(x)
        batch = len(next(iter(arrays.values())))
        buffers = memory.bind(batch)
        buffers.update(self._prepared)
        for name, buffer in memory.program.inputs.items():
            buffers[buffer] = arrays[name]
        if memory.program.sample is not None:
            memory.program.sample(buffers, self._rng)
        memory.program.forward(buffers, self.parameters, memory.scratch)
        return buffers

    def _arrays(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Return a batch by the names of the inputs, in the type of the net, after checking it.

        Raises:
            ValueError: for other inputs, shapes and numbers.
        """
        given = x if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        if given.keys() != self.inputs.keys():
            raise ValueError(f"the inputs are {', '.join(self.inputs)}, not {', '.join(given)}")
        arrays = {n: np.ascontiguousarray(_numbers(given[n]), self.dtype) for n in self.inputs}
        batch = len(next(iter(arrays.values())))
        for name, shape in self.inputs.items():
            if arrays[name].shape != (batch, *shape) or not batch:
                wanted = ", ".join(["N", *map(str, shape)])
                raise ValueError(f"{name} must be [{wanted}], not {list(arrays[name].shape)}")
            if name in self.whole:
                _require_whole(name, arrays[name], self.whole[name])
        return arrays


class TrainedNetwork(Network):
    """A `Network` that can be trained with the cross-entropy of its scores, by one thread at a time.

    Attributes:
        gradients: arrays by the names of the trained parameters.
    """

    training: ClassVar[Program]
    scores: ClassVar[str]

    def __init__(self, seed: int = 0, dtype: str = "float32") -> None:
        super().__init__(seed, dtype)
        self.gradients = {
            name: np.zeros(shape, self.dtype)
            for name, shape, _, role in self.drawn
            if role not in (COUNTER, "statistic", CONSTANT)
        }

    def _allot(self) -> None:
        super()._allot()
        self._training = Memories(self.training, self.dtype)

    def loss_and_grads(
        self, x: ArrayLike | Mapping[str, ArrayLike], y: ArrayLike
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of a batch in training mode, and `gradients`.

        The next call overwrites the gradients.

        Args:
            x: see `forward`; bytes that `predict` would normalize are refused.
            y: the class of each image, or of each place of a sequence [N, T, classes] or map
                [N, classes, H, W]: integers from 0; where it is -100, nothing is counted.
        """
        if self._are_bytes(x):
            raise ValueError("these are bytes as they are stored: train with net.normalized(x)")
        self._as_drawn = False
        with self._training.borrowed() as memory:
            return self._loss_and_grads(memory, x, y), self.gradients

    def _loss_and_grads(
        self, memory: Memory, x: ArrayLike | Mapping[str, ArrayLike], y: ArrayLike
    ) -> float:
        program = self.training
        buffers = self._forward(memory, x)
        scores, targets = buffers[program.outputs[self.scores]], np.asarray(y)
        axis = class_axis(scores.ndim)
        classes, places = scores.shape[axis], scores.shape[:axis] + scores.shape[axis + 1 :]
        whole = targets.shape == places and targets.dtype.kind in "ui"
        wrong = ((targets < 0) & (targets != IGNORED)) | (targets >= classes)
        if not whole or wrong.any():
            raise ValueError(f"y must be {list(places)} whole numbers below {classes}")
        for name, buffer in program.output_gradients.items():
            if name != self.scores:
                buffers[buffer].fill(0)
        dscores = buffers[program.output_gradients[self.scores]]
        loss = over_places(softmax_cross_entropy, scores, targets, dscores)
        assert program.backward is not None
        program.backward(buffers, self.parameters, self.gradients, memory.scratch)
        return loss

    def train_step(
        self, x: ArrayLike | Mapping[str, ArrayLike], y: ArrayLike, lr: float = 0.1
    ) -> float:
        """Take one step of plain gradient descent; returns the loss before it."""
        loss, gradients = self.loss_and_grads(x, y)
        for name, gradient in gradients.items():
            gradient *= lr
            self.parameters[name] -= gradient
        return loss

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, `normalization` and `about` to a file that netspec can also read."""
        entry: dict[str, Any] = {"metadata": self.about}
        if self.normalization is not None:
            entry["normalization"] = json.dumps(_stored(self.normalization), sort_keys=True)
        write_tensors(path, self._saved(), {METADATA: json.dumps(entry, sort_keys=True)})


def _numbers(x: ArrayLike) -> Array:
    """Convert to an array of real numbers. NumPy would accept strings, and drop imaginary parts."""
    array: Array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"an input must hold numbers, not {array.dtype}")
    return array


def _are_shares(array: Array) -> bool:
    """Whether pixels were divided by 255: there are fractions, and nothing below 0 or above 1."""
    is_real = array.dtype.kind == "f" and array.size > 0
    if not is_real or array.min() < 0 or array.max() > 1:
        return False
    return bool((array != np.trunc(array)).any())


def _require_whole(name: str, array: Array, limit: Any) -> None:
    """Refuse fractions, and numbers that are not from 0 to below their limits; see `Network.whole`."""
    limits = np.broadcast_to(-1 if limit is None else limit, array.shape[1:])
    wrong = (array != np.trunc(array)) & (limits != 0)
    wrong |= ~((array >= 0) & (array < limits)) & (limits > 0)
    if wrong.any():
        at = tuple(map(int, np.argwhere(wrong)[0]))
        most = int(limits[at[1:]])
        wanted = "whole numbers" + ("" if most < 0 else f" from 0 to {most - 1}")
        raise ValueError(f"{name} must hold {wanted}, and holds {array[at]:g} at {list(at)}")


def _stored(known: Statistics | dict[str, Statistics]) -> dict[str, Any]:
    """Return what a weights file holds of a normalization."""
    if isinstance(known, dict):
        inputs = {name: _stored(one) for name, one in known.items()}
        return {"kind": "by-input", "inputs": inputs}
    mean, scale = (_encode(np.asarray(part, np.float32)) for part in known)
    return {"kind": "channel", "mean": mean, "scale": scale}


def _normalization(
    texts: Mapping[str, str], path: str | os.PathLike[str]
) -> Statistics | dict[str, Statistics] | None:
    """Return (mean, scale) of the input, or of each by its name, from the metadata of a weights file.

    Raises:
        ValueError: if they are damaged.
    """
    try:
        stored = json.loads(texts.get(METADATA, "{}")).get("normalization")
        if stored is None:
            return None
        content = json.loads(stored)
        if "inputs" in content:
            return {name: _statistics(one) for name, one in content["inputs"].items()}
        return _statistics(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: the stored normalization is damaged: {error}") from None


def _statistics(content: Mapping[str, Any]) -> Statistics:
    mean, scale = _decode(content["mean"]), _decode(content["scale"])
    if not (scale > 0).all():
        raise ValueError("scales must be positive")
    return mean, scale


def _about(texts: Mapping[str, str], path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the other metadata of a weights file.

    Raises:
        ValueError: if they are damaged.
    """
    try:
        about = json.loads(texts.get(METADATA, "{}")).get("metadata", {})
        names = json.loads(about.get(CLASS_NAMES, "[]"))
        if not all(isinstance(text, str) for text in (*about.values(), *names)):
            raise ValueError("not all are texts")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: the metadata are damaged: {error}") from None
    return dict(about)
