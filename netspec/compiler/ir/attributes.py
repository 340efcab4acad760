"""The kinds of attributes that a layer can have. A kind converts a constant to a checked value.

An op declares its attributes as dataclass fields made by `attribute`; the field's metadata holds
the kind, which converts the constant in the file or explains why it cannot. Kinds are never
compared and never changed. They define no comparison and are not frozen, because that makes the
classes quicker to define.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

Sizes = int | tuple[int, ...]
"""One number for every axis behind the channels, or one for each."""

Factors = float | tuple[float, ...]
"""The same, of numbers that need not be whole."""

Padding = int | tuple[tuple[int, int], ...]
"""One number for every side, or (before, after) for each axis behind the channels."""

Number = TypeVar("Number", int, float)

MAX_SPATIAL_AXES = 3
MAX_SIZE = 1 << 31
MAX_AXES = 8


def spread(value: Number | tuple[Number, ...], count: int) -> tuple[Number, ...]:
    """Return a number for each of `count` axes."""
    return value if isinstance(value, tuple) else (value,) * count


def sides(pad: Padding, count: int) -> tuple[tuple[int, int], ...]:
    """Return (before, after) for each of `count` axes."""
    return pad if isinstance(pad, tuple) else ((pad, pad),) * count


def flat(pad: Padding, count: int) -> tuple[int, ...]:
    """Return (before, after, before, after, ...) for `count` axes, as kernels take it."""
    return tuple(number for pair in sides(pad, count) for number in pair)


class WrongValueError(Exception):
    """A value is wrong. The text says what, in words that complete `stride must be ...`."""


@dataclass(eq=False, repr=False)
class Kind:
    """A type of attribute. `words` are the bare names that it accepts, such as `same`."""

    def convert(self, value: object) -> object:
        """Return the checked value.

        Raises:
            WrongValueError: if the value is not of this kind.
        """
        raise NotImplementedError  # pragma: no cover - every kind below has its own

    @property
    def words(self) -> tuple[str, ...]:
        """The bare names that stand for a value of this kind."""
        return ()

    def show(self, value: object) -> str:
        """Return a converted value as a file would write it."""
        return str(value) if value in self.words else show(value)

    def of_axes(self, value: object, count: int) -> object:
        """Return a value for an input with `count` axes behind the channels. Most do not depend on
        that.
        """
        return value

    def from_first(self, value: object, rank: int) -> object:
        """Return a value with axes of an input of `rank` axes counted from the first. Most are none."""
        return value

    def describe(self) -> str:
        """Describe the kind in a few words."""
        raise NotImplementedError  # pragma: no cover


@dataclass(eq=False, repr=False)
class Int(Kind):
    """A whole number in [minimum, maximum]; of any size without a maximum."""

    minimum: int = 0
    maximum: int | None = MAX_SIZE

    def convert(self, value: object) -> int:
        """Return a whole number. The exact result of a division (8 / 2) counts as one."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        is_large = self.maximum is not None and value > self.maximum
        if is_large and self.maximum == MAX_SIZE:
            raise WrongValueError(f"a whole number below 2^31, not {value}")
        if value < self.minimum or is_large:
            raise WrongValueError(f"{self.describe()}, not {value}")
        return value

    def describe(self) -> str:
        """Describe the kind, as in `a whole number of at least 1`."""
        if self.maximum not in (MAX_SIZE, None):
            return f"a whole number from {self.minimum} to {self.maximum}"
        return f"a whole number of at least {self.minimum}"


def _fraction(value: int) -> float:
    """Return a whole number as a float, with what it records if it can pass that on."""
    as_float = getattr(value, "as_float", None)
    made: float = float(value) if as_float is None else as_float()
    return made


@dataclass(eq=False, repr=False)
class Real(Kind):
    """A number in [low, high], or in (low, high] and so on where an end is open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def convert(self, value: object) -> float:
        """Return a finite number in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        # A float is returned as the same object: it may be one that records which argument it came
        # from. A whole number that records it can make such a float.
        try:
            number = value if isinstance(value, float) else _fraction(value)
        except OverflowError:
            raise WrongValueError(f"{self.describe()}, not one of that size") from None
        too_low = number <= self.low if self.low_open else number < self.low
        too_high = number >= self.high if self.high_open else number > self.high
        if not math.isfinite(number) or too_low or too_high:
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return number

    def describe(self) -> str:
        """Describe the kind, as in `a number in [0, 1)`."""
        if math.isinf(self.low) and math.isinf(self.high):
            return "a number"
        left = "(" if self.low_open or math.isinf(self.low) else "["
        right = ")" if self.high_open or math.isinf(self.high) else "]"
        return f"a number in {left}{self.low:g}, {self.high:g}{right}"


