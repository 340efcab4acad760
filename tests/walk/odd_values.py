"""Inputs that are odd in type, size, order and content, and what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netspec import Dataset

Array = np.ndarray[Any, np.dtype[Any]]
BATCHES = (1, 1, 2, 3, 4, 5, 8, 8, 16, 17, 33)


class Odd(NamedTuple):
    """A value in an odd form, and the plain array that it stands for, or None if it must be
    rejected.
    """

    about: str
    value: Any
    means: Array | None


class _Wrapped:
    """An object that returns an array when it is asked for one."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self._array.astype(dtype or self._array.dtype)


class _Derived(np.ndarray):  # type: ignore[type-arg]
    """An array of a subclass."""


def _every_second(a: Array) -> Array:
    wide = np.repeat(a, 2, axis=-1)
    return wide[..., ::2]


def _read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def _unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes + 1, "u1")[1:].view(a.dtype).reshape(a.shape)
    raw[...] = a
    return raw


GOOD: dict[str, Callable[[Array], Any]] = {
    "plain": lambda a: a,
    "plain again": lambda a: a,
    "list": lambda a: a.tolist(),
    "tuple": tuple,
    "float64": lambda a: a.astype("f8"),
    "float16": lambda a: a.astype("f2"),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int8": lambda a: (a * 3).astype("i1"),
    "uint64": lambda a: np.abs(a * 3).astype("u8"),
    "bool": lambda a: a > 0,
    "big-endian": lambda a: a.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "backwards": lambda a: a[::-1],
    "mirrored": lambda a: a[..., ::-1],
    "every second": _every_second,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "one image many times": lambda a: np.broadcast_to(a[:1], a.shape),
    "channels last in memory": lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1)).transpose(
        0, a.ndim - 1, *range(1, a.ndim - 1)
    ),
    "an array of another class": lambda a: a.view(_Derived),
    "masked": lambda a: np.ma.masked_array(a, mask=np.zeros(a.shape, bool)),
    "what gives an array": _Wrapped,
    "zeros": np.zeros_like,
    "tiny numbers": lambda a: a * np.float32(1e-42),
}  # fmt: skip

BAD: dict[str, Callable[[Array], Any]] = {
    "no images": lambda a: a[:0],
    "an axis more": lambda a: a[None],
    "an axis less": lambda a: a[0],
    "a column more": lambda a: np.concatenate([a, a[..., :1]], axis=-1),
    "flat": lambda a: a.reshape(-1),
    "None": lambda a: None,
    "text": lambda a: "image",
    "texts": lambda a: a.astype(str),
    "objects": lambda a: np.full(a.shape, None),
    "complex": lambda a: a.astype(complex),
    "dates": lambda a: a.astype("i8").astype("M8[s]"),
    "records": lambda a: np.zeros(a.shape, [("a", "f4")]),
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "a set": lambda a: {1, 2},
    "a wrong name": lambda a: {"nobody": a},
    "nothing at all": lambda a: {},
    "a number": lambda a: 3.5,
}

# These are neither right nor wrong: there is some answer, and the next one must not be affected.
STRANGE: dict[str, Callable[[Array], Any]] = {
    "NaN": lambda a: np.where(np.arange(a.size).reshape(a.shape) % 7 == 0, np.nan, a),
    "infinite": lambda a: np.where(np.arange(a.size).reshape(a.shape) % 5 == 0, -np.inf, a),
    "huge": lambda a: a * np.float32(1e37),
}


def drawn(rng: random.Random, shape: tuple[int, ...], batch: int | None = None) -> Array:
    """Return a batch of ordinary images."""
    count = rng.choice(BATCHES) if batch is None else batch
    made = np.random.default_rng(rng.getrandbits(32)).standard_normal((count, *shape))
    return made.astype("f4")


def good_input(rng: random.Random, shape: tuple[int, ...], folder: Path) -> Odd:
    """Return a batch of images in a form that every model must accept."""
    about = rng.choice([*GOOD, "mapped"])
    plain = drawn(rng, shape)
    if about == "mapped":
        np.save(folder / "mapped.npy", plain)
        value: Any = np.load(folder / "mapped.npy", mmap_mode="r")
    else:
        value = GOOD[about](plain)
    means = np.array(np.asarray(value), dtype="f8")
    return Odd(f"{about} {list(plain.shape)}", value, means)


def bad_input(rng: random.Random, shape: tuple[int, ...]) -> Odd:
    """Return something that every model must reject."""
    about = rng.choice(list(BAD))
    return Odd(about, BAD[about](drawn(rng, shape)), None)


def strange_input(rng: random.Random, shape: tuple[int, ...]) -> Odd:
    """Return images with NaN, infinities or numbers that are too large."""
    about = rng.choice(list(STRANGE))
    with np.errstate(all="ignore"):
        return Odd(about, STRANGE[about](drawn(rng, shape)), None)


def good_data(rng: random.Random, shape: tuple[int, ...], classes: int) -> Dataset:
    """Return a small data set in one of many forms."""
    made = np.random.default_rng(rng.getrandbits(32))
    count, test = rng.choice([2, 3, 7, 20, 40]), rng.choice([0, 1, 2, 9])
    dtype = rng.choice(["u1", "u1", "f4", "f8", "i2", ">i4", "f2"])
    x = [made.integers(0, 200, (n, *shape)).astype(dtype) for n in (count, test)]
    y = [made.integers(0, classes, n) for n in (count, test)]
    form = rng.choice(["plain", "plain", "Fortran order", "column", "bytes", "backwards"])
    if form == "Fortran order":
        x = [np.asfortranarray(a) for a in x]
    elif form == "backwards":
        x = [a[::-1] for a in x]
    elif form == "column":
        y = [a[:, None] for a in y]
    elif form == "bytes":
        y = [a.astype("u1") for a in y]
    return Dataset(f"{count} and {test} images of {dtype}, {form}", x[0], y[0], x[1], y[1], classes)


def bad_data(rng: random.Random, shape: tuple[int, ...], classes: int) -> tuple[Any, ...]:
    """Return arguments of which no data set can be made."""
    x, y = np.zeros((6, *shape), "u1"), np.arange(6) % classes
    return rng.choice([
        ("a", x, y[:5], x, y, classes),
        ("a", x, y - 1, x, y, classes),
        ("a", x, y + classes, x, y, classes),
        ("a", x, y * 0.5, x, y, classes),
        ("a", x.astype("f4") + np.nan, y, x, y, classes),
        ("a", x, y, x[..., :1], y, classes),
        ("a", x, y.astype(str), x, y, classes),
        ("a", x.astype(complex), y, x, y, classes),
        ("a", x, y, x, y, 0),
        ("a", x, y, x, y, -3),
        ("a", None, y, x, y, classes),
        ("a", x, y, x, y, classes, ("one",)),
    ])  # fmt: skip
