"""Read the one kind of pickle that CIFAR-10 comes in, without ever running a pickle.

A pickle is a program. Restricting `pickle.Unpickler.find_class` keeps out most hostile ones, but
still lets that program call what it was given, grow its memo to any size and hash what it nested.
So nothing here unpickles: `pickletools` (the standard library's disassembler) splits the file
into opcodes, and the few that build strings, numbers, lists, dicts and one array of bytes are
carried out below. No name in the file is ever looked up; calls are matched against the three that
NumPy writes for a uint8 array and everything else is refused.
"""

from __future__ import annotations

import math
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# An official batch has about 40,000 opcodes; each costs some hundred bytes while it is read.
MAX_OPCODES = 400_000

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_NOTHING = {"PROTO", "FRAME", "STOP"}
_FRESH: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE"),
    *("SHORT_BINBYTES", "BINBYTES"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleRefusedError(ValueError):
    """The pickle is damaged, or is not the plain data it should be."""


@dataclass(frozen=True)
class _Global:
    """A name the pickle mentions, as text."""

    name: str


class _ByteType:
    """Stands for numpy.dtype('u1')."""


@dataclass
class _Array:
    """An array whose shape and bytes come later in the file."""

    value: NDArray[np.uint8] | None = None


@dataclass
class _Machine:
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def above_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def take(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise PickleRefusedError("damaged: it takes a value that is not there")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def run(self, opcode: str, arg: object) -> None:
        """Carry out one opcode."""
        if opcode in _LITERALS:
            self.stack.append(arg)
        elif opcode in _FRESH:
            self.stack.append(_FRESH[opcode]())
        elif opcode in _TUPLES:
            self.stack.append(tuple(self.take(_TUPLES[opcode])))
        elif opcode in ("BINPUT", "LONG_BINPUT") and isinstance(arg, int):
            self.memo[arg] = self.stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET") and isinstance(arg, int):
            self.stack.append(self.memo[arg])
        elif opcode == "GLOBAL" and isinstance(arg, str):
            self.stack.append(_Global(arg))
        elif opcode in _STEPS:
            _STEPS[opcode](self)
        elif opcode not in _NOTHING:
            raise PickleRefusedError(f"refused: it uses the pickle operation {opcode}")

    def call(self) -> None:
        function, arguments = self.take(2)
        self.stack.append(_call(function, arguments))

    def set_state(self) -> None:
        (state,) = self.take(1)
        _set_state(self.stack[-1], state)

    def look_up(self) -> None:
        module, name = self.take(2)
        self.stack.append(_Global(f"{module!s} {name!s}"))

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleRefusedError("refused: it appends to something that is no list")
        target.extend(items)

    def update(self, items: list[object]) -> None:
        target = self.stack[-1]
        # Only text as a key: hashing a deeply nested tuple can exhaust the C stack.
        if not isinstance(target, dict) or not all(isinstance(k, str | bytes) for k in items[::2]):
            raise PickleRefusedError("refused: only dicts with text keys are read")
        target.update(zip(items[::2], items[1::2], strict=True))


# What takes its operands from the stack.
_STEPS: Mapping[str, Callable[[_Machine], None]] = {
    "MARK": lambda machine: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.above_mark())),
    "APPEND": lambda machine: machine.extend(machine.take(1)),
    "APPENDS": lambda machine: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine: machine.update(machine.take(2)),
    "SETITEMS": lambda machine: machine.update(machine.above_mark()),
    "MEMOIZE": _Machine.memoize,
    "STACK_GLOBAL": _Machine.look_up,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
}


def load_dict(data: bytes) -> dict[str, object]:
    """The dict a pickle holds: text keys; values are ints, text, bytes, lists, uint8 arrays.

    Text of Python 2 pickles comes as str, one character a byte (latin-1).

    Raises:
        PickleRefusedError: For anything else, with the reason.
    """
    machine = _Machine()
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            if count >= MAX_OPCODES:
                raise PickleRefusedError(f"refused: more than {MAX_OPCODES} pickle operations")
            machine.run(opcode.name, arg)
        (result,) = machine.stack
    except PickleRefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise PickleRefusedError(f"damaged: {error or type(error).__name__}") from None
    if not isinstance(result, dict):
        raise PickleRefusedError("refused: it holds no dict")
    return {
        key if isinstance(key, str) else key.decode("latin-1"): (
            value.value if isinstance(value, _Array) else value
        )
        for key, value in result.items()
    }


def _call(function: object, arguments: object) -> object:
    """What a call in the file means: one of the three that NumPy writes, or a refusal."""
    name = function.name if isinstance(function, _Global) else "something that is no function"
    match name, arguments:
        case _, (_Global("numpy ndarray"), (0,), "b" | b"b") if name in _RECONSTRUCT:
            return _Array()
        case "numpy dtype", ("u1", 0, 1):  # False == 0 and True == 1: both spellings occur
            return _ByteType()
        case "_codecs encode", (str(text), "latin1"):  # how Python 3 writes bytes for Python 2
            return text.encode("latin-1")
    raise PickleRefusedError(f"refused: it calls {name.replace(' ', '.')}; nothing in it is run")


def _set_state(target: object, state: object) -> None:
    match target, state:
        case _ByteType(), tuple():
            return  # byte order and alignment: a byte has neither
        case _Array(), (1, tuple(shape), _ByteType(), 0, str() | bytes() as raw):
            content = raw.encode("latin-1") if isinstance(raw, str) else raw
            if not all(isinstance(size, int) and size >= 0 for size in shape):
                raise PickleRefusedError("refused: an array's shape must be whole numbers")
            if math.prod(shape) != len(content):
                raise PickleRefusedError(
                    f"damaged: an array of shape {shape} with {len(content)} bytes"
                )
            target.value = np.frombuffer(content, np.uint8).reshape(shape)
            return
    raise PickleRefusedError("refused: it sets the state of something that is no array of bytes")
