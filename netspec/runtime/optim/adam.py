"""Adam, and with a weight decay of its own AdamW."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.runtime.optim.members import Member, Vector
from netspec.runtime.optim.rule import (
    Optimizer,
    average,
    average_of_squares,
    fraction,
    not_negative,
)


class Adam(Optimizer):
    """Moving averages of the gradient and of its square, each corrected for starting at 0.

        m = beta1 * m + (1 - beta1) * g          v = beta2 * v + (1 - beta2) * g^2
        p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    With `amsgrad` the largest v so far takes the place of v.

    Source: Kingma and Ba, Adam (2015), and Reddi et al. (2018), as in torch.optim.Adam.
    """

    # Twice PyTorch's default, because the default schedule reduces it to 0: LeNet on MNIST reaches
    # a higher accuracy.
    default_lr = 2e-3
    state_names: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        if amsgrad:
            self.state_names = (*Adam.state_names, "max_exp_avg_sq")
        super().__init__(parameters, gradients, members)
        self.beta1, self.beta2 = fraction("beta1", beta1), fraction("beta2", beta2)
        self.eps, self.amsgrad = not_negative("eps", eps), amsgrad

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        m, v = state[:2]
        average(m, g, self.beta1, scratch)
        average_of_squares(v, g, self.beta2, scratch)
        if self.amsgrad:
            v = np.maximum(state[2], v, out=state[2])
        self._write_step(lr, m, v, scratch)
        p -= scratch

    def _write_step(self, lr: float, m: Vector, v: Vector, out: Vector) -> None:
        """Write the step to `out`, from the two averages."""
        # Numerator and denominator are multiplied by sqrt(1 - beta2^t), which saves one pass over the
        # block.
        root = math.sqrt(1.0 - self.beta2**self.steps)
        np.sqrt(v, out=out)
        out += self.eps * root
        np.divide(m, out, out=out)
        out *= lr * root / (1.0 - self.beta1**self.steps)


class AdamW(Adam):
    """Adam after p *= 1 - lr * weight_decay, for the parameters that decay.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), as in
    torch.optim.AdamW, which decays biases and norms too unless told otherwise.
    """

    decouples_decay = True

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            parameters, gradients, members, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad
        )
        self.weight_decay = not_negative("weight_decay", weight_decay)
