"""Arithmetic on compile-time constants, as in Python but with limits.

Whole numbers stay whole: `/` gives a float, and a size that comes out as 2.5 is refused where it is
used. Every result is bounded, so that no file can make the compiler compute for long.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeGuard, TypeVar

from netspec import codes
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.long_lists import OfLongLists
from netspec.compiler.ir.sizes import Dim, Size, are_short, may_equal, names_in
from netspec.diagnostics import Code, plural
from netspec.records import record

MAX_MAGNITUDE = 10**30
MAX_ITEMS = 100_000
MAX_LIST_DEPTH = 8

Constant: TypeAlias = (
    "int | float | bool | str | Size | range | Initializer | tuple[Constant, ...] | None"
)
"""A compile-time constant: a number, a word, an open size, an init rule, or a list of these."""


ConstantT = TypeVar("ConstantT", bound="Constant")


class ConstantError(Exception):
    """An operation that is not defined for its constants, with advice if there is some."""

    def __init__(self, code: Code, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


def type_name(value: object) -> str:
    """Return the name of a constant's type for messages."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (tuple, range)):
        return "a list"
    if isinstance(value, Initializer):
        return "an init rule"
    if isinstance(value, Size):
        return f"the open size {value}"
    names = {int: "a whole number", float: "a number", str: "a string", type(None): "none"}
    return names.get(type(value), "a value")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def arithmetic(op: str, left: object, right: object) -> Constant:
    """Return `left op right` for numbers.

    `+` also joins two lists or two strings, `*` also repeats a list.

    Raises:
        ConstantError: for other operands, division by zero, or a result out of bounds.
    """
    if not (_is_number(left) and _is_number(right)):
        return _other_arithmetic(op, left, right)
    if op in ("/", "//", "%") and right == 0:
        raise ConstantError(codes.CONSTANT_ZERO_DIVISION, f"{show(left)} {op} 0: division by zero")
    try:
        result: int | float = _ARITHMETIC[op](left, right)
        return bounded(result)
    except OverflowError:
        raise ConstantError(codes.LIMIT_NUMBER, "the result is too large") from None


def _other_arithmetic(op: str, left: object, right: object) -> Constant:
    """Return `left op right` where not both are numbers."""
    if op == "+" and isinstance(left, tuple) and isinstance(right, tuple):
        return bounded(left + right)
    if op == "+" and isinstance(left, (tuple, range)) and isinstance(right, (tuple, range)):
        return bounded((*_items(left), *_items(right)))
    if op == "+" and isinstance(left, str) and isinstance(right, str):
        return bounded(left + right)
    if op == "*" and isinstance(left, tuple) and isinstance(right, int):
        if len(left) * right > MAX_ITEMS:
            message = f"a list of {len(left)} x {right:,} items; the limit is {MAX_ITEMS:,}"
            raise ConstantError(codes.LIMIT_LIST, message)
        return left * right
    if isinstance(left, Size) or isinstance(right, Size):
        return _open_arithmetic(op, left, right)
    raise ConstantError(
        codes.CONSTANT_TYPE,
        f"`{op}` is not defined for {type_name(left)} and {type_name(right)}",
    )


def _open_arithmetic(op: str, left: object, right: object) -> Constant:
    """Return `+`, `-` or `*` of open sizes and whole numbers, or `//` or `%` of an open size by a
    positive number.
    """
    whole = [isinstance(side, int) and not isinstance(side, bool) for side in (left, right)]
    fits = all(w or isinstance(s, Size) for w, s in zip(whole, (left, right), strict=True))
    divides = op in ("//", "%") and whole[1] and isinstance(right, int) and right > 0
    if not fits or not (op in ("+", "-", "*") or divides):
        raise ConstantError(
            codes.CONSTANT_TYPE, f"`{op}` is not defined for {type_name(left)} and {type_name(right)}",
            open_help(left, right),
        )  # fmt: skip
    # Longer operands are not multiplied out, so this always takes little time.
    if not are_short(side for side in (left, right) if isinstance(side, (int, Size))):
        raise ConstantError(codes.LIMIT_NUMBER, "the formula of this open size is too long")
    result: Dim = _ARITHMETIC[op](left, right)
    return bounded(result)


