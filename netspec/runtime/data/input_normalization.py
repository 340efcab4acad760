"""Input normalization: fitted or known statistics, stored with the weights and applied to batches."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name, is_number, require
from netspec.runtime.data.dataset import PIXELS_FROM, blocks, magnitude
from netspec.runtime.data.lazy_samples import some
from netspec.runtime.data.samples import ONLY, by_input

if TYPE_CHECKING:
    from netspec.compiler.ir.graph import Shape


class ChannelStatistics(NamedTuple):
    """The mean and standard deviation of each channel, or one for all, of pixels from 0 to 1.

    These are the arguments of torchvision's `Normalize` after `ToTensor`. For data that are no bytes they
    may also be in the unit of the data, see `of_pixels`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def of_pixels(self) -> bool:
        """Whether numbers from 0 to 1 can have them: no mean or deviation of these is beyond."""
        return all(0 <= value <= 1 for value in (*self.mean, *self.std))

    @classmethod
    def of(cls, pair: tuple[Sequence[float], Sequence[float]]) -> ChannelStatistics:
        """Make statistics from two equally long lists (mean, std) of finite numbers; no std may be 0.

        Raises:
            NetspecError: `train/bad-option`.
        """
        sound = isinstance(pair, tuple | list) and len(pair) == 2
        require(sound, f"normalize must be a name or a pair (mean, std) of lists, not {pair!r}")
        mean, std = _numbers("mean", pair[0]), _numbers("std", pair[1])
        require(
            len(mean) == len(std),
            f"mean has {len(mean)} numbers and std {len(std)}: give one for each channel",
        )
        check_deviations(std)
        return cls(mean, std)


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    sound = isinstance(listed, tuple | list) and len(listed) > 0 and all(map(is_number, listed))
    require(sound, f"{name} must be a list of numbers, one for each channel, not {values!r}")
    return tuple(map(float, listed))


def check_deviations(std: Sequence[float]) -> None:
    """Check that no deviation is 0.

    Raises:
        NetspecError: `train/bad-option`.
    """
    wrong = next((value for value in std if not value > 0), None)
    require(wrong is None, f"each number of std must be more than 0, not {wrong!r}")


