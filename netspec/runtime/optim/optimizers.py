"""Optimizers with PyTorch's update rules, in place over one flat parameter vector.

A step processes the vectors in blocks that stay in the processor's cache, so each number of a
parameter, its gradient and its state is read from memory once in a step. It allocates nothing that
grows with the network. The vectors are divided among threads, which changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.runtime.data.choices import is_number, make, require

Vector = NDArray[np.floating]

# 256k float32 are 1 MB; with parameter, gradient, state and scratch a block stays in an L3 cache. Calls
# of NumPy for fewer numbers are so short that two threads wait for Python's lock most of the time.
BLOCK = 1 << 18

# The cost of a parameter, in the units of `parallel.WORTH_A_THREAD`.
WORK = 4


class Optimizer:
    """Updates `parameters` from `gradients`. Subclasses define the rule for one block.

    Args:
        parameters: (P,) float vector, changed in place by `step`.
        gradients: (P,) of the same type; read by `step`, never changed.
        decayed: The first `decayed` parameters are weights; the others (biases, norms) have no
            weight decay.

    Attributes:
        default_lr: The learning rate to use if the user gives none.
        state_names: The names of the vectors that are kept between steps.
        decouples_decay: Whether it has a weight decay of its own, which is no gradient of an L2 term.
        weight_decay: The decay of its own: weights are multiplied by 1 - lr * weight_decay before a
            step.
        steps: The number of steps taken.
    """

    default_lr: ClassVar[float]
    state_names: tuple[str, ...] = ()
    decouples_decay: ClassVar[bool] = False
    weight_decay: float = 0.0

    def __init__(self, parameters: Vector, gradients: Vector, decayed: int = 0) -> None:
        self.parameters, self.gradients, self.decayed = parameters, gradients, decayed
        self.steps = 0
        self._state = {name: np.zeros_like(parameters) for name in self.state_names}
        self._scratch: list[Vector] = []  # one for each thread

    def step(self, lr: float) -> None:
        """Take one step with learning rate `lr`."""
        # A NumPy float64 scalar would turn float32 blocks into float64.
        lr = float(lr)
        self.steps += 1
        if self.weight_decay:
            self.parameters[: self.decayed] *= 1.0 - lr * self.weight_decay
        size = self.parameters.size
        split = parallel.parts(size, size * WORK)
        while len(self._scratch) < len(split):
            self._scratch.append(np.empty(min(BLOCK, size), self.parameters.dtype))
        tasks = zip(split, self._scratch, strict=False)
        parallel.run(lambda mine, scratch: self._move(lr, mine, scratch), list(tasks))

    def _move(self, lr: float, mine: slice, scratch: Vector) -> None:
        """Update a part of the parameters, block by block."""
        states = tuple(self._state.values())
        for start in range(mine.start, mine.stop, BLOCK):
            part = slice(start, min(start + BLOCK, mine.stop))
            p, g = self.parameters[part], self.gradients[part]
            self._update(lr, p, g, scratch[: p.size], *(state[part] for state in states))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the state: the vectors of `state_names`, and `steps` (0-d int64)."""
        vectors = {name: vector.copy() for name, vector in self._state.items()}
        return {"steps": np.array(self.steps, np.int64), **vectors}

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Load the result of `state()`.

        Raises:
            NetspecError: `train/bad-option` if names or shapes differ.
        """
        expected = {"steps": (), **{name: v.shape for name, v in self._state.items()}}
        found = {name: array.shape for name, array in state.items()}
        require(
            found == expected,
            f"the optimizer's state does not fit: it has {found}, expected is {expected}",
        )
        self.steps = int(state["steps"])
        for name, vector in self._state.items():
            vector[...] = state[name]

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        """Update one block: parameters, gradients, working memory, the block of each state vector."""
        raise NotImplementedError


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
        decayed: int = 0,
        *,
        momentum: float = 0.9,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, decayed)
        self.momentum = _fraction("momentum", momentum)
        self.dampening = _fraction("dampening", dampening)

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
        self, parameters: Vector, gradients: Vector, decayed: int = 0, *, momentum: float = 0.9
    ) -> None:
        super().__init__(parameters, gradients, decayed, momentum=momentum)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        (v,) = state
        v *= self.momentum
        v += g
        np.multiply(v, self.momentum, out=scratch)
        scratch += g
        scratch *= lr
        p -= scratch


class RMSProp(Optimizer):
    """v = alpha * v + (1 - alpha) * g^2; p -= lr * g / (sqrt(v) + eps).

    With `centered`, sqrt(v - m^2) takes the place of sqrt(v), where m = alpha * m + (1 - alpha) * g.

    Source: torch.optim.RMSprop (no momentum); Tieleman and Hinton (2012), Graves (2013).
    """

    default_lr = 1e-3
    state_names: tuple[str, ...] = ("square_avg",)

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        decayed: int = 0,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        centered: bool = False,
    ) -> None:
        if centered:
            self.state_names = ("square_avg", "grad_avg")
        super().__init__(parameters, gradients, decayed)
        self.alpha, self.eps = _fraction("alpha", alpha), _not_negative("eps", eps)
        self.centered = centered

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        v = state[0]
        _average_of_squares(v, g, self.alpha, scratch)
        if self.centered:
            _average(state[1], g, self.alpha, scratch)
            np.multiply(state[1], state[1], out=scratch)
            np.subtract(v, scratch, out=scratch)
            np.maximum(scratch, 0.0, out=scratch)  # rounding may leave less
            np.sqrt(scratch, out=scratch)
        else:
            np.sqrt(v, out=scratch)
        scratch += self.eps
        np.divide(g, scratch, out=scratch)
        scratch *= lr
        p -= scratch


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
        decayed: int = 0,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        if amsgrad:
            self.state_names = (*Adam.state_names, "max_exp_avg_sq")
        super().__init__(parameters, gradients, decayed)
        self.beta1, self.beta2 = _fraction("beta1", beta1), _fraction("beta2", beta2)
        self.eps, self.amsgrad = _not_negative("eps", eps), amsgrad

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        m, v = state[:2]
        _average(m, g, self.beta1, scratch)
        _average_of_squares(v, g, self.beta2, scratch)
        if self.amsgrad:
            v = np.maximum(state[2], v, out=state[2])
        # Numerator and denominator are multiplied by sqrt(1 - beta2^t), which saves one pass over
        # the block.
        root = math.sqrt(1.0 - self.beta2**self.steps)
        np.sqrt(v, out=scratch)
        scratch += self.eps * root
        np.divide(m, scratch, out=scratch)
        scratch *= lr * root / (1.0 - self.beta1**self.steps)
        p -= scratch


class AdamW(Adam):
    """Adam after p *= 1 - lr * weight_decay, for weights only (the first `decayed` parameters).

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), as in
    torch.optim.AdamW, which decays biases and norms too unless told otherwise.
    """

    decouples_decay = True

    def __init__(
        self,
        parameters: Vector,
        gradients: Vector,
        decayed: int = 0,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            parameters, gradients, decayed, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad
        )
        self.weight_decay = _not_negative("weight_decay", weight_decay)


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
        decayed: int = 0,
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, gradients, decayed)
        self.beta1, self.beta2 = _fraction("beta1", beta1), _fraction("beta2", beta2)
        self.weight_decay = _not_negative("weight_decay", weight_decay)

    def _update(self, lr: float, p: Vector, g: Vector, scratch: Vector, *state: Vector) -> None:
        (m,) = state
        np.subtract(g, m, out=scratch)
        scratch *= 1.0 - self.beta1
        scratch += m
        np.sign(scratch, out=scratch)
        scratch *= lr
        p -= scratch
        _average(m, g, self.beta2, scratch)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
}


def make_optimizer(
    name: str, parameters: Vector, gradients: Vector, decayed: int = 0, /, **options: float
) -> Optimizer:
    """Return the optimizer called `name` in `OPTIMIZERS`; options are its keyword arguments.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    return make("optimizer", OPTIMIZERS, name, parameters, gradients, decayed, options=options)


