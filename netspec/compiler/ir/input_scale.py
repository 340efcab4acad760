"""How an input is normalised before a net takes it, for targets that put this in front of the net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netspec.records import record

if TYPE_CHECKING:
    from numpy.typing import NDArray


@record(eq=False)
class InputScale:
    """x -> (x - mean) / scale, each with as many axes as an image, of its sizes or of size 1."""

    mean: NDArray[Any]
    scale: NDArray[Any]

    @property
    def shifts(self) -> bool:
        """Whether anything is subtracted."""
        return bool(self.mean.any())

    @property
    def divides(self) -> bool:
        """Whether anything is divided."""
        return bool((self.scale != 1).any())
