"""What no result of a body depends on: such statements are not written, and no object has their modules.

The statements are gone through backwards. Names stand for other values in other places, and what a turn
of a loop reads, the turn before may have computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from netspec.compiler.torch_backend.local_sizes import names_in
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.structured.layout import braced
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Branch,
    Gather,
    Let,
    Loop,
    NotStructuredError,
    Placed,
    Read,
    Return,
    Said,
    Source,
    Step,
    Suite,
    places_in,
)

NOWHERE = "?"
"""Where a value is that nothing needs: it is not computed."""


def mark_unread(body: Suite, missing: Iterable[str] = ()) -> None:
    """Mark the statements of a body that no result depends on.

    Args:
        body: the statements.
        missing: the names of values that the body is not given.

    Raises:
        NotStructuredError: if a result depends on a value that is not computed, or not given.
    """
    if not _Liveness().suite(body, set()).isdisjoint({NOWHERE, *missing}):
        raise NotStructuredError


class _Liveness:
    """The values and names that are still read, from the end of a body to its beginning."""

    def __init__(self) -> None:
        self.kept: set[Step] = set()
        # The labels of layers that are used again further down.
        self._again: set[tuple[str, ...]] = set()

    def suite(self, suite: Suite, after: Set[Source]) -> set[Source]:
        """Mark the statements of a suite; return what is read in front of it."""
        live = set(after)
        unread: set[Step] = set()
        steps = suite.recorded or []
        for at in reversed(range(len(steps))):
            step = steps[at]
            if self._is_unread(steps, at, live):
                unread.add(step)
            else:
                live = self._before(step, live)
        suite.unread = unread
        return live

    def _is_unread(self, steps: Sequence[Step], at: int, live: Set[Source]) -> bool:
        step = steps[at]
        if isinstance(step, (Bind, Gather)):
            return step.name not in live
        if not isinstance(step, Placed):
            return False
        if step.has_module and step.label in self._again:
            return False
        # The parts of a value are made together.
        parts = [step] if step.cut is None else _parts(steps, at)
        is_read = any((part, number) in live for part in parts for number in range(part.gives))
        return not is_read and self.kept.isdisjoint(parts)

    def _before(self, step: Step, live: set[Source]) -> set[Source]:
        """What is read in front of a statement."""
        if isinstance(step, Return):
            return {source for read in step.values for source in _sources(read)}
        if isinstance(step, Placed):
            live = self._before_layer(step, live)
        elif isinstance(step, Bind):
            live -= {step.name}
            live |= _sources(step.value)
        elif isinstance(step, Gather):
            live -= {step.name}
            for part in step.parts:
                live |= {part} if isinstance(part, str) else _sources(part)
        elif isinstance(step, Let) and not live.isdisjoint(step.names):
            live |= _words(step.later)
        elif isinstance(step, Loop):
            live = self._before_loop(step, live)
        elif isinstance(step, Branch):
            live = self._before_branch(step, live)
        return live

    def _before_layer(self, step: Placed, live: set[Source]) -> set[Source]:
        made = {(step, number) for number in range(step.gives)}
        is_read = step.cut is not None or not live.isdisjoint(made)
        if not is_read:
            return live  # it makes the module of another layer
        self.kept.add(step)
        if step.again and step.label is not None:
            self._again.add(step.label)
        live = live - made
        label = braced("".join(step.later_label or ()))
        words = {word for text in label for word in words_in(text)}
        return live.union(*map(_sources, step.reads), _words(step.later), words)

    def _before_loop(self, loop: Loop, live: set[Source]) -> set[Source]:
        live = live | _words(loop.later)
        while True:
            read = self.suite(loop.body, live)
            if read <= live:
                return live
            live |= read

    def _before_branch(self, branch: Branch, live: set[Source]) -> set[Source]:
        is_read = (branch, 0) in live
        live = live - {(branch, 0)}
        found = _words(branch.later)
        for case, value in zip(branch.cases, branch.values, strict=True):
            is_given = is_read and value is not None
            found |= self.suite(case, live | (_sources(value) if is_given else set()))
        return found


def _parts(steps: Sequence[Step], at: int) -> list[Placed]:
    """The parts of the value that a statement makes a part of."""
    first = steps[at]
    assert isinstance(first, Placed)
    found: list[Placed] = []
    for direction in (1, -1):
        other = at
        while 0 <= other < len(steps):
            step = steps[other]
            if not isinstance(step, Placed) or (step.cut, step.span) != (first.cut, first.span):
                break
            found.append(step)
            other += direction
    return found


def _sources(read: Read | None) -> set[Source]:
    """What a value is read from, where the text reads it from."""
    assert read is not None
    source = read.source
    if isinstance(source, str) and "[" in source:
        return set(words_in(source))
    return {source}


def _words(form: object) -> set[Source]:
    """The names in what `forward` says."""
    texts: set[str] = set()
    for place in places_in(form):
        if isinstance(place, Said) and place.known:
            texts |= names_in(place.known[0])
    return {word for text in texts for word in words_in(text)}
