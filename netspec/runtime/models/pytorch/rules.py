"""The rules that torch.optim does not have, or has in another form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from netspec.runtime.optim import muon as netspec_muon
from netspec.runtime.optim.muon import LEAST_NORM, scale_of
from netspec.runtime.optim.own import Step


class Rule(torch.optim.Optimizer):  # type: ignore[misc]  # it has no types
    """A rule that moves one parameter at a time.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        weight_decay: decoupled.
        defaults: further options.

    Attributes:
        states: The names of what is kept of a parameter, beside the number of its steps.
    """

    states: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self, params: Iterable[Any], lr: float, *, weight_decay: float = 0.0, **defaults: Any
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **defaults})

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        loss = closure() if closure is not None else None
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._move(group, p, self._state_of(p))
        return loss

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float64)
            state.update({name: torch.zeros_like(p) for name in self._names(p)})
        state["step"] += 1
        return state

    def _names(self, p: Tensor) -> tuple[str, ...]:
        return self.states

    def _move(self, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> None:
        raise NotImplementedError


class Lion(Rule):
    """The rule of `netspec.runtime.optim.optimizers.Lion`."""

    states = ("exp_avg",)

    def _move(self, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> None:
        (beta1, beta2), lr, m = group["betas"], group["lr"], state["exp_avg"]
        p.mul_(1.0 - lr * group["weight_decay"])
        p.sub_(torch.lerp(m, p.grad, 1.0 - beta1).sign_(), alpha=lr)
        m.lerp_(p.grad, 1.0 - beta2)


class Lamb(Rule):
    """The rule of `netspec.runtime.optim.lamb.Lamb`. A group has `adapts`: whether it decays."""

    def _move(self, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> None:
        u = _adam_direction(group, p, state)
        factor: Tensor | float = 1.0
        if group["adapts"]:
            u.add_(p, alpha=group["weight_decay"])
            own, length = p.norm(), u.norm()
            factor = torch.where((own > 0) & (length > 0), own / length, 1.0)
        p.sub_(u * factor, alpha=group["lr"])


class Muon(Rule):
    """The rule of `netspec.runtime.optim.muon.Muon`.

    Args:
        params: groups of parameters, with their `names`.
        lr: the learning rate.
        rule: netspec's rule, whose options it takes.
        half: the type that the iteration is computed in; that of the parameters by default.
        defaults: further options.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        rule: netspec_muon.Muon,
        half: torch.dtype | None = None,
        **defaults: Any,
    ) -> None:
        super().__init__(params, lr, **defaults)
        self._rule, self._half = rule, half
        self._turned = {
            p
            for group in self.param_groups
            for name, p in zip(group["names"], group["params"], strict=True)
            if rule.turns(name, p.shape)
        }

    def _names(self, p: Tensor) -> tuple[str, ...]:
        with_squares = p not in self._turned and "exp_avg_sq" in self._rule.state_names
        return self.states if with_squares else self.states[:1]

    def _move(self, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> None:
        lr, rule = group["lr"], self._rule
        if p not in self._turned:
            u = self._plain(group, p, state)
            p.mul_(1.0 - lr * group["weight_decay"]).sub_(u, alpha=lr)
            return
        assert p.grad is not None
        if rule.fixed_norm:
            p.mul_(len(p) ** 0.5 / p.norm().clamp(min=LEAST_NORM))
        m = state["exp_avg"].lerp_(p.grad, 1.0 - rule.momentum)
        update = p.grad.lerp(m, rule.momentum).reshape(len(p), -1).to(self._half or p.dtype)
        turned = _orthogonal(update, rule.ns_steps, rule.ns_coefficients).to(p.dtype)
        p.mul_(1.0 - lr * group["weight_decay"])
        p.sub_(turned.reshape(p.shape), alpha=lr * scale_of(rule.scale, p.shape))

    def _plain(self, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> Tensor:
        """Return the direction of what is not made orthogonal."""
        if self._rule.others == "adamw":
            return _adam_direction(group, p, state)
        assert p.grad is not None
        momentum = self._rule.others_momentum
        v: Tensor = state["exp_avg"].mul_(momentum).add_(p.grad)
        return p.grad.add(v, alpha=momentum)


class Own(torch.optim.Optimizer):  # type: ignore[misc]
    """The steps of a function, see `netspec.runtime.optim.own.Step`.

    Args:
        params: groups of parameters, with their `names`, and their `rate`: what theirs is multiplied by.
        lr: the learning rate.
        function: what takes the steps.
    """

    def __init__(self, params: Iterable[Any], lr: float, function: Step) -> None:
        super().__init__(params, {"lr": lr})
        self._function = function
        self._kept: dict[float, dict[str, Any]] = {}

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        loss = closure() if closure is not None else None
        with torch.no_grad():
            for rate in dict.fromkeys(group["rate"] for group in self.param_groups):
                alike = [group for group in self.param_groups if group["rate"] == rate]
                named = {
                    name: p
                    for group in alike
                    for name, p in zip(group["names"], group["params"], strict=True)
                    if p.grad is not None
                }
                gradients = {name: p.grad for name, p in named.items()}
                kept = self._kept.setdefault(rate, {})
                self._function(named, gradients, kept, alike[0]["lr"])
        return loss


def _adam_direction(group: Mapping[str, Any], p: Tensor, state: Mapping[str, Any]) -> Tensor:
    """Follow the averages of a parameter's gradient; returns Adam's direction."""
    (beta1, beta2), t = group["betas"], float(state["step"])
    assert p.grad is not None
    m = state["exp_avg"].lerp_(p.grad, 1.0 - beta1)
    v = state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1.0 - beta2)
    root = math.sqrt(1.0 - beta2**t)
    u: Tensor = m / (v.sqrt() / root + group["eps"]) / (1.0 - beta1**t)
    return u


def _orthogonal(x: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """See `netspec.runtime.optim.muon.orthogonal`."""
    a, b, c = coefficients
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / x.norm().clamp(min=LEAST_NORM)
    for _ in range(steps):
        y = x @ x.T
        x = torch.addmm(x, torch.addmm(y, y, y, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
