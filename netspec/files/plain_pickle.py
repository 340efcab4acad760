"""Reads pickles as plain data, without ever running one.

A pickle is a program. Restricting `pickle.Unpickler.find_class` keeps out most hostile ones, but
still lets that program call what it was given, grow its memo to any size and hash what it nested.
So nothing here unpickles: `pickletools` (the standard library's disassembler) splits the file into
opcodes, and the few that build strings, numbers, lists, dicts and tuples are carried out below. No
name in the file is ever looked up. What a call stands for is decided by a `Meaning`, which knows
the few calls that a file format uses.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from netspec.files.unsound import UnsoundFileError
from netspec.records import record

# An official batch of CIFAR-10 has about 40,000 opcodes, and the weights of a net of 1,000 layers
# 120,000. While they are read, an opcode takes a few hundred bytes, and this many take about a
# second.
MAX_OPCODES = 400_000
# How many characters of a name are shown in a message.
_SHOWN = 80


class PickleRefusedError(UnsoundFileError):
    """The pickle is damaged, or is not the plain data it should be."""


@record
class Global:
    """A global name that the pickle refers to, as text: module, space, name."""

    name: str

    @property
    def shown(self) -> str:
        """The name for a message: shortened, with a dot."""
        return self.name[:_SHOWN].replace(" ", ".")


@record
class Foreign:
    """Stands for an object that is not built; what is put into it is dropped."""

    kind: Global


class Meaning(Protocol):
    """The meaning of calls in the pickles of one file format."""

    def call(self, function: Global, arguments: object) -> object:
        """Return what a call stands for.

        Raises:
            PickleRefusedError: if the format has no such call.
        """
        ...

    def set_state(self, target: object, state: object) -> None:
        """Handle an object being given its state.

        Raises:
            PickleRefusedError: see `call`.
        """
        ...

    def persistent(self, reference: object) -> object:
        """Return the value that is stored outside of the pickle under a reference.

        Raises:
            PickleRefusedError: see `call`.
        """
        ...


def load_pickle(data: bytes | BinaryIO, meaning: Meaning) -> object:
    """Return the value in a pickle; a file is read from its position to the end of the pickle.

    Dicts may have only strings and numbers as keys. Strings of Python 2 pickles become str, one
    character for each byte (latin-1).

    Raises:
        PickleRefusedError: For anything but plain data and the calls that `meaning` knows.
    """
    machine = _Machine(meaning)
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            if count >= MAX_OPCODES:
                raise PickleRefusedError(f"refused: more than {MAX_OPCODES:,} pickle operations")
            step = _STEPS.get(opcode.name)
            if step is None:
                raise PickleRefusedError(f"refused: it uses the pickle operation {opcode.name}")
            step(machine, arg)
        (result,) = machine.stack
    except PickleRefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:_SHOWN]
        raise PickleRefusedError(f"damaged: {reason}") from None
    return result


@dataclass
class _Machine:
    meaning: Meaning
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

    def name(self, arg: object) -> None:
        self.stack.append(Global(str(arg)))

    def look_up(self) -> None:
        module, name = self.take(2)
        # A nested value could turn into a text without end.
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleRefusedError("damaged: a name that is not a string")
        self.stack.append(Global(f"{module} {name}"))

    def call(self) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, Global):
            raise PickleRefusedError("refused: it calls something that is not a function")
        self.stack.append(self.meaning.call(function, arguments))

    def set_state(self) -> None:
        (state,) = self.take(1)
        if not isinstance(self.stack[-1], Foreign):
            self.meaning.set_state(self.stack[-1], state)

    def refer(self) -> None:
        (reference,) = self.take(1)
        self.stack.append(self.meaning.persistent(reference))

    def put(self, arg: object) -> None:
        self.memo[_number(arg)] = self.stack[-1]

    def get(self, arg: object) -> None:
        self.stack.append(self.memo[_number(arg)])

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Foreign):
            raise PickleRefusedError("refused: it appends to something that is not a list")

    def update(self, items: list[object]) -> None:
        target = self.stack[-1]
        # Only plain keys: hashing a deeply nested tuple can exhaust the C stack.
        plain = all(isinstance(key, str | bytes | int | float) for key in items[::2])
        if isinstance(target, dict) and plain:
            target.update(zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Foreign):
            raise PickleRefusedError("refused: only dicts with text and numbers as keys are read")


def _number(arg: object) -> int:
    if not isinstance(arg, int):
        raise PickleRefusedError("damaged: a number is none")
    return arg


_Step = Callable[[_Machine, object], None]


def _constant(value: object) -> _Step:
    return lambda machine, _: machine.stack.append(value)


def _tuple_of(count: int) -> _Step:
    return lambda machine, _: machine.stack.append(tuple(machine.take(count)))


def _nothing(machine: _Machine, arg: object) -> None:
    pass


def _literal(machine: _Machine, arg: object) -> None:
    machine.stack.append(arg)


_STEPS: Mapping[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(
        (
            *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
            *("SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE"),
            *("SHORT_BINBYTES", "BINBYTES"),
        ),
        _literal,
    ),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.above_mark())),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.above_mark()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda machine, _: machine.look_up(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.set_state(),
    "BINPERSID": lambda machine, _: machine.refer(),
}
