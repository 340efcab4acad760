"""PNG and JPEG files as arrays, read with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.files import read_error

SUFFIXES = (".png", ".jpg", ".jpeg")
# Pillow tells a format by the file's content. Only these readers may run: the fewer, the fewer holes.
_FORMATS = ("PNG", "JPEG")
# What Pillow calls pictures of 8 bits a channel or less; 1 and P are black and white, and a palette.
_GREY, _COLOURED = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
# A file of a few kilobytes can claim any size. 64 million pixels are more than cameras have.
MAX_PIXELS = 1 << 26


def require_pillow() -> Any:
    """`PIL.Image`.

    Raises:
        NetspecError: `library/pillow`.
    """
    try:
        from PIL import Image
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_PILLOW,
            "pictures are read with Pillow, which is not installed",
            "pip install 'netspec-dsl[images]'",
        ) from None
    return Image


def read_picture(
    path: Path,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    *,
    resize: bool = False,
) -> NDArray[np.uint8]:
    """Read a PNG or JPEG file as (C, H, W), as people see it (a camera's rotation is applied).

    Transparency is dropped. A coloured picture becomes grey by the weights of ITU-R 601.

    Args:
        path: the file.
        channels: 1 for grey, 3 for red, green and blue; None takes the file's own.
        size: (H, W) that it must have; None takes any.
        resize: stretch a picture of another size to `size`, by bilinear interpolation.

    Raises:
        NetspecError: `library/pillow`; `data/missing-file`; `data/bad-file` for anything that is no
            picture of 8 bits a channel; `data/shape` for another size.
    """
    image_module = require_pillow()
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    try:
        with warnings.catch_warnings(), image_module.open(path, formats=_FORMATS) as image:
            # Its warning about large pictures; the limit below is an error.
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise read_error(path, f"{width} x {height} pixels; the limit is {MAX_PIXELS:,}")
            if image.mode not in (*_GREY, *_COLOURED):
                raise read_error(
                    path, f"more than 8 bits a channel (Pillow's mode {image.mode}) are not read"
                )
            return _as_array(path, image, channels, size, resize)
    except image_module.DecompressionBombError:
        raise read_error(path, f"too large; the limit is {MAX_PIXELS:,} pixels") from None
    # Pillow's readers raise what their parsers run into: SyntaxError for a broken PNG, and others.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise read_error(path, f"no sound PNG or JPEG file: {first}") from None


def _as_array(
    path: Path, image: Any, channels: int | None, size: tuple[int, int] | None, resize: bool
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if channels is None:
        channels = 1 if image.mode in _GREY else 3
    image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    width, height = image.size
    if size is not None and (height, width) != size:
        if not resize:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{path} has {width} x {height} pixels, {size[1]} x {size[0]} are wanted",
                "`--resize` stretches pictures to the size of the network's input",
            )
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
