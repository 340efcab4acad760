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
from netspec.language_server.navigation import Found, file_of, references, symbol_at
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
    pairs: dict[tuple[str, str], None] = {}
    kept: set[str] = set()
    for each in (analysis, *others):
        for old, new in _checked(each, name, changes):
            kept.update({old} if old == new else ())
            pairs.update({(old, new): None} if old != new else {})
    return Renaming(tuple(changes), tuple(_options(pairs, kept)))


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
    analysis: Analysis, name: str, changes: list[tuple[Found, str]]
) -> Iterator[tuple[str, str]]:
    """Compile a text as it would be. Yield the names of its weights before, with those after.

    Raises:
        CannotRenameError: if there would be more errors.
    """
    if analysis.module is None:
        return
    source, path = analysis.source, file_of(analysis, analysis.source.name)
    files: dict[Path | None, list[tuple[Found, str]]] = {}
    for place, new in changes:
        is_own = place.span.source is source
        files.setdefault(path if is_own else place.path, []).append((place, new))
    own = files.pop(path, [])
    if not own and not files.keys() & analysis.files:
        return
    edited = {file: _edited(some) for file, some in files.items() if file is not None}
    buffers = {**analysis.request.buffers, **edited}
    text = _edited(own) if own else source.text
    request = replace(analysis.request, source=Source(source.name, text), buffers=buffers)
    result = compile_untried(request)
    if len(result.errors) > len(analysis.result.errors):
        known = {error.message for error in analysis.result.errors}
        error = next((e for e in result.errors if e.message not in known), result.errors[0])
        raise CannotRenameError(f"`{name}` does not fit here: {error.message}")
    nets = zip(analysis.result.graphs.values(), result.graphs.values(), strict=False)
    for before, after in nets:
        yield from zip(before.saved(), after.saved(), strict=False)


def _edited(changes: list[tuple[Found, str]]) -> str:
    """Return the text of a file with its changes."""
    edits = [Edit(place.span, new) for place, new in changes]
    source = edits[0].span.source
    return apply_edits(Span(source, 0, len(source.text)), edits)


def _options(pairs: Iterable[tuple[str, str]], kept: set[str]) -> Iterator[str]:
    """Yield the rules of `--rename` for names of weights, each once; one for all layers that differ
    in their number alone, if it does not take a name that stays.
    """
    rules: dict[tuple[str, str], list[str]] = {}
    for old, new in pairs:
        pattern, replacement = _rule(old, new)
        numbered = _numbered(pattern, replacement)
        if numbered is not None and not any(re.fullmatch(numbered[0], name) for name in kept):
            rules.setdefault(numbered, []).append(f"{pattern}={replacement}")
        else:
            rules.setdefault((pattern, replacement), [])
    for (pattern, replacement), one_by_one in rules.items():
        alone = list(dict.fromkeys(one_by_one))
        yield alone[0] if len(alone) == 1 else f"{pattern}={replacement}"


def _rule(old: str, new: str) -> tuple[str, str]:
    """Return a pattern for the parts of a name that differ, whatever comes behind them, and what it
    becomes.
    """
    before, after = old.split("."), new.split(".")
    while before and after and before[-1] == after[-1]:
        before.pop()
        after.pop()
    if len(before) == len(old.split(".")) or not after:
        return re.escape(old), new
    return rf"{re.escape('.'.join(before))}\.(.*)", rf"{'.'.join(after)}.\1"


def _numbered(pattern: str, replacement: str) -> tuple[str, str] | None:
    """Return a rule for any number in place of the one that both sides have; None if there is none."""
    numbers = re.findall(r"(?<![\\(])\d+", pattern)
    if len(numbers) != 1 or re.findall(r"(?<!\\)\d+", replacement) != numbers:
        return None
    rest = r"\2" if pattern.endswith("(.*)") else ""
    before = replacement.removesuffix(r"\1") if rest else replacement
    return pattern.replace(numbers[0], r"(\d+)", 1), before.replace(numbers[0], r"\1", 1) + rest
