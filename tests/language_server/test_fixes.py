"""Quick fixes of warnings, which the compiler leaves to who wrote the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.driver import Compilation, Request, compile_untried
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.diagnostics import Span
from netspec.language_server import remedies
from netspec.language_server.completion import completions
from netspec.language_server.fixes import fix_all, quick_fixes
from tests.language_server.conftest import analyzed

# The body of a net with a warning, the title of a fix, and the body behind it.
BODY = "net A(n = 3, m = 2) {{\n    input x: [3, 8, 8]\n{}    output x -> conv(n, 1)\n}}\n"
ALLOWED = "# allow: graph/unused"


@pytest.mark.parametrize(
    ("text", "title", "new"),
    [
        (BODY.format("    y = x -> relu\n").replace(", m = 2", ""), "Leave out `y`",
         BODY.format("").replace(", m = 2", "")),
        (BODY.format("    y = x -> relu\n").replace(", m = 2", ""), f"Allow it: `{ALLOWED}`",
         BODY.format(f"    {ALLOWED}\n    y = x -> relu\n").replace(", m = 2", "")),
        (BODY.format(""), "Leave out `m`", BODY.format("").replace(", m = 2", "")),
        (BODY.format("").replace("n, 1", "m, 1"), "Leave out `n`",
         BODY.format("").replace("n, 1", "m, 1").replace("n = 3, ", "")),
        (BODY.format(""), f"Allow it: `{ALLOWED}`", f"{ALLOWED}\n" + BODY.format("")),
        (BODY.format("    y = x\n        -> relu\n").replace(", m = 2", ""), "Leave out `y`",
         BODY.format("").replace(", m = 2", "")),
    ],
)  # fmt: skip
def test_what_nothing_needs_is_left_out_or_allowed(text: str, title: str, new: str) -> None:
    analysis = analyzed(text)
    (fix,) = [f for f in quick_fixes(analysis, 0, len(text)) if f.title == title]
    assert not fix.preferred
    after = apply_edits(Span(analysis.source, 0, len(text)), list(fix.edits))
    assert after == new
    assert not analyzed(after).result.diagnostics


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", 'from "blocks.net" import Bottle\n\n'),
        ("language 1\n", 'language 1\nfrom "blocks.net" import Bottle\n'),
        ('from "blocks.net" import Basic\n', 'from "blocks.net" import Basic, Bottle\n'),
        (
            'from "more.net" import M\n',
            'from "more.net" import M\nfrom "blocks.net" import Bottle\n',
        ),
    ],
)
def test_a_block_of_a_file_beside_is_imported(text: str, new: str, tmp_path: Path) -> None:
    blocks = "".join(f"block {name} x {{ return x -> relu }}\n" for name in ("Basic", "Bottle"))
    (tmp_path / "blocks.net").write_text(blocks)
    (tmp_path / "more.net").write_text(blocks.replace("Basic", "M").replace("Bottle", "L"))
    net = "net A {\n    input x: [3, 8, 8]\n    output x -> Bottle\n}\n"
    analysis = analyzed(text + net, folder=tmp_path)
    (fix,) = [f for f in quick_fixes(analysis, 0, len(analysis.text)) if "Import" in f.title]
    assert fix.title == "Import `Bottle` from blocks.net"
    after = apply_edits(Span(analysis.source, 0, len(analysis.text)), list(fix.edits))
    assert after == new + net
    assert not analyzed(after, folder=tmp_path).result.errors
    offered = completions(analysis, analysis.text.index("Bottle\n}") + 3)
    (item,) = [each for each in offered.items if each.label == "Bottle"]
    assert item.imports == fix.edits[0]


def test_a_block_that_two_files_have_is_offered_from_each(tmp_path: Path) -> None:
    for name in ("one.net", "two.net"):
        (tmp_path / name).write_text("block Twice x { return x -> relu }\n")
    analysis = analyzed("net A {\n    input x: [3]\n    output x -> Twice\n}\n", folder=tmp_path)
    fixes = [f for f in quick_fixes(analysis, 0, len(analysis.text)) if "Import" in f.title]
    assert sorted(f.title for f in fixes) == [
        f"Import `Twice` from {n}.net" for n in ("one", "two")
    ]
    offered = completions(analysis, analysis.text.index("Twice") + 2).items
    items = [each for each in offered if each.label == "Twice"]
    assert {each.imports for each in items} == {f.edits[0] for f in fixes}


def test_to_leave_out_an_argument_is_offered_and_not_preferred() -> None:
    text = BODY.format("").replace(", m = 2", "").replace("n, 1", "n, 1, wrong = 2")
    analysis = analyzed(text)
    (fix,) = quick_fixes(analysis, 0, len(text))
    assert (fix.title, fix.preferred, fix_all(analysis)) == ("Leave it out", False, None)


def test_an_error_is_not_allowed_by_a_comment() -> None:
    text = BODY.format("    y = x -> rleu\n")
    titles = {fix.title for fix in quick_fixes(analyzed(text), 0, len(text))}
    assert titles == {"Did you mean `relu`?"}


def test_the_warnings_of_a_whole_text_are_tried_for_as_long_as_one_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each was: the changes for all of a text of 64 KB took ten minutes."""
    tried = []

    def counted(request: Request) -> Compilation:
        tried.append(request)
        return compile_untried(request)

    monkeypatch.setattr(remedies, "compile_untried", counted)
    text = BODY.format("    y = x -> relu\n" * 400)
    found = list(quick_fixes(analyzed(text), 0, len(text)))
    assert 1 < len(found) <= len(tried) < 40
