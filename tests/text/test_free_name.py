"""Names that nothing has yet."""

from __future__ import annotations

from netspec.text.free_name import free_name, take_name


def test_the_first_number_that_is_free() -> None:
    assert free_name("a", set()) == "a"
    assert free_name("a", {"a"}) == "a_2"
    assert free_name("a", {"a", "a_2", "a_4"}) == "a_3"
    assert free_name("layer", {"layer", "l2"}, joint="", stem="l") == "l3"


def test_very_many_of_one_name_are_numbered_in_turn() -> None:
    taken: set[str] = set()
    given = [take_name("a", taken) for _ in range(20_000)]
    assert given == ["a", *(f"a_{number}" for number in range(2, 20_001))]


def test_a_gap_far_behind_is_no_reason_to_give_a_name_twice() -> None:
    taken = {"a", *(f"a_{number}" for number in range(2, 5_000) if number != 77)}
    given = [take_name("a", taken) for _ in range(3)]
    assert len(set(given)) == 3
    assert len(taken) == 5_001
