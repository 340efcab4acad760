"""A loss or an optimizer of one's own, as a plain function of Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import require
from netspec.runtime.optim.members import Member, Vector
from netspec.runtime.optim.rule import Optimizer
from netspec.runtime.optim.targets import OF_CLASSES, Floats, Labels, Targets

if TYPE_CHECKING:
    from torch import Tensor

# Takes a step: it changes the parameters in place. It is given them and their gradients by name, NumPy's
# arrays or PyTorch's tensors; a dict of its own, which is empty at first; and the learning rate.
Step = Callable[[Mapping[str, Any], Mapping[str, Any], dict[str, Any], float], None]


class OwnLoss:
    """The loss of a function of the scores and the targets of a batch: the mean over what counts.

    From NumPy's arrays the function returns the loss and its gradient, an array like the scores; from
    PyTorch's tensors it returns the loss as a scalar tensor, which PyTorch differentiates. Targets are
    those of classes, unless the function has an attribute `targets`, see `targets_of`.

    Args:
        function: what computes it.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self._function = function
        self.targets: Targets | None = getattr(function, "targets", OF_CLASSES)
        self._name = getattr(function, "__name__", "the loss")

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return self._both(logits, targets)[0]

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`.

        Raises:
            NetspecError: `train/bad-option` if the function returns something else.
        """
        value, gradient = self._both(logits, targets)
        dlogits[...] = gradient
        return value

    def _both(self, logits: Floats, targets: Labels) -> tuple[float, NDArray[Any]]:
        found = self._function(logits.copy(), targets)
        require(
            isinstance(found, tuple) and len(found) == 2,
            f"{self._name} must return a pair for NumPy's arrays: the loss, and its gradient, an array"
            " like the scores",
            'or train with PyTorch, which differentiates: net.compile("torch")',
        )
        value, gradient = found[0], np.asarray(found[1])
        require(
            gradient.shape == logits.shape and gradient.dtype.kind == "f",
            f"the gradient that {self._name} returns must be an array of floats {list(logits.shape)}"
            f" like the scores; it is {gradient.dtype} {list(gradient.shape)}",
        )
        value = np.asarray(value)
        require(
            value.shape == () and value.dtype.kind in "iuf",
            f"the loss that {self._name} returns must be one number; it is {value.dtype}"
            f" {list(value.shape)}",
        )
        return float(value), gradient

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`.

        Raises:
            NetspecError: `train/bad-option` if the function returns something else.
        """
        import torch

        found = self._function(logits, targets)
        require(
            isinstance(found, torch.Tensor) and found.shape == (),
            f"{self._name} must return the loss as a tensor with one number for PyTorch's tensors",
        )
        return found


class OwnRule(Optimizer):
    """The steps of a function, see `Step`; parameters of another rate are given to it apart.

    What the function keeps is not saved: runs that can be resumed have a rule of netspec's.
    """

    default_lr: ClassVar[float] = 1e-2
    # The gradient of an L2 term is added to the function's gradients.
    decouples_decay: ClassVar[bool] = True

    def __init__(
        self,
        step: Step,
        parameters: Vector,
        gradients: Vector,
        members: Sequence[Member] = (),
    ) -> None:
        super().__init__(parameters, gradients, members)
        self.function = step
        self._groups: dict[float, list[Member]] = {}
        for member in self.members:
            self._groups.setdefault(member.rate, []).append(member)
        self._kept: dict[float, dict[str, Any]] = {rate: {} for rate in self._groups}

    def _advance(self, lr: float) -> None:
        """See `Optimizer`."""
        for rate, members in self._groups.items():
            arrays, gradients = (
                {m.name: vector[m.part].reshape(m.shape) for m in members}
                for vector in (self.parameters, self.gradients)
            )
            self.function(arrays, gradients, self._kept[rate], lr * rate)
