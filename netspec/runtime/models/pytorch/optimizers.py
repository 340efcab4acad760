"""netspec's optimizers as torch.optim optimizers, with the rules' own options and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netspec.runtime.models.pytorch import rules
from netspec.runtime.optim.adam import Adam, AdamW
from netspec.runtime.optim.lamb import Lamb
from netspec.runtime.optim.muon import Muon
from netspec.runtime.optim.optimizers import (
    SGD,
    Lion,
    Momentum,
    Nesterov,
    RMSProp,
)
from netspec.runtime.optim.own import OwnRule
from netspec.runtime.optim.rule import Optimizer


class Trained(NamedTuple):
    """A parameter to train, its name, and what its rate and its decay are multiplied by."""

    tensor: Tensor
    name: str
    rate: float = 1.0
    decay: float = 1.0


class _InTorch(NamedTuple):
    """A class of torch.optim, or one like these, and its options."""

    chosen: Any
    options: Mapping[str, Any] = MappingProxyType({})
    may_fuse: bool = True


def make_torch_optimizer(
    rule: Optimizer,
    parameters: Iterable[Trained],
    *,
    weight_decay: float = 0.0,
    fused: bool = False,
    half: torch.dtype | None = None,
) -> Any:
    """Return a torch.optim optimizer for the steps of `rule`; see `set_rate`.

    Args:
        rule: netspec's optimizer, as returned by
            `netspec.runtime.optim.optimizers.check_optimizer`.
        parameters: what is trained; they keep their order if those with equal factors are together.
        weight_decay: for all optimizers but those that have their own.
        fused: use one kernel for all parameters, where torch has one.
        half: the type of mixed precision, in which Muon iterates.
    """
    found = in_torch(rule)
    if rule.decouples_decay:
        weight_decay = rule.weight_decay
    options = dict(found.options)
    if fused and found.may_fuse:
        options["fused"] = True
    if found.chosen is rules.Muon:
        options["half"] = half
    alike: dict[tuple[float, float], list[Trained]] = {}
    for each in parameters:
        alike.setdefault((each.rate, each.decay), []).append(each)
    groups = [
        {
            "params": [each.tensor for each in trained],
            "names": [each.name for each in trained],
            "weight_decay": weight_decay * decay,
            "rate": rate,
            "adapts": decay != 0,
        }
        for (rate, decay), trained in alike.items()
    ]
    optimizer = found.chosen(groups, lr=rule.default_lr, **options)
    set_rate(optimizer, rule.default_lr)
    return optimizer


def set_rate(optimizer: Any, lr: float) -> None:
    """Set the learning rate, which each group multiplies by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


@singledispatch
def in_torch(rule: Optimizer) -> _InTorch:
    """Return what takes the steps of a rule in PyTorch."""
    raise NotImplementedError(type(rule).__name__)


@in_torch.register
def _(rule: SGD) -> _InTorch:
    return _InTorch(torch.optim.SGD)


@in_torch.register
def _(rule: Momentum) -> _InTorch:
    nesterov = isinstance(rule, Nesterov)
    options = {"momentum": rule.momentum, "nesterov": nesterov, "dampening": rule.dampening}
    return _InTorch(torch.optim.SGD, options)


@in_torch.register
def _(rule: RMSProp) -> _InTorch:
    names = ("alpha", "eps", "centered", "momentum")
    options = {name: getattr(rule, name) for name in names}
    return _InTorch(torch.optim.RMSprop, options, may_fuse=False)


@in_torch.register
def _(rule: Adam) -> _InTorch:
    chosen = torch.optim.AdamW if isinstance(rule, AdamW) else torch.optim.Adam
    return _InTorch(chosen, {**_averages(rule), "amsgrad": rule.amsgrad})


@in_torch.register
def _(rule: Lion) -> _InTorch:
    return _InTorch(rules.Lion, {"betas": (rule.beta1, rule.beta2)}, may_fuse=False)


@in_torch.register
def _(rule: Lamb) -> _InTorch:
    return _InTorch(rules.Lamb, _averages(rule), may_fuse=False)


@in_torch.register
def _(rule: Muon) -> _InTorch:
    return _InTorch(rules.Muon, {**_averages(rule), "rule": rule}, may_fuse=False)


@in_torch.register
def _(rule: OwnRule) -> _InTorch:
    return _InTorch(rules.Own, {"function": rule.function}, may_fuse=False)


def _averages(rule: Adam) -> dict[str, Any]:
    return {"betas": (rule.beta1, rule.beta2), "eps": rule.eps}
