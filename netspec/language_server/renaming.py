"""New names for what a text names, and what they mean for weights that are kept already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from netspec.compiler.driver import compile_untried
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.syntax import labels
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Source, Span
from netspec.highlight.words import words
from netspec.language_server.analysis import Analysis
from netspec.language_server.navigation import Found, references, symbol_at
from netspec.language_server.occurrences import Occurrence, occurrences

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CannotRenameError(Exception):
    """A name cannot be changed, or not to this one. The text says why."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """The places of a name, what each becomes, and the options that read weights of before.

    Attributes:
        changes: the places, each with its new text.
        options: what `--rename` must be given for weights that were kept under the old names.
    """

    changes: tuple[tuple[Found, str], ...]
    options: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """What is said of weights; empty if their names stay."""
        if not self.options:
            return ""
        shown = " ".join(f"--rename '{option}'" for option in self.options)
        return f"Names in weight files change. Weights that were kept before need: {shown}"


def nameable(analysis: Analysis, offset: int) -> Span:
    """Return the name at a place.

    Raises:
        CannotRenameError: if there is none that can be changed.
    """
    here = _here(analysis, offset)
    return here.span


def renaming(
    analysis: Analysis, offset: int, name: str, others: Iterable[Analysis] = ()
) -> Renaming:
    """Return the changes that give what is named at a place another name.

    Raises:
        CannotRenameError: if it cannot have this name, or if the text would have new errors.
    """
    here = _here(analysis, offset)
    _require_form(here, name)
    _require_free(analysis, here, name)
    changes = [(place, name) for place in references(analysis, offset, others)]
    if here.symbol.kind == "label":
        changes += [
            (Found(changes[0][0].path, span), name) for span in _ties(analysis, here.symbol.name)
        ]
    own = [Edit(place.span, new) for place, new in changes if place.span.source is analysis.source]
    options = tuple(_checked(analysis, own, name, changes))
    return Renaming(tuple(changes), options)


def _here(analysis: Analysis, offset: int) -> Occurrence:
    if analysis.module is None:
        raise CannotRenameError("the file has a syntax error: correct it first")
    here = symbol_at(analysis, offset)
    if here is None or here.symbol.kind == "file":
        raise CannotRenameError("nothing here has a name that could be changed")
    return here


def _require_form(here: Occurrence, name: str) -> None:
    known = words()
    if here.symbol.kind == "label":
        for segment in re.sub(r"\{[^{}]*\}", "0", name).replace('"', "").split("."):
            problem = labels.problem(segment)
            if problem is not None:
                raise CannotRenameError(f"`{name}` cannot be a label: {problem}")
        return
    if not _NAME.fullmatch(name):
        raise CannotRenameError(f"`{name}` is no name: letters, digits and `_`, no digit first")
    if name in (*known.keywords, *known.operators, *known.constants):
        raise CannotRenameError(f"`{name}` is a word of the language")
    if here.symbol.kind in ("net", "block") and not name[0].isupper():
        raise CannotRenameError(f"the name of a {here.symbol.kind} starts with a capital")


def _require_free(analysis: Analysis, here: Occurrence, name: str) -> None:
    """Require that the name stands for nothing else where this one is known."""
    module, symbol = analysis.module, here.symbol
    assert module is not None
    if symbol.kind in ("net", "block"):
        taken = name in module.blocks or name in module.nets or name in module.ops
    else:
        found = (each.symbol for each in occurrences(module))
        taken = any(
            (each.kind, each.body, each.name) == (symbol.kind, symbol.body, name) for each in found
        )
    if taken and name != symbol.name:
        raise CannotRenameError(f"`{name}` already has another meaning here")


def _ties(analysis: Analysis, label: str) -> Iterator[Span]:
    """Yield where a label is part of the name of a parameter, as in `weight = wte.weight`."""
    module = analysis.module
    for part in syntax.parts(module.tree.definitions if module and module.tree else ()):
        if isinstance(part, syntax.Argument) and part.value.span.text.startswith(f"{label}."):
            start = part.value.span.start
            yield Span(analysis.source, start, start + len(label))


def _checked(
    analysis: Analysis, own: list[Edit], name: str, changes: list[tuple[Found, str]]
) -> list[str]:
    """Compile the text as it would be. Return the options that old weights need.

    Raises:
        CannotRenameError: if there would be more errors.
    """
    source = analysis.source
    text = apply_edits(Span(source, 0, len(source.text)), own)
    buffers = dict(analysis.request.buffers)
    for path in {place.path for place, _ in changes if place.span.source is not source}:
        if path is not None:
            buffers[path] = _edited(path, changes)
    request = replace(analysis.request, source=Source(source.name, text), buffers=buffers)
    result = compile_untried(request)
    if len(result.errors) > len(analysis.result.errors):
        known = {error.message for error in analysis.result.errors}
        new = next((e for e in result.errors if e.message not in known), result.errors[0])
        raise CannotRenameError(f"`{name}` does not fit here: {new.message}")
    found: dict[str, None] = {}
    nets = zip(analysis.result.graphs.values(), result.graphs.values(), strict=False)
    for before, after in nets:
        for old, new_name in zip(before.saved(), after.saved(), strict=False):
            if old != new_name:
                found[_option(old, new_name)] = None
    return list(found)


def _edited(path: Path, changes: list[tuple[Found, str]]) -> str:
    edits = [Edit(place.span, new) for place, new in changes if place.path == path]
    source = edits[0].span.source
    return apply_edits(Span(source, 0, len(source.text)), edits)


def _option(old: str, new: str) -> str:
    """Return a rule of `--rename` for the parts of a name that differ, whatever comes behind them."""
    before, after = old.split("."), new.split(".")
    while before and after and before[-1] == after[-1]:
        before.pop()
        after.pop()
    if len(before) == len(old.split(".")) or not after:
        return f"{re.escape(old)}={new}"
    return rf"{re.escape('.'.join(before))}\.(.*)={'.'.join(after)}.\1"
