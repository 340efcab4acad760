"""Results of the features in the form of the protocol: lines, UTF-16 columns, URIs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from lsprotocol import types as lsp
from pygls import uris

from netspec import codes
from netspec.diagnostics import Edit, Label, Source, Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.changes import change
from netspec.language_server.coloring import TYPES, Coloured
from netspec.language_server.completion import Completion, Completions
from netspec.language_server.edits import TextChange
from netspec.language_server.fixes import QuickFix
from netspec.language_server.folding import Fold
from netspec.language_server.hints import ShapeHint
from netspec.language_server.hover import Hover
from netspec.language_server.lenses import Lens
from netspec.language_server.links import Link
from netspec.language_server.navigation import Found
from netspec.language_server.positions import Lines
from netspec.language_server.problems import Problem
from netspec.language_server.renaming import Renaming
from netspec.language_server.signatures import Signature
from netspec.language_server.symbols import DocumentSymbol
from netspec.language_server.workspace_symbols import FileSymbols
from netspec.project import page_about, where_explained

_SEVERITY = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
}
# What nothing needs, which editors show faintly.
_UNNECESSARY = (codes.GRAPH_UNREAD, codes.GRAPH_UNUSED)


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
        return _range(self.lines(span.source), span.start, span.end)

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


def _range(lines: Lines, start: int, end: int) -> lsp.Range:
    return lsp.Range(lsp.Position(*lines.place(start)), lsp.Position(*lines.place(end)))


def text_change(told: lsp.TextDocumentContentChangeEvent) -> TextChange:
    """Return a change that an editor tells."""
    if isinstance(told, lsp.TextDocumentContentChangeWholeDocument):
        return TextChange(told.text)
    start, end = told.range.start, told.range.end
    return TextChange(told.text, ((start.line, start.character), (end.line, end.character)))


def diagnostic(places: Places, problem: Problem) -> lsp.Diagnostic:
    """Return a diagnostic, with its related places and a link to the page about its code.

    While there is no such page, its message names the command that explains the code.
    """
    d = problem.diagnostic
    link = page_about(d.code)
    return lsp.Diagnostic(
        range=places.range_of(problem.span),
        message=problem.message if link else f"{problem.message}\n{where_explained(d.code)}",
        severity=_SEVERITY[d.severity],
        code=str(d.code),
        code_description=lsp.CodeDescription(link) if link else None,
        source="netspec",
        tags=[lsp.DiagnosticTag.Unnecessary] if d.code in _UNNECESSARY else None,
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
    title, kind = "Fix all that has one fix", lsp.CodeActionKind.SourceFixAll
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


# -------------------------------------------------------------------------------------- what is there

_SYMBOLS = {
    "net": lsp.SymbolKind.Class,
    "block": lsp.SymbolKind.Function,
    "input": lsp.SymbolKind.Property,
    "output": lsp.SymbolKind.Property,
    "layer": lsp.SymbolKind.Field,
    "value": lsp.SymbolKind.Variable,
}
_COMPLETIONS = {
    "layer": lsp.CompletionItemKind.Function,
    "block": lsp.CompletionItemKind.Class,
    "value": lsp.CompletionItemKind.Variable,
    "attribute": lsp.CompletionItemKind.Property,
    "choice": lsp.CompletionItemKind.EnumMember,
    "word": lsp.CompletionItemKind.Keyword,
    "function": lsp.CompletionItemKind.Function,
    "rule": lsp.CompletionItemKind.Function,
    "file": lsp.CompletionItemKind.File,
    "code": lsp.CompletionItemKind.Constant,
}
# The editor's own command that shows the arguments of the call at the cursor.
PARAMETER_HINTS = "editor.action.triggerParameterHints"
# What is nearest to the place comes first in a list.
_ORDER = {"choice": "0", "attribute": "0", "value": "1", "block": "2", "word": "3"}
# What keeps the order of its declaration, by which a call without names goes.
_IN_ORDER = ("choice", "attribute")
_FOLDS = {
    "region": lsp.FoldingRangeKind.Region,
    "comment": lsp.FoldingRangeKind.Comment,
    "imports": lsp.FoldingRangeKind.Imports,
}


def location(places: Places, found: Found) -> lsp.Location:
    """Return a place in any file."""
    own = found.span.source is places.analysis.source or found.path is None
    uri = places.uri if own else uris.from_fs_path(str(found.path)) or places.uri
    return lsp.Location(uri, places.range_of(found.span))


def document_symbol(places: Places, symbol: DocumentSymbol) -> lsp.DocumentSymbol:
    """Return a part of the outline, with its parts."""
    return lsp.DocumentSymbol(
        name=symbol.name,
        detail=symbol.detail or None,
        kind=_SYMBOLS[symbol.kind],
        range=places.range(*symbol.place),
        selection_range=places.range(*symbol.named),
        children=[document_symbol(places, each) for each in symbol.inside],
    )


def workspace_symbols(files: Iterable[FileSymbols], encoding: str) -> Iterator[lsp.WorkspaceSymbol]:
    """Yield the nets and blocks of files, with the names of these."""
    for file in files:
        lines = Lines(file.text, encoding)
        container = PurePath(uris.to_fs_path(file.uri) or file.uri).name
        for each in file.found:
            where = lsp.Location(file.uri, _range(lines, each.start, each.end))
            kind = _SYMBOLS[each.kind]
            yield lsp.WorkspaceSymbol(where, each.name, kind, container_name=container)


def folding_range(fold: Fold) -> lsp.FoldingRange:
    """Return lines that can be folded."""
    return lsp.FoldingRange(fold.first, fold.last, kind=_FOLDS[fold.kind])


def selection_range(places: Places, found: Iterable[tuple[int, int]]) -> lsp.SelectionRange:
    """Return ranges that hold each other, from the smallest; the whole text is the last one."""
    made: lsp.SelectionRange | None = None
    for start, end in reversed([*found]):
        made = lsp.SelectionRange(places.range(start, end), made)
    assert made is not None
    return made


def document_link(places: Places, link: Link) -> lsp.DocumentLink:
    """Return a link to a file that a text names."""
    return lsp.DocumentLink(places.range(link.start, link.end), link.path.as_uri())


def semantic_tokens(places: Places, found: Iterable[Coloured]) -> lsp.SemanticTokens:
    """Return the words with their types, each relative to the one before."""
    data: list[int] = []
    line = column = 0
    for each in found:
        start, end = places.position(each.start), places.position(each.end)
        step = start.line - line
        column = start.character - (0 if step else column)
        length = end.character - start.character
        data += [step, column, length, TYPES.index(each.type), 0]
        line, column = start.line, start.character
    return lsp.SemanticTokens(data)


def code_lens(places: Places, lens: Lens) -> lsp.CodeLens:
    """Return the words above a net, with the address of the text and the net's name."""
    given = [places.uri, lens.net] if lens.command else None
    command = lsp.Command(title=lens.title, command=lens.command, arguments=given)
    return lsp.CodeLens(places.range(lens.start, lens.end), command)


