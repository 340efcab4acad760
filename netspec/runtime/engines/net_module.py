"""A net and its recipe as a LightningModule, which other engines can train too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.choices import require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.views import views
from netspec.runtime.engines.given_recipe import GivenRecipe, settings_of
from netspec.runtime.models.history import MONITORS
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.average import WeightAverage
from netspec.runtime.models.pytorch.batches import Batch
from netspec.runtime.models.pytorch.device import Execution
from netspec.runtime.models.pytorch.epoch_share import Step
from netspec.runtime.models.pytorch.evaluated_part import EvaluatedPart
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.pytorch.objective import Objective
from netspec.runtime.models.pytorch.optimizers import set_rate
from netspec.runtime.models.pytorch.preparation import Preparation
from netspec.runtime.models.pytorch.processes import current_group
from netspec.runtime.models.pytorch.randomness import seed_process
from netspec.runtime.models.pytorch.shared_batch_norm import Participation, share_batch_norms
from netspec.runtime.models.torch_build import CheckedNet, build_module
from netspec.runtime.optim.lr_schedules import OnPlateau
from netspec.runtime.training.plan import PlannedTraining, plan_training
from netspec.runtime.training.transfer import choose_frozen
from netspec.runtime.training.whitening import start_whitened
from netspec.runtime.weights.data_facts import TrainedOn, about_data
from netspec.runtime.weights.engine_state import AVERAGE, FACTS, facts_bytes, facts_from_bytes

_NONE = "attach it to data: data.attach(module), which Lightning's Trainer does by itself"


class NetModule(LightningModule):  # type: ignore[misc]  # it has no types
    """A net that is trained as its recipe says, by Lightning's Trainer or another engine.

    With the `DataModule` of the same recipe it takes the steps that `netspec train torch` takes:
    each process computes its share of every batch. The loss of a process is multiplied by the number of
    processes, because engines compute the mean of the gradients.

    Args:
        net: a checked net.
        recipe: the path of a recipe, or its options by name.

    Attributes:
        net: The generated module.
        model: The same with the methods of `netspec.Model`: `evaluate`, `predict`, `state_dict`.
        epochs: How many epochs the recipe takes.
        steps_done: How many steps have been taken.

    Raises:
        NetspecError: `recipe/...` and `train/bad-option` for anything wrong with the recipe, or for
            `accumulate`, which is an option of the engine.
    """

    def __init__(self, net: CheckedNet, recipe: GivenRecipe = None) -> None:
        super().__init__()
        self.settings = settings_of(recipe)
        require(
            self.settings["accumulate"] == 1,
            "accumulate is left to the engine, such as Trainer(accumulate_grad_batches=...)",
        )
        self.net = build_module(net, dtype=self.settings["dtype"], seed=self.settings["seed"])
        self.model = TorchModel(net.graph, self.net, Execution(torch.device("cpu")))
        freezing = (self.settings["freeze"], self.settings["train-only"])
        if any(freezing):
            self.model.freeze(choose_frozen(net.graph, *freezing))
        self.epochs: int = self.settings["epochs"]
        self.steps_done = 0
        self._scores: list[float] = []
        self._planned: PlannedTraining | None = None
        self._average: WeightAverage | None = None
        self._participation = Participation()
        self._loaded: dict[str, Tensor] = {}
        self._averaging: AbstractContextManager[None] = nullcontext()
        self.register_state_dict_post_hook(_add_own)
        self.register_load_state_dict_pre_hook(_take_own)

    # -- data

    @property
    def planned(self) -> PlannedTraining:
        """What the run does.

        Raises:
            NetspecError: `train/bad-option` before `attach`.
        """
        require(self._planned is not None, "the module has no data", _NONE)
        assert self._planned is not None
        return self._planned

    @property
    def job(self) -> Job:
        """What each step needs."""
        return self.planned.job

    def attach(self, data: Dataset) -> None:
        """Check the recipe with the data; `DataModule.attach` calls this.

        Raises:
            NetspecError: as `netspec.fit`.
        """
        if self._planned is not None:
            return
        self._planned = plan_training(self.model, data, self.settings.training_options())
        job, group = self.job, current_group()
        seed_process(job.seed, group.rank)
        if self.settings["sync-batch-norm"] and group.size > 1:
            self._participation = share_batch_norms(self.net, group)
        if self.settings["whiten"] is not None and FACTS not in self._loaded:
            start_whitened(self.model, job, self.settings["whiten"])
        self._objective = Objective(self.model, job)
        self.model.trained_on = TrainedOn(job.normalization, about_data(job.data))
        self._take_up()

    # -- steps

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs of the net for normalized inputs in the order of the file."""
        return self.net(*inputs)

    def training_step(self, batch: Step, batch_idx: int = 0) -> dict[str, Tensor]:
        """Return the losses of a step, see `losses`."""
        found = self.losses(self(*self.arguments(batch)), batch)
        if self._trainer is not None:
            # The mean over the processes of what is shown, the sum of their parts.
            mean = found["shown"] * current_group().size
            self.log("loss", mean, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
        return found

    def arguments(self, batch: Step) -> list[Tensor]:
        """Augment and normalize the images of a step; returns the arguments of the net."""
        self._participation.counts = batch.counts
        return self._objective.arguments(self._changed(batch))

    def _changed(self, batch: Step) -> Batch:
        preparation = self._preparation()
        return preparation.mixed(preparation.changed(batch.x, batch.drawn), batch.mix)

    def losses(self, outputs: Any, batch: Step) -> dict[str, Tensor]:
        """Return `loss`, to be differentiated, and `shown`, the part of this process in the loss.

        Args:
            outputs: what the net returned for `arguments(batch)`.
            batch: the share of this process in the step.
        """
        group = current_group()
        loss = self._objective.loss(outputs, batch.y, batch.weights, batch.mix)
        shown = self._objective.shown(loss.detach(), is_first=group.rank == 0)
        return {"loss": loss * group.size, "shown": shown}

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the recipe."""
        _ = self.planned
        return self._objective.make_optimizer(fused=next(self.net.parameters()).is_cuda)

    def before_step(self, optimizer: Any) -> None:
        """Complete the gradients, and set the learning rate of the step."""
        for parameter in self._objective.tensors:
            if parameter.grad is None:  # other outputs alone depend on it
                parameter.grad = torch.zeros_like(parameter)
        if self.job.ema is not None:
            self._own_average()  # it begins at the weights before the first step
        self._objective.finish_gradients()
        set_rate(optimizer, self.planned.rate(self.steps_done))

    def after_step(self) -> None:
        """Count the step, and let the average of the weights follow."""
        self.steps_done += 1
        if self.job.ema is not None:
            self._own_average().follow(self.steps_done)

    def take_step(self, optimizer: Any) -> None:
        """Take a step with the gradients that are there, for an engine whose loop is written out."""
        self.before_step(optimizer)
        optimizer.step()
        self.after_step()

    def follow_score(self, score: float) -> None:
        """Tell a schedule that depends on it how good an epoch was: the higher the better."""
        self._scores.append(score)
        if isinstance(self.planned.rule, OnPlateau):
            self.planned.rule.follow(self._scores)

    # -- Lightning's hooks

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Lightning calls this between the backward pass and the step."""
        self.before_step(optimizer)
        self.log("lr", self.planned.rate(self.steps_done))

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Lightning calls this for a step."""
        super().optimizer_step(*arguments, **keywords)
        self.after_step()

    def on_train_epoch_end(self) -> None:
        """Tell a schedule that depends on it how good the epoch was."""
        if isinstance(self.planned.rule, OnPlateau):
            metrics, monitor = self.trainer.callback_metrics, self.settings["monitor"]
            name = "val_acc" if monitor == "val" else monitor
            found = metrics[name] if name in metrics else metrics["loss"]
            rises = MONITORS[monitor] and name in metrics
            self.follow_score(float(found if rises else -found))

    def on_validation_epoch_start(self) -> None:
        """Begin to measure, with the averaged weights if the recipe averages them."""
        self._sums = self._objective.no_sums(self.device)
        # Before the first step the average is the weights.
        self._averaging = nullcontext() if self._average is None else self._average.in_place()
        self._averaging.__enter__()

    def validation_step(self, batch: EvaluatedPart, batch_idx: int = 0) -> None:
        """Judge a batch."""
        seen = partial(self._preparation().seen, batch.x)
        outputs = self._objective.mean_scores(self, seen, views(self.job.tta))
        self._sums += self._objective.judge(outputs, batch.y, batch.judged, batch.weight)

    def on_validation_epoch_end(self) -> None:
        """Log `val_acc`, `val_loss` and what else is measured, such as `val_macro_f1`."""
        self._end_measuring("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Log the same of the test images, `test_acc` and so on."""
        self._end_measuring("test")

    def _end_measuring(self, name: str) -> None:
        self._averaging.__exit__(None, None, None)
        found = self._objective.measured(current_group().total(self._sums))
        if found.accuracy is not None:
            self.log(f"{name}_acc", found.accuracy, sync_dist=True, prog_bar=True)
        for measure, value in found.values().items():
            self.log(f"{name}_{measure}", value, sync_dist=True)

    # -- state

    def facts(self) -> dict[str, object]:
        """Return what the state dict says beside the tensors."""
        known = self.model.trained_on
        about = {} if known is None else {"normalization": known.normalization.to_json(),
                                          "about": dict(known.about)}  # fmt: skip
        return {"steps": self.steps_done, "scores": self._scores, **about}

    def averages(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the averages of the weights by the names of the net."""
        if self._average is not None:
            yield from zip(self._objective.names, self._average.values, strict=True)

    def hold(self, loaded: Mapping[str, Tensor]) -> None:
        """Take what a state dict has beside the tensors of the net."""
        self._loaded = dict(loaded)
        if self._planned is not None:
            self._take_up()

    def _take_up(self) -> None:
        """Go on from the state that was loaded, if there is one."""
        if FACTS not in self._loaded:
            return
        try:
            facts = facts_from_bytes(self._loaded.pop(FACTS).cpu().numpy())
            self.steps_done = int(facts["steps"])
            self._scores = [float(score) for score in facts["scores"]]
        except (UnsoundFileError, KeyError, TypeError, ValueError) as error:
            message = f"the state holds something that no NetModule saves: {error}"
            raise NetspecError.simple(codes.RUN_CHECKPOINT, message) from None
        if isinstance(self.planned.rule, OnPlateau):
            self.planned.rule.follow(self._scores)
        if self.job.ema is not None and self._loaded:
            average = self._own_average()
            for name, value in zip(self._objective.names, average.values, strict=True):
                value.copy_(self._loaded[name])
        self._loaded = {}

    def _own_average(self) -> WeightAverage:
        """Return the average, which is made where the parameters are when it is needed."""
        if self._average is None:
            assert self.job.ema is not None
            self._average = WeightAverage(self._objective.tensors, self.job.ema)
        return self._average

    def _preparation(self) -> Preparation:
        device = next(self.net.parameters()).device
        if getattr(self, "_prepared_for", None) != device:
            self._prepared_for = device
            self._prepared = Preparation(self.model.graph, self.job, self.model.torch_dtype, device)
        return self._prepared


def _add_own(module: NetModule, state: dict[str, Any], prefix: str, _: object) -> None:
    """Add the facts and the averages to a state dict."""
    state[prefix + FACTS] = torch.from_numpy(facts_bytes(module.facts()))
    for name, value in module.averages():
        state[f"{prefix}{AVERAGE}{name}"] = value


def _take_own(module: NetModule, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Take the facts and the averages out of a state dict that is loaded."""
    own = [name for name in state if name.startswith((prefix + AVERAGE, prefix + FACTS))]
    found = {name.removeprefix(prefix): state.pop(name) for name in own}
    module.hold({name.removeprefix(AVERAGE): value for name, value in found.items()})
