"""netspec's optimizers as torch.optim optimizers, with the rules' own options and defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from netspec.runtime.optim.optimizers import Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp


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
        weight_decay: for the weights, for all optimizers but AdamW, which has its own.
        fused: use one kernel for all parameters, which torch has on a GPU.
    """
    chosen: Any
    options: dict[str, Any] = {}
    if isinstance(rule, AdamW):
        chosen, weight_decay = torch.optim.AdamW, rule.weight_decay
    elif isinstance(rule, Adam):
        chosen = torch.optim.Adam
    elif isinstance(rule, RMSProp):
        chosen, options = torch.optim.RMSprop, {"alpha": rule.alpha, "eps": rule.eps}
    else:
        chosen = torch.optim.SGD
        if isinstance(rule, Momentum):
            options = {"momentum": rule.momentum, "nesterov": isinstance(rule, Nesterov)}
    if isinstance(rule, Adam):
        options = {"betas": (rule.beta1, rule.beta2), "eps": rule.eps}
    if fused and chosen is not torch.optim.RMSprop:
        options["fused"] = True
    groups = [
        {"params": list(weights), "weight_decay": weight_decay},
        {"params": list(others), "weight_decay": 0.0},
    ]
    return chosen([group for group in groups if group["params"]], lr=rule.default_lr, **options)
