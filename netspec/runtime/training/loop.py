"""The steps of a run, epoch by epoch, from whatever state it is in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netspec.diagnostics import plural
from netspec.runtime.data.batches import epoch_order
from netspec.runtime.models.diverged import diverged, overflowed
from netspec.runtime.models.history import History
from netspec.runtime.models.protocols import Backend, Job
from netspec.runtime.optim.lr_schedules import OnPlateau, Schedule
from netspec.runtime.optim.targets import OF_CLASSES, targets_of
from netspec.runtime.training.best_weights import Keeper
from netspec.runtime.training.progress import Progress, Shown, epoch_line
from netspec.runtime.weights.safetensors_file import first_not_finite

# After this many steps a net that learns at all can tell images apart. Its accuracy counts as
# chance level if it exceeds the share of the most frequent class by less than SPREADS standard
# deviations, or by less than the share HARDLY of what is left to learn (and no more than half of
# chance), as a random net may.
ENOUGH_STEPS = 30
SPREADS, HARDLY = 2.0, 0.05


class TrainingRecorder:
    """Records a run. This class records nothing; `netspec.runtime.runs` has one that writes to disk.

    Every process of a distributed run calls the same methods after the same steps.

    Attributes:
        checkpoint_every: The number of steps between two calls of `checkpoint` within an epoch;
            None for none.
        best_out: The file for the weights of the best epoch; None for none.
        keeps_states: Whether it keeps states to go on from, which takes memory.
        doctor: The command that looks for why nothing is learnt; None if it is not known which.
    """

    checkpoint_every: int | None = None
    best_out: Path | None = None
    keeps_states = False
    doctor: str | None = None

    def begin(self, run: TrainingRun) -> None:
        """Called before the first step; restores the state of `run` if it is resumed."""

    def after_steps(self, run: TrainingRun) -> None:
        """Called when the losses of some more steps are in the history."""

    def after_epoch(self, run: TrainingRun, line: str) -> None:
        """Called when an epoch is in the history, with those of its accuracies that were measured.

        `line` describes the epoch, and includes warnings.
        """

    def after_result(self, run: TrainingRun, name: str, line: str) -> None:
        """Called when the accuracy of the final weights on `name` is in the history.

        `line` describes it. No checkpoint follows: a run that is resumed from the last one measures
        it again.
        """

    def checkpoint(self, run: TrainingRun) -> None:
        """Called when the state is complete, so that a checkpoint can be saved."""

    def finish(self, run: TrainingRun) -> None:
        """Called when the run has ended or is to stop; saves what remains of it."""

    def can_go_on(self) -> bool:
        """Return True if the run's record exists, and the run can be resumed from it."""
        return False


