"""LAMB: Adam whose step is as long, for each parameter that decays, as the parameter is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.kernels import parallel
from netspec.runtime.optim import rule
from netspec.runtime.optim.adam import AdamW
from netspec.runtime.optim.members import Member, Vector
from netspec.runtime.optim.rule import WORK, average, average_of_squares


class Lamb(AdamW):
    """Adam's direction with decay, as long as the parameter itself times the rate.

        m = beta1 * m + (1 - beta1) * g          v = beta2 * v + (1 - beta2) * g^2
        u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p
        p -= lr * |p| / |u| * u

    |p| / |u| is taken over a whole parameter. It is 1 if one of them is 0, and for parameters that do
    not decay, as in the authors' program. Two passes compute u twice, which takes less time than
    keeping it.

    Source: You et al., Large Batch Optimization for Deep Learning (2020), algorithm 2.
    """

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            parameters, gradients, members,
            beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
        )  # fmt: skip

    def _advance(self, lr: float) -> None:
        """See `Optimizer`. A thread has whole parameters, so that no sum depends on their number."""
        shares = _shares(self.members, self.parameters.size)
        self._make_scratch(2 * len(shares))

        def advance(number: int, members: Sequence[Member]) -> None:
            for member in members:
                self._one(lr * member.rate, member, *self._scratch[2 * number : 2 * number + 2])

        parallel.run(advance, [*enumerate(shares)])

    def _one(self, lr: float, member: Member, scratch: Vector, other: Vector) -> None:
        """Update a parameter."""
        m, v = self._state.values()
        step = rule.BLOCK
        starts = range(member.part.start, member.part.stop, step)
        blocks = [slice(start, min(start + step, member.part.stop)) for start in starts]
        mine = weights = 0.0
        for part in blocks:
            p, g, size = self.parameters[part], self.gradients[part], part.stop - part.start
            average(m[part], g, self.beta1, scratch[:size])
            average_of_squares(v[part], g, self.beta2, scratch[:size])
            if member.decay:
                u = self._direction(member, part, scratch[:size], other[:size])
                mine += float(np.dot(u, u))
                weights += float(np.dot(p, p))
        ratio = math.sqrt(weights / mine) if mine > 0 and weights > 0 else 1.0
        for part in blocks:
            size = part.stop - part.start
            u = self._direction(member, part, scratch[:size], other[:size])
            u *= lr * ratio
            self.parameters[part] -= u

    def _direction(self, member: Member, part: slice, out: Vector, scratch: Vector) -> Vector:
        """Return u of a block."""
        m, v = (state[part] for state in self._state.values())
        self._write_step(1.0, m, v, out)
        if self.weight_decay and member.decay:
            np.multiply(self.parameters[part], self.weight_decay * member.decay, out=scratch)
            out += scratch
        return out


def _shares(members: Sequence[Member], size: int) -> list[list[Member]]:
    """Return the members for each thread, about the same number of parameters for each."""
    ends = [part.stop for part in parallel.parts(size, size * WORK)]
    shares: list[list[Member]] = [[] for _ in ends]
    for member in members:
        middle = (member.part.start + member.part.stop) // 2
        shares[next((i for i, end in enumerate(ends) if middle < end), -1)].append(member)
    return [share for share in shares if share]
