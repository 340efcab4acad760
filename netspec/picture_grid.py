"""`netspec.pictures`: arrays shown side by side, such as filters, feature maps and images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# A small picture is enlarged until it is about so wide, in a notebook and in a file.
_WIDTH = 600
# The height of each picture that has a caption, in pixels of a notebook.
_SIDE = 64


class Pictures:
    """Pictures side by side, which a notebook shows; `save` writes them to a file.

    Attributes:
        array: (height, width, 3), bytes, as `plt.imshow` takes it.
        captions: what a notebook shows below each picture; none, or one for each.
    """

    def __init__(
        self, array: NDArray[Any], each: Sequence[NDArray[Any]], captions: tuple[str, ...] = ()
    ) -> None:
        self.array = array
        self.captions = captions
        self._each = each

    def save(self, path: str | Path, /, *, scale: int | None = None) -> None:
        """Write a PNG file, each pixel `scale` times as large; by default as in a notebook. It has no
        captions.

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
        return f"<netspec.Pictures: {len(self._each)}, {height} x {width} pixels>"

    def _repr_html_(self) -> str:
        from netspec.runtime.plots.png import grid, png_bytes
        from netspec.text import html

        if not self.captions:
            return html.picture(self._repr_png_(), repr(self)[1:-1])
        tiles = (png_bytes(grid(image[None])) for image in self._each)
        pairs = zip(tiles, self.captions, strict=True)
        return "".join(html.captioned(png, caption, _SIDE) for png, caption in pairs)

    def _repr_png_(self) -> bytes:
        from netspec.runtime.plots.png import png_bytes

        return png_bytes(self.array, self._scale)


def pictures(
    images: ArrayLike, /, *, columns: int | None = None, captions: Iterable[object] = ()
) -> Pictures:
    """Show arrays side by side, each stretched from black to white.

    Filters are `pictures(model.parameters["conv1.weight"])`, the feature maps of an image
    `pictures(model.activations(x)["conv1"][0])`.

    Args:
        images: (N, C, H, W), N images; three channels are one picture in color, of any other number
            each is a picture. Or (C, H, W), whose channels are one picture each, or (H, W).
        columns: how many in a row; by default about as many as there are rows.
        captions: what a notebook shows below each picture, such as its class.

    Raises:
        NetspecError: `plot/pictures` for an array of another shape, or one with NaN or infinity, and
            for another number of captions than of pictures.
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
    each = array if array.shape[1] == 3 else array.reshape(-1, 1, *array.shape[2:])
    words = tuple(map(str, captions))
    if len(words) not in (0, len(each)):
        message = f"there are {len(each)} pictures and {len(words)} captions"
        raise NetspecError.simple(codes.PLOT_PICTURES, message)
    return Pictures(grid(array, columns), tuple(each), words)
