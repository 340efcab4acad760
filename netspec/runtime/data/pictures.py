"""PNG and JPEG files as arrays, read with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

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
# What is done to a picture of another size than is wanted: nothing, it is an error (False); it is
# stretched, by bilinear interpolation (True); or it is brought to so many pixels at its shorter side, and
# the middle is cut out, as torchvision's `Resize(N)` and `CenterCrop` do it. That one is done to every
# picture, whatever its size.
Resize: TypeAlias = bool | int


def is_shorter_side(resize: Resize) -> bool:
    """Whether it is a number of pixels."""
    return not isinstance(resize, bool)


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
    resize: Resize = False,
) -> NDArray[np.uint8]:
    """Read a PNG or JPEG file as (C, H, W), as people see it (a camera's rotation is applied).

    Transparency is dropped. A coloured picture becomes grey by the weights of ITU-R 601.

    Args:
        path: the file.
        channels: 1 for grey, 3 for red, green and blue; None takes the file's own.
        size: (H, W) that it must have; None takes any.
        resize: what is done to a picture of another size, see `Resize`.

    Raises:
        NetspecError: `library/pillow`; `data/missing-file`; `data/bad-file` for anything that is no
            picture of 8 bits a channel; `data/shape` for another size, or where a shorter side of so
            many pixels leaves too few.
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
    path: Path, image: Any, channels: int | None, size: tuple[int, int] | None, resize: Resize
) -> NDArray[np.uint8]:
    from PIL import ImageOps

    if channels is None:
        channels = 1 if image.mode in _GREY else 3
    image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = _resized(path, image, size, resize)
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _resized(path: Path, image: Any, size: tuple[int, int], resize: Resize) -> Any:
    """A picture of `size` (H, W), whose middle is that of the given one."""
    from PIL import Image

    (height, width), found = size, image.size
    if is_shorter_side(resize):
        shorter, longer = sorted(found)
        longer = int(resize * longer / shorter)  # rounded and cut as torchvision does it
        found = (resize, longer) if found[0] <= found[1] else (longer, resize)
        if found[0] < width or found[1] < height:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{path} has {found[0]} x {found[1]} pixels after its shorter side was brought to"
                f" {resize}; {width} x {height} are wanted",
                f"a shorter side of {max(size)} is enough for every picture",
            )
        if found[0] * found[1] > MAX_PIXELS:
            raise read_error(
                path, f"{found[0]} x {found[1]} pixels once resized; the limit is {MAX_PIXELS:,}"
            )
        left, top = round((found[0] - width) / 2), round((found[1] - height) / 2)
        image = image.resize(found, Image.Resampling.BILINEAR)
        return image.crop((left, top, left + width, top + height))
    if found == (width, height):
        return image
    if not resize:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{path} has {found[0]} x {found[1]} pixels, {width} x {height} are wanted",
            "`--resize` stretches pictures to the size of the network's input,"
            f" `--resize-shorter {max(size)}` keeps their proportions and takes the middle",
        )
    return image.resize((width, height), Image.Resampling.BILINEAR)
