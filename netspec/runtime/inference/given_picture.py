"""A picture as a caller of Python has it: the path of a file, its bytes, or a file that is open."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import require
from netspec.runtime.data.files import read_error
from netspec.runtime.data.pictures import MAX_BYTES, Resize, is_shorter_side, picture_content
from netspec.runtime.inference.predict import decoded_picture

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

_UNNAMED = "the picture"


def read_picture(
    picture: Picture, /, input_shape: tuple[int, ...], *, resize: Resize = False
) -> NDArray[np.uint8]:
    """Read a PNG or JPEG picture for the input of a net, as `netspec predict` reads it.

    It is read as grey or in colour, as the input has one channel or three; a camera's rotation is
    applied, transparency is dropped. The pixels are from 0 to 255 and not normalised:
    `model.predict(pixels[None])` does that as in training. Threads may call it at the same time.

    Args:
        picture: a path, the bytes of a file, or a file that is open for reading bytes.
        input_shape: (C, H, W) or (F,), such as `model.input_shape`.
        resize: what to do with a picture of another size: an error (False); stretch it (True, as
            `--resize`); or resize it so that the shorter side has this many pixels, and cut out the
            middle (as `--resize-shorter`).

    Returns:
        An array of uint8 in that shape.

    Raises:
        NetspecError: `data/missing-file`; `data/bad-file` for anything but a picture; `data/shape` for
            another size; `library/pillow`; `train/bad-option` for arguments that are none of these.
    """
    sound = isinstance(resize, bool) or (isinstance(resize, int) and resize > 0)
    require(sound, f"resize must be True, False or a number of pixels, not {resize!r}")
    name, content = _content(picture)
    shape = tuple(input_shape)
    wanted = resize if is_shorter_side(resize) else bool(resize)
    return decoded_picture(name, content, shape, resize=wanted)


def _content(picture: Picture) -> tuple[str | Path, io.BytesIO]:
    """Return what messages call a picture, and what is in its file."""
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        return path, picture_content(path)
    if isinstance(picture, bytes | bytearray | memoryview):
        data = bytes(picture)
    elif hasattr(picture, "read"):
        data = picture.read(MAX_BYTES + 1)
    else:
        data = None
    if not isinstance(data, bytes):
        raise NetspecError.simple(
            codes.CALL_VALUE,
            "a picture is a path, the bytes of a file, or a file open for reading bytes, not"
            f" {type(picture).__name__}",
        )
    if len(data) > MAX_BYTES:
        raise read_error(_UNNAMED, f"it is larger than {MAX_BYTES >> 20} MiB")
    return _UNNAMED, io.BytesIO(data)
