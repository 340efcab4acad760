"""Shapes behind the stages of a text, as an editor writes them between its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from netspec.compiler.analysis.stage_shapes import StageShape, stage_shapes, statement_shapes
from netspec.compiler.parse.loader import Module
from netspec.language_server.analysis import Analysis
from netspec.language_server.changes import change

# Behind the first of several shapes.
SEVERAL = " …"
_MOST_TOLD = 200


@dataclass(frozen=True, slots=True)
class ShapeHint:
    """A shape to show behind an offset, and what to say when it is pointed at."""

    offset: int
    text: str
    tooltip: str


def shape_hints(analysis: Analysis) -> list[ShapeHint]:
    """Return the hints of a text, in order.

    In a text with errors, a stage about which nothing is known keeps the hint that it had before
    the error, unless the stage itself has changed.
    """
    found = {hint.offset: hint for hint in _kept(analysis)}
    found.update((hint.offset, hint) for hint in _known(analysis.partial or analysis))
    return [found[offset] for offset in sorted(found)]


def _known(analysis: Analysis) -> Iterator[ShapeHint]:
    if analysis.module is not None:
        for each in _shapes(analysis, analysis.module):
            yield _hint(each)


def _shapes(analysis: Analysis, module: Module) -> Iterator[StageShape]:
    given = analysis.result.given
    return chain(stage_shapes(module, given), statement_shapes(module, given))


def _hint(shape: StageShape) -> ShapeHint:
    texts = list(dict.fromkeys(shape.texts()))
    if len(texts) == 1:
        return ShapeHint(shape.span.end, texts[0], f"the shape behind this stage: {texts[0]}")
    told = texts[:_MOST_TOLD]
    more = [f"and {len(texts) - len(told)} more"] if len(texts) > len(told) else []
    lines = [f"{len(texts)} shapes, of different calls:", *(f"- {text}" for text in told), *more]
    return ShapeHint(shape.span.end, texts[0] + SEVERAL, "\n".join(lines))


def _kept(analysis: Analysis) -> Iterator[ShapeHint]:
    """Yield the hints of the last text without errors that are still in place."""
    good = analysis.good
    if good is None or good.module is None:
        return
    since = change(good.text, analysis.text)
    for each in _shapes(good, good.module):
        start, end = since.forward(each.span.start), since.forward(each.span.end)
        if start is None or end is None:
            continue
        if analysis.text[start:end] == each.span.text and not _goes_on(analysis.text, end):
            hint = _hint(each)
            yield ShapeHint(end, hint.text, hint.tooltip)


def _goes_on(text: str, offset: int) -> bool:
    """Whether a word goes on at an offset, as where `relu` is becoming `relu6`."""
    following = text[offset : offset + 1]
    return following.isalnum() or following in ("_", "(")
