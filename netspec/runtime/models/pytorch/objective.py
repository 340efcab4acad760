"""The loss of a run over the outputs of a module, and what its gradient has beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.runtime.data.choices import require
from netspec.runtime.data.mixing import Mix
from netspec.runtime.data.views import View
from netspec.runtime.models.classifier_shape import scores_shape
from netspec.runtime.models.measured import Measured
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.batches import Batch
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.pytorch.optimizers import Trained, make_torch_optimizer
from netspec.runtime.optim.mixed_loss import mixed_loss
from netspec.runtime.optim.optimizers import check_optimizer


class Objective:
    """What a run minimizes, and the parameters that it changes for it.

    The gradient is clipped including the L2 term, and decoupled decay is different from L2: in these
    cases the L2 gradient is added explicitly, in all others the optimizer adds it.

    Args:
        model: the model that is trained.
        job: the run.

    Attributes:
        names: The names of the trained parameters, in the optimizer's order.
        trained: These parameters: the ones trained alike together.
        rule: netspec's optimizer.

    Raises:
        NetspecError: `train/bad-option` for a loss without a PyTorch implementation.
    """

    def __init__(self, model: TorchModel, job: Job) -> None:
        require(
            hasattr(job.loss, "in_torch"), f"{job.loss} has no PyTorch implementation (`in_torch`)"
        )
        self._model, self._job = model, job
        self.names, self.trained = _choose_trained(model, job)
        self.rule = check_optimizer(job.optimizer, job.optimizer_options)
        self._adds_l2 = job.l2 > 0 and (job.clip_norm is not None or self.rule.decouples_decay)
        self._judge, self._sums = job.judge, job.judge.size(scores_shape(model.graph))

    @property
    def tensors(self) -> list[Tensor]:
        """The trained parameters."""
        return [each.tensor for each in self.trained]

    def make_optimizer(self, *, fused: bool) -> Any:
        """Return the optimizer of the trained parameters; see `make_torch_optimizer`."""
        decay = 0.0 if self._adds_l2 else self._job.l2
        return make_torch_optimizer(
            self.rule,
            self.trained,
            weight_decay=decay,
            fused=fused,
            half=self._model.execution.half,
        )

    def arguments(self, x: Batch) -> list[Tensor]:
        """Return a normalized batch as the module takes it."""
        return [self._model.stored(x[name], name) for name in self._model.graph.inputs]

    def loss(
        self, outputs: Any, y: Tensor, weights: Sequence[float], mix: Mix | None = None
    ) -> Tensor:
        """Return the weighted sum of the losses of a batch, without the L2 term.

        Args:
            outputs: what the module returned.
            y: (N, ...) the labels.
            weights: the weights of the mean of the main loss, and of those of the further outputs.
            mix: how the images are blended, which have two labels each (N, 2) then; None if not.
        """
        dtype, model, job = self._model.torch_dtype, self._model, self._job
        main, *others = weights
        loss: Tensor = main * mixed_loss(job.loss, mix).in_torch(
            model.chosen_output(outputs).to(dtype), y
        )
        for term, weight in zip(job.also, others, strict=True):
            found = model.chosen_output(outputs, term.output)
            loss = loss + weight * term.weight * mixed_loss(term.loss, mix).in_torch(
                found.to(dtype), y
            )
        return loss

    def shown(self, loss: Tensor, *, is_first: bool) -> Tensor:
        """Return this process's part of the loss to report. The first process's includes the L2 term."""
        loss, l2 = loss.double(), self._job.l2
        if not (l2 and is_first):
            return loss
        alike: dict[float, list[Tensor]] = {}
        for each in self.trained:
            if each.decay:
                alike.setdefault(each.decay, []).append(each.tensor.detach())
        for decay, tensors in alike.items():
            norm = torch.nn.utils.get_total_norm(tensors)
            loss = loss + 0.5 * l2 * decay * norm.double() ** 2
        return loss

    def finish_gradients(self, unscale: Callable[[], object] = lambda: None) -> None:
        """Add the gradient terms that the backward pass does not compute, and clip.

        Args:
            unscale: divides the gradients by what mixed precision has multiplied them by.
        """
        job = self._job
        if not self._adds_l2 and job.clip_norm is None:
            return
        unscale()
        if self._adds_l2:
            for each in self.trained:
                if each.decay and each.tensor.grad is not None:
                    own = each.tensor.detach()
                    each.tensor.grad.add_(own, alpha=job.l2 * each.decay)
        if job.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.tensors, job.clip_norm)

    def mean_scores(
        self, run: Callable[..., Any], prepare: Callable[[View], Batch], views: Sequence[View]
    ) -> Any:
        """Return what the module returns, or the mean of its scores over views of the pictures.

        Args:
            run: the module.
            prepare: gives a normalized batch as a view shows it.
            views: the views.
        """
        if len(views) == 1:
            return run(*self.arguments(prepare(views[0])))
        total: Tensor | float = 0.0
        for view in views:
            outputs = run(*self.arguments(prepare(view)))
            scores = self._model.chosen_output(outputs).to(self._model.torch_dtype)
            total = total + view.weight * scores
        return total

    def no_sums(self, device: torch.device) -> Tensor:
        """Return the sums of no image, see `Judge`."""
        return torch.zeros(self._sums, dtype=torch.float64, device=device)

    def measured(self, sums: Tensor) -> Measured:
        """Return what the sums over all batches of all processes say."""
        return self._judge.measured(sums.cpu().numpy())

    def judge(self, outputs: Any, y: Tensor, count: int, weight: float) -> Tensor:
        """Return the sums of a batch, see `Judge`; 0 if no image is judged.

        Args:
            outputs: what the module returned.
            y: (N, ...) the labels.
            count: how many of the N images are judged, the first ones.
            weight: what their targets weigh, see `Judge.weigh`.
        """
        if not count:
            return self.no_sums(y.device)
        scores = self._model.chosen_output(outputs)[:count]
        return self._judge.sums_in_torch(scores.to(self._model.torch_dtype), y[:count], weight)


def _choose_trained(model: TorchModel, job: Job) -> tuple[list[str], list[Trained]]:
    """Return the names of the trained parameters, and these: the ones trained alike together."""
    roles = model.graph.parameters
    alike: dict[tuple[float, float], dict[str, Trained]] = {}
    for name, p in model.module.named_parameters():
        if p.requires_grad:
            rate = job.rates.get(name, 1.0)
            decay = job.decays.get(name, float(roles[name].role == "weight"))
            alike.setdefault((rate, decay), {})[name] = Trained(p, name, rate, decay)
    found = {name: each for group in alike.values() for name, each in group.items()}
    return [*found], [*found.values()]