def open_help(*values: object) -> str | None:
    """Return advice for an operation that cannot use an open size; None if no value is one."""
    items = [item for v in values for item in (v if isinstance(v, tuple) else (v,))]
    names = sorted(names_in(items))
    if not names:
        return None
    return f"{names[0]} depends on the picture: give it a number, in the input or by --set"


def power(base: Constant, exponent: Constant) -> Constant:
    """Return `base ** exponent`.

    Raises:
        ConstantError: for operands that are not numbers, or a result out of bounds.
    """
    if not (_is_number(base) and _is_number(exponent)):
        raise ConstantError(
            codes.CONSTANT_TYPE,
            f"`**` is not defined for {type_name(base)} and {type_name(exponent)}",
            open_help(base, exponent),
        )
    if abs(exponent) > 1000:
        raise ConstantError(codes.LIMIT_NUMBER, f"an exponent of {show(exponent)} is too large")
    try:
        result: int | float | complex = base**exponent
    except ZeroDivisionError:
        raise ConstantError(codes.CONSTANT_ZERO_DIVISION, "0 to a negative power") from None
    except OverflowError:
        raise ConstantError(codes.LIMIT_NUMBER, "the result is too large") from None
    if isinstance(result, complex):
        raise ConstantError(codes.CONSTANT_TYPE, f"a root of the negative number {show(base)}")
    return bounded(result)


def negate(op: str, value: Constant) -> Constant:
    """Return `-value`, `+value` or `not value`.

    Raises:
        ConstantError: if the operator is not defined for the value.
    """
    if op == "not":
        return not truth(value)
    if _is_number(value) or isinstance(value, Size):
        return -value if op == "-" else value
    raise ConstantError(codes.CONSTANT_TYPE, f"`{op}` is not defined for {type_name(value)}")


def compare(op: str, left: Constant, right: Constant) -> bool:
    """Return `left op right`, as in Python.

    Raises:
        ConstantError: if the two have no order, or if the result depends on an open size.
    """
    if isinstance(left, range):
        left = _items(left)
    if isinstance(right, range):
        right = _items(right)
    comparable = (
        op in ("==", "!=")
        or (_is_number(left) and _is_number(right))
        or (isinstance(left, str) and isinstance(right, str))
    )
    if not comparable:
        raise ConstantError(
            codes.CONSTANT_TYPE, f"`{op}` cannot order {type_name(left)} and {type_name(right)}",
            open_help(left, right),
        )  # fmt: skip
    if op in ("==", "!=") and not _is_decided(left, right):
        message = f"`{op}` of {show(left)} and {show(right)} depends on the picture"
        raise ConstantError(codes.CONSTANT_TYPE, message, open_help(left, right))
    return bool(_COMPARISONS[op](left, right))


def _is_decided(left: Constant, right: Constant) -> bool:
    """Whether the equality of two constants has the same result for all values of their open sizes."""
    lefts, rights = (side if isinstance(side, tuple) else (side,) for side in (left, right))
    is_open = [isinstance(item, Size) for item in (*lefts, *rights)]
    if not any(is_open) or isinstance(left, tuple) is not isinstance(right, tuple):
        return True
    if len(lefts) != len(rights) or left == right:
        return True
    sizes = [[item for item in side if isinstance(item, (int, Size))] for side in (lefts, rights)]
    are_sizes = len(sizes[0]) == len(lefts) and len(sizes[1]) == len(rights)
    return not are_sizes or not may_equal(*sizes)


def truth(value: Constant) -> bool:
    """Return the value of a condition, which must be true or false.

    Raises:
        ConstantError: for anything else; a number is not a condition.
    """
    if not isinstance(value, bool):
        raise ConstantError(
            codes.CONSTANT_TYPE, f"a condition must be true or false, not {type_name(value)}"
        )
    return value


def index(value: object, at: Constant) -> Constant:
    """Return `value[at]`.

    Raises:
        ConstantError: if the value is not a list, or has no such item.
    """
    if not isinstance(value, (tuple, range)):
        raise ConstantError(codes.CONSTANT_TYPE, f"{type_name(value)} has no items")
    item: Constant = value[position(at, len(value))]
    return item


