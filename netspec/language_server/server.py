"""The language server: passes requests of an editor to the features, and their answers back."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lsprotocol import types as lsp
from pygls import uris
from pygls.exceptions import JsonRpcContentModified, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from netspec.collector import rare_collections
from netspec.compiler.fmt.formatter import format_source
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.compiler.shape_lines import with_shapes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.draw.drawing import Drawing
from netspec.language_server import (
    coloring,
    completion,
    edits,
    fixes,
    folding,
    hints,
    hover,
    lenses,
    links,
    navigation,
    problems,
    protocol,
    renaming,
    selecting,
    signatures,
    symbols,
)
from netspec.language_server.analysis import Analysis
from netspec.language_server.protocol import Places
from netspec.language_server.texts import OpenText, OpenTexts
from netspec.language_server.workspace_symbols import workspace_symbols

# How long a text must rest before it is checked, and before hints are tried, in seconds.
CHECK_AFTER = 0.02
TRY_AFTER = 0.3

_T = TypeVar("_T")


class Server(LanguageServer):
    """The server of one editor.

    Texts are checked in one thread beside the loop, so that changes are heard while one is checked
    and what has become stale is left out.
    """

    def __init__(self, version: str) -> None:
        super().__init__(
            "netspec", version, text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental
        )
        self.texts = OpenTexts()
        # The commands of lenses and words that the editor has: it says so when it starts.
        self.commands: frozenset[str] = frozenset()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netspec-check")
        self._checks: dict[str, asyncio.Task[None]] = {}

    # -- texts

    def opened(self, uri: str, text: str, version: int | None) -> None:
        """Take a text that was opened or changed, and check it soon."""
        path = uris.to_fs_path(uri)
        real = Path(os.path.realpath(path)) if path else None
        self._check_soon(self.texts.put(uri, real, text, version))
        self.file_changed(real)

    def changed(
        self, uri: str, changes: Iterable[lsp.TextDocumentContentChangeEvent], version: int
    ) -> None:
        """Take what has changed of a text, and check it soon."""
        # The texts of pygls have more lines than those of the protocol: they end at more characters.
        text = self.texts.get(uri)
        if text is not None:
            made = (protocol.text_change(each) for each in changes)
            self.opened(uri, edits.changed(text.text, made, self.encoding), version)

    def closed(self, uri: str) -> None:
        """Forget a text and its diagnostics."""
        text = self.texts.close(uri)
        self._stop_check(uri)
        self._publish(uri, None, [])
        self.file_changed(text.path if text is not None else None)

    def file_changed(self, path: Path | None) -> None:
        """Check the texts again that import a file."""
        for importer in self.texts.importers(path):
            importer.state += 1
            self._check_soon(importer)

    # -- analyses

    async def places(self, uri: str) -> Places:
        """Return the analysis of a text as it is now.

        Raises:
            JsonRpcContentModified: if the text changes before it is done, or is not open.
        """
        text = self.texts.get(uri)
        if text is None:
            raise JsonRpcContentModified()
        return self._places(text, await self._analysis(text))

    async def typed(self, uri: str) -> Places:
        """Return what is known of a text as it is now without waiting until it is checked, if an
        earlier state could be parsed.

        Raises:
            JsonRpcContentModified: if it must be checked, and changes before that is done.
        """
        text = self.texts.get(uri)
        if text is not None and text.analysis is not None and text.analyzed != text.state:
            analysis = text.analysis.typed(text.text)
            if analysis is not None:
                return self._places(text, analysis)
        return await self.places(uri)

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Do what takes long in the thread that checks texts."""

        def with_rare_collections() -> _T:
            with rare_collections():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._worker, with_rare_collections)

    async def _analysis(self, text: OpenText) -> Analysis:
        state = text.state
        if text.analyzed == state and text.analysis is not None:
            return text.analysis
        # Changes and cancellations that have arrived already are heard first.
        await asyncio.sleep(0)
        found = await self.aside(lambda: self.texts.analyze(text, state))
        if found is None or text.state != state:
            raise JsonRpcContentModified()
        return found

    def _places(self, text: OpenText, analysis: Analysis) -> Places:
        return Places(analysis, text.uri, text.line_break, self.encoding)

    @property
    def encoding(self) -> str:
        """The encoding whose units the columns count."""
        found = self.workspace.position_encoding or "utf-16"
        return str(getattr(found, "value", found))

    async def others(self, uri: str, offset: int) -> list[Analysis]:
        """Return the analyses of the other texts that are open, and of files that import the one that
        defines what is named at a place.
        """
        text = self.texts.get(uri)
        found = [await self._analysis(other) for other in self.texts.all() if other.uri != uri]
        home = navigation.home(text.analysis, offset) if text and text.analysis else None
        if home is not None:
            found += await self.aside(lambda: self.texts.importing(home))
        return found

    @property
    def folders(self) -> list[Path]:
        """The folders that are open in the editor."""
        told = [each.uri for each in self.workspace.folders.values()] or [self.workspace.root_uri]
        paths = [uris.to_fs_path(uri) for uri in told if uri]
        return [Path(path) for path in paths if path]

    def say(self, error: NetspecError) -> None:
        """Show why a command was not carried out."""
        message = str(error.diagnostics[0].message)
        self.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, message))

    @property
    def takes_snippets(self) -> bool:
        """Whether the editor knows places inside what it completes."""
        text = self.client_capabilities.text_document
        item = text and text.completion and text.completion.completion_item
        return bool(item and item.snippet_support)

    @property
    def takes_annotations(self) -> bool:
        """Whether the editor can ask before it makes a change."""
        workspace = self.client_capabilities.workspace
        edit = workspace and workspace.workspace_edit
        return bool(edit and edit.change_annotation_support and edit.document_changes)

    # -- diagnostics

    def _check_soon(self, text: OpenText) -> None:
        self._stop_check(text.uri)
        self._checks[text.uri] = asyncio.ensure_future(self._check(text))

    def _stop_check(self, uri: str) -> None:
        check = self._checks.pop(uri, None)
        if check is not None:
            check.cancel()

    async def _check(self, text: OpenText) -> None:
        await asyncio.sleep(CHECK_AFTER)
        try:
            analysis = await self._analysis(text)
            places, version = self._places(text, analysis), text.version
            self._show(places, version, problems.untried(analysis))
            self.workspace_inlay_hint_refresh_if_known()
            if any(d.hints for d in analysis.found):
                await asyncio.sleep(TRY_AFTER)
                await self.aside(analysis.diagnostics)
                self._show(places, version, analysis.diagnostics())
        except JsonRpcContentModified:
            return

    def workspace_inlay_hint_refresh_if_known(self) -> None:
        """Ask for the hints again, if the editor asks for them only when it is told to."""
        capabilities = self.client_capabilities.workspace
        if capabilities and capabilities.inlay_hint and capabilities.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)

    def _show(self, places: Places, version: int | None, found: tuple[Diagnostic, ...]) -> None:
        shown = problems.problems(places.analysis, found)
        told = [protocol.diagnostic(places, problem) for problem in shown]
        self._publish(places.uri, version, told)

    def _publish(self, uri: str, version: int | None, found: list[lsp.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(uri, found, version=version)
        )


def make_server(version: str) -> Server:
    """Return a server with all features; it tells editors the version of netspec."""
    logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it reports stale requests as errors
    server = Server(version)
    for add in (_add_texts, _add_reading, _add_typing, _add_names, _add_changes, _add_commands):
        add(server)
    return server


def _add_texts(server: Server) -> None:
    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        options = params.initialization_options
        commands = options.get("commands") if isinstance(options, dict) else None
        found = commands if isinstance(commands, list) else []
        server.commands = frozenset(each for each in found if isinstance(each, str))

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.opened(document.uri, document.text, document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        server.changed(document.uri, params.content_changes, document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        server.closed(params.text_document.uri)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_files(params: lsp.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            path = uris.to_fs_path(change.uri)
            server.file_changed(Path(os.path.realpath(path)) if path else None)


def _add_reading(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        places = await server.places(params.text_document.uri)
        start, end = places.offset(params.range.start), places.offset(params.range.end)
        found = hints.shape_hints(places.analysis)
        return [protocol.inlay_hint(places, h) for h in found if start <= h.offset <= end]

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def show_hover(params: lsp.HoverParams) -> lsp.Hover | None:
        places = await server.places(params.text_document.uri)
        found = hover.hover(places.analysis, places.offset(params.position))
        return protocol.hover(places, found) if found is not None else None

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def document_symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        places = await server.places(params.text_document.uri)
        found = symbols.document_symbols(places.analysis)
        return [protocol.document_symbol(places, each) for each in found]

    @server.feature(lsp.TEXT_DOCUMENT_FOLDING_RANGE)
    async def folding_ranges(params: lsp.FoldingRangeParams) -> list[lsp.FoldingRange]:
        places = await server.places(params.text_document.uri)
        return [protocol.folding_range(fold) for fold in folding.folds(places.analysis)]

    @server.feature(lsp.TEXT_DOCUMENT_SELECTION_RANGE)
    async def selection_ranges(params: lsp.SelectionRangeParams) -> list[lsp.SelectionRange]:
        places = await server.places(params.text_document.uri)
        asked = [places.offset(position) for position in params.positions]
        found = selecting.selections(places.analysis, asked)
        return [protocol.selection_range(places, each) for each in found]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_LINK)
    async def document_links(params: lsp.DocumentLinkParams) -> list[lsp.DocumentLink]:
        places = await server.places(params.text_document.uri)
        return [protocol.document_link(places, link) for link in links.links(places.analysis)]

    legend = lsp.SemanticTokensLegend(token_types=list(coloring.TYPES), token_modifiers=[])

    @server.feature(lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, legend)
    async def semantic_tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        places = await server.places(params.text_document.uri)
        return protocol.semantic_tokens(places, coloring.coloured(places.analysis))

    @server.feature(lsp.TEXT_DOCUMENT_CODE_LENS)
    async def code_lenses(params: lsp.CodeLensParams) -> list[lsp.CodeLens]:
        places = await server.places(params.text_document.uri)
        return [
            protocol.code_lens(places, lens)
            for lens in lenses.lenses(places.analysis)
            if not lens.command or lens.command in server.commands
        ]


def _add_typing(server: Server) -> None:
    # No character behind which a line may end: the list would take the Enter.
    triggers = lsp.CompletionOptions(trigger_characters=[" ", ".", '"', "/"])

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, triggers)
    async def complete(params: lsp.CompletionParams) -> lsp.CompletionList:
        places = await server.typed(params.text_document.uri)
        asked = params.context
        trigger = asked.trigger_character or "" if asked else ""
        found = completion.completions(places.analysis, places.offset(params.position), trigger)
        helps = protocol.PARAMETER_HINTS in server.commands
        return protocol.completion_list(places, found, snippets=server.takes_snippets, helps=helps)

    marks = lsp.SignatureHelpOptions(trigger_characters=["(", ","], retrigger_characters=["=", ")"])

    @server.feature(lsp.TEXT_DOCUMENT_SIGNATURE_HELP, marks)
    async def signature_help(params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
        uri = params.text_document.uri
        places = await server.typed(uri)
        found = signatures.signature_at(places.analysis, places.offset(params.position))
        if found is None:  # what is called may be imported by a line that came with the call
            places = await server.places(uri)
            found = signatures.signature_at(places.analysis, places.offset(params.position))
        return protocol.signature_help(found) if found is not None else None


def _add_names(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        places = await server.places(params.text_document.uri)
        found = navigation.definition(places.analysis, places.offset(params.position))
        return protocol.location(places, found) if found is not None else None

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        places = await server.places(params.text_document.uri)
        at = places.offset(params.position)
        others = await server.others(params.text_document.uri, at)
        told = params.context.include_declaration
        found = navigation.references(places.analysis, at, others, definitions=told)
        return [protocol.location(places, each) for each in found]

    @server.feature(lsp.WORKSPACE_SYMBOL)
    async def find_symbols(params: lsp.WorkspaceSymbolParams) -> list[lsp.WorkspaceSymbol]:
        folders, opened = server.folders, server.texts.all()
        found = await server.aside(lambda: workspace_symbols(folders, opened, params.query))
        return list(protocol.workspace_symbols(found, server.encoding))

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def highlights(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight]:
        places = await server.places(params.text_document.uri)
        found = navigation.references(places.analysis, places.offset(params.position))
        own = [each.span for each in found if each.span.source is places.analysis.source]
        return [lsp.DocumentHighlight(places.range_of(span)) for span in own]

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepare_rename(params: lsp.PrepareRenameParams) -> lsp.Range:
        places = await server.places(params.text_document.uri)
        try:
            span = renaming.nameable(places.analysis, places.offset(params.position))
        except renaming.CannotRenameError as error:
            raise JsonRpcInvalidParams(str(error)) from None
        return places.range_of(span)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit:
        places = await server.places(params.text_document.uri)
        at = places.offset(params.position)
        others = await server.others(params.text_document.uri, at)
        try:
            found = await server.aside(
                lambda: renaming.renaming(places.analysis, at, params.new_name, others)
            )
        except renaming.CannotRenameError as error:
            raise JsonRpcInvalidParams(str(error)) from None
        if found.warning:
            server.window_show_message(
                lsp.ShowMessageParams(lsp.MessageType.Warning, found.warning)
            )
        return protocol.renamed(places, found, annotated=server.takes_annotations)


def _add_changes(server: Server) -> None:
    kinds = [lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.SourceFixAll]

    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=kinds))
    async def code_actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        places = await server.places(params.text_document.uri)
        analysis = places.analysis
        await server.aside(analysis.diagnostics)
        start, end = places.offset(params.range.start), places.offset(params.range.end)
        only = params.context.only

        def is_wanted(kind: str) -> bool:
            return not only or any(f"{kind}.".startswith(f"{each}.") for each in only)

        found: list[lsp.CodeAction] = []
        if is_wanted(lsp.CodeActionKind.QuickFix.value):
            quick = await server.aside(lambda: list(fixes.quick_fixes(analysis, start, end)))
            found += protocol.code_actions(places, quick)
        if only and is_wanted(lsp.CodeActionKind.SourceFixAll.value):
            edit = await server.aside(lambda: fixes.fix_all(analysis))
            found += protocol.fix_all(places, edit)
        return found

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def format_text(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        places = await server.places(params.text_document.uri)
        try:
            text = await server.aside(lambda: format_source(places.analysis.source))
        except NetspecError:
            return []  # the diagnostics say why
        return protocol.whole_text(places, text)


def _add_commands(server: Server) -> None:
    @server.command("netspec.writeShapes")
    async def write_shapes(uri: str) -> bool:
        """Write the shapes of a text down as comments. Returns whether the text changes."""
        places = await server.places(uri)
        request = places.analysis.request
        try:
            text = await server.aside(lambda: with_shapes(request))
        except NetspecError as error:
            server.say(error)
            return False
        edits = protocol.whole_text(places, text)
        if edits:
            edit = lsp.WorkspaceEdit(changes={uri: edits})
            await server.workspace_apply_edit_async(lsp.ApplyWorkspaceEditParams(edit))
        return bool(edits)

    @server.command("netspec.drawing")
    async def drawing(uri: str, net: str) -> str | None:
        """Return the picture of a net as a page, or None if nothing is known of it."""
        places = await server.places(uri)
        sketch = places.analysis.readable[0].result.sketches.get(net)
        if sketch is None:
            return None
        try:
            require_few_layers(sketch.graph)
        except NetspecError as error:
            server.say(error)
            return None
        return await server.aside(Drawing(sketch).html)
