"""Records: frozen dataclasses that are made in a sixth of the time.

`netspec check` of a small net is little more than the start of Python, and half of that was the making of
a hundred dataclasses: before Python 3.13 `dataclasses` compiles six methods of each from text. Here it
notes the fields, and one method is compiled, the constructor; all others are shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass
from operator import attrgetter
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import TypeVar, dataclass_transform, overload

_T = TypeVar("_T")


@overload
def record(cls: type[_T]) -> type[_T]: ...


@overload
def record(
    *, slots: bool = ..., eq: bool = ..., repr: bool = ...
) -> Callable[[type[_T]], type[_T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(Field, dataclasses.field))
def record(
    cls: type[_T] | None = None, *, slots: bool = False, eq: bool = True, repr: bool = True
) -> type[_T] | Callable[[type[_T]], type[_T]]:
    """Class decorator: do what `@dataclass(frozen=True)` does, with the same meaning of the options.

    `dataclasses.fields`, `replace` and `asdict`, pickling, copying and `match` work as there. What
    the class defines itself is kept.
    """

    def made(cls: type[_T]) -> type[_T]:
        return _made(cls, slots, eq, repr)

    return made if cls is None else made(cls)


def _made(cls: type[_T], slots: bool, eq: bool, repr: bool) -> type[_T]:
    """Return the class with its fields noted and its methods, or with `slots` another one like it."""
    own = frozenset(vars(cls))
    made: type[_T] = dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    fields: tuple[Field[object], ...] = dataclasses.fields(made)  # type: ignore[arg-type]
    members: dict[str, object] = {"__init__": _constructor(made, fields)}
    if repr:
        members["__repr__"] = _representation([f.name for f in fields if f.repr])
    if eq:
        members |= _comparison([f.name for f in fields if f.compare])
    if slots:
        members |= {"__getstate__": _state, "__setstate__": _restore}
    # As there: a class that has its own `__eq__` has the entry `__hash__` too, None.
    for name, member in members.items():
        if name not in own or (name == "__hash__" and vars(cls)[name] is None):
            setattr(made, name, member)
    made.__setattr__ = _set  # type: ignore[method-assign]
    made.__delattr__ = _delete  # type: ignore[method-assign]
    return made


def _constructor(cls: type, fields: Sequence[Field[object]]) -> object:
    """Return an `__init__` that takes the fields. Only this must be compiled, to be quick."""
    known: dict[str, object] = {"_set": object.__setattr__, "_MISSING": MISSING}
    slots = {name: setter for name in (f.name for f in fields) if (setter := _setter(cls, name))}
    known |= {f"_set_{name}": setter for name, setter in slots.items()}
    taken, keywords, body = ["self"], list[str](), list[str]()
    for field in fields:
        name, default, value = field.name, "", field.name
        if not field.init:
            raise TypeError(f"{cls.__qualname__}.{name}: each field of a record is given to it")
        if field.default_factory is not MISSING:
            known[f"_make_{name}"] = field.default_factory
            default, value = "=_MISSING", f"_make_{name}() if {name} is _MISSING else {name}"
        elif field.default is not MISSING:
            known[f"_default_{name}"] = field.default
            default = f"=_default_{name}"
        (keywords if field.kw_only else taken).append(name + default)
        body.append(
            f"_set_{name}(self, {value})" if name in slots else f"_set(self, {name!r}, {value})"
        )
    if keywords:
        taken += ["*", *keywords]
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    text = f"def __init__({', '.join(taken)}):\n    " + "\n    ".join(body or ["pass"])
    exec(text, known)  # of names that are the identifiers of a class's annotations
    init = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"  # type: ignore[attr-defined]
    return init


def _setter(cls: type, name: str) -> object | None:
    """Return what sets a slot, in two thirds of the time that it takes by its name; None without one."""
    member = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return member.__set__ if isinstance(member, MemberDescriptorType) else None


def _values(names: Sequence[str]) -> Callable[[object], object]:
    """Return what reads these attributes of an object."""
    return attrgetter(*names) if names else lambda _: ()


def _representation(names: Sequence[str]) -> object:
    """Return a `__repr__` that shows these fields."""

    @recursive_repr()
    def representation(self: object) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return representation


def _comparison(names: Sequence[str]) -> dict[str, object]:
    """Return an `__eq__` and a `__hash__` by these fields."""
    values = _values(names)

    def equal(self: object, other: object) -> object:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def hashed(self: object) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed}


def _set(self: object, name: str, value: object) -> None:
    """Refuse to change a field, and anything of a record itself; a subclass may have more attributes."""
    _require_other(self, name, "assign to")
    object.__setattr__(self, name, value)


def _delete(self: object, name: str) -> None:
    _require_other(self, name, "delete")
    object.__delattr__(self, name)


def _require_other(self: object, name: str, action: str) -> None:
    cls = type(self)
    if "__dataclass_fields__" in vars(cls) or name in cls.__dataclass_fields__:  # type: ignore[attr-defined]
        raise FrozenInstanceError(f"cannot {action} field {name!r}")


def _state(self: object) -> list[object]:
    """Return what a copy of an object without a dictionary is made of."""
    return [getattr(self, f.name) for f in dataclasses.fields(self)]  # type: ignore[arg-type]


def _restore(self: object, state: Sequence[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):  # type: ignore[arg-type]
        object.__setattr__(self, field.name, value)
