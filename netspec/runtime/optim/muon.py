"""Muon: momentum of a matrix, made orthogonal; AdamW for what is no matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name, is_number, require
from netspec.runtime.optim.adam import AdamW
from netspec.runtime.optim.members import Member, Vector, trained_alike
from netspec.runtime.optim.rule import average, fraction, nesterov

Matrix = NDArray[np.floating]

# What the rate is multiplied by for a matrix of A rows and B columns: Jordan's factor, that of Liu et
# al., with which Muon takes AdamW's rates and decays, and Bernstein's.
SCALES: Mapping[str, str] = {
    "original": "sqrt(max(1, A / B))",
    "match-rms-adamw": "0.2 * sqrt(max(A, B))",
    "spectral": "sqrt(A / B)",
}
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# The rules for what is no matrix.
OTHERS = ("adamw", "nesterov")
# The least norm that a matrix is divided by.
LEAST_NORM = 1e-7
_MOST_STEPS = 99


class Muon(AdamW):
    """For parameters of two or more axes, as matrices [A, the rest]; the others have another rule.

        m = momentum * m + (1 - momentum) * g
        p *= 1 - lr * weight_decay
        p -= lr * scale(A, B) * orthogonal((1 - momentum) * g + momentum * m)

    `orthogonal(x)` is a few steps of Newton and Schulz's iteration, which brings the singular values
    of x / |x| near 1: x = a x + (b y + c y^2) x, where y = x x^T. With `fixed_norm` a matrix is scaled to
    the norm sqrt(A) before a step, which changes nothing for a layer in front of a norm.

    The others, and matrices whose names match one of `plain`, have AdamW's rule, or Nesterov's with
    `others_momentum`.

    Source: Jordan et al., Muon (2024); Liu et al., Muon is Scalable for LLM Training (2025); as in
    torch.optim.Muon, which computes the iteration in bfloat16, and has no rule for what is no matrix;
    `fixed_norm` from airbench94_muon by Jordan.
    """

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        momentum: float = 0.95,
        scale: str = "match-rms-adamw",
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = COEFFICIENTS,
        fixed_norm: bool = False,
        plain: Sequence[str] = (),
        others: str = "adamw",
        others_momentum: float = 0.9,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        check_name("rule of the others", others, OTHERS)
        if others == "nesterov":
            self.state_names = ("exp_avg",)
        super().__init__(
            parameters, gradients, members,
            beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
        )  # fmt: skip
        check_name("scale of muon", scale, SCALES)
        require(
            is_number(ns_steps) and ns_steps == int(ns_steps) and 1 <= ns_steps <= _MOST_STEPS,
            f"ns_steps must be a whole number from 1 to {_MOST_STEPS}, not {ns_steps!r}",
        )
        require(
            len(ns_coefficients) == 3 and all(map(is_number, ns_coefficients)),
            f"ns_coefficients must be three numbers, not {ns_coefficients!r}",
        )
        a, b, c = map(float, ns_coefficients)
        self.momentum, self.scale = fraction("momentum", momentum), scale
        self.ns_steps, self.ns_coefficients = int(ns_steps), (a, b, c)
        self.fixed_norm, self.patterns = fixed_norm, tuple(plain)
        self.others, self.others_momentum = others, fraction("others_momentum", others_momentum)
        self._matrices = [each for each in self.members if self.turns(each.name, each.shape)]
        self._others = _runs([each for each in self.members if each not in self._matrices])

    def turns(self, name: str, shape: tuple[int, ...]) -> bool:
        """Return True if it makes the step of a parameter orthogonal."""
        return len(shape) >= 2 and not any(fnmatchcase(name, each) for each in self.patterns)

    def keeps(self, state: str, name: str, shape: tuple[int, ...]) -> bool:
        """See `Optimizer`: a matrix has no average of squares."""
        kept = super().keeps(state, name, shape)
        return kept and not (state == "exp_avg_sq" and self.turns(name, shape))

    def _advance(self, lr: float) -> None:
        """See `Optimizer`. A matrix takes memory of three like it for a while."""
        for member in self._matrices:
            self._turn(lr, member)
        for member in self._others:
            self._decay(lr, member)
            self._each_number(lr * member.rate, member.part)

    def _turn(self, lr: float, member: Member) -> None:
        """Update a matrix."""
        part, rows = member.part, member.shape[0]
        g, m = self.gradients[part], self._state["exp_avg"][part]
        scratch = np.empty_like(g)
        average(m, g, self.momentum, scratch)
        np.subtract(m, g, out=scratch)
        scratch *= self.momentum
        scratch += g
        if self.fixed_norm:
            p = self.parameters[part]
            p *= p.dtype.type(fixed(rows, float(np.linalg.norm(p))))
        turned = orthogonal(scratch.reshape(rows, -1), self.ns_steps, self.ns_coefficients)
        self._decay(lr, member)
        factor = lr * member.rate * scale_of(self.scale, member.shape)
        self.parameters[part] -= (turned * turned.dtype.type(factor)).reshape(-1)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        if self.others == "nesterov":
            nesterov(lr, p, g, scratch, state[0], self.others_momentum)
        else:
            super()._update(lr, p, g, scratch, *state)


def fixed(rows: int, norm: float) -> float:
    """Return what brings a matrix of this norm to that of its number of rows."""
    return math.sqrt(rows) / max(norm, LEAST_NORM)


def scale_of(scale: str, shape: tuple[int, ...]) -> float:
    """Return what the rate of a matrix is multiplied by; see `SCALES`."""
    rows, columns = shape[0], math.prod(shape[1:])
    if scale == "original":
        return math.sqrt(max(1.0, rows / columns))
    if scale == "spectral":
        return math.sqrt(rows / columns)
    return 0.2 * math.sqrt(max(rows, columns))


def orthogonal(x: Matrix, steps: int, coefficients: tuple[float, float, float]) -> Matrix:
    """Return a matrix [A, B] of the same singular vectors, whose singular values are near 1."""
    a, b, c = map(x.dtype.type, coefficients)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / max(x.dtype.type(np.linalg.norm(x)), x.dtype.type(LEAST_NORM))
    for _ in range(steps):
        y = x @ x.T
        x = a * x + (b * y + c * (y @ y)) @ x
    return x.T if is_tall else x


def _runs(members: Sequence[Member]) -> list[Member]:
    """Return the members with neighbours that are trained alike as one."""
    runs: list[list[Member]] = []
    for member in members:
        if runs and runs[-1][-1].part.stop == member.part.start:
            runs[-1].append(member)
        else:
            runs.append([member])
    return [alike for run in runs for alike in trained_alike(run)]
