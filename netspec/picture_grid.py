"""`netspec.pictures`: arrays shown side by side, such as filters, feature maps and images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# A small picture is enlarged until it is about so wide, in a notebook and in a file.
_WIDTH = 600


class Pictures:
    """Pictures side by side, which a notebook shows; `save` writes them to a file.

    Attributes:
        array: (height, width, 3), bytes, as `plt.imshow` takes it.
    """

    def __init__(self, array: NDArray[Any], count: int) -> None:
        self.array = array
        self._count = count

    def save(self, path: str | Path, /, *, scale: int | None = None) -> None:
        """Write a PNG file, each pixel `scale` times as large; by default as in a notebook.

        Raises:
            NetspecError: `output/unwritable`.
        """
        from netspec.runtime.plots.png import save_png

        save_png(path, self.array, scale or self._scale)

    @property
    def _scale(self) -> int:
        return max(1, _WIDTH // int(self.array.shape[1]))

    def __repr__(self) -> str:
        height, width = self.array.shape[:2]
        return f"<netspec.Pictures: {self._count}, {height} x {width} pixels>"

    def _repr_png_(self) -> bytes:
        from netspec.runtime.plots.png import png_bytes

        return png_bytes(self.array, self._scale)


def pictures(images: ArrayLike, /, *, columns: int | None = None) -> Pictures:
    """Show arrays side by side, each stretched from black to white.

    Filters are `pictures(model.parameters["conv1.weight"])`, the feature maps of an image
    `pictures(model.activations(x)["conv1"][0])`.

    Args:
        images: (N, C, H, W), N images; three channels are one picture in color, of any other number
            each is a picture. Or (C, H, W), whose channels are one picture each, or (H, W).
        columns: how many in a row; by default about as many as there are rows.

    Raises:
        NetspecError: `plot/pictures` for an array of another shape, or one with NaN or infinity.
    """
    import numpy as np

    from netspec.runtime.plots.png import grid

    array = np.asarray(images, np.float64)
    if array.ndim in (2, 3):
        array = array.reshape(-1, 1, *array.shape[-2:])
    if array.ndim != 4 or not array.size:
        message = f"pictures are (N, C, H, W), (C, H, W) or (H, W), not {list(array.shape)}"
        raise NetspecError.simple(codes.PLOT_PICTURES, message)
    if not np.isfinite(array).all():
        raise NetspecError.simple(codes.PLOT_PICTURES, "the pictures have NaN or infinite numbers")
    count = math.prod(array.shape[:2]) if array.shape[1] != 3 else len(array)
    return Pictures(grid(array, columns), count)
