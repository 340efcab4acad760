"""Optimizers with PyTorch's update rules, and their table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from netspec.runtime.data.choices import make, require
from netspec.runtime.optim.adam import Adam, AdamW
from netspec.runtime.optim.lamb import Lamb
from netspec.runtime.optim.members import Member
from netspec.runtime.optim.muon import Muon
from netspec.runtime.optim.own import OwnRule, Step
from netspec.runtime.optim.rule import (
    Optimizer,
    Vector,
    average,
    average_of_squares,
    fraction,
    nesterov,
    not_negative,
)


class SGD(Optimizer):
    """p -= lr * g."""

    default_lr = 1e-2

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        np.multiply(g, lr, out=scratch)
        p -= scratch


class Momentum(Optimizer):
    """v = momentum * v + (1 - dampening) * g, v being g after the first step; p -= lr * v.

    Source: torch.optim.SGD; Sutskever et al. (2013) put lr inside v.
    """

    default_lr = 1e-2
    state_names = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        momentum: float = 0.9,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, members)
        self.momentum = fraction("momentum", momentum)
        self.dampening = fraction("dampening", dampening)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        (v,) = state
        v *= self.momentum
        if self.dampening and self.steps > 1:
            np.multiply(g, 1.0 - self.dampening, out=scratch)
            v += scratch
        else:
            v += g
        np.multiply(v, lr, out=scratch)
        p -= scratch


class Nesterov(Momentum):
    """v = momentum * v + g; p -= lr * (g + momentum * v). Source: torch.optim.SGD(nesterov)."""

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(parameters, gradients, members, momentum=momentum)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        nesterov(lr, p, g, scratch, state[0], self.momentum)


class RMSProp(Optimizer):
    """v = alpha * v + (1 - alpha) * g^2; p -= lr * g / (sqrt(v) + eps).

    With `centered`, sqrt(v - m^2) takes the place of sqrt(v), where m = alpha * m + (1 - alpha) * g.
    With `momentum`, p -= lr * b, where b = momentum * b + g / (sqrt(v) + eps).

    Source: torch.optim.RMSprop; Tieleman and Hinton (2012), Graves (2013).
    """

    default_lr = 1e-3
    state_names: tuple[str, ...] = ("square_avg",)

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        centered: bool = False,
        momentum: float = 0.0,
    ) -> None:
        self.momentum = fraction("momentum", momentum)
        further = (("grad_avg", centered), ("momentum_buffer", self.momentum > 0))
        self.state_names = ("square_avg", *(name for name, used in further if used))
        super().__init__(parameters, gradients, members)
        self.alpha, self.eps = fraction("alpha", alpha), not_negative("eps", eps)
        self.centered = centered

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        v = state[0]
        average_of_squares(v, g, self.alpha, scratch)
        if self.centered:
            average(state[1], g, self.alpha, scratch)
            np.multiply(state[1], state[1], out=scratch)
            np.subtract(v, scratch, out=scratch)
            np.maximum(scratch, 0.0, out=scratch)  # rounding may leave less
            np.sqrt(scratch, out=scratch)
        else:
            np.sqrt(v, out=scratch)
        scratch += self.eps
        np.divide(g, scratch, out=scratch)
        if self.momentum:
            b = state[-1]
            b *= self.momentum
            b += scratch
            np.multiply(b, lr, out=scratch)
        else:
            scratch *= lr
        p -= scratch


class Lion(Optimizer):
    """The sign of an average of the gradient, after p *= 1 - lr * weight_decay for weights.

        p -= lr * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * g

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms (2023).
    """

    default_lr = 1e-4
    state_names = ("exp_avg",)
    decouples_decay = True

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, members)
        self.beta1, self.beta2 = fraction("beta1", beta1), fraction("beta2", beta2)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        (m,) = state
        np.subtract(g, m, out=scratch)
        scratch *= 1.0 - self.beta1
        scratch += m
        np.sign(scratch, out=scratch)
        scratch *= lr
        p -= scratch
        average(m, g, self.beta2, scratch)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
    "lamb": Lamb,
    "muon": Muon,
}


def make_optimizer(
    chosen: str | Step,
    parameters: Vector,
    gradients: Vector,
    members: Sequence[Member] = (),
    /,
    **options: object,
) -> Optimizer:
    """Return the optimizer called `chosen` in `OPTIMIZERS`, or that of a function.

    Options are its keyword arguments.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    if not isinstance(chosen, str):
        require(callable(chosen), f"an optimizer is a name or a function, not {chosen!r}")
        require(not options, "a function of one's own has no options")
        return OwnRule(chosen, parameters, gradients, members)
    return make("optimizer", OPTIMIZERS, chosen, parameters, gradients, members, options=options)


def check_optimizer(chosen: str | Step, options: Mapping[str, object]) -> Optimizer:
    """Return the rule that is chosen, with checked options and no parameters.

    Raises:
        NetspecError: see `make_optimizer`.
    """
    return make_optimizer(chosen, np.empty(0), np.empty(0), **options)


def clip(gradients: Vector, norm: float) -> None:
    """Scale the gradients (P,) in place so that their Euclidean norm is at most `norm`.

        g *= min(1, norm / (|g| + 1e-6))

    Source: torch.nn.utils.clip_grad_norm_.
    """
    length = math.sqrt(float(np.dot(gradients, gradients)))
    gradients *= min(1.0, norm / (length + 1e-6))