@dataclass
class TrainingRun:
    """A run in progress.

    Attributes:
        backend, job, keeper, history: What takes the steps, and what they result in.
        rate: The learning rate of each step, counted from 0.
        parts: The batches of an epoch, as slices of its order.
        epochs: The number of epochs.
        eval_every: Accuracies on training and validation images are measured after every
            `eval_every` epochs, and after the last; 0 for only after the last.
        test_every: Accuracies on test images are measured after every `test_every` epochs, and at
            the end for the final weights; 0 for only at the end.
        stop: Called after each step.
        recorder, progress: Are notified of what happens.
        plateau: The schedule, if it depends on the scores of the epochs.
        early_stopping: The run ends when the score has not risen in so many measurements; None for
            never.
        epoch: The current epoch, from 1.
        done: The number of its steps that are done.
        seconds: The time that these took.
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
    plateau: OnPlateau | None = None
    early_stopping: int | None = None
    epoch: int = 1
    done: int = 0
    seconds: float = 0.0

    @property
    def images(self) -> int:
        """The number of images in an epoch."""
        count: int = self.parts[-1].stop
        return count

    @property
    def steps(self) -> int:
        """The number of steps done, over all epochs."""
        return len(self.history.loss_history)

    @property
    def is_over(self) -> bool:
        """Whether no step is left to take."""
        left = (self.epochs - self.epoch + 1) * len(self.parts) - self.done
        return left <= 0 or self.is_settled

    def go(self, on_epoch: Callable[[int, History], None] | None = None) -> None:
        """Take all remaining steps, or until it is asked to stop."""
        self.recorder.begin(self)
        self._follow_scores()
        behind = self.parts[self.done - 1].stop if self.done else 0
        done = (self.epoch - 1) * self.images + behind
        self.progress.start(self.epochs * self.images, done, self.job.data.samples)
        while self.epoch <= self.epochs and not (self.history.stopped or self.is_settled):
            self.history.stopped = self._train() or self._measure()
            if not self.history.stopped:
                self._end_epoch(on_epoch)
        if self.history.stopped:
            self.recorder.checkpoint(self)
        elif self.epoch <= self.epochs:
            count = plural(self.early_stopping or 0, "measurement")
            self.progress.line(f"stopped early: nothing better in the last {count}")
        self.keeper.finish(self.history)
        if not self.history.stopped:
            self.history.stopped = self._measure_result()
        self.recorder.finish(self)

    def _train(self) -> bool:
        """Take the remaining steps of an epoch; returns whether the run is to stop."""
        left = self.parts[self.done :]
        if not left:  # it was stopped while accuracies were measured
            return False
        order = epoch_order(self.images, self.job.seed, self.epoch, self.job.chances)
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
            if self._is_due() and not last:  # there is a checkpoint at the end of an epoch anyway
                self.recorder.checkpoint(self)
        return False

    def _is_due(self) -> bool:
        every = self.recorder.checkpoint_every or 0
        # Counted over the whole run, so that the steps of checkpoints do not depend on where it was
        # resumed.
        return every > 0 and ((self.epoch - 1) * len(self.parts) + self.done) % every == 0

    def _measure(self) -> bool:
        """Measure accuracies after an epoch; returns whether the run is to stop, which discards them."""
        start = time.perf_counter()
        stopped = self._accuracies(
            self.epoch, [n for n in self.job.measured if self._is_turn_of(n)]
        )
        if not stopped:
            self.history.measuring_seconds.append(time.perf_counter() - start)
        return stopped

    def _is_turn_of(self, name: str) -> bool:
        """Return True if the accuracy on these images is measured after the current epoch."""
        every = self.test_every if name == "test" else self.eval_every
        # After the last epoch it is not known yet which weights are tested.
        closes = self.epoch == self.epochs and name != "test"
        return closes or (every > 0 and self.epoch % every == 0)

    def _measure_result(self) -> bool:
        """Measure the test accuracy of the final weights, unless it is known; returns whether to stop.

        Without test images it is the training accuracy; a loss that is the output has none, and what is
        measured is itself.
        """
        epoch, start = self.history.kept_epoch, time.perf_counter()
        name = "test" if "test" in self.job.measured else "train"
        if name not in self.job.measured or self.history.is_measured(name, epoch):
            return False
        if self._accuracies(epoch, [name]):
            return True
        self.history.measuring_seconds[-1] += time.perf_counter() - start
        line = f"{self.history.shown(name, epoch)} with the weights of epoch {epoch}"
        self.progress.line(line)
        self.recorder.after_result(self, name, line)
        return False

    def _accuracies(self, epoch: int, names: Sequence[str]) -> bool:
        """Measure accuracies of an epoch's weights; returns whether to stop, which discards them."""
        found = {}
        for name in names:
            self.progress.measure(name)
            found[name] = self.backend.measure(name, self.stop)
        _, stopped = self.backend.read(self.stop())
        if not stopped:
            for name, value in found.items():
                self.history.measured(name, epoch, value, per_class=self.job.per_class)
        return stopped

    def _end_epoch(self, on_epoch: Callable[[int, History], None] | None) -> None:
        epoch, history = self.epoch, self.history
        history.epoch_seconds.append(self.seconds)
        history.images_per_second.append(self.images / max(self.seconds, 1e-9))
        self.keeper.after_epoch(epoch, history)
        line = epoch_line(epoch, self.epochs, len(self.parts), history, self.job.data.samples)
        if (warning := self._warning_of_chance()) is not None:
            line += f"\n{warning}"
        self.progress.line(line)
        self.recorder.after_epoch(self, line)
        self.epoch, self.done, self.seconds = epoch + 1, 0, 0.0
        self._follow_scores()
        self.recorder.checkpoint(self)
        if on_epoch is not None:
            on_epoch(epoch, history)

    def _follow_scores(self) -> None:
        """Tell a schedule that depends on them the scores of all epochs so far."""
        if self.plateau is not None:
            self.plateau.follow(self.history.scores())

    @property
    def is_settled(self) -> bool:
        """Return True if the score has not risen in the last `early_stopping` measurements."""
        if self.early_stopping is None:
            return False
        scores = self.history.scores()
        if len(scores) <= self.early_stopping:
            return False
        return scores.index(max(scores)) < len(scores) - self.early_stopping

    def _warning_of_chance(self) -> str | None:
        """Return a warning if the first accuracy after `ENOUGH_STEPS` steps is at chance level."""
        found = self.history.accuracy("train", self.epoch)
        before = [0, *self.history.measured_epochs["train"]][-2:][0] * len(self.parts)
        if found is None or not before < ENOUGH_STEPS <= self.steps:
            return None
        kind = targets_of(self.job.loss) or OF_CLASSES
        right, counted = kind.judge_commonest(self.job.measured["train"][1])
        if not counted:
            return None
        chance = right / counted
        doubt = SPREADS * math.sqrt(chance * (1 - chance) / counted)
        limit = chance + max(doubt, min(HARDLY * (1 - chance), chance / 2))
        if chance == 1.0 or found > limit:
            return None
        what = "images" if self.job.data.y_train.ndim == 1 else "targets"
        return (
            f"warning: after epoch {self.epoch} {found:.2%} of the training {what} are right, and one"
            f" answer for all would give {chance:.2%}: nothing is learnt yet;"
            f" `{self._doctor()}` looks for the cause"
        )

    def _doctor(self) -> str:
        """Return the command to examine the net with."""
        if self.recorder.doctor is not None:
            return self.recorder.doctor
        by = self.job.optimizer
        optimizer = f" --optimizer {by}" if isinstance(by, str) else ""
        return f"netspec doctor FILE{optimizer} --lr {max(self.history.learning_rates):g}"

    def _check(self, value: float) -> None:
        """Raise an error if a loss is not finite.

        Raises:
            NetspecError: `train/diverged`.
        """
        if not math.isfinite(value):
            step = len(self.history.loss_history)
            lr = self.history.learning_rates[step]
            raise diverged(
                value, step + 1, self.epoch, lr, self.backend.last_step(),
                is_normalized=self._is_normalized(),
            )  # fmt: skip

    def _check_state(self) -> None:
        """Raise an error before numbers that are not finite are saved over valid weights and states.

        The loss of a step does not show what that step does to the weights.

        Raises:
            NetspecError: `train/diverged`.
        """
        state = self.backend.state_dict()
        _, anywhere = self.backend.read(first_not_finite(state) is not None)
        if anywhere:
            lr = self.history.learning_rates[-1]
            raise overflowed(
                state, self.steps, self.epoch, lr, self.backend.last_step(),
                is_normalized=self._is_normalized(),
            )  # fmt: skip

    def _is_normalized(self) -> bool:
        """Whether the inputs are brought to a mean of 0, so that this is no advice any more."""
        return self.history.normalization.kind not in ("none", "unit")
