"""The interfaces between a training run and the backends that execute it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.augment_draws import Augmentation
from netspec.runtime.data.augmentations import Change
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.dataset import Array, Dataset, Labels
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.views import PLAIN, View, views
from netspec.runtime.models.history import History
from netspec.runtime.models.measured import Judge, Measured
from netspec.runtime.optim.losses import Loss, OutputLoss
from netspec.runtime.optim.own import Step
from netspec.runtime.weights.data_facts import TrainedOn
from netspec.runtime.weights.safetensors_file import differences, the_first

if TYPE_CHECKING:
    from netspec.runtime.models.diverged import LastStep


@dataclass(frozen=True, eq=False)
class Job:
    """A validated training run, without its length: the data that each step and each accuracy need.

    Attributes:
        data: The images trained on, without those that are held out or beyond the limit.
        measured: The images (N, ...) and labels (N, ...) for measuring accuracies, by the names
            `train`, `val` and `test`; empty ones are left out, `train` if the loss is the output, and
            all if it is one of pairs.
        normalization: The normalization of every image.
        loss: The loss, without its L2 term.
        l2: The coefficient of l2/2 * sum(W^2) over the weights that are trained.
        clip_norm: The gradient is scaled down to at most this norm; None does not change it.
        optimizer, optimizer_options: Its name, or a function, and validated keyword arguments.
        batch: The number of images in a step, over all processes.
        seed: The seed of dropout and augmentation.
        augment: The random changes of training images.
        of_pictures: Changes of each picture as it is decoded; for PyTorch only.
        mixes: Changes that blend pictures of a batch, of which one is drawn for each.
        workers: How many processes make samples that are made on demand; 0 for none beside this.
        also: The losses of further outputs, which are added to that of the scores.
        perplexes: Whether the perplexity is measured too: for scores of a sequence.
        ema: The decay of the average of the weights over the steps, which is measured and kept in
            place of the last weights; None for none.
        accumulate: In how many parts the images of a step are computed, one after the other.
        rates: What the learning rate is multiplied by for some parameters, by name.
        decays: What weight decay and L2 are multiplied by for some; for others 1 for weights, else 0.
        chances: (N,) how likely each image is drawn; None takes each once in an epoch.
        tta: Names of `netspec.runtime.data.views.KINDS`, for validation and test images.
        per_class: Whether what is measured of each class on validation and test images is kept.
    """

    data: Dataset
    measured: Mapping[str, tuple[Array | ChosenImages, Labels]]
    normalization: InputNormalization
    loss: Loss
    l2: float
    clip_norm: float | None
    optimizer: str | Step
    optimizer_options: Mapping[str, object]
    batch: int
    seed: int
    augment: Augmentation = Augmentation()
    also: Sequence[OutputLoss] = field(default=())
    perplexes: bool = False
    ema: float | None = None
    accumulate: int = 1
    rates: Mapping[str, float] = field(default_factory=dict)
    decays: Mapping[str, float] = field(default_factory=dict)
    chances: NDArray[np.float64] | None = None
    of_pictures: Sequence[Change] = field(default=())
    mixes: Sequence[Change] = field(default=())
    workers: int = 0
    tta: Sequence[str] = field(default=())
    per_class: bool = False

    @property
    def judge(self) -> Judge:
        """What judges the scores of the images that are measured."""
        return Judge(self.loss, perplexes=self.perplexes)

    def views(self, name: str) -> tuple[View, ...]:
        """Return how the pictures of a set, `train`, `val` or `test`, are looked at to be measured."""
        return PLAIN if name == "train" else views(self.tta)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a backend needs to continue exactly as if it had not stopped.

    Attributes:
        tensors: Arrays by name: `model.NAME`, `optimizer.NAME`, `random.NAME`, `average.NAME`.
        facts: Everything else, as JSON data.
    """

    tensors: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]

    def part(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the tensors whose names begin with one of these words, by the rest of their names."""
        start = f"{name}."
        return {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}


def check_snapshot(snapshot: Snapshot, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a snapshot has exactly the expected tensors.

    Raises:
        NetspecError: `run/checkpoint`, naming each tensor that is missing, unexpected or has
            another shape.
    """
    notes = the_first(differences(snapshot.tensors, expected))
    if notes:
        message = "the checkpoint does not fit the net"
        raise NetspecError([Diagnostic(codes.RUN_CHECKPOINT, message, notes=notes)])


@contextmanager
def sound_snapshot() -> Iterator[None]:
    """Context manager: turns any error caused by a damaged snapshot into a NetspecError.

    Raises:
        NetspecError: `run/checkpoint`.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise NetspecError.simple(
            codes.RUN_CHECKPOINT,
            f"the checkpoint holds something that no run saves: {text[0][:200]}",
        ) from None


class Backend(Protocol):
    """Takes the steps of one run. Every process of a distributed run has one, and all of them agree.

    Attributes:
        reads_every: After how many steps to read the losses; a GPU works ahead.
        writes: True if this process prints and saves.
    """

    @property
    def reads_every(self) -> int: ...  # noqa: D102

    @property
    def writes(self) -> bool: ...  # noqa: D102

    def begin_epoch(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> None:
        """Begin an epoch: the next steps train on `order[part]` for each of `parts` in turn."""
        ...

    def step(self, lr: float) -> None:
        """Take a step. If the loss is not finite, it may leave the weights unchanged."""
        ...

    def read(self, stop: bool) -> tuple[list[float], bool]:
        """Return the losses, with L2 terms, of the steps since the last call, and whether to stop.

        A run stops if any process wants to: all get the same result after the same step.
        """
        ...

    def measure(self, name: str, stop: Callable[[], bool]) -> Measured:
        """Return how good the model is on `job.measured[name]`.

        It may return early, with any numbers, once `stop()` is true.
        """
        ...

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers; of the averaged ones, if the job averages."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load the result of `state_dict`. This ends a run: nothing is averaged any more."""
        ...

    def snapshot(self) -> Snapshot:
        """Return everything that the next steps depend on.

        All processes must call this at the same time.
        """
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Load the result of `snapshot`, possibly in another process.

        Raises:
            NetspecError: `run/checkpoint`, naming each tensor that does not fit.
        """
        ...

    def last_step(self) -> LastStep | None:
        """Return the data of the last step, if they are still available."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A model that `netspec.fit` can train."""

    @property
    def graph(self) -> Graph:
        """The net."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes that each image, or each place in it, has scores for."""
        ...

    def training(self, job: Job) -> AbstractContextManager[Backend]:
        """Context manager: yields a backend that trains the model, and releases it at the end.

        Raises:
            NetspecError: `train/bad-option` for what this model does not support.
        """
        ...


@runtime_checkable
class Remembers(Protocol):
    """A model that remembers its training.

    Attributes:
        trained_on: What its weights were trained on; None if that is unknown.
        history: The history of its last training, also of one that was interrupted.
    """

    trained_on: TrainedOn | None
    history: History | None


def lost_process(reason: str) -> NetspecError:
    """Return the error of a distributed run in which a process is gone."""
    return NetspecError.simple(
        codes.PROCESS_LOST,
        f"another process of the run was lost: {reason}",
        "look at the output of the process that ended first",
    )