def position(at: Constant, length: int) -> int:
    """Return an index into a list of `length` items.

    Raises:
        ConstantError: if it is not a whole number, or is out of range.
    """
    if isinstance(at, bool) or not isinstance(at, int):
        raise ConstantError(codes.CONSTANT_TYPE, f"an index must be a whole number, not {show(at)}")
    if not -length <= at < length:
        raise ConstantError(
            codes.CONSTANT_INDEX, f"index {at} is outside of a list of {length} items"
        )
    return at


def cut(value: object, start: Constant, stop: Constant) -> Constant:
    """Return `value[start:stop]`.

    Raises:
        ConstantError: if the value is not a list, or an end is not a whole number.
    """
    if not isinstance(value, (tuple, range)):
        raise ConstantError(codes.CONSTANT_TYPE, f"{type_name(value)} has no items")
    return _items(value[_end(start) : _end(stop)])


def _end(at: Constant) -> int | None:
    if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
        raise ConstantError(codes.CONSTANT_TYPE, f"an index must be a whole number, not {show(at)}")
    return at


def bounded(value: ConstantT) -> ConstantT:
    """Return the value itself, if it is not too large.

    Raises:
        ConstantError: `limit/number` or `limit/list`.
    """
    if isinstance(value, int):  # the usual case first
        if abs(value) > MAX_MAGNITUDE:
            raise ConstantError(codes.LIMIT_NUMBER, "the result is larger than 1e30")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConstantError(codes.LIMIT_NUMBER, "the result is not a finite number")
    elif isinstance(value, Size):
        if any(abs(c) > MAX_MAGNITUDE for c in value.terms.values()):
            raise ConstantError(codes.LIMIT_NUMBER, "a number in the result is larger than 1e30")
    else:
        size(value)
    return value


def size(value: object) -> int:
    """Return the number of items of a list, including those of inner lists, or of a string.

    Raises:
        ConstantError: `limit/list`, as soon as the count exceeds the limit.
    """
    if isinstance(value, range):
        return _length(value)
    if isinstance(value, Size):  # as many items as take about the same time
        return 160 + 4 * len(value.terms)
    if not isinstance(value, (tuple, str)):
        return 0
    if (known := _SIZES.get(value)) is not None:
        return known
    count, inner, depth = len(value), [value] if isinstance(value, tuple) else [], 0
    while inner and count <= MAX_ITEMS:
        depth += 1
        if depth > MAX_LIST_DEPTH:
            raise ConstantError(
                codes.LIMIT_LIST, f"lists are nested more than {MAX_LIST_DEPTH} deep"
            )
        # Most lists hold numbers alone, which is seen without a look at each.
        lists = [items for items in inner if tuple in map(type, items)]
        inner = [item for items in lists for item in items if isinstance(item, tuple)]
        count += sum(map(len, inner))
    if count > MAX_ITEMS:
        raise ConstantError(codes.LIMIT_LIST, f"a list or string of more than {MAX_ITEMS:,} items")
    return _SIZES.keep(value, count)


# So many items of a list take about as long as a step of a net, where they are looked at, and where a
# list of numbers is only copied.
_LOOKED_AT, _COPIED = 32, 512


def work_of(value: object, *, joins: bool = False) -> int:
    """Return how many steps a list, a string or an open size takes where it is the value of something.

    Args:
        value: the value.
        joins: whether lists are joined there, and nothing else is done with them.

    Raises:
        ConstantError: as `size`.
    """
    count = size(value)
    is_copied = joins and isinstance(value, (tuple, range)) and count == len(value)
    return count // (_COPIED if is_copied else _LOOKED_AT)


# They are asked for where a list is made, in each bracket around it, and where it gets a name.
_SIZES: OfLongLists[int] = OfLongLists()


