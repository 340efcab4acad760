"""Labels that are probably misspelt.

A label is part of the names in weight files, and nothing else reads it: a slip of the keys there goes
unnoticed until old weights do not load. So a word of a label that stands alone, next to one that many
labels share or that names a layer, is reported where the two differ as slips do: neighbours swapped,
a letter doubled, a letter left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from netspec import codes
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Edit, Hint, Label, plural

_WORD = re.compile(r"[A-Za-z]+")
_LONGEST = 40


def misspelt_labels(labels: Iterable[syntax.Label], kinds: Iterable[str]) -> Iterator[Diagnostic]:
    """A warning for each label of a net that seems misspelt; `kinds` are its layers and blocks."""
    places: dict[str, list[syntax.Label]] = {}
    for label in labels:
        for word in dict.fromkeys(_words(label)):
            places.setdefault(word, []).append(label)
    named = {word.lower() for kind in kinds for word in _WORD.findall(kind)}
    shortened: dict[str, list[str]] = {}
    for word in {*places, *named}:
        for short in _without_a_letter(word):
            shortened.setdefault(short, []).append(word)

    def slips(word: str) -> set[str]:
        """What a word may be a slip for."""
        return {*shortened.get(word, ()), *_undoubled(word), *_swapped(word)} - {word}

    def is_meant(other: str, word: str) -> bool:
        if other in named:
            return True
        count = len(places.get(other, ()))
        # Of two words that stand once, and could each be a slip for the other, it is the later one.
        first_of_two = count == 1 and (word not in slips(other) or order[other] < order[word])
        return count > 1 or (first_of_two and len(word) > 2)

    order = {word: i for i, word in enumerate(places)}
    for word, found in places.items():
        if len(found) == 1 and word not in named:
            meant = next((other for other in sorted(slips(word)) if is_meant(other, word)), None)
            if meant is not None:
                yield _warning(found[0], word, meant, places.get(meant, []))


def _warning(label: syntax.Label, word: str, meant: str, others: list[syntax.Label]) -> Diagnostic:
    of = f"of {plural(len(others), 'other label')}" if others else "the name of a layer"
    right = label.span.text.replace(word, meant, 1)
    return Diagnostic(
        codes.LABEL_MISSPELT,
        f"`{word}` in this label looks like `{meant}`, {of}", label.span,
        secondary=(Label(others[0].span, "such as this one"),) if others else (),
        hints=(Hint(f"did you mean `{right}`?", (Edit(label.span, right),)),),
    )  # fmt: skip


def _words(label: syntax.Label) -> Iterator[str]:
    for parts in label.segments:
        for part in parts:
            if isinstance(part, str):
                yield from (word for word in _WORD.findall(part) if len(word) <= _LONGEST)


def _without_a_letter(word: str) -> Iterator[str]:
    """A word with a letter left out; not the last, for that is how words are cut short."""
    last = len(word) - (2 if word[-2:-1] == word[-1:] else 1)
    if len(word) >= 4:
        yield from (word[:i] + word[i + 1 :] for i in range(last))


def _undoubled(word: str) -> Iterator[str]:
    """A word with one of two equal letters taken out."""
    for i in range(len(word) - 1):
        if len(word) >= 4 and word[i] == word[i + 1]:
            yield word[:i] + word[i + 1 :]


def _swapped(word: str) -> Iterator[str]:
    """A word with two neighbouring letters swapped."""
    for i in range(len(word) - 1):
        if word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
