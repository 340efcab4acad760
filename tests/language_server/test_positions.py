"""Places: columns of the protocol, ends of lines, and what an edit moves."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netspec.language_server.changes import change
from netspec.language_server.edits import TextChange, changed
from netspec.language_server.positions import Lines, as_compiled, line_break_of
from netspec.language_server.tokens import opening, tokens
from tests.language_server.conftest import with_cursor

TEXTS = st.text(st.sampled_from('ab (\n\r\t"#é😀\u2028\x0c{}[]->3.e'), max_size=60)


def test_a_picture_counts_as_two_columns_of_utf_16() -> None:
    text = "# 😀 é\nx\r\ny"
    at = text.index("é")
    assert Lines(text).place(at) == (0, 5)
    assert Lines(text, "utf-8").place(at) == (0, 7)
    assert Lines(text, "utf-32").place(at) == (0, 4)
    assert Lines(text).place(text.index("x")) == (1, 0)
    assert Lines(text).place(text.index("y")) == (2, 0)
    assert Lines(text).offset(0, 4) == 3
    assert Lines(text).offset(0, 99) == text.index("\n")
    assert Lines(text).offset(9, 0) == len(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@given(text=TEXTS)
def test_every_offset_comes_back(encoding: str, text: str) -> None:
    lines = Lines(text, encoding)
    for offset in range(len(text) + 1):
        if text[offset - 1 : offset + 1] != "\r\n":
            assert lines.offset(*lines.place(offset)) == offset


@given(TEXTS)
@example("\r\r\n3")
def test_what_the_compiler_reads_has_the_same_places(text: str) -> None:
    for whole in (text, "\ufeff" + text):
        own, read = Lines(whole), Lines(as_compiled(whole))
        for i, char in enumerate(whole):
            if char not in "\r\n":
                assert read.text[read.offset(*own.place(i))] in (char, " ")


def test_the_ends_of_lines_are_those_of_the_first() -> None:
    assert line_break_of("a\r\nb\n") == "\r\n"
    assert line_break_of("a\nb\r\n") == "\n"
    assert line_break_of("") == "\n"


@given(TEXTS, TEXTS)
def test_a_change_maps_what_it_leaves(old: str, new: str) -> None:
    found = change(old, new)
    assert old[: found.start] == new[: found.start]
    assert old[found.old_end :] == new[found.new_end :]
    for offset in range(len(old) + 1):
        moved = found.forward(offset)
        if moved is not None:
            assert 0 <= moved <= len(new)
            assert found.backward(moved) is not None
    if old == new:
        assert found.start == found.old_end == found.new_end


POSITIONS = st.tuples(st.integers(-1, 9), st.integers(0, 12))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@given(text=TEXTS, told=st.lists(st.tuples(POSITIONS, POSITIONS, TEXTS), max_size=4))
@example("a\r b\n", [((1, 0), (1, 2), "")])
def test_changes_of_an_editor_are_made_where_it_says(
    encoding: str, text: str, told: list[tuple[tuple[int, int], tuple[int, int], str]]
) -> None:
    expected = text
    for start, end, new in told:
        lines = Lines(expected, encoding)
        first, last = sorted((lines.offset(*start), lines.offset(*end)))
        expected = expected[:first] + new + expected[last:]
    changes = [TextChange(new, (start, end)) for start, end, new in told]
    assert changed(text, changes, encoding) == expected
    assert changed(text, [*changes, TextChange("all")], encoding) == "all"


def test_a_text_is_split_once_for_all_changes() -> None:
    def seconds(count: int) -> float:
        start = time.process_time()
        where = [((line * 7, 0), (line * 7, 1)) for line in range(count)]
        changed(text, (TextChange("y", each) for each in where))
        return time.process_time() - start

    text = "x = x -> relu\n" * 40_000
    assert seconds(2_000) < 20 * max(seconds(1), 0.02)


@given(TEXTS)
def test_no_text_is_lost_in_tokens(text: str) -> None:
    found = tokens(text)
    assert all(one.end <= other.start for one, other in pairwise(found))
    between = [text[one.end : other.start] for one, other in pairwise(found)]
    assert not "".join(between).strip(" \t\f\r")
    for i in range(len(found) + 1):
        opening(found, i)


@pytest.mark.parametrize(
    ("text", "bracket"),
    [
        ("net A { x -> conv(8, |", "("),
        ("net A { x -> conv(8) |", "{"),
        ("net A { x -> conv([1, 2|", "["),
        ("net A { x = (a\n} net B { y |", "{"),
        ("net A { } |", None),
        ("net A { for i in r { x) |", "{"),
    ],
)
def test_the_innermost_open_bracket(text: str, bracket: str | None) -> None:
    text, _ = with_cursor(text)
    found = tokens(text)
    at = opening(found, len(found))
    assert (None if at is None else found[at].text) == bracket
