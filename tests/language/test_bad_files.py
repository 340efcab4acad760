"""Files with mistakes, each beside the diagnostics that it must give (language/bad)."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Diagnostic, in_order, render
from tests.helpers.golden import check_golden
from tests.language.test_codes import front_end_codes

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.net"))

# Codes of the front end that no file can trigger. Each has a test of its own elsewhere.
NOT_FROM_TEXT = {
    "file/no-such-net",
    "file/not-text",
    "file/revision",
    "file/several-nets",
    "file/unreadable",
    "limit/file-size",
    "limit/files",
    "limit/layers",
    "use/file",
}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_diagnostics(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    result = compile_request(Request(path=Path(path.name)))
    rendered = "".join(f"{render(diagnostic)}\n\n" for diagnostic in result.diagnostics)
    assert rendered, "this file is not bad"
    check_golden(path.with_suffix(".txt"), rendered)
    assert result.diagnostics == in_order(result.diagnostics)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_hints_that_change_the_file_are_right(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Applying a hint fixes its error, as the compiler promises."""
    monkeypatch.chdir(BAD)
    result = compile_request(Request(path=Path(path.name)))
    for diagnostic in result.diagnostics:
        for hint in diagnostic.hints:
            if not hint.edits or any(e.span.source.name != path.name for e in hint.edits):
                continue
            text = hint.edits[0].span.source.text
            for edit in sorted(hint.edits, key=lambda e: e.span.start, reverse=True):
                text = text[: edit.span.start] + edit.replacement + text[edit.span.end :]
            changed = BAD / f"{path.stem}.changed"
            try:
                changed.write_text(text, "utf-8")
                after = compile_request(Request(path=Path(changed.name)))
            finally:
                changed.unlink()
            same = [d for d in after.diagnostics if _what(d) == _what(diagnostic)]
            before = [d for d in result.diagnostics if _what(d) == _what(diagnostic)]
            assert len(same) < len(before)
            assert len(after.errors) <= len(result.errors)


def _what(diagnostic: Diagnostic) -> tuple[str, str]:
    return diagnostic.code, diagnostic.message


def test_every_code_is_shown() -> None:
    shown = "".join(path.read_text("utf-8") for path in BAD.glob("*.txt"))
    missing = {code for code in front_end_codes() if f"[{code}]" not in shown}
    assert missing == NOT_FROM_TEXT


def test_there_are_many() -> None:
    assert len(FILES) >= 80