# The statistics of the 1.28 million training images of the ImageNet challenge, which all of
# torchvision's weights expect.
IMAGENET = ChannelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# The kinds that are fitted to the training images, and all kinds with a name; given
# `ChannelStatistics` are of kind `mean-std`.
FITTED = ("none", "unit", "channel", "mean-image")
KINDS = (*FITTED, "imagenet")
_GIVEN = "mean-std"
# The kind of the text that holds a normalization for each input.
_BY_INPUT = "by-input"
# Up to so many numbers are listed where a person may read them.
_MOST_LISTED = 64
# As many inputs as a text may describe.
_MOST_INPUTS = 1 << 10
_DIVIDED = ("unit", "channel", "imagenet", _GIVEN)
_SHIFTED = ("channel", "mean-image", "imagenet", _GIVEN)
# What depends on the images that are fitted to; `unit` of bytes does not.
_FITTED = ("channel", "mean-image", "unit")
_PIXEL_RANGE = 255.0
_UNIT_HELP = (
    "pixels: divide them by 255, or keep them as bytes from 0 to 255; other numbers, as of a sensor:"
    " --normalize channel, or --mean and --std in their own unit, such as --mean 0 --std 8192"
)
# To how many of the samples that are made on demand a normalization is fitted.
_LOOKED_AT = 1000
# A channel that is constant has no spread to divide by; rounding errors must not be taken for
# spread.
_NO_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class Normalization:
    """x -> (x - mean) / scale, like torchvision's `Normalize`.

    Attributes:
        kind: Which rule made it, one of

            - `none`: x as it is.
            - `unit`: x / r. r is 255 for uint8 data, which are pixels 0..255 whatever the largest
              one seen; for any other type, whose range nobody told us, it is the largest
              magnitude among the training images, so that all of them fall into [-1, 1] and
              data that already fill 0..1 stay as they are.
            - `channel`: (x / r - mean_c) / std_c with mean and (biased) standard deviation of
              each channel, the first axis of images, signals and volumes, over the training
              images; r cancels and is not needed. Feature vectors (N, F) of uint8 are flattened
              pictures, one channel; of any other type, F channels. A channel that never changes is
              divided by 1.
            - `mean-image`: x minus the mean training image, not divided by anything (CS231n).
            - `imagenet`: (x / r - mean_c) / std_c with ImageNet's statistics. r is 255 for uint8
              data; all other data are taken for pixels from 0 to 1, and r is 1.
            - `mean-std`: the same with statistics that were given. Where no pixels from 0 to 1 can
              have these, they are in the unit of the data, such as counts of a sensor, and r is 1.

        mean, scale: float32, broadcastable to one sample's (C, H, W) or (F,).
        of: The type of the stored numbers that it is for, see `number_types`; None if it is unknown. A
            weights file has it among its metadata.
    """

    kind: str
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    of: str | None = None

    @classmethod
    def fit(
        cls, kind: str | tuple[Sequence[float], Sequence[float]], x_train: NDArray[np.generic]
    ) -> Normalization:
        """Fit to the training images (N, C, ...) or (N, F), in blocks and in float64.

        Args:
            kind: One of `KINDS`; or means and standard deviations, see `ChannelStatistics`.
            x_train: The images.

        Raises:
            NetspecError: `train/bad-option` for an unknown kind, and for statistics that do not
                match the channels; `data/shape` if pixels should be from 0 to 1 but are not, and if
                there are no images to fit to.
        """
        if not isinstance(kind, str):
            return cls._of_statistics(_GIVEN, ChannelStatistics.of(kind), x_train)
        check_name("normalization", kind, KINDS)
        if kind == "imagenet":
            return cls._of_statistics(kind, IMAGENET, x_train)
        if not len(x_train) and kind in _FITTED and (kind != "unit" or x_train.dtype != np.uint8):
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"there are no training images to which the normalization `{kind}` could be fitted",
                "--mean and --std say it in numbers; trained weights know theirs",
            )
        has_channels = x_train.ndim > 2
        per_channel = (1,) * (x_train.ndim - 1)
        mean, scale = np.zeros(per_channel), np.ones(per_channel)
        if kind == "unit":
            scale = scale * _range(x_train)
        elif kind == "mean-image":
            mean = _mean(x_train, axes=(0,))
        elif kind == "channel":
            flat_pixels = not has_channels and x_train.dtype == np.uint8
            inside = tuple(range(2, x_train.ndim))
            axes = (0, *inside) if has_channels else (0, 1) if flat_pixels else (0,)
            mean = _mean(x_train, axes)
            scale = np.sqrt(_mean(x_train, axes, about=mean))
            scale[scale <= _NO_SPREAD * np.maximum(1.0, np.abs(mean))] = 1.0
        return cls(kind, mean.astype(np.float32), scale.astype(np.float32))

    @classmethod
    def _of_statistics(
        cls, kind: str, statistics: ChannelStatistics, x: NDArray[np.generic]
    ) -> Normalization:
        """Convert statistics of pixels from 0 to 1, for images (N, C, H, W) or (N, F) like these; of
        other numbers than bytes also statistics in their own unit.
        """
        count, channels = len(statistics.mean), x.shape[1]
        require(
            count in (1, channels),
            f"{kind} normalization is for {count} channels, and"
            + (f" the images have {channels}" if x.ndim > 2 else " the images are flat"),
            "give `mean` and `std` a number for each channel, or one number for all" if kind == _GIVEN
            else "`--normalize channel` takes the statistics of the images themselves",
        )  # fmt: skip
        pixels = _PIXEL_RANGE if x.dtype == np.uint8 else 1.0
        of_pixels = statistics.of_pixels or kind != _GIVEN
        if pixels == 1.0 and of_pixels and len(x) and (largest := magnitude(x)) > PIXELS_FROM:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{kind} normalization is for pixels from 0 to 1, and the images hold {x.dtype} up to"
                f" {largest:g}",
                _UNIT_HELP,
            )
        shape = (count,) + (1,) * (x.ndim - 2)
        mean, std = (np.array(values, np.float64).reshape(shape) * pixels for values in statistics)
        return cls(kind, mean.astype(np.float32), std.astype(np.float32))

    def apply(self, x: NDArray[np.generic], dtype: DTypeLike) -> NDArray[np.floating]:
        """Normalize a batch (N, C, H, W) or (N, F) into a new array of `dtype`, C-contiguous.

        Raises:
            NetspecError: `data/shape` if the batch does not have the shape it was fitted to.
        """
        dtype = np.dtype(dtype)
        mean, scale = self.mean.astype(dtype), self.scale.astype(dtype)
        try:
            fits = np.broadcast_shapes(x.shape[1:], mean.shape, scale.shape) == x.shape[1:]
        except ValueError:
            fits = False
        if not fits:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"images of shape {list(x.shape[1:])} do not fit the {self.kind} normalization, "
                f"fitted to {list(np.broadcast_shapes(mean.shape, scale.shape))}",
            )
        out: NDArray[np.floating] = np.array(x, dtype=dtype, order="C")
        if self.kind in _SHIFTED:
            out -= mean
        if self.kind in _DIVIDED:
            out /= scale
        return out

    def is_like(self, other: InputNormalization) -> bool:
        """Return True if it has the same effect on an image."""
        if not isinstance(other, Normalization) or self.kind != other.kind:
            return False
        pairs = ((self.mean, other.mean), (self.scale, other.scale))
        return all(np.array_equal(a, b) for a, b in pairs)

    def to_json(self) -> str:
        """One line of JSON; arrays are base64 of little-endian float32, so no bit is lost."""
        return json.dumps(self.content(), sort_keys=True)

    def content(self) -> dict[str, object]:
        """Return what `to_json` writes."""
        return {"kind": self.kind, "mean": _encode(self.mean), "scale": _encode(self.scale)}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Normalization:
        """Make it of the JSON of `to_json`, which is not trusted.

        Raises:
            ValueError, KeyError, TypeError: if anything in it is wrong.
        """
        kind = content["kind"]
        if kind not in (*KINDS, _GIVEN):
            raise ValueError(f"unknown kind {str(kind)[:40]!r}")
        mean, scale = _decode(content["mean"]), _decode(content["scale"])
        np.broadcast_shapes(mean.shape, scale.shape)
        if not (scale > 0).all():
            raise ValueError("scales must be positive")
        return cls(kind, mean, scale)


