"""A data set: training and test images with their targets, validated once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import require
from netspec.runtime.data.exchanged_axes import exchanged
from netspec.runtime.data.held_out import drawn_share, is_share
from netspec.runtime.data.label_ranges import ONE_HOT, range_help
from netspec.runtime.data.lazy_samples import LazySamples, chosen, some
from netspec.runtime.data.samples import ONLY, by_input, is_in_memory, packed, require_numbers
from netspec.runtime.data.vocabulary import Vocabulary
from netspec.text.printable import printable

Array = NDArray[np.generic]
Labels = NDArray[np.int64]

# A limit on labels: a label is the number of a class, and memory is needed for each class.
MAX_CLASSES = 1 << 20
# The target of what no loss and no accuracy counts, such as padding: PyTorch's `ignore_index`.
IGNORED = -100
# Elements in one block of images: a megabyte or two, so that passes over a data set need no copy of
# the whole.
_BLOCK_ELEMENTS = 1 << 18
# How many of the samples that are made on demand are looked at.
_LOOKED_AT = 1000
# Integers larger than this are taken as bytes of pixels, and not as flags.
PIXELS_FROM = 2.0

SCORES_OF_A_PICTURE = (
    "a picture becomes scores by `-> global_avg_pool -> linear(10)`, for ten classes"
)


_NO_FILES: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels for training and testing.

    A data set is immutable: threads may share it. It can be copied and pickled; memory-mapped files
    are read into memory then.

    Attributes:
        name: Its name in messages.
        x_train: (N, C, H, W) images, (N, F) feature vectors, or (N, ...) of any other shape, such
            as signals and volumes; uint8 pixels, other integers or floats (an array of uint8 means
            pixels 0..255, see `normalization`). For a net with several inputs a mapping of such
            arrays by their names, which is kept as one array (N,) with a field for each.
        y_train: (N,) int64 labels, each in [0, classes); or (N, ...) with one for each step of a
            sequence (N, T), each pixel of a map (N, H, W), or each question (N, K). Where one is
            `IGNORED`, nothing is trained or counted.
        x_test: (M, ...) with the sample shape of `x_train`; M may be 0.
        y_test: (M, ...) int64, likewise. One of N and M may be 0, for which `None` in place of both
            arrays stands: a held-out set has test images alone, on which nothing can be trained.
        classes: The number of classes.
        class_names: Their names, in the order of the labels; empty if unknown.
        notes: Observations made while the files were read, for the user.
        ignore_index: A further label that means `IGNORED`, which it is replaced by.
        vocabulary: What the tokens of a text stand for; None for other data.
        files: The files that the training and the test images were read from, one for each; empty
            where they are not from files of their own, and once training images were left out.

    Raises:
        NetspecError: `data/shape` if lengths, shapes or types do not fit together, `data/bad-file`
            for labels out of range and for values that are not finite.
    """

    name: str
    x_train: Array
    y_train: Labels
    x_test: Array
    y_test: Labels
    classes: int
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ignore_index: int = IGNORED
    vocabulary: Vocabulary | None = None
    files: tuple[tuple[str, ...], tuple[str, ...]] = _NO_FILES

    def __post_init__(self) -> None:
        self._fill_missing_part()
        for part in ("train", "test"):
            given = getattr(self, f"x_{part}")
            several = isinstance(given, Mapping)
            x = packed(self.name, part, given) if several else _as_samples(given)
            y = _as_labels(self.name, part, np.asarray(getattr(self, f"y_{part}")))
            if self.ignore_index != IGNORED and (y == self.ignore_index).any():
                y = np.where(y == self.ignore_index, IGNORED, y)
            object.__setattr__(self, f"x_{part}", x)
            object.__setattr__(self, f"y_{part}", y)
        self.validate()

    def _fill_missing_part(self) -> None:
        """Put no images in place of `None`, with the shape of those of the other part."""
        for part, other in (("train", "test"), ("test", "train")):
            if getattr(self, f"x_{part}") is not None or getattr(self, f"y_{part}") is not None:
                continue
            x, y = getattr(self, f"x_{other}"), getattr(self, f"y_{other}")
            if x is None or y is None:
                raise NetspecError.simple(
                    codes.DATA_SHAPE, f"{self.name}: no images in either part"
                )
            none = packed(self.name, other, x) if isinstance(x, Mapping) else _as_samples(x)
            object.__setattr__(self, f"x_{part}", chosen(none, slice(0)))
            object.__setattr__(self, f"y_{part}", np.asarray(y)[:0])

    def __repr__(self) -> str:
        counts = f"{len(self.x_train):,} training and {len(self.x_test):,} test {self.samples}"
        shape = " and ".join(
            f"{name} {_shape(shape)}".lstrip() for name, shape in self.input_shapes.items()
        )
        return printable(
            f"<netspec.Dataset {self.name}: {counts} {shape}, {self.classes:,} classes>"
        )

    def _repr_html_(self) -> str:
        from netspec.runtime.data.sample_grid import as_html

        return as_html(self)

    @property
    def samples(self) -> str:
        """What messages call the samples: the windows of a text, or images."""
        return "images" if self.vocabulary is None else "windows"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W), or of one feature vector, (F,); () for several inputs."""
        return self.x_train.shape[1:]

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each input by its name, which a single one does not have."""
        return {name: x.shape[1:] for name, x in by_input(self.x_train).items()}

    @property
    def picture_input(self) -> str | None:
        """The name of the only input that is a picture (C, H, W); None if there is not one."""
        pictures = [name for name, shape in self.input_shapes.items() if len(shape) == 3]
        return pictures[0] if len(pictures) == 1 else None

    @property
    def first_part(self) -> tuple[Array, Labels]:
        """The training images and labels; those of test if there are no others."""
        return (self.x_train, self.y_train) if len(self.x_train) else (self.x_test, self.y_test)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of the targets of one image: () for one label."""
        return self.first_part[1].shape[1:]

    def validate(self) -> None:
        """Check what the class guarantees; runs on construction.

        Raises:
            NetspecError: See the class.
        """
        if self.classes < 1:
            raise NetspecError.simple(
                codes.DATA_SHAPE, f"{self.name}: classes must be at least 1, not {self.classes}"
            )
        if self.classes > MAX_CLASSES:
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"{self.name}: a label is {self.classes - 1}; they may go up to {MAX_CLASSES - 1}",
            )
        if self.class_names and len(self.class_names) != self.classes:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name}: {len(self.class_names)} names for {self.classes} classes",
            )
        for part, x, y in self._parts():
            self._validate_part(part, x, y)
        self._require_equal_shapes()
        self._require_sound_targets()
        self._require_sound_numbers()

    def _require_equal_shapes(self) -> None:
        """Refuse data without samples, and samples of different shapes in the two parts."""
        part = "train" if len(self.x_train) else "test"
        for name, x in by_input(self.first_part[0]).items():
            if not x.size:
                raise NetspecError.simple(
                    codes.DATA_SHAPE,
                    f"{self.name}: no data: x_{part}{_of(name)} is {_shape(x.shape)}",
                )
        shapes = {name: x.shape[1:] for name, x in by_input(self.x_test).items()}
        if shapes != self.input_shapes:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name}: a test image is {_shapes(shapes)}, "
                f"a training image {_shapes(self.input_shapes)}",
            )

    def _require_sound_numbers(self) -> None:
        """Refuse samples that are not finite, and different kinds of pixels in the two parts."""
        train, test = by_input(self.x_train), by_input(self.x_test)
        for name in train:
            for part, x in (("train", train[name]), ("test", test[name])):
                if x.dtype.kind == "f" and not all(
                    np.isfinite(b).all() for b in blocks(some(x, _LOOKED_AT))
                ):
                    raise NetspecError.simple(
                        codes.DATA_BAD_FILE,
                        f"{self.name}: x_{part}{_of(name)} holds NaN or infinite values",
                    )
            self._require_equal_pixels(_of(name), train[name], test[name])

    def _require_sound_targets(self) -> None:
        """Refuse targets of different shapes in the two parts, and those of which none counts."""
        # Without images an empty list of any kind may stand for their targets.
        both = len(self.y_train) and len(self.y_test)
        if both and self.y_test.shape[1:] != self.target_shape:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name}: the targets of a test image are {_shape(self.y_test.shape[1:])},"
                f" those of a training image {_shape(self.target_shape)}",
            )
        if not any((y != IGNORED).any() for _, _, y in self._parts()):
            raise NetspecError.simple(
                codes.DATA_SHAPE, f"{self.name}: no label counts: all of them are the ignored one"
            )

    def _require_equal_pixels(self, which: str, train: Array, test: Array) -> None:
        """Refuse data with integers from 0 to 255 in one part and fractions up to 1 in the other."""
        parts = (("train", train), ("test", test))
        kinds = {x.dtype.kind == "f": (part, x) for part, x in parts if x.size}
        if len(kinds) < 2:
            return
        (whole, pixels), (real, fractions) = kinds[False], kinds[True]
        if magnitude(some(pixels, _LOOKED_AT)) > PIXELS_FROM and (
            magnitude(some(fractions, _LOOKED_AT)) <= 1
        ):
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name}: x_{whole}{which} holds {pixels.dtype} up to {magnitude(pixels):g},"
                f" x_{real} {fractions.dtype} up to {magnitude(fractions):g}: two different kinds of"
                " pixels",
                f"divide x_{whole} by 255, or keep both as bytes from 0 to 255",
            )

    def unseen_classes(self, first: int = 0) -> list[int]:
        """Return the classes without any training image, if they start at `first`; of data without
        training images none.
        """
        if not len(self.y_train):
            return []
        labels = self.y_train.ravel()
        counts = np.bincount(labels[labels != IGNORED], minlength=self.classes)
        return (np.flatnonzero(counts[first:] == 0) + first).tolist()

    def first_label(self) -> int:
        """Return the smallest label of both parts."""
        counted = (y[y != IGNORED] for _, _, y in self._parts())
        return min(int(y.min()) for y in counted if len(y))

    def _validate_part(self, part: str, x: Array, y: Labels) -> None:
        for name, array in by_input(x).items():
            require_numbers(f"{self.name}: x_{part}{_of(name)}", array)
        require_equal_counts(self.name, part, x.shape, y.shape)
        wrong = ((y < 0) & (y != IGNORED)) | (y >= self.classes)
        if wrong.any():
            counted = y[y != IGNORED]
            classes = "1 class has label 0"
            if self.classes > 1:
                classes = f"{self.classes} classes have labels 0 to {self.classes - 1}"
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"{self.name}: labels of the {part} part run from {counted.min()} to {counted.max()};"
                f" {classes}",
                range_help(counted, self.classes),
            )

    def for_training(self) -> Dataset:
        """Return the data set, after checking that it is no held-out set.

        Raises:
            NetspecError: `data/shape` for data without training images.
        """
        if len(self.x_train):
            return self
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{self.name} has no training {self.samples}, only {len(self.x_test):,} of test",
            "a held-out set is for `eval` and `evaluate`",
        )

    def split(self, val: float, seed: int = 0) -> tuple[Dataset, Array, Labels]:
        """Hold out training images; returns (the rest, x_val, y_val).

        Args:
            val: how many of the last images; or a share of each class between 0 and 1, drawn, for
                which the images are copied. A share of a text is its last part, because windows
                between those that are trained on would be known by their neighbours.
            seed: what a share is drawn from.

        Raises:
            NetspecError: `train/bad-option` for a number that leaves nothing to train on, and for a
                share of images that lie in a file; `data/shape` for data without training images.
        """
        count = len(self.for_training().x_train)
        if is_share(val) and self.vocabulary is not None:
            val = max(1, round(val * count))
        if is_share(val):
            require(
                is_in_memory(self.x_train) or isinstance(self.x_train, LazySamples),
                f"the images of {self.name} lie in a file, and a share of them would be copied into"
                " memory",
                "hold out the last: --val 5000",
            )
            rest, held = drawn_share(self.y_train, val, seed)
            require(len(held) > 0, f"val = {val} holds out no image of {count}")
            kept = self._with_training(rest)
            return kept, chosen(self.x_train, held), self.y_train[held]
        require(
            val < count,
            f"val = {val} does not fit {self.name}: it must be at least 0 and leave some of "
            f"the {count} training {self.samples}",
        )
        cut = count - int(val)
        first, last = slice(cut), slice(cut, None)
        left = self._with_training(first)
        return left, chosen(self.x_train, last), self.y_train[last]

    def limit(self, count: int | None) -> Dataset:
        """Keep the first `count` training images; None and counts beyond the end keep all.

        Raises:
            NetspecError: `train/bad-option` if `count` is less than 1.
        """
        if count is None:
            return self
        require(count >= 1, f"train_limit must be at least 1, not {count}")
        return self._with_training(slice(count))

    def _with_training(self, kept: NDArray[np.int64] | slice) -> Dataset:
        """Keep some of the training images."""
        x, y = chosen(self.x_train, kept), self.y_train[kept]
        return replace(self, x_train=x, y_train=y, files=((), self.files[1]))

    def fit_to(self, input_shape: tuple[int, ...]) -> Dataset:
        """Convert every sample to a network's input shape, without changing a number.

        Equal shapes are left as they are, and images are flattened (in C, H, W order) for an input
        of shape (C*H*W,). Pictures of one channel are taken for (H, W), such as the steps of a
        sequence, and (H, W) for pictures of one channel. Nothing is resized or padded.

        Raises:
            NetspecError: `data/shape`, with both shapes, for anything else.
        """
        return self.fit_to_inputs({ONLY: input_shape})

    def with_channel(self) -> Dataset:
        """Return samples (H, W) as pictures of one channel, to be drawn; others as they are."""
        shape = self.sample_shape
        return self.fit_to((1, *shape)) if len(shape) == 2 else self

    def fit_to_inputs(self, input_shapes: Mapping[str, tuple[int, ...]]) -> Dataset:
        """Convert every sample to the shapes of a network's inputs; see `fit_to`.

        Args:
            input_shapes: the shape of each input by its name, which does not matter if it is the
                only one.

        Raises:
            NetspecError: `data/shape` for other inputs or shapes.
        """
        have = self.input_shapes
        if len(have) == len(input_shapes) == 1:
            (name, shape), (own,) = next(iter(input_shapes.items())), have
            named = {own: (name, tuple(shape))}
        else:
            named = {name: (name, tuple(shape)) for name, shape in input_shapes.items()}
        if set(named) != set(have):
            raise self._other_inputs(input_shapes)
        if all(have[own] == shape for own, (_, shape) in named.items()):
            return self
        for own, (name, shape) in named.items():
            require_fitting(self.name, have[own], shape, ONLY if ONLY in have else name)
        train, test = (
            {own: x.reshape(len(x), *named[own][1]) for own, x in by_input(part).items()}
            for part in (self.x_train, self.x_test)
        )
        return replace(
            self,
            x_train=packed(self.name, "train", train),
            x_test=packed(self.name, "test", test),
        )

    def _other_inputs(self, wanted: Mapping[str, tuple[int, ...]]) -> NetspecError:
        """Return the error for data that are not for these inputs."""
        names = ", ".join(wanted)
        if ONLY in self.input_shapes:
            return NetspecError.simple(
                codes.DATA_SHAPE,
                f"the network has the inputs {names}, and {self.name} has one array of samples",
                "give a mapping: netspec.Dataset(..., x_train={"
                + ", ".join(f'"{name}": ...' for name in wanted)
                + "}); in an .npz file the arrays are called "
                + ", ".join(f"x_train.{name}" for name in wanted),
            )
        found = ", ".join(self.input_shapes)
        return NetspecError.simple(
            codes.DATA_SHAPE,
            f"the network has the input{'s' * (len(wanted) > 1)} {names},"
            f" and {self.name} has samples of {found}",
        )

    def check_targets(self, wanted: tuple[int | str, ...], output: str) -> None:
        """Check that the targets of an image have the shape that a loss needs.

        Args:
            wanted: The shape; a text stands for any length.
            output: Describes the output, for the message.

        Raises:
            NetspecError: `data/shape`.
        """
        have = self.target_shape
        fits = len(have) == len(wanted) and all(
            isinstance(w, str) or w == h for w, h in zip(wanted, have, strict=True)
        )
        if fits:
            return
        hint = None
        part, y = "train" if len(self.y_train) else "test", self.first_part[1]
        if not wanted and len(have) == 1 and is_one_hot(y):
            hint = ONE_HOT
        if len(wanted) == 2 and not have:
            hint = SCORES_OF_A_PICTURE
        needed = f"{_shape(wanted)} for each image" if wanted else "one number for each image"
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{self.name}: y_{part} has shape {_shape(y.shape)}; the loss of {output}"
            f" needs labels (N{''.join(f', {w}' for w in wanted)}): {needed}",
            hint,
        )

    def check_classes(self, outputs: int, first: int = 0) -> None:
        """Check that a network with `outputs` scores has one for every class.

        More outputs than classes are allowed, as in every framework. If some class has no training
        image, that is the more likely mistake, and the error names it.

        Args:
            outputs: The number of scores.
            first: The number that classes start at.

        Raises:
            NetspecError: `data/shape` if there are fewer outputs than classes.
        """
        if outputs >= self.classes:
            return
        unseen = self.unseen_classes(first)
        if self.first_label() > first and not self.class_names:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name} has labels from {self.first_label()} to {self.classes - 1},"
                f" and no image of class {first}; the network has {outputs} outputs",
                f"labels start at {first}: subtract {self.first_label() - first} from all of them",
            )
        if unseen and self.vocabulary is None:  # a text need not have every byte
            shown = ", ".join(
                f"`{self.class_names[c]}`" if self.class_names else str(c) for c in unseen[:5]
            )
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name} has {self.classes} classes, the network only {outputs} outputs;"
                f" there is no training image of {shown}{' ...' if len(unseen) > 5 else ''}",
                "number the classes from 0 without gaps, or add the missing images",
            )
        if self.vocabulary is not None:
            raise NetspecError.simple(
                codes.DATA_SHAPE,
                f"{self.name} has {self.classes} different tokens, the network only {outputs} outputs",
                f"give the embedding and the last layer {self.classes}: as an argument of the net, such"
                f" as --set vocabulary={self.classes}",
            )
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{self.name} has {self.classes} classes, the network only {outputs} outputs",
            f"give the last layer {self.classes} outputs",
        )

    def _parts(self) -> tuple[tuple[str, Array, Labels], ...]:
        return ("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)


def require_equal_counts(name: str, part: str, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Check that every image of a part has a label, by the shapes of both arrays.

    Raises:
        NetspecError: `data/shape`.
    """
    images, labels = (shape[0] if shape else 0 for shape in (x, y))
    if images != labels:
        raise NetspecError.simple(
            codes.DATA_SHAPE, f"{name}: {images} images but {labels} labels in the {part} part"
        )


