"""`split`: a short form for one `slice` per part."""

from __future__ import annotations

import pytest

from tests.language.test_language import body, check, graph


def test_split_is_a_slice_a_part() -> None:
    split = graph(
        body(
            "a, b = x -> split(2)",
            "c, d, e = b -> parts: split([1, 2, 1], axis = 1)",
            "f, g = x -> split(2, axis = -1)",
            "output (a, c, d, e) -> concat",
            "output wide = (f, g) -> concat(axis = 3)",
            shape="[8, 6, 4]",
        )
    )
    written_out = graph(
        body(
            "a = x -> slice(1, 0, 4)",
            "b = x -> slice(1, 4, 8)",
            "c = b -> parts.0: slice(1, 0, 1)",
            "d = b -> parts.1: slice(1, 1, 3)",
            "e = b -> parts.2: slice(1, 3, 4)",
            "f = x -> slice(3, 0, 2)",
            "g = x -> slice(3, 2, 4)",
            "output (a, c, d, e) -> concat",
            "output wide = (f, g) -> concat(axis = 3)",
            shape="[8, 6, 4]",
        )
    )
    assert str(split) == str(written_out)


@pytest.mark.parametrize(
    ("call", "code", "at"),
    [
        ("split(3)", "shape/slice", "3"),
        ("split([3, 3])", "shape/slice", "[3, 3]"),
        ("split(2, axis = 4)", "shape/axis", "4"),
        ("split(1)", "call/value", "1"),
        ("split([])", "call/value", "[]"),
        ("split([8, 0])", "call/value", "[8, 0]"),
        ("split", "call/missing", "split"),
        ("split(2, axs = 1)", "call/unknown-attribute", "axs"),
        ("split(2, parts = 2)", "call/twice", "parts = 2"),
        ("splt(2)", "name/unknown-layer", "splt"),
    ],
)
def test_errors_of_split_are_located(call: str, code: str, at: str) -> None:
    result = check(body(f"a, b = x -> {call}", "output a + b", shape="[8, 6, 4]"))
    (error,) = result.errors
    assert error.span is not None
    assert (error.code, error.span.text) == (code, at)
