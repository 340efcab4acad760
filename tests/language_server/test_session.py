"""Sessions of an editor with `netspec lsp`, over its standard streams."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

pytest.importorskip("pytest_lsp")

import pytest_lsp
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from netspec.language_server.lenses import DRAW, TRAIN
from netspec.language_server.protocol import PARAMETER_HINTS
from tests.language_server.conftest import LENET

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVER = pytest_lsp.ClientServerConfig(server_command=[sys.executable, "-m", "netspec", "lsp"])


@pytest_lsp.fixture(config=SERVER, scope="module")
async def client(lsp_client: pytest_lsp.LanguageClient):  # type: ignore[no-untyped-def]
    capabilities = pytest_lsp.client_capabilities("visual-studio-code")
    options = {"commands": [DRAW, TRAIN, PARAMETER_HINTS]}
    await lsp_client.initialize_session(
        lsp.InitializeParams(capabilities=capabilities, initialization_options=options)
    )
    yield
    await lsp_client.shutdown_session()


class Text:
    """A text that is open in the editor."""

    def __init__(self, client: pytest_lsp.LanguageClient, path: Path, text: str) -> None:
        self.client, self.text, self.version = client, text, 1
        self.seen: object = None
        self.uri = path.as_uri()
        self.id = lsp.TextDocumentIdentifier(self.uri)
        item = lsp.TextDocumentItem(self.uri, "netspec", 1, text)
        client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def change(self, text: str) -> None:
        self.text, self.version = text, self.version + 1
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(self.version, self.uri),
                [lsp.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    def position(self, word: str, into: int = 0) -> lsp.Position:
        before = self.text[: self.text.index(word) + into]
        line = before.rpartition("\n")[2]
        return lsp.Position(before.count("\n"), len(line.encode("utf-16-le")) // 2)

    def whole(self) -> lsp.Range:
        return lsp.Range(lsp.Position(0, 0), lsp.Position(self.text.count("\n") + 1, 0))

    def at(self, position: lsp.Position) -> int:
        lines = self.text.split("\n")
        row = lines[position.line].encode("utf-16-le")[: 2 * position.character]
        return sum(len(each) + 1 for each in lines[: position.line]) + len(row.decode("utf-16-le"))

    def within(self, where: lsp.Range) -> str:
        return self.text[self.at(where.start) : self.at(where.end)]

    def edited(self, edits: list[lsp.TextEdit]) -> str:
        text = self.text
        for edit in sorted(edits, key=lambda e: -self.at(e.range.start)):
            start, end = self.at(edit.range.start), self.at(edit.range.end)
            text = text[:start] + edit.new_text + text[end:]
        return text

    async def diagnostics(self, *, tried: bool = False) -> list[lsp.Diagnostic]:
        """Wait for others than those that were seen last; those with hints come second."""
        async with asyncio.timeout(60):
            while True:
                found = self.client.diagnostics.get(self.uri)
                is_tried = any("help: " in each.message for each in found or ())
                if found is not None and found is not self.seen and (is_tried or not tried):
                    self.seen = found
                    return list(found)
                await asyncio.sleep(0.01)


WRONG = "net A {\n    input image: [3, 8, 8]  # 😀\n    output image -> cnv(4, 3) -> relu\n}\n"


async def test_errors_and_their_fixes(client: pytest_lsp.LanguageClient, tmp_path: Path) -> None:
    text = Text(client, tmp_path / "a.net", WRONG)
    (first,) = await text.diagnostics()
    assert str(first.code).startswith("name/")
    assert text.within(first.range) == "cnv"
    assert first.message.endswith(f"\nnetspec explain {first.code}")
    (told,) = await text.diagnostics(tried=True)
    actions = await client.text_document_code_action_async(
        lsp.CodeActionParams(text.id, told.range, lsp.CodeActionContext([told]))
    )
    (fix,) = actions or []
    assert isinstance(fix, lsp.CodeAction)
    assert fix.kind == lsp.CodeActionKind.QuickFix
    assert fix.is_preferred
    assert fix.edit is not None
    assert fix.edit.changes is not None
    text.change(text.edited(list(fix.edit.changes[text.uri])))
    assert "-> conv(4, 3) ->" in text.text
    assert await text.diagnostics() == []


async def test_changes_are_told_by_their_places(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "part.net", WRONG)
    assert await text.diagnostics()
    change = lsp.TextDocumentContentChangePartial
    at = text.position("cnv")
    line = lsp.Position(at.line + 1, 0)
    client.text_document_did_change(
        lsp.DidChangeTextDocumentParams(
            lsp.VersionedTextDocumentIdentifier(2, text.uri),
            [
                change(lsp.Range(line, line), "    # 😀 more\r\n"),
                change(lsp.Range(at, lsp.Position(at.line, at.character + 2)), "co"),
                change(lsp.Range(*[lsp.Position(at.line, at.character + 2)] * 2), "n"),
            ],
        )
    )
    text.text = WRONG.replace("cnv", "conv").replace("\n}", "\n    # 😀 more\r\n}")
    text.version = 2
    assert await text.diagnostics() == []
    hints = await client.text_document_inlay_hint_async(lsp.InlayHintParams(text.id, text.whole()))
    assert [hint.label for hint in hints or []] == ["[N, 4, 6, 6]"] * 2


async def test_selections_in_deep_brackets(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "deep.net", "f(a,\n" * 3_000 + ")\n" * 3_000)
    place = lsp.Position(3_000, 0)
    (found,) = (
        await client.text_document_selection_range_async(lsp.SelectionRangeParams(text.id, [place]))
        or ()
    )
    count = 0
    while found.parent is not None:
        found, count = found.parent, count + 1
    assert count > 2 * 48
    assert text.within(found.range) == text.text


async def test_hints_hover_and_format(client: pytest_lsp.LanguageClient, tmp_path: Path) -> None:
    messy = LENET.replace("conv(6, 5)", "conv( 6,5 )").replace("\n", "\r\n")
    text = Text(client, tmp_path / "lenet.net", messy)
    hints = await client.text_document_inlay_hint_async(lsp.InlayHintParams(text.id, text.whole()))
    assert [hint.label for hint in hints or []][:2] == ["[N, 6, 24, 24]", "[N, 16, 8, 8]"]
    said = await client.text_document_hover_async(
        lsp.HoverParams(text.id, text.position("conv( 6", 2))
    )
    assert said is not None
    assert isinstance(said.contents, lsp.MarkupContent)
    assert "parameters: 156" in said.contents.value
    options = lsp.FormattingOptions(tab_size=4, insert_spaces=True)
    edits = await client.text_document_formatting_async(
        lsp.DocumentFormattingParams(text.id, options)
    )
    assert text.edited(list(edits or [])) == LENET.replace("\n", "\r\n")


async def test_an_import_is_read_from_its_unsaved_text(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    block = "block B(n) x { return x -> conv(n, 3) }\n"
    (tmp_path / "blocks.net").write_text("block B() x { return x }\n")
    user = Text(
        client,
        tmp_path / "user.net",
        'from "blocks.net" import B\nnet A { input x: [3, 8, 8]\n output x -> B(4) }\n',
    )
    (found,) = await user.diagnostics()
    assert found.code == "call/too-many"
    blocks = Text(client, tmp_path / "blocks.net", block)
    hints = lsp.InlayHintParams(user.id, user.whole())
    assert await user.diagnostics() == []
    assert [h.label for h in await client.text_document_inlay_hint_async(hints) or []] == [
        "[N, 4, 6, 6]"
    ]
    blocks.change(block.replace("conv(n, 3)", "conv(n, 99)"))
    (found,) = await user.diagnostics()
    assert user.within(found.range) == "B(4)"
    assert found.related_information is not None
    assert found.related_information[0].location.uri == blocks.uri


async def test_a_request_about_a_text_that_changes_is_dropped(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "c.net", LENET)
    params = lsp.InlayHintParams(text.id, text.whole())
    asked = asyncio.ensure_future(client.text_document_inlay_hint_async(params))
    await asyncio.sleep(0)
    text.change(LENET.replace("conv(6", "conv(7"))
    answer = await client.text_document_inlay_hint_async(params)
    assert answer is not None
    assert answer[0].label == "[N, 7, 24, 24]"
    (old,) = await asyncio.gather(asked, return_exceptions=True)
    if isinstance(old, JsonRpcException):
        assert old.code == lsp.LSPErrorCodes.ContentModified
    else:  # it was done before the change was read
        assert old[0].label == "[N, 6, 24, 24]"


async def test_what_an_editor_asks_while_one_types(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "typed.net", LENET.replace("-> linear(120)", "-> li"))
    end = text.position("-> li", 5)
    found = await client.text_document_completion_async(lsp.CompletionParams(text.id, end))
    assert isinstance(found, lsp.CompletionList)
    (item,) = [each for each in found.items if each.label == "linear"]
    assert isinstance(item.text_edit, lsp.TextEdit)
    assert text.within(item.text_edit.range) == "li"
    assert item.text_edit.new_text == "linear($0)"
    assert item.command is not None
    assert item.command.command == PARAMETER_HINTS
    text.change(LENET.replace("linear(120)", "linear(120, "))
    help = await client.text_document_signature_help_async(
        lsp.SignatureHelpParams(text.id, text.position("(120, ", 6))
    )
    assert help is not None
    assert help.signatures[0].label.startswith("linear(features")
    assert help.active_parameter == 1


async def test_what_an_editor_shows_of_a_text(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "shown.net", LENET)
    (net,) = (
        await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(text.id)) or ()
    )
    assert net.name == "LeNet"
    (fold,) = await client.text_document_folding_range_async(lsp.FoldingRangeParams(text.id)) or ()
    assert (fold.start_line, fold.end_line) == (1, 11)
    asked = lsp.SelectionRangeParams(text.id, [lsp.Position(1, 5)])
    (selected,) = await client.text_document_selection_range_async(asked) or ()
    assert (selected.range.start.character, selected.range.end.character) == (4, 9)
    assert selected.parent is not None
    assert not await client.text_document_document_link_async(lsp.DocumentLinkParams(text.id))
    colours = await client.text_document_semantic_tokens_full_async(
        lsp.SemanticTokensParams(text.id)
    )
    assert colours is not None
    assert len(colours.data) % 5 == 0
    assert list(colours.data[:5]) == [0, 0, LENET.index("\n"), 2, 0]
    lenses = await client.text_document_code_lens_async(lsp.CodeLensParams(text.id)) or ()
    assert [lens.command and lens.command.title for lens in lenses] == [
        "44,426 parameters · 281,640 MACs", "draw", "train",
    ]  # fmt: skip
    page = await client.workspace_execute_command_async(
        lsp.ExecuteCommandParams("netspec.drawing", [text.uri, "LeNet"])
    )
    assert str(page).startswith("<!doctype html>")
    text.change(LENET.replace("-> relu", "-> relu" * 1_000))
    page = await client.workspace_execute_command_async(
        lsp.ExecuteCommandParams("netspec.drawing", [text.uri, "LeNet"])
    )
    assert page is None
    assert "has 4,0" in client.messages[-1].message


async def test_arguments_of_a_block_that_was_imported_just_now(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    (tmp_path / "blocks.net").write_text("block Wide(many) x {\n    return x -> conv(many, 3)\n}\n")
    text = Text(client, tmp_path / "call.net", LENET)
    await text.diagnostics()
    called = LENET.replace("-> conv(6, 5)", "-> Wide()", 1)
    text.change(f'from "blocks.net" import Wide\n\n{called}')
    help = await client.text_document_signature_help_async(
        lsp.SignatureHelpParams(text.id, text.position("Wide()", 5))
    )
    assert help is not None
    assert help.signatures[0].label.startswith("Wide(many")


async def test_nets_of_open_texts_are_found(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "found.net", "\n# 😀\nnet Found123 {\n}\n")
    found = await client.workspace_symbol_async(lsp.WorkspaceSymbolParams("found123"))
    (symbol,) = found or ()
    assert (symbol.name, symbol.container_name) == ("Found123", "found.net")
    assert isinstance(symbol.location, lsp.Location)
    assert (symbol.location.uri, text.within(symbol.location.range)) == (text.uri, "Found123")


async def test_names_over_the_wire(client: pytest_lsp.LanguageClient, tmp_path: Path) -> None:
    text = Text(client, tmp_path / "names.net", LENET.replace("-> conv(6", "-> stem: conv(6"))
    place = text.position("classes = ")
    where = await client.text_document_definition_async(
        lsp.DefinitionParams(text.id, text.position("classes)"))
    )
    assert isinstance(where, lsp.Location)
    assert where.range.start == place
    uses = await client.text_document_references_async(
        lsp.ReferenceParams(lsp.ReferenceContext(include_declaration=False), text.id, place)
    )
    assert [text.within(use.range) for use in uses or []] == ["classes"]
    label = text.position("stem", 1)
    named = await client.text_document_prepare_rename_async(lsp.PrepareRenameParams(text.id, label))
    assert isinstance(named, lsp.Range)
    assert text.within(named) == "stem"
    edit = await client.text_document_rename_async(lsp.RenameParams(text.id, label, "root"))
    assert edit is not None
    assert edit.change_annotations is not None
    (asked,) = edit.change_annotations.values()
    assert asked.needs_confirmation
    assert r"--rename 'stem\.(.*)=root.\1'" in str(asked.description)
    assert any("--rename" in message.message for message in client.messages)
    with pytest.raises(JsonRpcException, match="word of the language"):
        await client.text_document_rename_async(lsp.RenameParams(text.id, place, "for"))


async def test_shapes_are_written_down_by_a_command(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "shapes.net", LENET)
    applied: list[lsp.ApplyWorkspaceEditParams] = []

    @client.feature(lsp.WORKSPACE_APPLY_EDIT)
    def apply(params: lsp.ApplyWorkspaceEditParams) -> lsp.ApplyWorkspaceEditResult:
        applied.append(params)
        return lsp.ApplyWorkspaceEditResult(applied=True)

    changed = await client.workspace_execute_command_async(
        lsp.ExecuteCommandParams("netspec.writeShapes", [text.uri])
    )
    assert changed is True
    assert applied[0].edit.changes is not None
    new = text.edited(list(applied[0].edit.changes[text.uri]))
    assert "-> linear(classes)  # [10]\n" in new


async def test_hints_stay_while_a_line_is_half_typed(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    text = Text(client, tmp_path / "half.net", LENET)
    params = lsp.InlayHintParams(text.id, text.whole())
    before = [h.label for h in await client.text_document_inlay_hint_async(params) or []]
    assert await text.diagnostics() == []
    text.change(LENET.replace("-> linear(120) -> relu", "-> linear(120) -> "))
    (found,) = await text.diagnostics()
    assert str(found.code).startswith("syntax/")
    after = [h.label for h in await client.text_document_inlay_hint_async(params) or []]
    assert after == [*before[:4], *before[5:]]  # all but that of `relu`, which is gone


async def test_a_code_is_explained_and_uses_are_marked(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    allowing = LENET.replace("    output image", "    # allow: graph/unread\n    output image")
    text = Text(client, tmp_path / "marked.net", allowing)
    said = await client.text_document_hover_async(
        lsp.HoverParams(text.id, text.position("graph/unread", 2))
    )
    assert said is not None
    assert isinstance(said.contents, lsp.MarkupContent)
    assert said.contents.value.startswith("**graph/unread**")
    marked = await client.text_document_document_highlight_async(
        lsp.DocumentHighlightParams(text.id, text.position("classes", 1))
    )
    assert [text.within(each.range) for each in marked or []] == ["classes", "classes"]


async def test_all_fixes_are_one_action(client: pytest_lsp.LanguageClient, tmp_path: Path) -> None:
    text = Text(client, tmp_path / "all.net", WRONG.replace("relu", "rleu"))
    context = lsp.CodeActionContext([], only=[lsp.CodeActionKind.SourceFixAll])
    (action,) = (
        await client.text_document_code_action_async(
            lsp.CodeActionParams(text.id, text.whole(), context)
        )
        or []
    )
    assert isinstance(action, lsp.CodeAction)
    assert action.edit is not None
    assert action.edit.changes is not None
    fixed = text.edited(list(action.edit.changes[text.uri]))
    assert fixed == WRONG.replace("cnv", "conv")


async def test_files_beside_a_text_are_watched_and_a_closed_one_is_forgotten(
    client: pytest_lsp.LanguageClient, tmp_path: Path
) -> None:
    block = tmp_path / "late.net"
    uses = 'from "late.net" import B\nnet A { input x: [3, 8, 8]\n output x -> B(4) }\n'
    text = Text(client, tmp_path / "early.net", uses)
    (found,) = await text.diagnostics()
    assert found.code == "import/missing"
    block.write_text("block B(n) x { return x -> conv(n, 3) }\n")
    change = lsp.FileEvent(block.as_uri(), lsp.FileChangeType.Created)
    client.workspace_did_change_watched_files(lsp.DidChangeWatchedFilesParams([change]))
    assert await text.diagnostics() == []
    text.change(uses.replace("B(4)", "C(4)"))
    assert len(await text.diagnostics()) == 1
    client.text_document_did_close(lsp.DidCloseTextDocumentParams(text.id))
    assert await text.diagnostics() == []