def require_fitting(
    data: str, have: tuple[int, ...], want: tuple[int, ...], name: str = ONLY
) -> None:
    """Refuse a shape of samples that is not a shape of an input's numbers.

    Args:
        data: The name of the data set, for messages.
        have: The shape of its samples.
        want: The shape of the input.
        name: The name of the input, if there are several.

    Raises:
        NetspecError: `data/shape`.
    """
    if have == want or want == (math.prod(have),) or have == (1, *want) or want == (1, *have):
        return
    hint = f"an image of {data} is {_shape(have)}; write that as the network's input"
    if moved := exchanged("x", have, want):
        hint = f"the axes stand in another order: {moved}"
    elif len(have) == 1 and have[0] == math.prod(want):
        sizes = ", ".join(map(str, want))
        hint = f"the images are flat, {have[0]} numbers each: x.reshape(-1, {sizes})"
    raise NetspecError.simple(
        codes.DATA_SHAPE,
        f"{data} does not fit the network: its images are {_shape(have)}, "
        f"the network's input{f' `{name}`' if name else ''} is {_shape(want)}",
        hint,
    )


def blocks(x: Array) -> Iterator[Array]:
    """Yield views of consecutive images of `x` that together cover it, each of about 256k elements."""
    step = max(1, _BLOCK_ELEMENTS // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), step):
        yield x[start : start + step]


def _as_samples(given: object) -> Array:
    # Lazy samples stand for an array.
    return cast("Array", given) if isinstance(given, LazySamples) else np.asarray(given)


def _as_labels(name: str, part: str, y: Array) -> Labels:
    rows = y.ndim == 2 and 1 < y.shape[1] <= MAX_CLASSES
    one_hot = rows and y.dtype.kind in "uifb" and is_one_hot(y)
    # An empty list becomes an array of floats.
    if y.size and y.dtype.kind == "f" and not one_hot and all(map(_is_whole, blocks(y))):
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{name}: y_{part} holds {y.dtype} values; labels are whole numbers",
            "these are whole: y.astype(int)",
        )
    if y.size and not one_hot and y.dtype.kind not in "uib":
        raise NetspecError.simple(
            codes.DATA_SHAPE, f"{name}: y_{part} holds {y.dtype} values; labels are whole numbers"
        )
    if y.ndim == 2 and y.shape[1] == 1:  # Keras keeps labels as a column.
        y = y[:, 0]
    if y.ndim == 0:
        raise NetspecError.simple(
            codes.DATA_SHAPE, f"{name}: y_{part} is one number; labels are (N,), one for each image"
        )
    return y.astype(np.int64, copy=False)


def is_one_hot(y: Array) -> bool:
    """Return True if each row of (N, K) has a single 1 and otherwise zeros."""
    return all(
        bool((((part == 0) | (part == 1)).all(axis=1) & ((part != 0).sum(axis=1) == 1)).all())
        for part in blocks(y)
    )


def _is_whole(y: Array) -> bool:
    return bool((y == np.floor(y)).all())


def magnitude(x: Array) -> float:
    """The largest |x|; x must not be empty.

    It is in float64, because the magnitude of an integer type's smallest value does not fit the
    type.
    """
    return max(float(np.abs(block.astype(np.float64)).max()) for block in blocks(x))


def _of(name: str) -> str:
    """Return the name of an input as messages add it; nothing for the only one."""
    return f" of `{name}`" if name else ""


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return " and ".join(f"{_shape(shape)}{_of(name)}" for name, shape in shapes.items())


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
