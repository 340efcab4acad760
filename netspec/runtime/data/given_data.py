"""Data sets of other libraries: PyTorch's, Hugging Face's, and iterables of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Array, Dataset
from netspec.runtime.data.lazy_samples import LazySamples, Numbers
from netspec.runtime.data.pictures import Resize, resized_image

# The columns and attributes in which data sets have their pictures and their labels.
_SAMPLES = ("image", "img", "pixel_values", "x", "input", "features")
_LABELS = ("label", "labels", "y", "target", "targets", "fine_label", "class")
_TEST = ("test", "validation", "val")
# An iterable is read into memory, up to so many bytes.
MAX_BYTES = 1 << 34
Labels = NDArray[np.int64]


class GivenSamples(LazySamples):
    """The samples of a data set that gives one by its number, which are made when they are asked for.

    Args:
        source: the data set.
        numbers: (N,) which of its samples.
        sample_shape: the shape of each.
        dtype: the type of their numbers.
        resize: how pictures of Pillow's become of that shape.
    """

    def __init__(
        self,
        source: Any,
        numbers: Numbers,
        sample_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        resize: Resize,
    ) -> None:
        super().__init__(numbers, sample_shape, dtype)
        self._source, self._resize = source, resize

    def chosen(self, numbers: Numbers | slice) -> Self:
        """See `LazySamples`."""
        some = self.numbers[numbers]
        return type(self)(self._source, some, self.shape[1:], self.dtype, self._resize)

    def made(self, stored: Numbers) -> NDArray[Any]:
        """See `LazySamples`.

        Raises:
            NetspecError: `data/shape` for a sample of another shape.
        """
        out = np.empty((len(stored), *self.shape[1:]), self.dtype)
        for place, number in zip(out, stored.tolist(), strict=True):
            x = _as_array(_parts(self._source[number])[0], self.shape[1:], self._resize)
            if x.shape != place.shape:
                raise NetspecError.simple(
                    codes.DATA_SHAPE,
                    f"sample {number:,} is {list(x.shape)}, the first one {list(place.shape)}",
                )
            place[...] = x
        return out


def dataset_of(
    given: object, name: str, input_shape: tuple[int, ...] | None = None, resize: Resize = False
) -> Dataset:
    """Return the data set that an object of another library is.

    Args:
        given: A data set whose samples have numbers (PyTorch's with pairs of a sample and its label,
            Hugging Face's with a column for each), an iterable of such pairs, which is read into
            memory; a pair of those, of training and test, or a mapping with `train` and `test`, or one of
            them; or a `netspec.Dataset`.
        name: Its name in messages.
        input_shape: The network's input, for pictures of Pillow's.
        resize: How they become of its size.

    Raises:
        NetspecError: `data/shape` for what is none of these.
    """
    if isinstance(given, Dataset):
        return given if input_shape is None else given.fit_to(input_shape)
    train, test = _divided(given)
    first = test if train is None else train
    x_first, y_first = _samples(first, name, input_shape, resize)
    no_x, no_y = x_first.chosen(slice(0)), y_first[:0]
    x_train, y_train = (no_x, no_y) if train is None else (x_first, y_first)
    if test is None:
        x_test, y_test = no_x, no_y
    elif train is None:
        x_test, y_test = x_first, y_first
    else:
        x_test, y_test = _samples(test, name, input_shape, resize)
    names = _class_names(first)
    classes = max(len(names), *(int(y.max()) + 1 for y in (y_train, y_test) if y.size))
    found = Dataset(
        name, cast("Array", x_train), y_train, cast("Array", x_test), y_test, classes,
        names if len(names) == classes else (),
    )  # fmt: skip
    return found if input_shape is None else found.fit_to(input_shape)


def _divided(given: object) -> tuple[Any, Any]:
    """Return the parts of training and test; None for one of them that is not there."""
    if isinstance(given, Mapping):
        train = given.get("train")
        test = next((given[part] for part in _TEST if part in given), None)
        return (given, None) if train is None and test is None else (train, test)
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], np.ndarray):
        return given
    return given, None


def _samples(
    source: Any, name: str, input_shape: tuple[int, ...] | None, resize: Resize
) -> tuple[GivenSamples, Labels]:
    has_numbers = isinstance(source, Sized) and hasattr(source, "__getitem__")
    if not has_numbers:
        source = _read(source, name)
    count = len(source)
    if not count:
        raise NetspecError.simple(codes.DATA_SHAPE, f"{name}: there is no sample in it")
    first = _as_array(_parts(source[0])[0], input_shape, resize)
    numbers = np.arange(count)
    x = GivenSamples(source, numbers, first.shape, first.dtype, resize)
    labels = _known_labels(source, count)
    if labels is None:
        labels = np.array([_number(_parts(source[i])[1], name, i) for i in range(count)])
    return x, labels


def _read(source: Any, name: str) -> list[tuple[NDArray[Any], Any]]:
    """Read an iterable of pairs, of which each may be a batch.

    Raises:
        NetspecError: `data/shape` if it is none, `data/bad-file` if it does not end.
    """
    if not isinstance(source, Iterable):
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{name} is a {type(source).__name__}: no data set, and no iterable of pairs",
        )
    found: list[tuple[NDArray[Any], Any]] = []
    size = 0
    for item in source:
        sample, label = _parts(item)
        x, y = _as_array(sample, None, resize=False), np.asarray(label)
        pairs = [(x, y)] if y.ndim == 0 else [*zip(x, y, strict=True)]
        found += pairs
        size += x.nbytes
        if size > MAX_BYTES:
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"{name} has not ended after {MAX_BYTES >> 30} GiB: an iterable is read into memory",
                "give a data set whose samples have numbers",
            )
    return found


def _parts(item: Any) -> tuple[Any, Any]:
    """Return the sample and the label of an item.

    Raises:
        NetspecError: `data/shape`.
    """
    if isinstance(item, Mapping):
        x, y = (next((k for k in known if k in item), None) for known in (_SAMPLES, _LABELS))
        if x is not None and y is not None:
            return item[x], item[y]
        found = ", ".join(map(str, item))
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"the columns are {found}; a sample is looked for in {', '.join(_SAMPLES)}, its label in"
            f" {', '.join(_LABELS)}",
            "rename them: data.rename_columns({...})",
        )
    if isinstance(item, Sequence) and len(item) == 2:
        return item[0], item[1]
    raise NetspecError.simple(
        codes.DATA_SHAPE, f"a sample comes with its label, and this is a {type(item).__name__}"
    )


def _as_array(sample: Any, shape: tuple[int, ...] | None, resize: Resize) -> NDArray[Any]:
    """Return a sample as an array; a picture of Pillow's as (C, H, W)."""
    if hasattr(sample, "convert") and hasattr(sample, "resize"):
        grey = shape[0] == 1 if shape and len(shape) == 3 else sample.mode in ("1", "L")
        image = sample.convert("L" if grey else "RGB")
        size = shape[1:] if shape and len(shape) == 3 else (image.height, image.width)
        return resized_image("a picture of the data", image, (size[0], size[1]), resize)
    if hasattr(sample, "detach"):
        sample = sample.detach().cpu().numpy()
    return np.asarray(sample)


def _known_labels(source: Any, count: int) -> Labels | None:
    """Return the labels of all samples where the data set has them beside; None if not."""
    if hasattr(source, "column_names"):  # Hugging Face
        name = next((each for each in _LABELS if each in source.column_names), None)
        return None if name is None else np.asarray(source[name])
    if hasattr(source, "indices") and hasattr(source, "dataset"):  # PyTorch's Subset
        whole = _known_labels(source.dataset, len(source.dataset))
        return None if whole is None else whole[np.asarray(source.indices)]
    # A transform of labels changes what these attributes hold.
    if getattr(source, "target_transform", None) is None:
        for name in ("targets", "labels"):
            found = getattr(source, name, None)
            if found is not None and not callable(found) and len(found) == count:
                return np.asarray(found)
    return None


def _number(label: Any, name: str, number: int) -> NDArray[Any]:
    found = np.asarray(label.detach().cpu() if hasattr(label, "detach") else label)
    if found.dtype.kind not in "uib":
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{name}: the label of sample {number:,} is {found.dtype}; labels are whole numbers",
        )
    return found


def _class_names(source: Any) -> tuple[str, ...]:
    """Return the names of classes that the data set has; none if unknown."""
    names = getattr(source, "classes", None)
    features = getattr(source, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[k], "names", None) for k in _LABELS if k in features), None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()
