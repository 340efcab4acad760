"""What optimizers share: steps in place over one flat parameter vector.

A step processes the vectors in blocks that stay in the processor's cache, so each number of a
parameter, its gradient and its state is read from memory once in a step. It allocates nothing that
grows with the network. The vectors are divided among threads, which changes no bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netspec.kernels import parallel
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.optim.members import Member, Vector, trained_alike

__all__ = ["BLOCK", "Optimizer", "Vector"]

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
        members: The parameters in the vector, one behind the other; by default one, that does not
            decay.

    Attributes:
        default_lr: The learning rate to use if the user gives none.
        state_names: The names of the vectors that are kept between steps.
        decouples_decay: Whether it has a weight decay of its own, which is no gradient of an L2 term.
        weight_decay: The decay of its own: before a step, parameters that decay are multiplied by
            1 - lr * weight_decay, with the factors of each for both.
        patterns: What its options name parameters by.
        steps: The number of steps taken.
    """

    default_lr: ClassVar[float]
    state_names: tuple[str, ...] = ()
    decouples_decay: ClassVar[bool] = False
    weight_decay: float = 0.0
    patterns: tuple[str, ...] = ()

    def __init__(
        self, parameters: Vector, gradients: Vector, members: Sequence[Member] = ()
    ) -> None:
        size = parameters.size
        self.parameters, self.gradients = parameters, gradients
        self.members = tuple(members) or (Member("", slice(0, size), (size,), decay=0.0),)
        self.steps = 0
        self._alike = trained_alike(self.members)
        self._state = {name: np.zeros_like(parameters) for name in self.state_names}
        self._scratch: list[Vector] = []  # one for each thread

    def keeps(self, state: str, name: str, shape: tuple[int, ...]) -> bool:
        """Return True if a parameter of this name and shape has numbers of its own in a state."""
        return state in self.state_names

    def step(self, lr: float) -> None:
        """Take one step with learning rate `lr`."""
        # A NumPy float64 scalar would turn float32 blocks into float64.
        lr = float(lr)
        self.steps += 1
        self._advance(lr)

    def _advance(self, lr: float) -> None:
        """Change the parameters; each number by itself, as most rules do."""
        for member in self._alike:
            self._decay(lr, member)
            self._each_number(lr * member.rate, member.part)

    def _decay(self, lr: float, member: Member) -> None:
        """Take the weight decay of its own off a member."""
        if self.weight_decay and member.decay:
            factor = 1.0 - lr * member.rate * self.weight_decay * member.decay
            self.parameters[member.part] *= factor

    def _each_number(self, lr: float, part: slice) -> None:
        """Update a part of the vector, divided among threads."""
        size = part.stop - part.start
        split = [
            slice(part.start + mine.start, part.start + mine.stop)
            for mine in parallel.parts(size, size * WORK)
        ]
        self._make_scratch(len(split))
        tasks = zip(split, self._scratch, strict=False)
        parallel.run(lambda mine, scratch: self._move(lr, mine, scratch), list(tasks))

    def _make_scratch(self, count: int) -> None:
        """Have working memory for so many threads."""
        while len(self._scratch) < count:
            self._scratch.append(np.empty(min(BLOCK, self.parameters.size), self.parameters.dtype))

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


def average(m: Vector, g: Vector, beta: float, scratch: Vector) -> None:
    """Set m to beta * m + (1 - beta) * g."""
    np.subtract(g, m, out=scratch)
    scratch *= 1.0 - beta
    m += scratch


def average_of_squares(v: Vector, g: Vector, beta: float, scratch: Vector) -> None:
    """Set v to beta * v + (1 - beta) * g^2."""
    v *= beta
    np.multiply(g, g, out=scratch)
    scratch *= 1.0 - beta
    v += scratch


def nesterov(lr: float, p: Vector, g: Vector, scratch: Vector, v: Vector, momentum: float) -> None:
    """Set v to momentum * v + g, and take lr * (g + momentum * v) off p."""
    v *= momentum
    v += g
    np.multiply(v, momentum, out=scratch)
    scratch += g
    scratch *= lr
    p -= scratch


def fraction(name: str, value: float) -> float:
    """Return an option as a number from 0 up to 1, without 1.

    Raises:
        NetspecError: `train/bad-option`.
    """
    require(
        is_number(value) and 0.0 <= value < 1.0,
        f"{name} must be at least 0 and less than 1, not {value!r}",
    )
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Return an option as a number from 0 on.

    Raises:
        NetspecError: `train/bad-option`.
    """
    require(is_number(value) and value >= 0.0, f"{name} must be at least 0, not {value!r}")
    return float(value)
