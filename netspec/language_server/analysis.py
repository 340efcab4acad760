"""A text of an editor with what the compiler found in it, and the last one before it that parsed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.compiler.analysis.costs import LayerSummary, Summary, summarize
from netspec.compiler.driver import (
    Compilation,
    Request,
    compile_untried,
    with_tried_hints,
)
from netspec.compiler.ir.graph import Node
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Source, Span, in_order
from netspec.language_server.changes import Change, change
from netspec.language_server.positions import as_compiled
from netspec.language_server.sound_parts import moved, sound_definitions, without_lines
from netspec.language_server.tokens import Token, tokens

# A place in a text: its start, and the offset behind it.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Built:
    """A layer that a place of the text makes: the net that it is in, and what it costs."""

    net: str
    node: Node
    costs: LayerSummary


@dataclass(frozen=True)
class Analysis:
    """A text, and the result of checking it.

    Attributes:
        request: what was compiled; its source is the text.
        result: the result. Its hints are not tried.
        parsed: the last analysis before this one whose text could be parsed, if this one's cannot.
        good: the last analysis before this one without errors, if this one has errors.
        partial: the analysis of the definitions that could be parsed, at their places, if the whole
            could not; see `sound_parts`.
    """

    request: Request
    result: Compilation
    parsed: Analysis | None = None
    good: Analysis | None = None
    partial: Analysis | None = None
    _tried: list[Compilation] = field(default_factory=list)

    @property
    def source(self) -> Source:
        """The text."""
        assert self.request.source is not None
        return self.request.source

    @property
    def text(self) -> str:
        """The text."""
        return self.source.text

    @property
    def module(self) -> Module | None:
        """The file, if it could be parsed."""
        return self.result.module

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return the diagnostics with hints that were tried, which may take a second at first."""
        if not self._tried:
            self._tried.append(with_tried_hints(self.request, self.result))
        if self.partial is None:
            return self._tried[0].diagnostics
        return self._with_partial(self._tried[0].diagnostics, self.partial.diagnostics())

    @cached_property
    def found(self) -> tuple[Diagnostic, ...]:
        """The diagnostics, with hints that are not tried and must not be shown."""
        if self.partial is None:
            return self.result.diagnostics
        return self._with_partial(self.result.diagnostics, self.partial.result.diagnostics)

    def _with_partial(
        self, own: tuple[Diagnostic, ...], more: tuple[Diagnostic, ...]
    ) -> tuple[Diagnostic, ...]:
        """Return syntax errors with the errors of what could be parsed."""
        assert self.partial is not None
        errors = [moved(d, self.partial.source, self.source) for d in more if d.severity == "error"]
        return in_order((*own, *errors))

    @cached_property
    def tokens(self) -> list[Token]:
        """The tokens of the text."""
        return tokens(self.text)

    @cached_property
    def readable(self) -> tuple[Analysis, Change]:
        """The analysis of the last text that could be parsed, and what has changed since; of one that
        never could, what is left of it without the lines that are wrong.
        """
        if self.module is None and self.parsed is None:
            return self._without_errors or self, Change(0, 0, 0)
        old = self if self.module is not None else self.parsed or self
        return old, change(old.text, self.text)

    def typed(self, text: str) -> Analysis | None:
        """Return what is known of the text as it is now, before it is checked: its tokens, and this
        analysis for all else. None if nothing could be parsed yet.
        """
        parsed = self if self.module is not None else self.parsed
        if parsed is None:
            return None
        request = replace(self.request, source=Source(self.source.name, as_compiled(text)))
        return Analysis(request, Compilation(), _alone(parsed))

    @cached_property
    def _without_errors(self) -> Analysis | None:
        text = without_lines(self.text, self.result.errors)
        found = _of_part(self.request, text)
        return found if found.module is not None else self.partial

    @cached_property
    def layers(self) -> tuple[Built, ...]:
        """All layers of all nets, in order."""
        return tuple(self._layers())

    def _layers(self) -> Iterator[Built]:
        for name, sketch in self.result.sketches.items():
            costs = {layer.name: layer for layer in summarize(sketch.graph).layers}
            for node in sketch.graph.nodes:
                yield Built(name, node, costs[node.name])

    @cached_property
    def _summaries(self) -> dict[str, Summary]:
        return {}

    def summary(self, net: str) -> Summary:
        """Return what a net without errors costs, as `netspec summarize` tells it."""
        if net not in self._summaries:
            self._summaries[net] = summarize(self.result.graphs[net])
        return self._summaries[net]

    @cached_property
    def _made(self) -> Mapping[Place, list[Built]]:
        found: dict[Place, list[Built]] = {}
        for layer in self.layers:
            origin = layer.node.origin
            spans = [origin.span, *(frame.call for frame in origin.trace)]
            places = dict.fromkeys(_place(s) for s in spans if s and s.source is self.source)
            for place in places:
                found.setdefault(place, []).append(layer)
        return found

    def made_by(self, span: Span) -> list[Built]:
        """Return the layers that a stage makes, or a call of a block, by its span."""
        return self._made.get(_place(span), [])

    def definitions(self) -> Iterator[syntax.Net | syntax.Block]:
        """Yield the nets and blocks that the text defines, in order."""
        if self.module is not None and self.module.tree is not None:
            for definition in self.module.tree.definitions:
                if isinstance(definition, (syntax.Net, syntax.Block)):
                    yield definition

    @cached_property
    def files(self) -> frozenset[Path]:
        """The files that it names in imports, directly or through others, by their real paths.

        A text that cannot be parsed may still import what it did before.
        """
        return self.readable[0].result.imports | self.result.imports

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """The real paths of its own file and of those that it reads, by their names in messages."""
        folder, module = self.request.folder, self.module
        if folder is None or module is None:
            return {}
        return {
            each.source.name: (folder / each.place).resolve() for each in reversed(module.modules())
        }