@dataclass(frozen=True, eq=False)
class Normalizations:
    """The normalization of each input of a net that has several.

    Attributes:
        inputs: a normalization for each input, by its name.
        of: the types of the stored numbers of all inputs, see `number_types`; None if unknown.
    """

    inputs: Mapping[str, Normalization]
    of: str | None = None

    @property
    def kind(self) -> str:
        """What makes them, for messages."""
        return ", ".join(dict.fromkeys(one.kind for one in self.inputs.values()))

    def apply(self, x: NDArray[np.generic], dtype: DTypeLike) -> dict[str, NDArray[np.floating]]:
        """Normalize a batch of samples (N,) that has a field for each input, see `packed`.

        Raises:
            NetspecError: `data/shape` for other inputs, and as `Normalization.apply`.
        """
        arrays = by_input(x)
        if set(arrays) != set(self.inputs):
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"samples of {', '.join(arrays) or 'none'} do not fit the normalization, which is"
                f" that of {', '.join(self.inputs)}",
            )
        return {name: self.inputs[name].apply(array, dtype) for name, array in arrays.items()}

    def is_like(self, other: InputNormalization) -> bool:
        """Return True if it has the same effect on a sample."""
        return (
            isinstance(other, Normalizations)
            and set(self.inputs) == set(other.inputs)
            and all(one.is_like(other.inputs[name]) for name, one in self.inputs.items())
        )

    def to_json(self) -> str:
        """One line of JSON, see `Normalization.to_json`."""
        inputs = {name: one.content() for name, one in self.inputs.items()}
        return json.dumps({"kind": _BY_INPUT, "inputs": inputs}, sort_keys=True)


# How the samples of a net are normalized: those of its only input, or of each.
InputNormalization = Normalization | Normalizations
# How a caller says it: by a kind, by (mean, std), or by one that was fitted before.
NormalizationChoice = str | tuple[Sequence[float], Sequence[float]] | InputNormalization


def made_for(normalization: InputNormalization, types: str | None) -> InputNormalization:
    """Return a normalization that says which types of stored numbers it is for, see `number_types`."""
    return replace(normalization, of=types)


