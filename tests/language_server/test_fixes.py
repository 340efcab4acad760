"""Quick fixes of warnings, which the compiler leaves to who wrote the text."""

from __future__ import annotations

import pytest

from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.diagnostics import Span
from netspec.language_server.fixes import quick_fixes
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


def test_an_error_is_not_allowed_by_a_comment() -> None:
    text = BODY.format("    y = x -> rleu\n")
    titles = {fix.title for fix in quick_fixes(analyzed(text), 0, len(text))}
    assert titles == {"Did you mean `relu`?"}
