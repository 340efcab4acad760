"""Records against the dataclasses that they stand for: the same answers, or the same errors."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from netspec.records import record


def _members(made: Callable[..., Callable[[type], type]], **options: bool) -> dict[str, type]:
    """Return the same classes, made by one of the two decorators."""
    decorate = made(**options)

    @decorate
    class Point:
        """A class with defaults of each kind."""

        kind: ClassVar[str] = "point"
        x: int
        y: float = 2.0
        names: list[str] = field(default_factory=list, compare=False)
        hidden: str = field(default="h", repr=False)

        @property
        def sum(self) -> float:
            return self.x + self.y

    @decorate
    class Far(Point):
        """A class with a field more, and what it checks."""

        z: int = 0

        def __post_init__(self) -> None:
            if self.z < 0:
                raise ValueError(self.z)

    @decorate
    class Empty:
        """A class without fields."""

    @decorate
    class Own:
        """A class that compares and shows itself in its own way."""

        a: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and self.a % 2 == other.a % 2

        def __hash__(self) -> int:
            return self.a % 2

        def __repr__(self) -> str:
            return "own"

    return {"Point": Point, "Far": Far, "Empty": Empty, "Own": Own}


def _frozen(**options: bool) -> Callable[[type], type]:
    return dataclass(frozen=True, **options)  # type: ignore[call-overload, no-any-return]


def _recorded(**options: bool) -> Callable[[type], type]:
    return record(**options)


OPTIONS = [{}, {"slots": True}, {"eq": False}, {"repr": False}, {"eq": False, "repr": False}]
CALLS: dict[str, Callable[[dict[str, type]], object]] = {
    "positions": lambda c: c["Point"](1, 2.5),
    "names": lambda c: c["Point"](y=1.0, x=3),
    "missing": lambda c: c["Point"](),
    "unknown": lambda c: c["Point"](1, q=2),
    "twice": lambda c: c["Point"](1, x=2),
    "too many": lambda c: c["Empty"](1),
    "checked": lambda c: c["Far"](1, z=-1),
    "inherited": lambda c: c["Far"](1, z=3),
    "own": lambda c: c["Own"](3),
    "empty": lambda c: c["Empty"](),
    "assigned": lambda c: setattr(c["Point"](1), "x", 2),
    "deleted": lambda c: delattr(c["Far"](1), "x"),
    "property": lambda c: c["Far"](1).sum,
    "equal": lambda c: c["Point"](1, names=["a"]) == c["Point"](1),
    "not equal": lambda c: c["Point"](1) == c["Point"](2),
    "another class": lambda c: c["Point"](1) == c["Far"](1),
    "empty ones": lambda c: c["Empty"]() == c["Empty"](),
    "own comparison": lambda c: (c["Own"](1) == c["Own"](3), hash(c["Own"](3))),
    "equal keys": lambda c: len({c["Point"](1), c["Point"](1), c["Empty"](), c["Empty"]()}),
    "replaced": lambda c: dataclasses.replace(c["Far"](1), z=5),
    "replaced wrongly": lambda c: dataclasses.replace(c["Far"](1), z=-5),
    "as a dictionary": lambda c: dataclasses.asdict(c["Far"](1)),
    "fields": lambda c: [(f.name, f.default) for f in dataclasses.fields(c["Far"])],
    "order of a match": lambda c: c["Far"].__match_args__,  # type: ignore[attr-defined]
    "parameters": lambda c: [
        (p.name, p.kind) for p in inspect.signature(c["Far"]).parameters.values()
    ],
    "copied": lambda c: copy.deepcopy(c["Far"](1, names=["a"])),
    "lists are not shared": lambda c: c["Point"](1).names is c["Point"](1).names,
}


def _answer(call: Callable[[dict[str, type]], object], classes: dict[str, type]) -> str:
    try:
        answer = repr(call(classes))
    except (TypeError, ValueError, AttributeError) as error:
        answer = f"{type(error).__name__}: {error}"
    return answer.replace("_frozen", "_recorded").split(" object at ")[0]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_record_does_what_a_frozen_dataclass_does(
    call: Callable[[dict[str, type]], object], options: dict[str, bool]
) -> None:
    assert _answer(call, _members(_recorded, **options)) == _answer(
        call, _members(_frozen, **options)
    )


@record(slots=True)
class Pair:
    """Two values, without a dictionary."""

    left: int
    right: Pair | None = None


@record
class Loop:
    """Something that may hold itself."""

    held: list[object]


def test_records_are_pickled() -> None:
    pair = Pair(1, Pair(2))
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert not hasattr(pair, "__dict__")


def test_a_record_in_itself_is_shown() -> None:
    loop = Loop([])
    loop.held.append(loop)
    assert repr(loop) == "Loop(held=[...])"


def test_a_subclass_that_is_no_record_has_attributes_of_its_own() -> None:
    class Named(Loop):
        pass

    named = Named([])
    named.name = "n"  # type: ignore[attr-defined]
    assert named.name == "n"  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        named.held = []  # type: ignore[misc]


@pytest.mark.parametrize("made", [Pair(1), Loop([])], ids=["slots", "plain"])
def test_a_record_takes_no_attribute_that_is_no_field(made: object) -> None:
    # A dataclass with slots answers with a TypeError about `super` here.
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'other'"):
        made.other = 1  # type: ignore[attr-defined]


def test_the_constructor_says_whose_it_is() -> None:
    with pytest.raises(TypeError, match=r"Pair\.__init__\(\)"):
        Pair()  # type: ignore[call-arg]
