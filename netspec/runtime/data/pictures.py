"""PNG and JPEG files as arrays, read with Pillow."""

from __future__ import annotations

import io
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_regular
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.files import read_error
from netspec.runtime.data.picture_structure import check_parts, check_scans

SUFFIXES = (".png", ".jpg", ".jpeg")
# Pillow recognizes the format by the file's content. Only these decoders may run: fewer decoders
# mean fewer vulnerabilities.
_FORMATS = ("PNG", "JPEG")
# Pillow's modes; `1` is black and white, `P` has a palette. Of 16 bits the first 8 are taken.
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_GREY = ("1", "L", "LA", *_DEEP)
_COLOURED = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
# A file of a few kilobytes can claim any size. The largest of a telephone has 9248 x 6936 pixels.
# Reading a picture takes seven bytes for each pixel, and eight if it is rotated, or stretched and
# not RGB; while it is decoded, four, and the file. With both limits none takes more than 500 MB.
MAX_PIXELS = 64_500_000
# JPEG's own limit of a side. What is kept for each row of a picture that is nothing but rows, and for
# each pixel that a smaller one is made of, would be larger than the picture.
MAX_SIDE = 65_535
# How many pixels are converted to numbers at a time.
_BAND = 1 << 21
MAX_BYTES = 7 << 25
# The tag of a camera's rotation, and its values that swap the two sides.
_ORIENTATION, _SWAPPED = 0x0112, (5, 6, 7, 8)
# What to do with a picture of the wrong size: report an error (False); stretch it by bilinear
# interpolation (True); or resize it so that the shorter side has this many pixels and cut out the
# middle, like torchvision's `Resize(N)` and `CenterCrop`. The last is done to every picture,
# whatever its size.
Resize: TypeAlias = bool | int


def is_shorter_side(resize: Resize) -> bool:
    """Return True if it is a number of pixels."""
    return not isinstance(resize, bool)


def require_pillow() -> Any:
    """Import and return `PIL.Image`.

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
    """Read a PNG or JPEG file as (C, H, W), with a camera's rotation applied.

    Transparency is dropped, and of 16 bits the first 8 are taken. A color picture is converted to
    grey with the weights of ITU-R 601.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB; None keeps the file's own.
        size: (H, W) that it must have; None accepts any.
        resize: what to do with a picture of another size, see `Resize`.

    Raises:
        NetspecError: `library/pillow`; `data/missing-file`; `data/bad-file` for anything but a
            picture; `data/shape` for another size, or if resizing the
            shorter side leaves too few pixels.
    """
    return picture_array(path, picture_content(path), channels, size, resize=resize)


def picture_content(path: Path) -> io.BytesIO:
    """Return what is in the file of a picture.

    Raises:
        NetspecError: `data/missing-file`; `data/bad-file` if it cannot be read or is too large.
    """
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise read_error(path, f"cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise read_error(path, f"it is larger than {MAX_BYTES >> 20} MiB")
    return io.BytesIO(content)


def picture_array(
    name: str | Path,
    content: io.BytesIO,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    *,
    resize: Resize = False,
) -> NDArray[np.uint8]:
    """Return the picture in a PNG or JPEG file as (C, H, W); the arguments are those of `read_picture`.

    Args:
        name: what messages call it.
        content: the file's content, which is released when it is decoded.
        channels: see `read_picture`.
        size: likewise.
        resize: likewise.

    Raises:
        NetspecError: see `read_picture`.
    """
    with _opened(name, content) as image:
        # A camera's rotation may swap the two sides.
        if resize is False and size not in (None, image.size, image.size[::-1]):
            raise _other_size(name, image.size, size)
        with _DECODED.room_for(image.width * image.height):
            image.load()
            content.close()  # nobody reads it again, and it may be large
            return _as_array(name, image, channels, size, resize)


def picture_image(name: str | Path, content: io.BytesIO, channels: int) -> Any:
    """Return a picture of any size as an image of Pillow's, grey (1) or RGB (3), see `picture_array`."""
    from PIL import ImageOps

    with _opened(name, content) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        converted = _converted(image, "L" if channels == 1 else "RGB")
        # The original is closed at the end.
        return converted.copy() if converted is image else converted


def resized_image(
    name: str | Path, image: Any, size: tuple[int, int], resize: Resize
) -> NDArray[np.uint8]:
    """Return an image of Pillow's, grey or RGB, as (C, H, W) of this size, see `read_picture`."""
    if is_shorter_side(resize) or (image.height, image.width) != size:
        if resize is False:
            raise _other_size(name, image.size, size)
        image = _resized(name, image, size, resize)
    return as_pixels(image)


def as_pixels(image: Any) -> NDArray[np.uint8]:
    """Return an image of Pillow's, grey or RGB, as (C, H, W)."""
    rows = np.asarray(image)
    return rows[None] if rows.ndim == 2 else rows.transpose(2, 0, 1)


