"""Predicts the classes of pictures without labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.arrays import open_npy
from netspec.runtime.data.exchanged_axes import exchanged
from netspec.runtime.data.files import read_error
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.pictures import (
    SUFFIXES,
    Resize,
    is_shorter_side,
    picture_array,
    picture_content,
)
from netspec.runtime.models.evaluation import BATCH, Scorer, class_probabilities
from netspec.runtime.weights.data_facts import require_same_pixels

_PIXELS = "uint8"


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of a picture, the most likely first.

    Attributes:
        name: the file, and the number of the picture if the file has several.
        classes: the numbers of the classes.
        shares: their probabilities.
    """

    name: str
    classes: tuple[int, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of one file: names, and an array (N, C, H, W) or (N, F)."""

    names: Sequence[str]
    x: NDArray[Any]


def predict(
    model: Scorer, pictures: Pictures, normalization: InputNormalization, top: int = 1
) -> Iterator[Prediction]:
    """Return the `top` most likely classes of each picture; of equally likely ones, the first.

    Raises:
        NetspecError: `data/shape`, `model/not-finite`.
    """
    for start in range(0, len(pictures.x), BATCH):
        x = normalization.apply(pictures.x[start : start + BATCH], model.dtype)
        shares = class_probabilities(model, x)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
        for i, (row, chosen) in enumerate(zip(shares, order, strict=True)):
            yield Prediction(
                pictures.names[start + i], tuple(chosen.tolist()), tuple(row[chosen].tolist())
            )


def read_pictures(
    path: Path,
    input_shape: tuple[int, ...],
    *,
    resize: Resize = False,
    trained_on: str | None = None,
) -> Pictures:
    """Read a PNG or JPEG file, or an `.npy` file with one picture or many, for a net's input.

    A PNG or JPEG file is read as grey or in color, as the net requires. An array is used as it is:
    (C, H, W), (N, C, H, W), (H, W) for grey, or the same flattened.

    Args:
        path: the file.
        input_shape: (C, H, W) or (F,).
        resize: what to do with a PNG or JPEG file of another size, see `pictures.Resize`.
        trained_on: the type of the training images' numbers, if known: only `uint8` determines what
            a pixel of 0 to 255 means.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`, `library/pillow`.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _from_array(path, input_shape)
    if suffix not in SUFFIXES:
        known = ", ".join((*SUFFIXES, ".npy"))
        raise read_error(path, f"not a picture's file name; those end in {known}")
    require_same_pixels(str(path), _PIXELS, trained_on)
    picture = decoded_picture(path, picture_content(path), input_shape, resize=resize)
    return Pictures([str(path)], picture[None])


def inverted(path: Path, pictures: Pictures) -> Pictures:
    """Return pictures with dark and light turned round.

    Raises:
        NetspecError: `data/shape` for pixels that are not from 0 to 255.
    """
    if pictures.x.dtype != np.uint8:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{path} holds {pictures.x.dtype} values:"
            " only pixels of uint8, from 0 to 255, are turned round",
        )
    return Pictures(pictures.names, 255 - pictures.x)


def decoded_picture(
    name: str | Path, content: io.BytesIO, input_shape: tuple[int, ...], *, resize: Resize = False
) -> NDArray[np.uint8]:
    """Return the picture in the content of a PNG or JPEG file, in the shape of a net's input.

    Args:
        name: what messages call it.
        content: of the file.
        input_shape: (C, H, W) or (F,).
        resize: what to do with a picture of another size, see `pictures.Resize`.

    Raises:
        NetspecError: `data/bad-file`, `data/shape`, `library/pillow`.
    """
    channels, size = _picture_size(name, content, input_shape, resize)
    picture = picture_array(name, content, channels, size, resize=resize)
    return picture.reshape(input_shape)


def picture_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Return the picture files: each path, and for a folder the pictures in it, in order.

    Raises:
        NetspecError: `data/missing-file` for a folder without any.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()]
        if not found:
            raise NetspecError.simple(
                codes.DATA_MISSING_FILE, f"there are no pictures ({', '.join(SUFFIXES)}) in {path}"
            )
        yield from found


def _picture_size(
    name: str | Path, content: io.BytesIO, input_shape: tuple[int, ...], resize: Resize
) -> tuple[int, tuple[int, int]]:
    """Return the channels and (H, W) of the net's input."""
    if len(input_shape) == 3 and input_shape[0] in (1, 3):
        return input_shape[0], input_shape[1:]
    if len(input_shape) == 1:
        channels, height, width = picture_array(name, io.BytesIO(content.getvalue())).shape
        if is_shorter_side(resize):
            height = width = resize
        for wanted in (channels, 1, 3):
            if wanted * height * width == input_shape[0]:
                return wanted, (height, width)
    raise NetspecError.simple(
        codes.DATA_SHAPE,
        f"{name} is not a picture of shape {list(input_shape)}, the network's input",
        "a picture has 1 channel (grey) or 3; give an .npy file with an array of this shape",
    )


def _from_array(path: Path, input_shape: tuple[int, ...]) -> Pictures:
    array = open_npy(path)
    if array.dtype.kind not in "uif":
        raise read_error(path, f"it holds {array.dtype} values; images are integers or floats")
    one = tuple(input_shape)
    for shape in {one, one[1:] if one[0] == 1 else one}:
        if array.shape == shape:
            return Pictures([str(path)], array.reshape(1, *one))
        if array.shape[1:] == shape and len(array):
            names = [f"{path}[{i}]" for i in range(len(array))]
            return Pictures(names, array.reshape(len(array), *one))
    hint = f"it may hold one picture {list(one)}, or many: [N, {', '.join(map(str, one))}]"
    many = exchanged("x", array.shape[1:], one)
    if moved := many or exchanged("x", array.shape, one, batch=False):
        hint = f"the axes stand in another order: {moved}"
    raise NetspecError.simple(
        codes.DATA_SHAPE,
        f"{path} has shape {list(array.shape)}, the network's input is {list(one)}",
        hint,
    )
