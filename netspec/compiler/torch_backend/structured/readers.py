"""Which statements of a suite read a value, so that nobody has to look through what follows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from netspec.compiler.torch_backend.structured.structure import Source


class Readers:
    """The places of a suite's statements that read each value.

    Args:
        reads: what each statement reads, also under its loops and conditions.
    """

    def __init__(self, reads: Sequence[Iterable[Source]]) -> None:
        self._places: dict[Source, list[int]] = {}
        for at, sources in enumerate(reads):
            for source in sources:
                places = self._places.setdefault(source, [])
                if not places or places[-1] != at:
                    places.append(at)

    def after(self, at: int, source: Source) -> int | None:
        """The place of the next statement after `at` that reads a value."""
        places = self._places.get(source, [])
        index = bisect_right(places, at)
        return places[index] if index < len(places) else None
