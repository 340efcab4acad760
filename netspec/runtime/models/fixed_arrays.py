"""Arrays by name whose memory never changes place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.diagnostics import NetspecError

Array = NDArray[Any]


class FixedArrays(dict[str, Array]):
    """Arrays by name that are views of memory used elsewhere too.

    Assigning to a name writes into its array, like `arrays[name][...] = value`: an array put in its
    place would not be trained. Names cannot be added or removed.

    Raises:
        NetspecError: `weights/mismatch` for an unknown name, another shape, or a value that is not
            a number.
    """

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        if name not in self:
            raise _mismatch(f"there is no parameter `{name}`", f"there are {', '.join(self)}")
        write(self[name], value, name)

    def update(self, *given: Any, **named: Any) -> None:
        """Assign several arrays."""
        for name, value in dict(*given, **named).items():
            self[name] = value

    def __ior__(self, given: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> FixedArrays:  # type: ignore[override,misc]
        self.update(given)
        return self

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("the names of a net's parameters are fixed")

    __delitem__ = clear = pop = popitem = setdefault = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a plain dict of copied arrays, which belongs to no model."""
        return dict, (dict(self),)


def write(array: Array, value: ArrayLike, name: str) -> None:
    """Write a value into an array of its shape.

    Raises:
        NetspecError: `weights/mismatch` for another shape, or values that are not numbers.
    """
    given = np.asarray(value)
    if given.shape != array.shape:
        raise _mismatch(f"`{name}` has shape {list(array.shape)}, not {list(given.shape)}")
    if given.dtype.kind not in "fiub" or not np.can_cast(given.dtype, array.dtype, "same_kind"):
        raise _mismatch(f"`{name}` holds {array.dtype} numbers, not {given.dtype}")
    array[...] = given


def _mismatch(message: str, help: str | None = None) -> NetspecError:
    return NetspecError.simple(codes.WEIGHTS_MISMATCH, message, help)