def require_readable(name: str | Path, content: io.BytesIO) -> tuple[int, int]:
    """Decode a picture to find out whether it can be, a JPEG at an eighth of its size; returns (H, W).

    Raises:
        NetspecError: see `read_picture`.
    """
    with _opened(name, content) as image:
        height, width = image.height, image.width
        image.draft(None, (width // 8, height // 8))
        with _DECODED.room_for(image.width * image.height):
            image.load()
            if image.getexif().get(_ORIENTATION, 1) in _SWAPPED:
                return width, height
            return height, width


@contextmanager
def _opened(name: str | Path, content: io.BytesIO) -> Iterator[Any]:
    """Context manager: an image of Pillow's whose head is sound.

    Raises:
        NetspecError: `data/bad-file` for what is no sound picture, also from inside.
    """
    image_module = require_pillow()
    try:
        check_parts(content.getvalue())
        with warnings.catch_warnings(), image_module.open(content, formats=_FORMATS) as image:
            # Pillow's warning about large pictures; the limit below is an error.
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnsoundFileError(f"{width} x {height} pixels; the limit is {MAX_PIXELS:,}")
            if max(width, height) > MAX_SIDE:
                raise UnsoundFileError(
                    f"{width} x {height} pixels; the limit is {MAX_SIDE:,} on a side"
                )
            check_scans(content.getvalue(), width * height)
            if image.mode not in (*_GREY, *_COLOURED):
                raise UnsoundFileError(f"Pillow's mode {image.mode} is not read")
            yield image
    except NetspecError:
        raise
    except UnsoundFileError as error:
        raise read_error(name, str(error)) from None
    except image_module.DecompressionBombError:
        raise read_error(name, f"too large; the limit is {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's decoders raise whatever error their parsers run into
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        first = _ADDRESS.sub("", first)
        data = content.getvalue() if not content.closed else b""
        other = _other_format(data)
        if _FORM.match(data):
            first = "it is a form, as of `curl -F`; send the bytes of the picture alone"
        elif other:
            first = f"it is {other}; save it as one of these"
        raise read_error(name, f"not a valid PNG or JPEG file: {first}") from None


def _as_array(
    path: str | Path, image: Any, channels: int | None, size: tuple[int, int] | None, resize: Resize
) -> NDArray[np.uint8]:
    from PIL import ImageOps

    if channels is None:
        channels = 1 if image.mode in _GREY else 3
    # Four bytes for each pixel, twice that if it is rotated.
    ImageOps.exif_transpose(image, in_place=True)
    mode = "L" if channels == 1 else "RGB"
    if size is not None and (is_shorter_side(resize) or (image.height, image.width) != size):
        if resize is False:
            raise _other_size(path, image.size, size)
        image = _resized(path, _converted(image, mode), size, resize)
    pixels = np.empty((channels, image.height, image.width), np.uint8)
    for top, band in _bands(image):
        height = band.height
        rows = np.asarray(_converted(band, mode)).reshape(height, image.width, channels)
        pixels[:, top : top + height] = rows.transpose(2, 0, 1)
    return pixels


def _converted(image: Any, mode: str) -> Any:
    """Return a picture in a mode; if it has another mode, the original is released."""
    if image.mode == mode:
        return image
    if image.mode in _DEEP:
        return _first_bits(image).convert(mode)
    converted = image.convert(mode)
    image.close()
    return converted


def _first_bits(image: Any) -> Any:
    """Return the first 8 of 16 bits of a picture, which is released."""
    from PIL import Image

    pixels = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        pixels[top : top + band.height] = (np.asarray(band) >> 8).clip(0, 255)
    image.close()
    return Image.fromarray(pixels)


def _bands(image: Any) -> Iterator[tuple[int, Any]]:
    """Yield parts of a picture as wide as it is, each with the row that it begins with."""
    step = max(1, _BAND // image.width)
    for top in range(0, image.height, step):
        yield top, image.crop((0, top, image.width, min(top + step, image.height)))


def _resized(path: str | Path, image: Any, size: tuple[int, int], resize: Resize) -> Any:
    """Return a picture of `size` (H, W) around the middle of the given one."""
    from PIL import Image

    (height, width), found = size, image.size
    if not is_shorter_side(resize):
        return image.resize((width, height), Image.Resampling.BILINEAR)
    shorter, longer = sorted(found)
    longer = int(resize * longer / shorter)  # rounded and cropped in the same way as torchvision
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


def _other_size(path: str | Path, found: tuple[int, int], wanted: tuple[int, int]) -> NetspecError:
    """Return the error for a picture of size `found` (W, H) instead of `wanted` (H, W)."""
    return NetspecError.simple(
        codes.DATA_SHAPE,
        f"{path} has {found[0]} x {found[1]} pixels, {wanted[1]} x {wanted[0]} are wanted",
        "`--resize` stretches pictures to the size of the network's input,"
        f" `--resize-shorter {max(wanted)}` keeps their proportions and crops the centre",
    )


# How files of other formats begin, which are not decoded: each decoder is another one to be attacked.
_OTHERS = {
    rb"RIFF.{4}WEBP": "WebP", rb"GIF8": "GIF", rb"BM": "BMP", rb"II\*\0|MM\0\*": "TIFF",
    rb".{4}ftyp(?:heic|heix|mif1)": "HEIC", rb".{4}ftypavif": "AVIF",
}  # fmt: skip


# How a form begins that a browser or `curl -F` sends over HTTP: with its border.
_FORM = re.compile(rb"--[^\r\n]{1,200}\r\nContent-Disposition: *form-data", re.IGNORECASE)


def _other_format(content: bytes) -> str:
    """Return the name of the format of a file that is neither PNG nor JPEG; empty if it is not known."""
    found = (name for start, name in _OTHERS.items() if re.match(start, content, re.DOTALL))
    return next(found, "")


# How Pillow's messages call what it read, with an address in memory.
_ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-fA-F]+>")


_LOOKS_AGAIN = 0.005  # seconds


class _Pixels:
    """The number of pixels being decoded by all threads together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[object, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def room_for(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for this many pixels.

        An interrupt leaves neither a lock nor pixels held, as one in a `threading.Condition` can.
        """
        mine = object()
        try:
            while not self._takes(mine, pixels):
                time.sleep(_LOOKS_AGAIN)
            yield
        finally:
            with self._lock:
                self._held.pop(mine, None)

    def _takes(self, mine: object, pixels: int) -> bool:
        with self._lock:
            now = sum(self._held.values())
            if not now or now + pixels <= self._most:
                self._held[mine] = pixels
            return mine in self._held


_DECODED = _Pixels(MAX_PIXELS)
