"""What a generated module costs is in proportion to the file that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from netspec import loads
from netspec.compiler.torch_backend.structured.numbers import History


def _pipeline(count: int) -> str:
    stages = " -> ".join(["relu"] * count)
    return (
        f"block B() x {{\n    return x -> {stages}\n}}\n"
        "net N() {\n    input x: [4]\n    output x -> B\n}\n"
    )


def _reassigned(count: int) -> str:
    body = "    x = x -> linear(c)\n" * count
    return (
        f"block B(c) x {{\n{body}    return x\n}}\n"
        "net N() {\n    input x: [4]\n    output x -> B(4)\n}\n"
    )


def _arguments(count: int) -> str:
    parameters = ", ".join(f"a{number} = 4" for number in range(count))
    body = "".join(f"    x = x -> linear(a{number})\n" for number in range(count))
    return (
        f"block B({parameters}) x {{\n{body}    return x\n}}\n"
        "net N() {\n    input x: [4]\n    output x -> B\n}\n"
    )


@pytest.mark.parametrize(
    ("make", "few"),
    [(_pipeline, 20), (_reassigned, 20), pytest.param(_arguments, 40, marks=pytest.mark.heavy)],
)
def test_twice_the_layers_of_a_block_are_twice_the_work(
    make: Callable[[int], str], few: int
) -> None:
    assert _calls(make(2 * few)) < 2.6 * _calls(make(few))


def _calls(text: str) -> int:
    """How many functions are called to write a module, whatever the machine's load is."""
    net = loads(text)
    count = 0

    def counted(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        net.source("torch")
    finally:
        sys.setprofile(None)
    return count


def test_numbers_are_known_as_they_were_at_each_statement() -> None:
    history = History()
    history["a"] = 1
    first = history.now()
    history["a"], history["b"] = 2, True
    history["b"] = 1  # another kind of value, though Python calls the two equal
    second = history.now()
    history["a"] = 3
    assert dict(first) == {"a": 1}
    assert "b" not in first
    assert dict(second) == {"a": 2, "b": 1}
    assert type(second["b"]) is int
    assert history.now()["a"] == 3
