"""What a training run consists of, and what a backend does for it."""

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
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.dataset import Array, Dataset, Labels
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.optim.losses import Loss
from netspec.runtime.weights.safetensors_file import differences, the_first

if TYPE_CHECKING:
    from netspec.runtime.models.diverged import LastStep


@dataclass(frozen=True, eq=False)
class Job:
    """A checked training run, without its length: what each step and each accuracy needs.

    Attributes:
        data: The images trained on; what is held out or beyond the limit is no longer in it.
        measured: The images (N, ...) and labels (N,) that accuracies are measured on, by the
            names `train`, `val` and `test`; empty ones are left out.
        normalization: What is done to every image.
        loss: The loss, without its L2 term.
        l2: The coefficient of l2/2 * sum(W^2) over the weights that are trained.
        clip_norm: The gradient is scaled down to this norm; None leaves it alone.
        optimizer, optimizer_options: Its name and keyword arguments, which were checked.
        batch: Images in a step, over all processes.
        seed: For dropout and augmentation.
        augment: Names of `netspec.runtime.data.augment_draws.KINDS`.
    """

    data: Dataset
    measured: Mapping[str, tuple[Array | ChosenImages, Labels]]
    normalization: Normalization
    loss: Loss
    l2: float
    clip_norm: float | None
    optimizer: str
    optimizer_options: Mapping[str, float]
    batch: int
    seed: int
    augment: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Snapshot:
    """All that a backend needs to go on exactly as it would have.

    Attributes:
        tensors: Arrays by name: `model.NAME`, `optimizer.NAME`, `random.NAME`.
        facts: Anything else, as JSON has it.
    """

    tensors: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]

    def part(self, name: str) -> dict[str, NDArray[Any]]:
        """The tensors of `model`, `optimizer` or `random`, by the rest of their names."""
        start = f"{name}."
        return {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}


def check_snapshot(snapshot: Snapshot, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a snapshot has exactly these tensors.

    Raises:
        NetspecError: `run/checkpoint`, naming each tensor that is missing, unexpected or of
            another shape.
    """
    notes = the_first(differences(snapshot.tensors, expected))
    if notes:
        message = "the checkpoint does not fit the net"
        raise NetspecError([Diagnostic(codes.RUN_CHECKPOINT, message, notes=notes)])


@contextmanager
def sound_snapshot() -> Iterator[None]:
    """Whatever a snapshot from anywhere makes go wrong is an ordinary error.

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
    """Takes the steps of one run. Every process of a distributed run has one, and all agree.

    Attributes:
        reads_every: After how many steps the losses are worth reading; a GPU works ahead.
        writes: Whether this process prints and saves.
    """

    @property
    def reads_every(self) -> int: ...  # noqa: D102

    @property
    def writes(self) -> bool: ...  # noqa: D102

    def begin_epoch(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> None:
        """The next steps train on `order[part]` for each of `parts`, one after the other."""
        ...

    def step(self, lr: float) -> None:
        """Take a step. One whose loss is not finite may leave the weights alone."""
        ...

    def read(self, stop: bool) -> tuple[list[float], bool]:
        """The losses of the steps since the last call, L2 terms included; whether to stop.

        A run stops when any process wants to: all get the same answer after the same step.
        """
        ...

    def accuracy(self, name: str, stop: Callable[[], bool]) -> float:
        """The share of `job.measured[name]` whose highest score is at its label.

        It may give up, with any number, once `stop()` is true.
        """
        ...

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and buffers."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `state_dict` gave."""
        ...

    def snapshot(self) -> Snapshot:
        """All that the next steps depend on; every process must ask for it at the same time."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Take up what `snapshot` gave, perhaps to another process on another day.

        Raises:
            NetspecError: `run/checkpoint`, naming each tensor that does not fit.
        """
        ...

    def last_step(self) -> LastStep | None:
        """What the last step computed with, where that is still known."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """What `netspec.fit` trains."""

    @property
    def graph(self) -> Graph:
        """The net."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) or (F,)."""
        ...

    @property
    def classes(self) -> int:
        """How many scores it gives an image."""
        ...

    def training(self, job: Job) -> AbstractContextManager[Backend]:
        """Something that trains it; what it takes up is given back at the end.

        Raises:
            NetspecError: `train/bad-option` for what this model cannot do.
        """
        ...


def lost_process(reason: str) -> NetspecError:
    """The error of a distributed run of which a process is gone."""
    return NetspecError.simple(
        codes.PROCESS_LOST,
        f"another process of the run was lost: {reason}",
        "look at the output of the process that ended first",
    )
