"""Where a name is defined, and where else it is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netspec.compiler.parse.loader import Module
from netspec.diagnostics import Source, Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.occurrences import Occurrence, Symbol, occurrence_at, occurrences

MAX_FILES = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A place in a file. The `path` is None for a text that was never saved."""

    path: Path | None
    span: Span


def symbol_at(analysis: Analysis, offset: int) -> Occurrence | None:
    """Return what is named at a place of a text; None if nothing is, or if it has changed."""
    readable, since = analysis.readable
    at = since.backward(offset)
    return occurrence_at(readable, at) if at is not None else None


def home(analysis: Analysis, offset: int) -> Path | None:
    """Return the file that defines what is named at a place; None if it is in none."""
    here = symbol_at(analysis, offset)
    return None if here is None else file_of(analysis.readable[0], here.symbol.file)


def definition(analysis: Analysis, offset: int) -> Found | None:
    """Return where what is named at a place is defined; None if nothing is."""
    here = symbol_at(analysis, offset)
    if here is None:
        return None
    readable, _ = analysis.readable
    if here.symbol.kind == "file":
        source = next(s for s in _sources(readable) if s.name == here.symbol.file)
        return _moved(analysis, Span(source, 0, 0))
    for each in _all(readable):
        if each.symbol == here.symbol and each.is_definition:
            return _moved(analysis, each.span)
    return None


def references(
    analysis: Analysis, offset: int, others: Iterable[Analysis] = (), *, definitions: bool = True
) -> list[Found]:
    """Return where what is named at a place is named, here and in other texts, in order.

    Args:
        analysis: the text.
        offset: the place.
        others: other texts, which may import this one.
        definitions: whether the definition is among them.
    """
    here = symbol_at(analysis, offset)
    if here is None:
        return []
    readable, _ = analysis.readable
    wanted = _identity(readable, here.symbol)
    found: dict[tuple[Path | None, int], Found] = {}
    for each in (readable, *(other.readable[0] for other in others)):
        for occurrence in _all(each):
            if occurrence.symbol.name != here.symbol.name:  # mostly, and soon known
                continue
            if _identity(each, occurrence.symbol) != wanted:
                continue
            if occurrence.is_definition and not definitions:
                continue
            place = _moved(analysis if each is readable else each, occurrence.span)
            if place is not None:
                found.setdefault((place.path, place.span.start), place)
    return list(found.values())


def _identity(analysis: Analysis, symbol: Symbol) -> tuple[str, str, str, str]:
    """Return a symbol with the real path of its file, which is the same for every text."""
    path = file_of(analysis, symbol.file)
    return symbol.kind, str(path or symbol.file), symbol.body, symbol.name


def file_of(analysis: Analysis, name: str) -> Path | None:
    """Return the real path of a file that a text names, or of its own, by the name in messages."""
    return analysis.paths.get(name)


def _all(analysis: Analysis) -> Iterator[Occurrence]:
    for module in _modules(analysis):
        yield from occurrences(module)


def _modules(analysis: Analysis) -> list[Module]:
    return analysis.module.modules() if analysis.module is not None else []


def _sources(analysis: Analysis) -> list[Source]:
    return [module.source for module in _modules(analysis)]


def _moved(analysis: Analysis, span: Span) -> Found | None:
    """Return a place of the last text that could be parsed as a place of the text now."""
    readable, since = analysis.readable
    path = file_of(readable, span.source.name)
    if span.source is not readable.source:
        return Found(path, span)
    start, end = since.forward(span.start), since.forward(span.end)
    if start is None or end is None:
        return None
    return Found(path, Span(analysis.source, start, end))
