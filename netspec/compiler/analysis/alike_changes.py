"""Which changes from one net to another are the same change of a block, in several of its calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from netspec.compiler.analysis.costs import LayerSummary
from netspec.compiler.ir.graph import show_shape

_NUMBER = re.compile(r"\d[\d.e-]*")


class LayerChange(Protocol):
    """What is read of a change: a layer before it and after it, and what is said of both."""

    @property
    def kind(self) -> str:
        """What happened to the layer."""

    @property
    def details(self) -> tuple[str, ...]:
        """What changed, in words."""

    @property
    def before(self) -> LayerSummary | None:
        """The layer in the one net."""

    @property
    def after(self) -> LayerSummary | None:
        """The layer in the other."""


def alike(changes: Sequence[LayerChange]) -> list[int | None]:
    """For each change, the place of the first one that is the same change in another call of a block.

    That is: of the layer that stands in the same place of the block, from the same text in the file
    to the same text, with details that differ in numbers at most. Where the text is the same, as of
    a layer that other arguments reach, the same numbers must have grown and shrunk.
    """
    first: dict[object, int] = {}
    found: list[int | None] = []
    for at, change in enumerate(changes):
        key = _key(change)
        known = at if key is None else first.setdefault(key, at)
        found.append(None if known == at else known)
    return found


def _key(change: LayerChange) -> object:
    """What is the same in all calls of a block; None outside blocks and for what did not change."""
    a, b = change.before, change.after
    layer = b if b is not None else a
    if layer is None or change.kind == "same" or not layer.calls:
        return None
    texts = tuple(None if each is None else each.written for each in (a, b))
    how: object = None
    if a is not None and b is not None and a.written == b.written:
        how = _trend(_numbers_of(a), _numbers_of(b))
    details = tuple(_without_numbers(each, change) for each in change.details)
    return change.kind, layer.calls[-1].block, _name_in_block(layer), texts, how, details


def _name_in_block(layer: LayerSummary) -> str:
    path = layer.calls[-1].path.partition("@")[0]
    return layer.name.partition("@")[0].removeprefix(path)


def _numbers_of(layer: LayerSummary) -> str:
    return f"{layer.call} {show_shape(layer.shape)}"


def _trend(old: str, new: str) -> object:
    """Which numbers have grown or shrunk from one text to another, and what else they say."""
    before, after = _NUMBER.findall(old), _NUMBER.findall(new)
    if len(before) != len(after):
        return tuple(before), tuple(after)
    signs = [(a < b) - (a > b) if a != b else 0 for a, b in zip(map(_value, before),
             map(_value, after), strict=True)]  # fmt: skip
    return tuple(signs), _NUMBER.sub("#", old), _NUMBER.sub("#", new)


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _without_numbers(text: str, change: LayerChange) -> str:
    for layer in (change.before, change.after):
        if layer is not None and layer.calls:
            text = text.replace(layer.calls[-1].path, "")
    return _NUMBER.sub("#", text)
