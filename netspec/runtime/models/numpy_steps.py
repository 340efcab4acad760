"""Training steps of the NumPy program."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.augment_draws import draw_for, picture_to_change
from netspec.runtime.data.augment_numpy import cut_out, shift_and_flip
from netspec.runtime.data.augmentations import require_none_of_pictures
from netspec.runtime.data.batches import divided, evaluation_batch
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.mixing import Mix, blended, draw_mix
from netspec.runtime.data.prefetch import prefetched
from netspec.runtime.data.samples import by_input, numbers_in, with_input
from netspec.runtime.data.views import PLAIN, View, mean_scores
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.models.diverged import LastStep
from netspec.runtime.models.measured import Judge, Measured
from netspec.runtime.models.protocols import (
    Backend,
    Job,
    Snapshot,
    check_snapshot,
    sound_snapshot,
)
from netspec.runtime.optim.averaging import decay_at
from netspec.runtime.optim.losses import Loss, OutputLoss
from netspec.runtime.optim.members import L2Term, Member, with_factors
from netspec.runtime.optim.mixed_loss import mixed_loss
from netspec.runtime.optim.optimizers import clip, make_optimizer
from netspec.runtime.optim.rule import BLOCK
from netspec.runtime.optim.targets import shares_of_parts

# A batch of normalized samples: the array of a net with one input, or one for each input.
Samples = NDArray[np.floating] | Mapping[str, NDArray[np.floating]]


class NumpyModel(Protocol):
    """The part of a model that `NumpyBackend` uses."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        ...

    @property
    def flat_parameters(self) -> NDArray[np.floating]:
        """(P,), live: writing to it changes the model. Frozen parameters are not in it."""
        ...

    @property
    def flat_gradients(self) -> NDArray[np.floating]:
        """(P,), filled by `gradients_`; always the same array."""
        ...

    @property
    def members(self) -> tuple[Member, ...]:
        """Where each trained parameter lies in the vectors, and whether it decays."""
        ...

    @property
    def frozen(self) -> frozenset[str]:
        """The names of the frozen parameters."""
        ...

    def gradients_(
        self,
        x: Samples,
        y: NDArray[np.int64],
        *,
        loss: Loss,
        l2: float,
        also: Sequence[OutputLoss] = (),
    ) -> float:
        """Run forward and backward in training mode; the loss and the gradients include the L2 term."""
        ...

    def scores(self, x: Samples) -> NDArray[np.floating]:
        """Return the scores (N, ...) that the loss reads, in evaluation mode."""
        ...

    def reseed(self, seed: int) -> None:
        """Reset the random numbers of dropout to a seed."""
        ...

    random_state: dict[str, Any]
    """The state of the random numbers, as plain data."""

    emitters: dict[str, str]
    """Which code computes each formula, as plain data."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers by name."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load parameters and buffers."""
        ...

    def every_array(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters, buffers and constants by name."""
        ...


class NumpyBackend:
    """Trains in one process, where losses are known at once: see
    `netspec.runtime.models.protocols.Backend`.
    """

    reads_every = 1
    writes = True

    def __init__(self, model: NumpyModel, job: Job) -> None:
        require_none_of_pictures(job.of_pictures)
        self._picture = picture_to_change(job.augment, job.data)
        self.model, self.job = model, job
        self.stepper = make_optimizer(
            job.optimizer,
            model.flat_parameters,
            model.flat_gradients,
            with_factors(model.members, job.rates, job.decays),
            **job.optimizer_options,
        )
        self._l2 = L2Term(self.stepper.members, model.dtype)
        model.reseed(job.seed)
        self._average = None if job.ema is None else model.flat_parameters.copy()
        self._sum = np.zeros_like(model.flat_gradients) if job.accumulate > 1 else None
        self._losses: list[float] = []
        self._last: tuple[Samples, dict[str, Any] | None] | None = None
        self._batches: Generator[tuple[Samples, NDArray[np.int64], Mix | None]] | None = None

    def begin_epoch(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> None:
        """See `Backend`."""
        job = self.job
        drawn = draw_for(
            job.augment, job.data, self._picture, job.seed, epoch, order,
            repeats=job.chances is not None,
        )  # fmt: skip
        self.close()
        self._batches = prefetched(lambda part: self._blended(order, part, drawn, epoch), parts)

    def _batch(
        self, chosen: NDArray[np.int64], drawn: NDArray[np.int64]
    ) -> tuple[Samples, NDArray[np.int64]]:
        """Return the images with these numbers, changed as was drawn and normalized, and their labels."""
        job, picture = self.job, self._picture
        x, y = job.data.x_train[chosen], job.data.y_train[chosen]
        if picture is not None:
            changed = shift_and_flip(by_input(x)[picture], drawn, job.augment)
            x = with_input(x, picture, changed)
        with as_ieee():
            normalized = job.normalization.apply(x, self.model.dtype)
        if picture is not None:
            one = normalized[picture] if isinstance(normalized, Mapping) else normalized
            cut_out(one, drawn, job.augment)
        return normalized, y

    def _blended(
        self, order: NDArray[np.int64], part: slice, drawn: NDArray[np.int64], epoch: int
    ) -> tuple[Samples, NDArray[np.int64], Mix | None]:
        """Return a batch, blended if the job says so, and how; see `netspec.runtime.data.mixing`."""
        job = self.job
        x, y = self._batch(order[part], drawn[part])
        if not job.mixes:
            return x, y, None
        assert not isinstance(x, Mapping), "pictures"
        mix = draw_mix(job.mixes, job.data.x_train.shape[2:], job.seed, epoch, part.start)
        assert mix is not None
        return blended(x, np.roll(x, 1, 0), mix), np.stack([y, np.roll(y, 1)], 1), mix

    def close(self) -> None:
        """Stop taking steps, and end the thread that prepares batches."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def step(self, lr: float) -> None:
        """See `Backend`. A step whose loss is not finite does not change the weights."""
        model, job = self.model, self.job
        assert self._batches is not None, "no epoch has begun"
        x, y, mix = next(self._batches)
        self._last = (x, getattr(model, "random_state", None))
        # A diverging run overflows before its loss does; whoever reads the loss reports it.
        with as_ieee():
            value = self._gradients(x, y, mix)
            self._losses.append(value)
            if math.isfinite(value):
                if job.clip_norm is not None:
                    clip(model.flat_gradients, job.clip_norm)
                self.stepper.step(lr)
                self._follow()

    def _gradients(self, x: Samples, y: NDArray[np.int64], mix: Mix | None) -> float:
        """Compute the loss and the gradients of a batch, in as many parts as the job says."""
        model, job = self.model, self.job
        main_loss = mixed_loss(job.loss, mix)
        terms = [replace(term, loss=mixed_loss(term.loss, mix)) for term in job.also]
        if self._sum is None:
            further = {"also": terms} if terms else {}
            value = float(model.gradients_(x, y, loss=main_loss, l2=0.0, **further))
            return value + self._add_l2()
        self._sum.fill(0)
        total, parts = 0.0, divided(len(y), job.accumulate)
        losses = (job.loss, *(term.loss for term in job.also))
        for part, (main, *others) in zip(
            parts, shares_of_parts(losses, y if mix is None else y[:, 0], parts), strict=True
        ):
            some = (
                {name: each[part] for name, each in x.items()}
                if isinstance(x, Mapping)
                else x[part]
            )
            also = [
                replace(term, weight=term.weight * share / main)
                for term, share in zip(terms, others, strict=True)
                if main
            ]
            further = {"also": also} if also else {}
            value = model.gradients_(some, y[part], loss=main_loss, l2=0.0, **further)
            total += main * float(value)
            model.flat_gradients[...] *= main
            self._sum += model.flat_gradients
        model.flat_gradients[...] = self._sum
        return total + self._add_l2()

    def _add_l2(self) -> float:
        """Add the gradient of the L2 term; returns the term."""
        model, l2 = self.model, self.job.l2
        self._l2.add_gradient(model.flat_parameters, model.flat_gradients, l2)
        return self._l2.value(model.flat_parameters, l2)

    def _follow(self) -> None:
        """Move the average of the weights towards those after a step."""
        if self._average is None or self.job.ema is None:
            return
        new = 1.0 - decay_at(self.job.ema, self.stepper.steps)
        for start in range(0, len(self._average), BLOCK):
            part = slice(start, start + BLOCK)
            apart = self.model.flat_parameters[part] - self._average[part]
            apart *= new
            self._average[part] += apart

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Context manager: the model has the average of its weights, if the job averages them."""
        if self._average is None:
            yield
            return
        last = self.model.flat_parameters.copy()
        self.model.flat_parameters[...] = self._average
        try:
            yield
        finally:
            self.model.flat_parameters[...] = last

    def read(self, stop: bool) -> tuple[list[float], bool]:
        """See `Backend`."""
        losses, self._losses = self._losses, []
        return losses, stop

    def measure(self, name: str, stop: Callable[[], bool]) -> Measured:
        """See `Backend`."""
        self.close()
        self._last = None  # the prepared batches of the epoch would only take memory
        x, y = self.job.measured[name]
        batch = evaluation_batch(self.job.batch, numbers_in(self.job.data.x_train))
        with self._averaged():
            return measured(
                self.model, x, y, self.job.normalization, batch, self.job.judge,
                views=self.job.views(name), stop=stop,
            )  # fmt: skip

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """See `Backend`."""
        with self._averaged():
            return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Backend`."""
        self._average = None
        self.model.load_state_dict(state)

    # -- to be kept

    def snapshot(self) -> Snapshot:
        """See `Backend`."""
        tensors = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": array for name, array in self.stepper.state().items()}
        if self._average is not None:
            tensors["average.parameters"] = self._average.copy()
        return Snapshot(
            tensors, {"random": self.model.random_state, "emitters": self.model.emitters}
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See `Backend`."""
        own = self.snapshot()
        with sound_snapshot():
            check_snapshot(snapshot, {name: t.shape for name, t in own.tensors.items()})
            self.model.load_state_dict(snapshot.part("model"))
            self.stepper.load_state(snapshot.part("optimizer"))
            if self._average is not None:
                self._average[...] = snapshot.part("average")["parameters"]
            self.model.random_state = snapshot.facts["random"]
            # Checkpoints of older versions have none.
            self.model.emitters = dict(snapshot.facts.get("emitters", {}))

    def last_step(self) -> LastStep | None:
        """See `Backend`. A step whose loss is not finite did not change the weights."""
        graph = getattr(self.model, "graph", None)
        if graph is None or self._last is None:
            return None
        frozen, parameters = self.model.frozen, self.model.every_array()
        return LastStep(graph, frozen, parameters, *self._last)


@contextmanager
def numpy_training(model: NumpyModel, job: Job) -> Iterator[Backend]:
    """Context manager: yields a `NumpyBackend`, and turns running out of memory into a NetspecError.

    Raises:
        NetspecError: `train/out-of-memory`.
    """
    backend = NumpyBackend(model, job)
    try:
        yield backend
    except MemoryError as error:
        raise out_of_memory(job.batch, str(error)) from None
    finally:
        backend.close()


def out_of_memory(batch: int, reason: str) -> NetspecError:
    """Return the error for a step that did not fit into memory; it suggests half the batch."""
    return NetspecError.simple(
        codes.TRAIN_OUT_OF_MEMORY,
        f"a step of {batch} images does not fit into memory: {reason or 'it is full'}",
        f"use smaller batches: --batch {batch // 2}" if batch > 1 else None,
    )


def measured(
    model: NumpyModel,
    x: NDArray[Any] | ChosenImages,
    y: NDArray[np.int64],
    normalization: InputNormalization,
    batch: int,
    judge: Judge,
    *,
    views: Sequence[View] = PLAIN,
    stop: Callable[[], bool] = lambda: False,
) -> Measured:
    """Return how good a model is on targets (N, ...) of images (N, ...), in evaluation mode.

    Scores are averaged over `views` of the pictures. When `stop()` returns True it ends early, and the
    result is meaningless.
    """
    sums = np.zeros(1)
    for start in range(0, len(x), batch):
        if stop():
            break
        part = slice(start, start + batch)
        with as_ieee():
            scores = mean_scores(model.scores, x[part], normalization, model.dtype, views)
            sums = sums + judge.sums(scores, y[part])
    return judge.measured(sums)
