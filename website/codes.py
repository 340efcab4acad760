"""A page for each code of an error or a warning, which `netspec explain` prints, too."""

from __future__ import annotations

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.explain_codes import Explanation, explanations
from netspec.diagnostics import Source, render
from website.playground.address import opened

_LANGUAGES = {"net": "netspec", "python": "python", "console": "console"}


def code_pages(*, has_playground: bool = False) -> dict[str, str | bytes]:
    """Return a page for each code, and the list of them.

    Where there is a playground, its example can be opened there.
    """
    known = explanations()
    rows = ["# Errors and warnings", "", "| code | what it is |", "|---|---|"]
    rows += [f"| [`{code}`]({code}.md) | {e.code.summary} |" for code, e in known.items()]
    pages: dict[str, str | bytes] = {"codes/index.md": "\n".join(rows) + "\n"}
    for code, explanation in known.items():
        page, text = f"codes/{code}.md", _page(code, explanation)
        if has_playground and explanation.example is not None and explanation.kind == "net":
            text += f"\n{opened(explanation.example, page)}\n"
        pages[page] = text
    return pages


def _page(code: str, explanation: Explanation) -> str:
    parts = [f"# {code}", f"{explanation.code.severity}: {explanation.code.summary}."]
    parts.append(explanation.text)
    if explanation.example is not None:
        language = _LANGUAGES[explanation.kind]
        parts += ["## Example", f"```{language}\n{explanation.example.rstrip()}\n```"]
    if explanation.example is not None and explanation.kind == "net":
        source = Source("example.net", explanation.example)
        found = compile_request(Request(source=source)).diagnostics
        parts += [f"```text\n{render(d)}\n```" for d in found if d.code == explanation.code][:1]
    return "\n\n".join(parts) + "\n"
