"""What a parser error means for the person who wrote the file, and how to go on after it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from netspec.compiler.parse.layout import Layout, token_span
from netspec.diagnostics import Diagnostic, Edit, Hint, Label, Source, Span, suggest

_TOKEN_WORDS = {
    "_NL": "a line break",
    "NAME": "a name",
    "INT": "a number",
    "FLOAT": "a number",
    "STRING": "a string",
    "COMPARE": "a comparison",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "$END": "the end of the file",
}
_STATEMENTS = ("assert", "for", "if", "init", "input", "layer", "output", "return")
_DEFINITIONS = ("net", "block", "from", "language")


def syntax_error(
    source: Source, error: UnexpectedInput, layout: Layout, literals: Mapping[str, str]
) -> Diagnostic:
    """The diagnostic of a parser error; `literals` maps terminal names to their fixed texts."""
    if isinstance(error, UnexpectedCharacters):
        return _unexpected_character(source, error.pos_in_stream or 0)
    assert isinstance(error, UnexpectedToken)
    token = error.token
    span = token_span(source, token)
    expected = set(error.accepts or error.expected or ())
    unclosed = _unclosed_bracket(source, layout, token)
    if unclosed is not None:
        return unclosed
    if token.type == "$END" or (token.type == "_NL" and token.start_pos is None):
        if layout.open:
            opener = token_span(source, layout.open[-1])
            return _unclosed(opener)
        end = len(source.text.rstrip())
        return Diagnostic(
            "error", "syntax/unexpected-end", "the file ends in the middle of a definition",
            Span(source, end, end),
        )  # fmt: skip
    words = _expected_words(expected, literals)
    what = "the line ends here" if token.type == "_NL" else f"unexpected `{_short(str(token))}`"
    hints: tuple[Hint, ...] = ()
    if str(token) == "=" and "COMPARE" in expected:
        hints = (Hint("compare with `==`", (Edit(span, "=="),)),)
    elif token.type == "NAME" or str(token) in (":", "->"):
        hints = _keyword_hint(source, token)
    return Diagnostic(
        "error", "syntax/unexpected-token", what, span,
        label=f"expected {words}" if words else "", hints=hints,
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _expected_words(expected: set[str], literal: Mapping[str, str]) -> str:
    """What could have stood here, in words, where the list is short enough to help."""
    if "_NL" in expected and len(expected) > 4:
        return "the end of the statement, or an operator"
    if {"NAME", "STRING", "LSQB"} <= expected:
        return "an expression"
    words = {
        _TOKEN_WORDS.get(name) or (f"`{literal[name]}`" if name in literal else "")
        for name in expected
        if not name.startswith("INTERPOLATE")
    }
    words.discard("")
    return " or ".join(sorted(words)) if 0 < len(words) <= 4 else ""


def _keyword_hint(source: Source, token: lark.Token) -> tuple[Hint, ...]:
    """`ouput x -> relu`: the statement starts with a word that looks like a keyword."""
    line_start = source.text.rfind("\n", 0, token.start_pos or 0) + 1
    match = re.compile(r"[ \t]*([A-Za-z_]\w*)").match(source.text, line_start)
    if match is None:
        return ()
    word, at = match.group(1), match.start(1)
    meant = suggest(word, _STATEMENTS + _DEFINITIONS)
    if meant is None or word in _STATEMENTS + _DEFINITIONS:
        return ()
    edit = Edit(Span(source, at, at + len(word)), meant)
    return (Hint(f"did you mean `{meant}`?", (edit,)),)


def _unexpected_character(source: Source, at: int) -> Diagnostic:
    char = source.text[at : at + 1]
    span = Span(source, at, at + 1)
    if char == '"':
        line_end = source.text.find("\n", at)
        span = Span(source, at, line_end if line_end >= 0 else len(source.text))
        return Diagnostic("error", "syntax/string", "this string is not closed on its line", span)
    if char in "()[]{}":
        return Diagnostic("error", "syntax/bracket", f"unexpected `{char}`", span)
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    hints: tuple[Hint, ...] = ()
    replacements = {";": "\n", "'": '"', "–": "-", "—": "-", "−": "-", "→": "->", "×": "*"}
    if char == "'":
        hints = (Hint('strings are written with double quotes, "like this"'),)
    elif char in replacements:
        better = "a line break" if char == ";" else f"`{replacements[char]}`"
        hints = (Hint(f"write {better} instead", (Edit(span, replacements[char]),)),)
    message = f"`{shown}` cannot stand here"
    return Diagnostic("error", "syntax/character", message, span, hints=hints)


def _unclosed(opener: Span, stop: Span | None = None) -> Diagnostic:
    return Diagnostic(
        "error", "syntax/bracket", f"`{opener.text}` is never closed", opener,
        secondary=(Label(stop, "a new statement starts here"),) if stop else (),
    )  # fmt: skip


def _unclosed_bracket(source: Source, layout: Layout, token: lark.Token) -> Diagnostic | None:
    """A bracket left open swallows the next line: blame the bracket, not the line."""
    opener = layout.open[-1] if layout.open else None
    if opener is None or token.start_pos is None or token.type in ("RPAR", "RSQB"):
        return None
    at = token.start_pos
    if token.type == "RBRACE" or opener.type in ("LPAR", "LSQB"):
        line_start = source.text.rfind("\n", 0, at) + 1
        first_on_line = not source.text[line_start:at].strip()
        starts_statement = re.compile(
            rf"(?:{'|'.join(_STATEMENTS + _DEFINITIONS)})\b|[A-Za-z_]\w*\s*=(?!=)|\}}"
        ).match(source.text, line_start + len(source.text[line_start:at]))
        opener_span = token_span(source, opener)
        if opener.type != "LBRACE" and (first_on_line or starts_statement):
            earlier = source.position(opener_span.start)[0] < source.position(at)[0]
            if earlier:
                return _unclosed(opener_span, Span(source, at, at + max(1, len(token))))
    return None


def without_statement(text: str, diagnostic: Diagnostic) -> str:
    """The text with the lines of a bad statement blanked, so that the rest can be parsed.

    A line that opens a body keeps its braces; otherwise every later line would be blamed too.
    """
    assert diagnostic.span is not None
    at = min(diagnostic.span.start, len(text) - 1)
    if diagnostic.code in ("limit/nesting", "syntax/unexpected-end"):
        return ""
    start = text.rfind("\n", 0, max(at, 0)) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    # Continuation lines belong to the statement.
    while re.compile(r"[ \t]*(?:->|[-+*/%<>=!])").match(text, start) and start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
    while (match := re.compile(r"\n[ \t]*(?:->|[-+*/%<>=!])[^\n]*").match(text, end)) is not None:
        end = match.end()
    line = text[start:end]
    if "{" in line or "}" in line or not line.strip():
        return ""
    return text[:start] + re.sub(r"[^\n]", " ", line) + text[end:]
