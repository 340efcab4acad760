"""Results of the features in the form of the protocol: lines, UTF-16 columns, URIs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types as lsp
from pygls import uris

from netspec.diagnostics import Edit, Label, Source, Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.changes import change
from netspec.language_server.fixes import QuickFix
from netspec.language_server.hints import ShapeHint
from netspec.language_server.hover import Hover
from netspec.language_server.positions import Lines
from netspec.language_server.problems import Problem, address

_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
}


class Places:
    """Turns places of an analysis into those of the protocol, and back.

    Attributes:
        analysis: the analysis.
        uri: the address of its text.
        line_break: what ends the lines of the editor's text.
        encoding: the encoding whose units the columns count.
    """

    def __init__(
        self, analysis: Analysis, uri: str, line_break: str, encoding: str = "utf-16"
    ) -> None:
        self.analysis = analysis
        self.uri = uri
        self.line_break = line_break
        self.encoding = encoding
        self._lines: dict[Source, Lines] = {}

    def lines(self, source: Source) -> Lines:
        """Return the lines of a source."""
        if source not in self._lines:
            self._lines[source] = Lines(source.text, self.encoding)
        return self._lines[source]

    def offset(self, position: lsp.Position) -> int:
        """Return the offset of a position in the text."""
        return self.lines(self.analysis.source).offset(position.line, position.character)

    def position(self, offset: int) -> lsp.Position:
        """Return the position of an offset in the text."""
        return lsp.Position(*self.lines(self.analysis.source).place(offset))

    def range(self, start: int, end: int) -> lsp.Range:
        """Return the range between two offsets of the text."""
        return lsp.Range(self.position(start), self.position(end))

    def range_of(self, span: Span) -> lsp.Range:
        """Return the range of a span, in whatever file it is."""
        lines = self.lines(span.source)
        return lsp.Range(
            lsp.Position(*lines.place(span.start)), lsp.Position(*lines.place(span.end))
        )

    def uri_of(self, source: Source) -> str:
        """Return the address of a source: that of the text, or that of a file that it imports."""
        if source.name == self.analysis.source.name:
            return self.uri
        folder = self.analysis.request.folder or Path()
        path = os.path.normpath(folder / source.name)
        return uris.from_fs_path(path) or self.uri

    def location(self, span: Span) -> lsp.Location:
        """Return the place of a span."""
        return lsp.Location(self.uri_of(span.source), self.range_of(span))

    def text_edit(self, edit: Edit) -> lsp.TextEdit:
        """Return an edit with the line breaks that the editor's text has."""
        text = edit.replacement.replace("\n", self.line_break)
        return lsp.TextEdit(self.range_of(edit.span), text)

    def workspace_edit(self, edits: Iterable[Edit]) -> lsp.WorkspaceEdit:
        """Return the edits by the files that they change."""
        changes: dict[str, list[lsp.TextEdit]] = {}
        for edit in edits:
            changes.setdefault(self.uri_of(edit.span.source), []).append(self.text_edit(edit))
        return lsp.WorkspaceEdit(changes=changes)


def diagnostic(places: Places, problem: Problem) -> lsp.Diagnostic:
    """Return a diagnostic, with its related places and a link to the page about its code."""
    d = problem.diagnostic
    link = address(d.code)
    return lsp.Diagnostic(
        range=places.range_of(problem.span),
        message=problem.message,
        severity=_SEVERITY[d.severity],
        code=str(d.code),
        code_description=lsp.CodeDescription(link) if link else None,
        source="netspec",
        related_information=[_related(places, label) for label in problem.related] or None,
    )


def _related(places: Places, label: Label) -> lsp.DiagnosticRelatedInformation:
    return lsp.DiagnosticRelatedInformation(places.location(label.span), label.text or "here")


def inlay_hint(places: Places, hint: ShapeHint) -> lsp.InlayHint:
    """Return a shape behind a stage."""
    return lsp.InlayHint(
        position=places.position(hint.offset),
        label=hint.text,
        kind=lsp.InlayHintKind.Type,
        tooltip=hint.tooltip,
        padding_left=True,
    )


def hover(places: Places, found: Hover) -> lsp.Hover:
    """Return what is said of a word."""
    content = lsp.MarkupContent(lsp.MarkupKind.Markdown, found.markdown)
    return lsp.Hover(content, places.range(found.start, found.end))


def code_actions(places: Places, found: Iterable[QuickFix]) -> list[lsp.CodeAction]:
    """Return quick fixes, each with its diagnostic as it is shown."""
    return [
        lsp.CodeAction(
            title=fix.title,
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[diagnostic(places, fix.problem)],
            edit=places.workspace_edit(fix.edits),
            is_preferred=fix.preferred,
        )
        for fix in found
    ]


def fix_all(places: Places, edit: Edit | None) -> list[lsp.CodeAction]:
    """Return the action that makes every change that is the only one of its diagnostic."""
    if edit is None:
        return []
    title, kind = "Make all changes that are the only ones", lsp.CodeActionKind.SourceFixAll
    return [lsp.CodeAction(title=title, kind=kind, edit=places.workspace_edit([edit]))]


def whole_text(places: Places, text: str) -> list[lsp.TextEdit]:
    """Return the edit that puts a text in place of the editor's, and touches no more than differs."""
    old = places.analysis.text
    if old == text:
        return []
    stretch = change(old, text)
    source = places.analysis.source
    replacement = text[stretch.start : stretch.new_end]
    return [places.text_edit(Edit(Span(source, stretch.start, stretch.old_end), replacement))]