# ----------------------------------------------------------------------------------- while one types


def completion_list(
    places: Places, found: Completions, *, snippets: bool, helps: bool = False
) -> lsp.CompletionList:
    """Return the words for a place. With `snippets`, the cursor goes between brackets that follow,
    and if it `helps`, the editor says there what the arguments are.
    """
    where = places.range(found.start, found.end)
    items = [
        _completion(places, item, where, place, snippets=snippets, helps=helps)
        for place, item in enumerate(found.items)
    ]
    return lsp.CompletionList(is_incomplete=False, items=items)


def _completion(
    places: Places,
    item: Completion,
    where: lsp.Range,
    place: int,
    *,
    snippets: bool,
    helps: bool,
) -> lsp.CompletionItem:
    text = item.insert or item.label
    if snippets and (item.takes or item.snippet):
        text = item.snippet or f"{text}($0)"
    as_snippet = text not in (item.insert, item.label)
    order = f"{place:04}" if item.kind in _IN_ORDER else item.label
    about = lsp.MarkupContent(lsp.MarkupKind.Markdown, item.about) if item.about else None
    asks = helps and snippets and item.takes
    return lsp.CompletionItem(
        label=item.label,
        kind=_COMPLETIONS[item.kind],
        detail=item.detail or None,
        documentation=about,
        sort_text=_ORDER.get(item.kind, "4") + order,
        insert_text_format=lsp.InsertTextFormat.Snippet if as_snippet else None,
        text_edit=lsp.TextEdit(where, text),
        additional_text_edits=[places.text_edit(item.imports)] if item.imports else None,
        command=lsp.Command("Arguments", PARAMETER_HINTS) if asks else None,
    )


def signature_help(found: Signature) -> lsp.SignatureHelp:
    """Return how a call is written, with the argument at the cursor."""
    parameters = [
        lsp.ParameterInformation((each.start, each.end), each.about or None)
        for each in found.parameters
    ]
    # A number beyond the last one marks none.
    active = len(parameters) if found.active is None else found.active
    about = lsp.MarkupContent(lsp.MarkupKind.Markdown, found.about) if found.about else None
    signature = lsp.SignatureInformation(found.text, about, parameters, active)
    return lsp.SignatureHelp([signature], 0, active)


# -------------------------------------------------------------------------------------------- names


def renamed(places: Places, found: Renaming, *, annotated: bool) -> lsp.WorkspaceEdit:
    """Return the edit that changes a name. If weights depend on it and the editor can, it asks first."""
    edits: dict[str, list[lsp.TextEdit]] = {}
    for place, name in found.changes:
        where = location(places, place)
        edits.setdefault(where.uri, []).append(lsp.TextEdit(where.range, name))
    if not (found.warning and annotated):
        return lsp.WorkspaceEdit(changes=edits)
    note = "weights"
    changes = [
        lsp.TextDocumentEdit(
            lsp.OptionalVersionedTextDocumentIdentifier(uri),
            [lsp.AnnotatedTextEdit(note, edit.range, edit.new_text) for edit in some],
        )
        for uri, some in edits.items()
    ]
    asked = lsp.ChangeAnnotation("Names in weight files change", True, found.warning)
    return lsp.WorkspaceEdit(document_changes=changes, change_annotations={note: asked})