def images_to_fit(
    kind: object, train: NDArray[np.generic], test: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Return the samples that a normalization is fitted to: those of training. What is given in numbers
    is only compared with samples, with those of test if there are no others.
    """
    return test if not len(train) and kind not in _FITTED else train


def fit_normalization(
    kind: str | tuple[Sequence[float], Sequence[float]],
    x_train: NDArray[np.generic],
    whole: Collection[str] = (),
) -> InputNormalization:
    """Fit a normalization to the training samples of one input, or of each.

    Args:
        kind: see `Normalization.fit`.
        x_train: the samples; with a field for each input if there are several. Of lazy ones it is
            fitted to `_LOOKED_AT`, evenly spread.
        whole: the inputs of whole numbers, such as tokens, which are never normalized; `ONLY` for
            the only one.

    Raises:
        NetspecError: see `Normalization.fit`.
    """
    fitted = {
        name: Normalization.fit("none" if name in whole else kind, array)
        for name, array in by_input(some(x_train, _LOOKED_AT)).items()
    }
    return fitted[ONLY] if ONLY in fitted else Normalizations(fitted)


def no_normalization(shapes: Mapping[str, Shape]) -> InputNormalization:
    """Return the normalization that does nothing, for inputs of these shapes, which may be open."""
    nothing = {
        name: Normalization.fit(
            "none", np.zeros((1, *(size if isinstance(size, int) else 1 for size in shape)))
        )
        for name, shape in shapes.items()
    }
    return Normalizations(nothing) if len(nothing) > 1 else next(iter(nothing.values()))


def normalization_from_json(text: str) -> InputNormalization:
    """Read the output of `to_json`; the text is not trusted.

    Raises:
        NetspecError: `weights/bad-file` if anything in it is wrong.
    """
    try:
        content = json.loads(text)
        if content["kind"] != _BY_INPUT:
            return Normalization.from_content(content)
        inputs = content["inputs"]
        if not isinstance(inputs, dict) or not 1 < len(inputs) <= _MOST_INPUTS:
            raise ValueError("its inputs are no table of some inputs")
        return Normalizations(
            {name: Normalization.from_content(one) for name, one in inputs.items()}
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NetspecError.simple(
            codes.WEIGHTS_BAD_FILE, f"the stored normalization is damaged: {error}"
        ) from None


def readable_json(by: InputNormalization) -> str:
    """Return one line of JSON that a person can read; `normalization_from_json` reads it too."""
    content = json.loads(by.to_json())
    if content["kind"] == _BY_INPUT:
        content["inputs"] = {name: _readable(one) for name, one in content["inputs"].items()}
    else:
        content = _readable(content)
    return json.dumps(content, sort_keys=True)


def _range(x: NDArray[np.generic]) -> float:
    if x.dtype == np.uint8:
        return _PIXEL_RANGE
    return magnitude(x) or 1.0


def _mean(
    x: NDArray[np.generic], axes: tuple[int, ...], about: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the mean over `axes`, or the mean of squares about a centre.

    The axes include 0, which is dropped; the others stay with length 1.
    """
    total = np.zeros(())
    for block in blocks(x):
        values = block.astype(np.float64)
        if about is not None:
            values -= about
            np.square(values, out=values)
        total = total + values.sum(axis=axes, keepdims=True)[0]
    mean: NDArray[np.float64] = total / math.prod(x.shape[axis] for axis in axes)
    return mean


def _encode(array: NDArray[np.float32]) -> dict[str, object]:
    raw = array.astype("<f4").tobytes()
    return {"shape": list(array.shape), "data": base64.b64encode(raw).decode("ascii")}


def _readable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a normalization with lists of numbers in place of base64, except for arrays
    of many numbers. Each number is the shortest that names its float32.
    """
    found: dict[str, Any] = dict(content)
    for name in ("mean", "scale"):
        array = _decode(content[name])
        if array.size <= _MOST_LISTED:
            shortest = np.array([float(str(value)) for value in array.ravel()])
            found[name] = shortest.reshape(array.shape).tolist()
    return found


def _decode(content: Any) -> NDArray[np.float32]:
    if isinstance(content, list):
        return _of_list(content)
    shape, data = content["shape"], content["data"]
    # Limited, because the product of huge sizes would be a huge number.
    if (
        not isinstance(shape, list)
        or len(shape) > 4
        or not all(type(n) is int and 0 < n < 1 << 32 for n in shape)
    ):
        raise ValueError("an array's shape is not a list of sizes")
    if not isinstance(data, str):
        raise ValueError("an array's data is not text")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"an array's data is not base64: {error}") from None
    if len(raw) != 4 * math.prod(shape):
        raise ValueError(f"an array of shape {shape} with {len(raw)} bytes")
    array = np.frombuffer(raw, "<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("an array holds NaN or infinite values")
    return array


def _of_list(content: list[Any]) -> NDArray[np.float32]:
    numbers = np.array(content)
    if numbers.dtype.kind not in "if" or not 0 < numbers.ndim <= 4 or not numbers.size:
        raise ValueError("an array is no list of numbers")
    array = numbers.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("an array holds NaN or infinite values")
    return array
