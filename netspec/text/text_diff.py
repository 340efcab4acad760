"""The difference between two texts, line by line."""

from __future__ import annotations

import difflib
import io
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from netspec.records import record

# The lines of a difference that are shown around a change.
_CONTEXT = 3
# `difflib` compares parts of texts with no more pairs of lines than this, all parts together: its
# time grows with their square, and with the cube where lines repeat.
_PAIRS = 1_000_000
# So often the parts between lines that occur once are divided in the same way.
_DIVISIONS = 4


def text_diff(before: str, after: str, before_name: str, after_name: str) -> str:
    """Return a unified diff that `patch` can read; empty for equal texts.

    It takes time in proportion to the texts. For long ones it is not always the shortest.
    """
    lines = _unified(_lines(before), _lines(after), before_name, after_name)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(text: str) -> list[str]:
    """Split at line feeds only, unlike `str.splitlines`."""
    return list(io.StringIO(text, newline="\n"))


def _unified(a: list[str], b: list[str], a_name: str, b_name: str) -> Iterator[str]:
    groups = list(_Matcher(a, b).get_grouped_opcodes(_CONTEXT))
    if groups:
        yield from (f"--- {a_name}\n", f"+++ {b_name}\n")
    for group in groups:
        (_, a_start, _, b_start, _), (_, _, a_end, _, b_end) = group[0], group[-1]
        yield f"@@ -{_range(a_start, a_end)} +{_range(b_start, b_end)} @@\n"
        for kind, a_from, a_to, b_from, b_to in group:
            if kind == "equal":
                yield from (f" {line}" for line in a[a_from:a_to])
            else:
                yield from (f"-{line}" for line in a[a_from:a_to])
                yield from (f"+{line}" for line in b[b_from:b_to])


def _range(start: int, end: int) -> str:
    """Lines as `patch` counts them: an empty range is the line before it."""
    length = end - start
    first = start + 1 if length else start
    return f"{first}" if length == 1 else f"{first},{length}"


@record
class _Part:
    """Lines `a[i:i_end]` of one text beside lines `b[j:j_end]` of the other."""

    i: int
    i_end: int
    j: int
    j_end: int

    @property
    def pairs(self) -> int:
        """How many pairs of lines there are."""
        return (self.i_end - self.i) * (self.j_end - self.j)


class _Matcher(difflib.SequenceMatcher[str]):
    """Finds equal lines, in long texts by lines that occur once (patience diff)."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        super().__init__(None, "", "")
        self._texts = a, b
        self._left = _PAIRS

    def get_matching_blocks(self) -> list[difflib.Match]:
        """The runs of equal lines in order, the last of them empty."""
        a, b = self._texts
        blocks: list[difflib.Match] = []
        for i, j in self._equal(_Part(0, len(a), 0, len(b)), _DIVISIONS):
            last = blocks[-1] if blocks else None
            if last is not None and (last.a + last.size, last.b + last.size) == (i, j):
                blocks[-1] = last._replace(size=last.size + 1)
            else:
                blocks.append(difflib.Match(i, j, 1))
        return [*blocks, difflib.Match(len(a), len(b), 0)]

    def _equal(self, part: _Part, divisions: int) -> Iterator[tuple[int, int]]:
        """The pairs of equal lines in a part, in order."""
        a, b = self._texts
        i, i_end, j, j_end = part.i, part.i_end, part.j, part.j_end
        if part.pairs <= self._left:
            self._left -= part.pairs
            for match in difflib.SequenceMatcher(
                None, a[i:i_end], b[j:j_end]
            ).get_matching_blocks():
                yield from ((i + match.a + k, j + match.b + k) for k in range(match.size))
            return
        while i < i_end and j < j_end and a[i] == b[j]:
            yield i, j
            i, j = i + 1, j + 1
        tail = 0
        while i < i_end - tail and j < j_end - tail and a[i_end - tail - 1] == b[j_end - tail - 1]:
            tail += 1
        yield from self._between(_Part(i, i_end - tail, j, j_end - tail), divisions)
        yield from zip(range(i_end - tail, i_end), range(j_end - tail, j_end), strict=True)

    def _between(self, part: _Part, divisions: int) -> Iterator[tuple[int, int]]:
        """The pairs of equal lines in a part with many lines, of which the ends differ."""
        a, b = self._texts
        i, j = part.i, part.j
        anchors = self._anchors(part) if divisions else []
        for at_a, at_b in anchors:
            yield from self._equal(_Part(i, at_a, j, at_b), divisions - 1)
            yield at_a, at_b
            i, j = at_a + 1, at_b + 1
        rest = _Part(i, part.i_end, j, part.j_end)
        if anchors:
            yield from self._equal(rest, divisions - 1)
        elif rest.i_end - i == rest.j_end - j:
            # Whoever lays a text out keeps most of its lines in their places.
            both = zip(range(i, rest.i_end), range(j, rest.j_end), strict=True)
            yield from ((at_a, at_b) for at_a, at_b in both if a[at_a] == b[at_b])

    def _anchors(self, part: _Part) -> list[tuple[int, int]]:
        """The most lines in the same order that occur once in both sides of a part."""
        a, b = self._texts
        counts = Counter(a[part.i : part.i_end]), Counter(b[part.j : part.j_end])
        places = {b[j]: j for j in range(part.j, part.j_end) if counts[1][b[j]] == 1}
        pairs = [
            (i, places[a[i]])
            for i in range(part.i, part.i_end)
            if counts[0][a[i]] == 1 and a[i] in places
        ]
        return _increasing(pairs)


def _increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of pairs in order of the first whose second numbers increase."""
    ends: list[int] = []  # the least last number of a chain of each length, less 1
    chains: list[int] = []  # the pairs that these are
    before: list[int] = []  # the pair in front of each in its chain
    for at, (_, number) in enumerate(pairs):
        length = bisect_left(ends, number)
        before.append(chains[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            chains.append(at)
        else:
            ends[length], chains[length] = number, at
    found = []
    at = chains[-1] if chains else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]