def _length(value: range) -> int:
    """Return the length of a range that may be too long for `len`."""
    return max(0, -(-(value.stop - value.start) // value.step))


def _items(value: tuple[Constant, ...] | range) -> tuple[Constant, ...]:
    return tuple(bounded(value))


# ------------------------------------------------------------------------------ constant functions


@record(slots=True)
class ConstantFunction:
    """A function that can be called in constants, with the numbers of arguments that it accepts."""

    call: Callable[..., Constant]
    least: int
    most: int


def _range(*arguments: Constant) -> range:
    ends = []
    for argument in arguments:
        if isinstance(argument, bool) or not isinstance(argument, int):
            raise ConstantError(
                codes.CONSTANT_TYPE,
                f"needs whole numbers, not {show(argument)}",
                open_help(argument),
            )
        ends.append(argument)
    if len(ends) == 3 and ends[2] == 0:
        raise ConstantError(codes.CONSTANT_TYPE, "needs a step that is not 0")
    span = range(*ends)
    if span and _length(span) > MAX_ITEMS:
        raise ConstantError(
            codes.LIMIT_LOOP, f"{_length(span):,} iterations; the limit is {MAX_ITEMS:,}"
        )
    return span


def _sequence(value: Constant) -> tuple[Constant, ...]:
    if not isinstance(value, (tuple, range)):
        raise ConstantError(codes.CONSTANT_TYPE, f"needs a list, not {type_name(value)}")
    return _items(value)


def _numbers(arguments: Sequence[Constant]) -> tuple[int | float, ...]:
    items = _sequence(arguments[0]) if len(arguments) == 1 else tuple(arguments)
    numbers = tuple(item for item in items if _is_number(item))
    if not items or len(numbers) < len(items):
        raise ConstantError(codes.CONSTANT_TYPE, "needs numbers", open_help(*items))
    return numbers


def _number(value: Constant) -> int | float:
    if not _is_number(value):
        raise ConstantError(
            codes.CONSTANT_TYPE, f"needs a number, not {type_name(value)}", open_help(value)
        )
    return value


def _sqrt(value: Constant) -> float:
    number = _number(value)
    if number < 0:
        raise ConstantError(
            codes.CONSTANT_TYPE, f"of the negative number {show(value)} is not a real number"
        )
    return math.sqrt(number)


def _log(value: Constant) -> float:
    number = _number(value)
    if number <= 0:
        message = f"of {show(value)} is no number: it must be positive"
        raise ConstantError(codes.CONSTANT_TYPE, message)
    return math.log(number)


def _exp(value: Constant) -> float:
    number = _number(value)
    if number > math.log(MAX_MAGNITUDE):
        raise ConstantError(codes.LIMIT_NUMBER, f"of {show(value)} is too large")
    return math.exp(number)


def _sum(value: Constant) -> int | float:
    items = _sequence(value)
    return bounded(sum(_numbers([items]))) if items else 0


FUNCTIONS: dict[str, ConstantFunction] = {
    "range": ConstantFunction(_range, 1, 3),
    "len": ConstantFunction(lambda value: len(_sequence(value)), 1, 1),
    "min": ConstantFunction(lambda *a: min(_numbers(a)), 1, 100),
    "max": ConstantFunction(lambda *a: max(_numbers(a)), 1, 100),
    "sum": ConstantFunction(_sum, 1, 1),
    "abs": ConstantFunction(lambda value: abs(_number(value)), 1, 1),
    "int": ConstantFunction(lambda value: int(_number(value)), 1, 1),
    "round": ConstantFunction(lambda value: round(_number(value)), 1, 1),
    "sqrt": ConstantFunction(_sqrt, 1, 1),
    "exp": ConstantFunction(_exp, 1, 1),
    "log": ConstantFunction(_log, 1, 1),
    "sin": ConstantFunction(lambda value: math.sin(_number(value)), 1, 1),
    "cos": ConstantFunction(lambda value: math.cos(_number(value)), 1, 1),
    "enumerate": ConstantFunction(lambda value: tuple(enumerate(_sequence(value))), 1, 1),
    "zip": ConstantFunction(
        lambda *a: tuple(zip(*(_sequence(item) for item in a), strict=False)), 2, 8
    ),
    "reversed": ConstantFunction(lambda value: _sequence(value)[::-1], 1, 1),
}


def call(name: str, arguments: Sequence[Constant]) -> Constant:
    """Call a constant function by its name.

    Raises:
        ConstantError: if the arguments do not fit.
    """
    function = FUNCTIONS[name]
    if not function.least <= len(arguments) <= function.most:
        takes = plural(function.most, "argument")
        if function.most != function.least:
            takes = f"{function.least} to {takes}"
        raise ConstantError(codes.CONSTANT_TYPE, f"`{name}` takes {takes}, not {len(arguments)}")
    try:
        return bounded(function.call(*arguments))
    except ConstantError as error:
        colon = ":" if error.code.startswith("limit/") else ""
        raise ConstantError(error.code, f"`{name}`{colon} {error.message}", error.help) from None
