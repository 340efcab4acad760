"""What is remembered of long lists is of those objects alone, and of few."""

from __future__ import annotations

from netspec.compiler.ir.constants import MAX_ITEMS, size
from netspec.compiler.ir.initializers import literal
from netspec.compiler.ir.long_lists import OfLongLists


def test_a_list_is_known_by_which_it_is() -> None:
    known: OfLongLists[str] = OfLongLists()
    table, other = tuple(range(100)), tuple(map(float, range(100)))
    assert table == other
    assert known.keep(table, "whole") == "whole"
    assert (known.get(table), known.get(other), known.get(tuple(range(100)))) == (
        "whole",
        None,
        None,
    )


def test_short_lists_and_many_are_not_remembered() -> None:
    known: OfLongLists[int] = OfLongLists()
    short = (1, 2)
    known.keep(short, 2)
    assert known.get(short) is None
    tables = [tuple(range(i, i + 100)) for i in range(50)]
    for table in tables:
        known.keep(table, len(table))
    assert 0 < sum(known.get(table) is not None for table in tables) < 10
    assert known.get(tables[-1]) == 100


def test_lists_that_are_equal_but_not_alike_have_their_own_numbers() -> None:
    flat, nested = (1,) * 100, ((1, 2),) * 100
    for _ in range(2):
        assert (size(flat), size(nested), size("a" * 100)) == (100, 300, 100)
        assert literal(flat).shape == (100,)
        assert literal(nested).shape == (100, 2)
    assert size(("b",) * MAX_ITEMS) == MAX_ITEMS