def check_optimizer(name: str, options: Mapping[str, float]) -> Optimizer:
    """Return the rule called `name`, with checked options and no parameters.

    Raises:
        NetspecError: see `make_optimizer`.
    """
    return make_optimizer(name, np.empty(0), np.empty(0), 0, **options)


def clip(gradients: Vector, norm: float) -> None:
    """Scale the gradients (P,) in place so that their Euclidean norm is at most `norm`.

        g *= min(1, norm / (|g| + 1e-6))

    Source: torch.nn.utils.clip_grad_norm_.
    """
    length = math.sqrt(float(np.dot(gradients, gradients)))
    gradients *= min(1.0, norm / (length + 1e-6))


def _average(m: Vector, g: Vector, beta: float, scratch: Vector) -> None:
    """Set m to beta * m + (1 - beta) * g."""
    np.subtract(g, m, out=scratch)
    scratch *= 1.0 - beta
    m += scratch


def _average_of_squares(v: Vector, g: Vector, beta: float, scratch: Vector) -> None:
    """Set v to beta * v + (1 - beta) * g^2."""
    v *= beta
    np.multiply(g, g, out=scratch)
    scratch *= 1.0 - beta
    v += scratch


def _fraction(name: str, value: float) -> float:
    require(
        is_number(value) and 0.0 <= value < 1.0,
        f"{name} must be at least 0 and less than 1, not {value!r}",
    )
    return float(value)


def _not_negative(name: str, value: float) -> float:
    require(is_number(value) and value >= 0.0, f"{name} must be at least 0, not {value!r}")
    return float(value)