def _place(span: Span) -> Place:
    return span.start, span.end


def analyze(
    text: str,
    name: str,
    folder: Path | None = None,
    buffers: Mapping[Path, str] | None = None,
    before: Analysis | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Analysis:
    """Check a text.

    Args:
        text: the text of the editor.
        name: the name of the file.
        folder: where its imports start; without it, it can import nothing.
        buffers: the texts of files that are not saved, by their real paths.
        before: the analysis of the text as it was before.
        arguments: constants for arguments of its nets.
    """
    source = Source(name, as_compiled(text))
    unsaved = {path: as_compiled(each) for path, each in (buffers or {}).items()}
    request = Request(source=source, folder=folder, buffers=unsaved, arguments=arguments or {})
    result = compile_untried(request)
    if before is not None:
        # Only the last of each is kept, or every text that was ever typed would be.
        before = replace(before, _tried=[])
    parsed = good = None
    if before is not None and result.module is None:
        parsed = before if before.module is not None else before.parsed
    if before is not None and (result.errors or result.module is None):
        good = before.good if before.result.errors or before.module is None else before
    if not text.strip():  # a new file is no mistake yet
        result.diagnostics = tuple(d for d in result.diagnostics if d.code != codes.FILE_NO_NET)
    found = Analysis(request, result, _alone(parsed), _alone(good))
    return found if result.module is not None else replace(found, partial=_partial(found))


def _partial(analysis: Analysis) -> Analysis | None:
    """Return the analysis of what can be parsed of a text; None if that is nothing."""
    text = sound_definitions(analysis.text, analysis.tokens, analysis.result.errors)
    if not text.strip():
        return None
    found = _of_part(analysis.request, text)
    return found if found.module is not None and any(found.definitions()) else None


def _of_part(request: Request, text: str) -> Analysis:
    assert request.source is not None
    part = replace(request, source=Source(request.source.name, text))
    return Analysis(part, compile_untried(part))


def _alone(analysis: Analysis | None) -> Analysis | None:
    return analysis and replace(analysis, parsed=None, good=None, partial=None)