@dataclass(eq=False, repr=False)
class Bool(Kind):
    """`true` or `false`."""

    def convert(self, value: object) -> bool:
        """Return True or False. Other values are not converted to a truth value."""
        if not isinstance(value, bool):
            raise WrongValueError(f"true or false, not {show(value)}")
        return value

    def describe(self) -> str:
        """Name the two words."""
        return "true or false"


@dataclass(eq=False, repr=False)
class Choice(Kind):
    """One of a few words."""

    choices: tuple[str, ...]

    def convert(self, value: object) -> str:
        """Return the word itself."""
        if value not in self.choices:
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return str(value)

    @property
    def words(self) -> tuple[str, ...]:
        """The choices, which may be written without quotes."""
        return self.choices

    def describe(self) -> str:
        """Describe the kind, as in `one of zeros, reflect`."""
        return "one of " + ", ".join(self.choices)


@dataclass(eq=False, repr=False)
class SizesOf(Kind):
    """A whole number for every axis behind the channels, or a list with one for each.

    Whether a list fits the value is for the op to check.
    """

    minimum: int = 1

    def item(self, value: object) -> float:
        """Return the number for one axis."""
        return Int(self.minimum).convert(value)

    def of_axes(self, value: object, count: int) -> object:
        """Return a number for each axis."""
        return None if value is None else spread(cast("Factors", value), count)

    def convert(self, value: object) -> Factors:
        """Return the number, or one for each axis."""
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not 1 <= len(value) <= MAX_SPATIAL_AXES:
                raise WrongValueError(f"{self.describe()}, not {show(value)}")
            return tuple(self.item(each) for each in value)
        return self.item(value)

    def show(self, value: object) -> str:
        """Return one number where all are equal."""
        if isinstance(value, tuple) and len(set(value)) == 1:
            return show(value[0])
        return show(list(value) if isinstance(value, tuple) else value)

    def describe(self) -> str:
        """Describe the two forms."""
        return f"a whole number of at least {self.minimum}, or one for each axis: [height, width]"


@dataclass(eq=False, repr=False)
class FactorsOf(SizesOf):
    """A number above 0 for every axis behind the channels, or a list with one for each."""

    def item(self, value: object) -> float:
        """Return the number, a whole one as an int."""
        whole = isinstance(value, float) and value.is_integer()
        if (whole or isinstance(value, int)) and not isinstance(value, bool):
            return Int(1).convert(value)
        return Real(0, low_open=True).convert(value)

    def describe(self) -> str:
        """Describe the two forms."""
        return "a number above 0, or one for each axis: [height, width]"


@dataclass(eq=False, repr=False)
class PaddingOf(Kind):
    """`p`, `[height, width]`, `[[top, bottom], [left, right]]`, or `same`, for pictures.

    Values of other ranks take as many items as they have axes behind the channels.
    """

    same: bool = True

    def convert(self, value: object) -> Padding | str:
        """Return the number, (before, after) for each axis, or "same"."""
        if self.same and value == "same":
            return "same"
        side = Int(0)
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not 1 <= len(value) <= MAX_SPATIAL_AXES:
                raise WrongValueError(f"{self.describe()}, not {show(value)}")
            return tuple(self._sides(item, value) for item in value)
        try:
            return side.convert(value)
        except WrongValueError:
            raise WrongValueError(f"{self.describe()}, not {show(value)}") from None

    def of_axes(self, value: object, count: int) -> object:
        """Return (before, after, before, after, ...)."""
        return value if isinstance(value, str) else flat(cast("Padding", value), count)

    def _sides(self, item: object, value: object) -> tuple[int, int]:
        side = Int(0)
        if isinstance(item, Sequence) and not isinstance(item, str):
            if len(item) != 2:
                raise WrongValueError(f"{self.describe()}, not {show(value)}")
            return side.convert(item[0]), side.convert(item[1])
        number = side.convert(item)
        return number, number

    @property
    def words(self) -> tuple[str, ...]:
        """`same`, if the op accepts it."""
        return ("same",) if self.same else ()

    def show(self, value: object) -> str:
        """Return the shortest of the forms."""
        if not isinstance(value, tuple):
            return str(value)
        if any(before != after for before, after in value):
            return show([list(sides) for sides in value])
        befores = [before for before, _ in value]
        return show(befores[0] if len(set(befores)) == 1 else befores)

    def describe(self) -> str:
        """Describe all forms."""
        last = ", or same" if self.same else ""
        return f"a whole number, [height, width], or [[top, bottom], [left, right]]{last}"


