"""Labels that are probably misspelt.

A label is part of the names in weight files, and nothing else reads it: a typing error in it goes
unnoticed until old weights do not load. So a word that occurs in one label only is reported if it
differs by a typical typing error (two neighbouring letters swapped, a letter doubled, a letter left
out) from a word that several labels share or that names a layer.
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
    """Yield a warning for each label of a net that seems misspelt.

    Args:
        labels: the labels of the net.
        kinds: the names of its layers and blocks.
    """
    words = _Words(labels, kinds)
    for word, found in words.places.items():
        meant = words.meant_by(word)
        if meant is not None:
            yield _warning(found[0], word, meant, words.places.get(meant, []))


class _Words:
    """The words of a net's labels, each with the labels that contain it, and the words of its
    layers' names.
    """

    def __init__(self, labels: Iterable[syntax.Label], kinds: Iterable[str]) -> None:
        self.places: dict[str, list[syntax.Label]] = {}
        for label in labels:
            for word in dict.fromkeys(_words(label)):
                self.places.setdefault(word, []).append(label)
        self._order = {word: i for i, word in enumerate(self.places)}
        self._named = {word.lower() for kind in kinds for word in _WORD.findall(kind)}
        self._shortened: dict[str, list[str]] = {}
        for word in {*self.places, *self._named}:
            for short in _without_a_letter(word):
                self._shortened.setdefault(short, []).append(word)

    def meant_by(self, word: str) -> str | None:
        """Return the word that was most likely meant by one that occurs once; None if it seems
        right.
        """
        if len(self.places[word]) > 1 or word in self._named:
            return None
        return next(
            (other for other in sorted(self._slips(word)) if self._is_meant(other, word)), None
        )

    def _slips(self, word: str) -> set[str]:
        """Return the words that become this one by a single typing error."""
        return {*self._shortened.get(word, ()), *_undoubled(word), *_swapped(word)} - {word}

    def _is_meant(self, other: str, word: str) -> bool:
        if other in self._named:
            return True
        count = len(self.places.get(other, ()))
        if count != 1 or len(word) <= 2:
            return count > 1
        # Two words may each occur once and look like slips for each other: the later one is the
        # slip.
        return word not in self._slips(other) or self._order[other] < self._order[word]


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
    """Yield the word with one letter left out, but not the last: that is how words are abbreviated."""
    last = len(word) - (2 if word[-2:-1] == word[-1:] else 1)
    if len(word) >= 4:
        yield from (word[:i] + word[i + 1 :] for i in range(last))


def _undoubled(word: str) -> Iterator[str]:
    """Yield the word with one of two equal neighbouring letters taken out."""
    for i in range(len(word) - 1):
        if len(word) >= 4 and word[i] == word[i + 1]:
            yield word[:i] + word[i + 1 :]


def _swapped(word: str) -> Iterator[str]:
    """Yield the word with two neighbouring letters swapped."""
    for i in range(len(word) - 1):
        if word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
