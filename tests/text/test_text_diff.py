"""The difference between two texts: like difflib's for short ones, in short time for long ones."""

from __future__ import annotations

import difflib
import random
import re
import time
from collections.abc import Callable

import pytest

from netspec.text.text_diff import text_diff

Texts = tuple[list[str], list[str]]
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@\n")


def patched(before: list[str], diff: str) -> list[str]:
    """The lines after a diff whose counts and contexts are right."""
    after: list[str] = []
    at = left = right = 0
    for line in diff.splitlines(keepends=True)[2:]:
        hunk = HUNK.fullmatch(line)
        if hunk is not None:
            assert (left, right) == (0, 0)
            start, left, _, right = (1 if n is None else int(n) for n in hunk.groups())
            skipped = start - (1 if left else 0)
            after += before[at:skipped]
            at = skipped
            continue
        assert line[0] in " -+"
        if line[0] in " -":
            assert line[1:] == before[at]
            at, left = at + 1, left - 1
        if line[0] in " +":
            after.append(line[1:])
            right -= 1
    assert (left, right) == (0, 0)
    return after + before[at:]


def test_short_texts_have_the_difference_of_difflib():
    rng = random.Random(0)
    for _ in range(200):
        before = [f"{rng.choice('abcdefgh')}\n" for _ in range(rng.randint(0, 40))]
        after = [line for line in before if rng.random() < 0.8]
        for _ in range(rng.randint(0, 5)):
            after.insert(rng.randint(0, len(after)), f"{rng.choice('abcdxyz')}\n")
        wanted = "".join(difflib.unified_diff(before, after, "a", "b"))
        assert text_diff("".join(before), "".join(after), "a", "b") == wanted


def test_a_last_line_without_an_end_is_told():
    wanted = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n"
    assert text_diff("x\n", "x", "a", "b") == wanted


def repeated(rng: random.Random) -> Texts:
    before = ["x = x -> relu\n", "x=x->relu\n"] * 15_000
    return before, ["x = x -> relu\n"] * 30_000


def each_once(rng: random.Random) -> Texts:
    before = [f"x{i}=x -> relu\n" if i % 2 else f"x{i} = x -> relu\n" for i in range(30_000)]
    return before, [line.replace("=x", " = x") for line in before]


def few_words(rng: random.Random) -> Texts:
    before = [f"{rng.choice('ab')}\n" for _ in range(60_000)]
    return before, [line for line in before if rng.random() < 0.9]


def many_words(rng: random.Random) -> Texts:
    before = [f"{rng.randint(0, 20_000)}\n" for _ in range(30_000)]
    return before, [line for line in before if rng.random() < 0.9]


def between_anchors(rng: random.Random) -> Texts:
    def side() -> list[str]:
        return [f"{i}\n" if i % 190 == 0 else f"{rng.choice('ab')}\n" for i in range(30_000)]

    return side(), side()


def turned_round(rng: random.Random) -> Texts:
    before = [f"{i}\n" for i in range(30_000)]
    return before, before[::-1]


LONG = [repeated, each_once, few_words, many_words, between_anchors, turned_round]


@pytest.mark.parametrize("make", LONG, ids=lambda make: make.__name__)
def test_long_texts_take_no_long_time(make: Callable[[random.Random], Texts]):
    before, after = make(random.Random(0))
    begin = time.process_time()
    diff = text_diff("".join(before), "".join(after), "a", "b")
    assert time.process_time() - begin < 2
    assert patched(before, diff) == after


def test_what_is_equal_in_long_texts_is_not_shown():
    before = [f"{i}\n" for i in range(30_000)]
    after = [*before[:100], "new\n", *before[100:20_000], *before[20_010:]]
    diff = text_diff("".join(before), "".join(after), "a", "b")
    assert diff.count("\n+") == 2  # with the name
    assert diff.count("\n-") == 10
