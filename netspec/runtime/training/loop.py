"""The steps of a run, one epoch after the other, from wherever it stands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netspec.runtime.data.batches import epoch_order
from netspec.runtime.models.diverged import diverged, overflowed
from netspec.runtime.models.protocols import Backend, Job
from netspec.runtime.optim.lr_schedules import Schedule
from netspec.runtime.training.best_weights import Keeper
from netspec.runtime.training.history import History
from netspec.runtime.training.progress import Progress, Shown, epoch_line
from netspec.runtime.weights.safetensors_file import first_not_finite

# After so many steps a net that learns at all tells images apart. Its accuracy is at chance level if it
# is hardly beyond that of the most frequent class: by so many standard deviations, or by so much of what
# is left to learn, and no more than half of chance, as a random net may be.
ENOUGH_STEPS = 30
SPREADS, HARDLY = 2.0, 0.05


class TrainingRecorder:
    """Keeps what happens in a run. This one keeps nothing; `netspec.runtime.runs` has one on disk.

    Every process of a distributed run calls the same methods after the same steps.

    Attributes:
        checkpoint_every: Steps between two calls of `checkpoint` within an epoch; None for none.
        best_out: Where the weights of the best epoch are saved; None for nowhere.
    """

    checkpoint_every: int | None = None
    best_out: Path | None = None

    def begin(self, run: TrainingRun) -> None:
        """Before the first step: bring `run` to where it goes on from."""

    def after_steps(self, run: TrainingRun) -> None:
        """The losses of some more steps are in the history."""

    def after_epoch(self, run: TrainingRun, line: str) -> None:
        """An epoch is in the history, with those of its accuracies that were measured.

        `line` tells of it, with what it warns of.
        """

    def after_result(self, run: TrainingRun, name: str, line: str) -> None:
        """The accuracy of the weights that are kept, on the images of a name, is in the history.

        `line` tells of it. No checkpoint follows: a run that goes on from the last one measures it anew.
        """

    def checkpoint(self, run: TrainingRun) -> None:
        """A good moment to save all that is needed to go on from here."""

    def finish(self, run: TrainingRun) -> None:
        """The run is over, or is to stop; what it leaves behind is saved."""

    def can_go_on(self) -> bool:
        """Whether what is kept is there, and the run can be taken up from it."""
        return False


@dataclass
class TrainingRun:
    """A run on its way.

    Attributes:
        backend, job, keeper, history: What takes its steps, and what became of them.
        rate: The learning rate of each step, counted from 0.
        parts: The batches of an epoch, as slices of its order.
        epochs: How many there are.
        eval_every: Accuracies on training and validation images are measured after each so many
            epochs, and after the last; 0 for after the last alone.
        test_every: Those on test images are measured after each so many epochs, and in the end of the
            weights that are kept; 0 for in the end alone.
        stop: Asked after each step.
        recorder, progress: Who is told.
        epoch: The epoch under way, from 1.
        done: The steps of it that are done.
        seconds: The time that those took.
    """

    backend: Backend
    job: Job
    keeper: Keeper
    history: History
    rate: Schedule
    parts: Sequence[slice]
    epochs: int
    eval_every: int = 1
    test_every: int = 0
    stop: Callable[[], bool] = lambda: False
    recorder: TrainingRecorder = field(default_factory=TrainingRecorder)
    progress: Progress = field(default_factory=Progress)
    epoch: int = 1
    done: int = 0
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """Images in an epoch."""
        count: int = self.parts[-1].stop
        return count

    @property
    def steps(self) -> int:
        """Steps that are done, over all epochs."""
        return len(self.history.loss_history)

    def go(self, on_epoch: Callable[[int, History], None] | None = None) -> None:
        """Take all steps that are left, or those until it is asked to stop."""
        self.recorder.begin(self)
        behind = self.parts[self.done - 1].stop if self.done else 0
        self.progress.start(self.epochs * self.images, (self.epoch - 1) * self.images + behind)
        while self.epoch <= self.epochs and not self.history.stopped:
            self.history.stopped = self._train() or self._measure()
            if not self.history.stopped:
                self._end_epoch(on_epoch)
        if self.history.stopped:
            self.recorder.checkpoint(self)
        self.keeper.finish(self.history)
        if not self.history.stopped:
            self.history.stopped = self._measure_result()
        self.recorder.finish(self)

    def _train(self) -> bool:
        """The steps of an epoch that are left; whether the run is to stop."""
        left = self.parts[self.done :]
        if not left:  # it was stopped while its accuracies were measured
            return False
        order = epoch_order(self.images, self.job.seed, self.epoch)
        self.backend.begin_epoch(self.epoch, order, left)
        before, start = self.seconds, time.perf_counter()
        shown = left[0].start
        for part in left:
            step_lr = self.rate(len(self.history.learning_rates))
            self.history.learning_rates.append(step_lr)
            self.backend.step(step_lr)
            self.done += 1
            last = self.done == len(self.parts)
            if not (last or self._is_due() or self.done % self.backend.reads_every == 0):
                continue
            losses, stopped = self.backend.read(self.stop())
            for value in losses:
                self._check(value)
                self.history.loss_history.append(value)
            self.seconds = before + time.perf_counter() - start
            loss = self.history.loss_history[-1]
            where = Shown(self.epoch, self.epochs, self.done, len(self.parts), step_lr, loss)
            self.progress.advance(part.stop - shown, where, self.history)
            shown = part.stop
            self.recorder.after_steps(self)
            if stopped or last or self._is_due():
                self._check_state()
            if stopped:
                return True
            if self._is_due() and not last:  # the end of an epoch has its own
                self.recorder.checkpoint(self)
        return False

    def _is_due(self) -> bool:
        every = self.recorder.checkpoint_every or 0
        # Counted over the whole run, so that it does not matter where it was taken up.
        return every > 0 and ((self.epoch - 1) * len(self.parts) + self.done) % every == 0

    def _measure(self) -> bool:
        """The accuracies after an epoch; whether the run is to stop, which leaves them out."""
        start = time.perf_counter()
        stopped = self._accuracies(
            self.epoch, [n for n in self.job.measured if self._is_turn_of(n)]
        )
        if not stopped:
            self.history.measuring_seconds.append(time.perf_counter() - start)
        return stopped

    def _is_turn_of(self, name: str) -> bool:
        """Whether the accuracy on some images is measured after the epoch under way."""
        every = self.test_every if name == "test" else self.eval_every
        # After the last epoch it has yet to be seen which weights are tested.
        closes = self.epoch == self.epochs and name != "test"
        return closes or (every > 0 and self.epoch % every == 0)

    def _measure_result(self) -> bool:
        """The test accuracy of the weights that are kept, unless it is known; whether to stop.

        Without test images it is the training accuracy.
        """
        epoch, start = self.history.kept_epoch, time.perf_counter()
        name = "test" if "test" in self.job.measured else "train"
        if self.history.accuracy(name, epoch) is not None:
            return False
        if self._accuracies(epoch, [name]):
            return True
        self.history.measuring_seconds[-1] += time.perf_counter() - start
        line = f"{name} {self.history.accuracies(name)[-1]:.2%} with the weights of epoch {epoch}"
        self.progress.line(line)
        self.recorder.after_result(self, name, line)
        return False

    def _accuracies(self, epoch: int, names: Sequence[str]) -> bool:
        """Measure accuracies of the weights of an epoch; whether the run is to stop, without them."""
        found = {}
        for name in names:
            self.progress.measure(name)
            found[name] = self.backend.accuracy(name, self.stop)
        _, stopped = self.backend.read(self.stop())
        if not stopped:
            for name, value in found.items():
                self.history.measured(name, epoch, value)
        return stopped

    def _end_epoch(self, on_epoch: Callable[[int, History], None] | None) -> None:
        epoch, history = self.epoch, self.history
        history.epoch_seconds.append(self.seconds)
        history.images_per_second.append(self.images / max(self.seconds, 1e-9))
        self.keeper.after_epoch(epoch, history)
        line = epoch_line(epoch, self.epochs, len(self.parts), history)
        if (warning := self._warning_of_chance()) is not None:
            line += f"\n{warning}"
        self.progress.line(line)
        self.recorder.after_epoch(self, line)
        self.epoch, self.done, self.seconds = epoch + 1, 0, 0.0
        self.recorder.checkpoint(self)
        if on_epoch is not None:
            on_epoch(epoch, history)

    def _warning_of_chance(self) -> str | None:
        """A warning where the first accuracy after `ENOUGH_STEPS` steps or more is at chance level."""
        found = self.history.accuracy("train", self.epoch)
        before = [0, *self.history.measured_epochs["train"]][-2:][0] * len(self.parts)
        if found is None or not before < ENOUGH_STEPS <= self.steps:
            return None
        labels = self.job.measured["train"][1]
        chance = float(np.bincount(labels).max()) / len(labels)
        doubt = SPREADS * math.sqrt(chance * (1 - chance) / len(labels))
        limit = chance + max(doubt, min(HARDLY * (1 - chance), chance / 2))
        if chance == 1.0 or found > limit:
            return None
        return (
            f"warning: after epoch {self.epoch} {found:.2%} of the training images are right, and one"
            f" class for all would give {chance:.2%}: nothing is learnt yet;"
            f" `netspec doctor` looks for the cause"
        )

    def _check(self, value: float) -> None:
        """Stop where a loss is not finite.

        Raises:
            NetspecError: `train/diverged`.
        """
        if not math.isfinite(value):
            step = len(self.history.loss_history)
            lr = self.history.learning_rates[step]
            raise diverged(value, step + 1, self.epoch, lr, self.backend.last_step())

    def _check_state(self) -> None:
        """Stop before numbers that are not finite are saved, over weights and states that are sound.

        The loss of a step says nothing of what that step makes of the weights.

        Raises:
            NetspecError: `train/diverged`.
        """
        state = self.backend.state_dict()
        _, anywhere = self.backend.read(first_not_finite(state) is not None)
        if anywhere:
            lr = self.history.learning_rates[-1]
            raise overflowed(state, self.steps, self.epoch, lr, self.backend.last_step())