@dataclass(eq=False, repr=False)
class AxisOf(Kind):
    """An axis as PyTorch counts them: 0 is the batch, which no layer mixes, and -1 is the last.

    A `new` one is an axis of the value, which has one more than the input.
    """

    new: bool = False

    def convert(self, value: object) -> int:
        """Return a whole number other than 0."""
        try:
            number = Int(-MAX_SIZE).convert(value)
        except WrongValueError:
            raise WrongValueError(f"{self.describe()}, not {show(value)}") from None
        if number == 0:
            raise WrongValueError("another axis than 0, which counts the images of the batch")
        return number

    def from_first(self, value: object, rank: int) -> int:
        """Return the axis counted from the first."""
        axis = cast("int", value)
        return axis + rank + self.new + 1 if axis < 0 else axis

    def describe(self) -> str:
        """Describe how axes are counted."""
        return "a whole number: 1 is the first axis after the batch, -1 the last"


@dataclass(eq=False, repr=False)
class AxesOf(Kind):
    """One axis, or a list of at most `most` axes, each counted as `AxisOf` counts them."""

    most: int = MAX_AXES

    def convert(self, value: object) -> tuple[int, ...]:
        """Convert to a tuple of whole numbers other than 0."""
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not 1 <= len(items) <= self.most:
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return tuple(map(AxisOf().convert, items))

    def from_first(self, value: object, rank: int) -> tuple[int, ...]:
        """Return the axes counted from the first."""
        axes = cast("tuple[int, ...]", value)
        return tuple(AxisOf().from_first(axis, rank) for axis in axes)

    def show(self, value: object) -> str:
        """Show one axis as a number, several as a list."""
        return show(value[0] if isinstance(value, tuple) and len(value) == 1 else value)

    def describe(self) -> str:
        """Describe the forms."""
        form = "one axis" if self.most == 1 else "an axis or a list of axes"
        return f"{form}: 1 is the first axis after the batch, -1 the last"


@dataclass(eq=False, repr=False)
class EquationOf(Kind):
    """The axes of two values and of their product, a letter each: `"bqd,bkd->bqk"`."""

    def convert(self, value: object) -> str:
        """Convert to the equation without blanks."""
        text = value.replace(" ", "") if isinstance(value, str) else ""
        terms = text.replace("->", ",", 1).split(",")
        letters = all(term.isascii() and term.isalpha() for term in terms)
        if text.count("->") != 1 or len(terms) != 3 or not letters or len(text) > 40:
            raise WrongValueError(f"{self.describe()}, not {show(value)}")
        return text

    def show(self, value: object) -> str:
        """Show it in quotes."""
        return show(value)

    def describe(self) -> str:
        """Describe it by an example."""
        return 'a letter for each axis, such as "bqd,bkd->bqk", where b is the batch'


@dataclass(eq=False, repr=False)
class IntList(Kind):
    """A list of whole numbers of at least `minimum`; one may be -1 where there is a `wildcard`.

    `are_sizes` says that they are sizes of axes, which may follow from those of other values.
    """

    minimum: int = 0
    wildcard: bool = False
    are_sizes: bool = False

    def convert(self, value: object) -> tuple[int, ...]:
        """Return the numbers. A single number is a list of one."""
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not 1 <= len(items) <= MAX_AXES:
            raise WrongValueError(f"a list of 1 to {MAX_AXES} numbers, not of {len(items)}")
        wild = [self.wildcard and item == -1 for item in items]
        if sum(wild) > 1:
            raise WrongValueError(f"a list with at most one -1, not {show(value)}")
        try:
            one = Int(self.minimum)
            return tuple(-1 if w else one.convert(i) for i, w in zip(items, wild, strict=True))
        except WrongValueError:
            raise WrongValueError(f"{self.describe()}, not {show(value)}") from None

    def describe(self) -> str:
        """Describe the kind, as in `a list of whole numbers of at least 1, one of which may be -1`."""
        wild = ", one of which may be -1" if self.wildcard else ""
        return f"a list of whole numbers of at least {self.minimum}{wild}"


def show(value: object) -> str:
    """Return a constant as the language writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
    if isinstance(value, (list, tuple)):
        shown = [show(item) for item in value[:20]]
        return "[" + ", ".join(shown + (["..."] if len(value) > 20 else [])) + "]"
    return str(value)


def attribute(kind: Kind, doc: str, default: object = dataclasses.MISSING) -> Any:
    """Declare an attribute of an op: a dataclass field whose metadata holds its kind and its line
    of documentation.

    Positional order is the order of declaration. The default is given in the form that a file would
    use, and is converted like any other value.
    """
    metadata = {"kind": kind, "doc": doc}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    value = None if default is None else kind.convert(default)
    return dataclasses.field(default=value, metadata=metadata)
