"""netspec's optimizers as torch.optim optimizers, with the rules' own options and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from netspec.runtime.optim.optimizers import (
    Adam,
    AdamW,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
)


def make_torch_optimizer(
    rule: Optimizer,
    weights: Iterable[Tensor],
    others: Iterable[Tensor],
    *,
    weight_decay: float = 0.0,
    fused: bool = False,
) -> Any:
    """Return a torch.optim optimizer for the steps of `rule`; its rate is set at each step.

    Args:
        rule: netspec's optimizer, as returned by
            `netspec.runtime.optim.optimizers.check_optimizer`.
        weights: parameters that decay acts on.
        others: biases and norms, which never decay.
        weight_decay: for the weights, for all optimizers but those that have their own.
        fused: use one kernel for all parameters, which torch has on a GPU.
    """
    chosen: Any
    options: dict[str, Any] = {}
    if isinstance(rule, AdamW):
        chosen, weight_decay = torch.optim.AdamW, rule.weight_decay
    elif isinstance(rule, Lion):
        chosen, weight_decay = TorchLion, rule.weight_decay
        options = {"betas": (rule.beta1, rule.beta2)}
    elif isinstance(rule, Adam):
        chosen = torch.optim.Adam
    elif isinstance(rule, RMSProp):
        chosen = torch.optim.RMSprop
        options = {"alpha": rule.alpha, "eps": rule.eps, "centered": rule.centered}
    else:
        chosen = torch.optim.SGD
        if isinstance(rule, Momentum):
            options = {
                "momentum": rule.momentum,
                "nesterov": isinstance(rule, Nesterov),
                "dampening": rule.dampening,
            }
    if isinstance(rule, Adam):
        betas = (rule.beta1, rule.beta2)
        options = {"betas": betas, "eps": rule.eps, "amsgrad": rule.amsgrad}
    if fused and chosen not in (torch.optim.RMSprop, TorchLion):
        options["fused"] = True
    groups = [
        {"params": list(weights), "weight_decay": weight_decay},
        {"params": list(others), "weight_decay": 0.0},
    ]
    return chosen([group for group in groups if group["params"]], lr=rule.default_lr, **options)


class TorchLion(torch.optim.Optimizer):  # type: ignore[misc]  # it has no types
    """The rule of `netspec.runtime.optim.optimizers.Lion`, which torch.optim does not have.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: of the update, and of the average.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = Lion.default_lr,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        loss = closure() if closure is not None else None
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._move(group, p)
        return loss

    def _move(self, group: Mapping[str, Any], p: Tensor) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        state = self.state[p]
        if not state:
            state["exp_avg"] = torch.zeros_like(p)
        m = state["exp_avg"]
        p.mul_(1.0 - lr * group["weight_decay"])
        p.sub_(torch.lerp(m, p.grad, 1.0 - beta1).sign_(), alpha=lr)
        m.lerp_(p.grad, 1.0 - beta2)
