"""Numbers of a model as a file says them: arguments, tables, and what parameters start with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from netspec.compiler.ir.aten_form import NoNetspecFormError
from netspec.imports.imported_net import LARGEST, Constant
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    import torch

MOST_NUMBERS = 4096
"""The most numbers that a constant in the text has."""

# Of how many numbers the spread is known to two digits.
_MANY = 20_000
# How many deviations a mean may be from 0 if numbers are drawn around it: one in 16,000 is further.
_BY_CHANCE = 4
# Below this a number in single precision tells whole numbers apart.
_WHOLE = 2**24


def plain(value: object) -> Constant:
    """Return an argument as a file says it: the largest number for an infinite one, and no digits
    that only come from rounding.

    Raises:
        NoNetspecFormError: for what is no number, or nothing that a file can say.
    """
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            raise NoNetspecFormError("one of its arguments is no number")
        return math.copysign(LARGEST, value)
    if isinstance(value, float):
        for digits, noise in ((6, 1e-12), (12, 1e-15)):  # few digits were written by a person
            short = float(f"{value:.{digits}g}")
            if abs(short - value) <= noise * abs(value):
                return short
        return value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise NoNetspecFormError(f"one of its arguments is {str(value)[:60]}")


def nested(tensor: torch.Tensor) -> Any:
    """Return the numbers of a tensor in tuples of tuples, as `plain` has them."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else plain(value)

    return tuples(tensor.detach().cpu().tolist())


def _shortest(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers with the fewest digits that are these in the tensor's precision: 0.485."""
    torch = require_torch()
    found = [float(str(number)) for number in tensor.detach().cpu().flatten().numpy()]
    return torch.tensor(found, dtype=torch.float64).reshape(tensor.shape)


def only_number(tensor: torch.Tensor) -> float | None:
    """Return the number that all places of a tensor have; None if they differ, or there are none."""
    first: float = tensor.flatten()[0].item() if tensor.numel() else math.nan
    if not bool((tensor == first).all()) or math.isnan(first):
        return None
    if str(tensor.dtype) == "torch.float32":
        return float(f"{first:.7g}")
    return int(first) if isinstance(first, bool) else first


def initial(tensor: torch.Tensor, kind: str) -> Any:
    """Return a rule for the values that a tensor has: equal numbers, or drawn with their spread.

    Numbers that are spread around another mean than 0 have that as well. A buffer that is not too
    long is written out, for it is no matter of chance.

    Args:
        tensor: of the state dict.
        kind: `parameter` or `buffer`.

    Raises:
        NoNetspecFormError: if some are no numbers, or a parameter's are infinite.
    """
    only = only_number(tensor)
    if only is not None:
        return {0.0: "zeros", 1.0: "ones"}.get(only, f"constant({plain(only)})")
    if str(tensor.dtype) == "torch.bool":
        tensor = tensor.int()
    if kind == "buffer" and tensor.numel() <= MOST_NUMBERS:
        if tensor.is_floating_point():
            is_whole = bool((tensor.round() == tensor).all())
            if is_whole and float(tensor.abs().max()) < _WHOLE:
                return nested(tensor.long())
            return nested(_shortest(tensor))
        return nested(tensor)
    digits = 2 if tensor.numel() >= _MANY else 1  # what the spread of so many numbers tells
    spread, mean = map(float, require_torch().std_mean(tensor.detach().float()))
    if math.isnan(spread + mean):
        raise NoNetspecFormError("one of its numbers is none, or infinite")
    is_zero = abs(mean) <= min(_BY_CHANCE / math.sqrt(tensor.numel()), 1) * spread
    return f"normal({spread:.{digits}g}{'' if is_zero else f', {mean:.2g}'})"
