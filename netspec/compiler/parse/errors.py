"""Turns parser errors into diagnostics that explain them to the author of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from netspec import codes
from netspec.compiler.ops import registry
from netspec.compiler.parse.foreign_syntax import DEFINITION, expression_hint, foreign, separations
from netspec.compiler.parse.indented_bodies import braces_hint
from netspec.compiler.parse.lalr import Token
from netspec.compiler.parse.layout import CLOSES, token_span
from netspec.compiler.parse.recognizer import Refusal
from netspec.compiler.parse.slips import comment_at, slip_at
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.diagnostics import Diagnostic, Edit, Hint, Label, Source, Span, quoted, suggest

_TOKEN_WORDS = {
    "_NL": "a line break",
    "NAME": "a name",
    "INT": "a number",
    "FLOAT": "a number",
    "STRING": "a string",
    "COMPARE": "a comparison",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "INTERPOLATE_END": "`}`",
    "$END": "the end of the file",
}
_LONGEST_CALL = 400
_NO_NET = "a net is written `net Name { ... }`, with an `input` and an `output` in it"
_OUTSIDE = "statements stand between the `{` and the `}` of a net or a block"
# A bracket that is open where a line is cut off.
_IN_BRACKETS = re.compile(r"[(\[][^()\[\]]*$")
_STATEMENTS = (
    "assert", "buffer", "constant", "for", "if", "init", "input", "layer", "output", "parameter",
    "return", "state",
)  # fmt: skip
_DEFINITIONS = ("net", "block", "inline", "scan", "from", "language")


def explained(
    source: Source,
    refusal: Refusal,
    open_brackets: Sequence[Token],
    literals: Mapping[str, str],
) -> tuple[Diagnostic, bool]:
    """Return the diagnostic for an unexpected token, and whether it is about the whole statement.

    Args:
        source: the text.
        refusal: the token, and the kinds of tokens that were expected.
        open_brackets: the brackets that are open before it, outermost first.
        literals: the fixed texts of terminals, by their names.
    """
    token, accepted = refusal
    if (comment := comment_at(source, token.start_pos or 0)) is not None:
        span, hint = comment
        message = "this is not a comment here"
        return Diagnostic(codes.SYNTAX_UNEXPECTED_TOKEN, message, span, hints=(hint,)), True
    bracket = _bracket(source, open_brackets, token)
    if bracket is not None:
        return bracket, False
    span = token_span(source, token)
    known = foreign(source, token, accepted)
    if known is not None:
        return known, "NAME" not in accepted or len(accepted) > 2
    known_slip = braces_hint(source, span.start) or slip_at(source, span.start)
    hints = (known_slip,) if known_slip is not None else _hints(source, token, accepted, literals)
    what = "the line ends here" if token.type == "_NL" else f"unexpected {quoted(token, 40)}"
    words = _expected_words(accepted, literals)
    diagnostic = Diagnostic(
        codes.SYNTAX_UNEXPECTED_TOKEN, what, span,
        label=f"expected {words}" if words else "", hints=hints,
    )  # fmt: skip
    return diagnostic, known_slip is not None


def _expected_words(accepted: set[str], literals: Mapping[str, str]) -> str:
    """Describe the expected tokens in words; an empty text where the list would be too long to
    help.
    """
    if {"FROM", "NET"} <= accepted and "NAME" not in accepted:
        return "`net`, `block` or `from`"
    if "INTERPOLATE" in accepted:
        return "a layer"
    if {"NAME", "STRING", "LSQB"} <= accepted:
        return "an expression"
    if len(accepted) <= 4:
        words = {_TOKEN_WORDS.get(name) or f"`{literals.get(name, name)}`" for name in accepted}
    else:
        # After a complete expression only an operator or one of these tokens can follow; name only
        # these.
        ends = [name for name in ("COMMA", "RPAR", "RSQB", "LBRACE") if name in accepted]
        words = {f"`{literals[name]}`" for name in ends} or {"the end of the statement"}
    return " or ".join(sorted(words))


def _hints(
    source: Source, token: Token, accepted: set[str], literals: Mapping[str, str]
) -> tuple[Hint, ...]:
    """Return hints about what was probably meant."""
    span = token_span(source, token)
    text = source.text
    before = text[: span.start].rstrip(" \t")
    starts_value = token.type in ("NAME", "INT", "FLOAT", "STRING", "LSQB", "LPAR")
    hint = _colon_hint(source, token, accepted, before, starts_value=starts_value)
    if hint is not None:
        pass
    elif accepted == {"IMPORT"} and token.type in ("NAME", "USE"):
        hint = _import_word(source, span)
    elif token == "=" and "COMPARE" in accepted and "LBRACE" in accepted:
        hint = Hint("compare with `==`", (Edit(span, "=="),))
    elif (sizes := _SIZES.search(text, max(0, span.start - 9), span.end)) is not None:
        hint = _square(Span(source, *sizes.span()))
    elif "COMMA" in accepted and starts_value and {"RPAR", "RSQB"} & accepted:
        hint = Hint("put a comma between them", tuple(_commas(source, len(before), span.start)))
    elif "->" in map(literals.get, accepted) and _is_layer(token):
        arrow = Edit(Span(source, len(before), len(before)), " ->")
        hint = Hint("put an arrow between them", (arrow,))
    elif token == "in" and "COMPARE" in accepted:
        hint = Hint('compare with each: `kind == "a" or kind == "b"`')
    elif token == ":" and _LABEL_FIRST.search(before[-_LONGEST_LABEL:]):
        hint = Hint("a label stands behind an arrow: `x -> label: conv(...)`")
    elif token in _OPERATORS and _after_stage(text, span):
        hint = Hint("put the chain in brackets: `(x -> ...) + y`")
    else:
        hint = (
            expression_hint(source, token, accepted)
            or _keyword_hint(source, token)
            or _outside_hint(source, token, accepted)
        )
    return () if hint is None else (hint,)


def _colon_hint(
    source: Source, token: Token, accepted: set[str], before: str, *, starts_value: bool
) -> Hint | None:
    """Return a hint about a colon in the place of `=`, `=` in that of a colon, or neither."""
    text, span = source.text, token_span(source, token)
    if token == ":" and "EQUAL" in accepted:
        typed = _TYPED.match(text, span.start)
        if typed is not None:
            place = Span(source, len(before), typed.end())
            return Hint("arguments have no types", (Edit(place, ""),))
        is_apart = text.startswith(" ", span.end)
        return Hint("write `=` instead", (Edit(span, " =" if is_apart else " = "),))
    if token == "=" and (declared := _DECLARED.search(before[-_LONGEST_LABEL:])) is not None:
        shown = "input image: [1, 28, 28]" if declared[1] == "input" else "output x -> ..."
        return Hint(f"`{declared[1]}` is a word of the language: write `{shown}`")
    if accepted != {"COLON"}:
        return None
    if token == "=":
        return Hint("write `:` instead", (Edit(Span(source, len(before), span.end), ":"),))
    if not starts_value:
        return None
    colon = ":" if text.startswith(" ", len(before)) else ": "
    place = Span(source, len(before), len(before))
    return Hint("put a colon between them", (Edit(place, colon),))


def _import_word(source: Source, span: Span) -> Hint:
    """Return the hint for a word in place of `import`, or for what is imported right behind the file."""
    is_name = re.compile(r"[ \t]+[A-Za-z_]").match(source.text, span.end) is None
    edit = (
        Edit(Span(source, span.start, span.start), "import ") if is_name else Edit(span, "import")
    )
    return Hint("write `import`" + (" before it" if is_name else ""), (edit,))


# Rows and columns as `3x3`, and no longer than that.
_SIZES = re.compile(r"(?<![\w.])\d{1,4}x\d{1,4}\Z")


def _square(sizes: Span) -> Hint:
    """Return the hint for a kernel that is written `3x3`."""
    rows, columns = sizes.text.split("x")
    better = rows if rows == columns else f"[{rows}, {columns}]"
    return Hint(f"rows and columns are written {quoted(better)}", (Edit(sizes, better),))


def _is_layer(token: Token) -> bool:
    """Whether a token is the name of a layer, or like that of a block."""
    return token.type == "NAME" and (token in registry() or token[:1].isupper())


# The word of a declaration at the beginning of a line.
_DECLARED = re.compile(r"(?:^|\n)[ \t]*(input|output)$")
# A type as Python writes it.
_TYPED = re.compile(r":\s*(?:list\[\w+\]|(?:int|float|bool|str|list)\b)")
# Values behind one another, up to the end of their list.
_LISTED = re.compile(r"[\w.]+((?:[ \t]+[\w.]+)*)[ \t]*[\])]")
_GAP = re.compile(r"(?<=[\w.])(?=[ \t]+[\w.])")


def _commas(source: Source, at: int, following: int) -> Iterator[Edit]:
    """Yield a comma for a place, and for those like it up to the end of the list."""
    yield Edit(Span(source, at, at), ",")
    rest = _LISTED.match(source.text, following)
    if rest is not None:
        for gap in _GAP.finditer(source.text, following, rest.end()):
            yield Edit(Span(source, gap.start(), gap.start()), ",")


_OPERATORS = ("+", "-", "*", "/", "%", "**", "//")
# A name that nothing but a bracket or the `=` of a statement stands in front of.
_LABEL_FIRST, _LONGEST_LABEL = re.compile(r"[(=]\s*[A-Za-z_][\w.]*$"), 200


def _after_stage(text: str, span: Span) -> bool:
    """Whether the line has an arrow before this place: an operator cannot follow a layer."""
    return "->" in text[text.rfind("\n", 0, span.start) + 1 : span.start]


def _keyword_hint(source: Source, token: Token) -> Hint | None:
    """Return a hint if the statement starts with a misspelt keyword, as in `ouput x -> relu`."""
    line_start = source.text.rfind("\n", 0, token.start_pos or 0) + 1
    match = re.compile(r"[ \t]*([A-Za-z_]\w*)").match(source.text, line_start)
    if match is None or match.group(1) in KEYWORDS:
        return None
    words = _DEFINITIONS if match.start(1) == line_start else _STATEMENTS
    meant = suggest(match.group(1), words)
    if meant is None:
        return None
    edit = Edit(Span(source, match.start(1), match.end(1)), meant)
    return Hint(f"did you mean `{meant}`?", (edit,))


def _outside_hint(source: Source, token: Token, accepted: set[str]) -> Hint | None:
    """Return the hint for a statement outside of any net."""
    if not {"FROM", "NET"} <= accepted or token not in _STATEMENTS:
        return None
    return Hint(_OUTSIDE if DEFINITION.search(source.text) else _NO_NET)


def unexpected_character(source: Source, at: int) -> Diagnostic:
    """Return the diagnostic for a place where no token starts."""
    char = source.text[at : at + 1]
    span = Span(source, at, at + 1)
    if char == '"':
        line_end = source.text.find("\n", at)
        span = Span(source, at, line_end if line_end >= 0 else len(source.text))
        return Diagnostic(codes.SYNTAX_STRING, "this string is not closed on its line", span)
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    hints: tuple[Hint, ...] = ()
    if char == ";":
        edits = tuple(separations(source, at))
        hints = (Hint("a line break ends a statement", edits),) if edits else ()
        if _IN_BRACKETS.search(source.text[max(source.text.rfind("\n", 0, at), at - 400) + 1 : at]):
            hints = (Hint("arguments are separated by `,`", (Edit(span, ","),)),)
    elif (hint := slip_at(source, at)) is not None:
        hints = (hint,)
    message = f"`{shown}` cannot stand here"
    return Diagnostic(codes.SYNTAX_CHARACTER, message, span, hints=hints)


def _bracket(source: Source, open_brackets: Sequence[Token], token: Token) -> Diagnostic | None:
    """Return the diagnostic of a bracket that is never closed, or closes nothing; None if neither
    is so.
    """
    opener = open_brackets[-1] if open_brackets else None
    if token.type == "$END" or (token.type == "_NL" and token.start_pos is None):
        if opener is not None:
            return unclosed(source, opener)
        end = len(source.text.rstrip())
        message = "the file ends in the middle of a definition"
        return Diagnostic(codes.SYNTAX_UNEXPECTED_END, message, Span(source, end, end))
    span = token_span(source, token)
    inside = opener is not None and opener.type in ("LPAR", "LSQB")
    if inside and opener is not None and token.type in CLOSES:
        closer = "]" if opener.type == "LSQB" else ")"
        before = Span(source, span.start, span.start)
        if token != closer and CLOSES[token.type] != opener.type:
            return Diagnostic(
                codes.SYNTAX_BRACKET, f"`{opener}` is closed by `{token}`", span,
                label=f"expected `{closer}`",
                secondary=(Label(token_span(source, opener), "opened here"),),
                hints=(Hint(f"close it first: `{closer}{token}`", (Edit(before, closer),)),),
            )  # fmt: skip
    elif opener is not None and token == "for" and _is_in_list(source, opener, span):
        return Diagnostic(
            codes.SYNTAX_UNEXPECTED_TOKEN, "a list has no `for` in it", span,
            hints=(Hint("fill it in a loop: `a = []`, and `for i in range(n) { a = a + [i] }`"),),
        )  # fmt: skip
    elif inside and opener is not None and _starts_statement(source, token):
        return unclosed(source, opener, Label(span, "a new statement starts here"))
    elif not inside and (token.type in CLOSES or (token == "}" and opener is None)):
        message = f"this `{token}` closes nothing"
        hints = (Hint("leave it out", (Edit(span, ""),)),)
        return Diagnostic(codes.SYNTAX_BRACKET, message, span, hints=hints)
    return None


_DEFINED = re.compile(
    r"(?P<indent>[ \t]*)(?:(?:inline|scan)[ \t]+)?(?P<kind>block|net)[ \t]+(?P<name>[A-Za-z_]\w*)"
)


def definition_inside(
    source: Source, open_brackets: Sequence[Token], token: Token
) -> Diagnostic | None:
    """Return the diagnostic of a block or a net in the body of another; None if it is none.

    One that is not indented more than what is open stands behind a body that is not closed.
    """
    opener = open_brackets[0] if open_brackets else None
    if opener is None or opener.type != "LBRACE" or token.start_pos is None:
        return None
    head = source.text[source.text.rfind("\n", 0, opener.start_pos or 0) + 1 :]
    line_start = source.text.rfind("\n", 0, token.start_pos) + 1
    found = _DEFINED.match(source.text, line_start)
    if found is None or not found.end("indent") < token.start_pos < found.end():
        return None
    if len(found["indent"]) <= len(head) - len(head.lstrip(" \t")):
        return None
    around = "block" if re.match(r"\s*(?:(?:inline|scan)\s+)?block\b", head) else "net"
    return Diagnostic(
        codes.SYNTAX_UNEXPECTED_TOKEN, f"a {found['kind']} stands outside of the {around}",
        Span(source, found.end("indent"), found.end()),
        secondary=(Label(token_span(source, opener), "this is open"),),
        hints=(Hint(f"move it in front of the {around}, up to its `}}`"),),
    )  # fmt: skip


def _is_in_list(source: Source, opener: Token, span: Span) -> bool:
    """Whether a place is behind something else on its line, in square brackets."""
    line_start = source.text.rfind("\n", 0, span.start) + 1
    return opener.type == "LSQB" and bool(source.text[line_start : span.start].strip())


def _starts_statement(source: Source, token: Token) -> bool:
    """Whether a token is the first on its line, or looks like the start of a statement."""
    at = token.start_pos
    if at is None or token.type == "_NL":
        return False
    line_start = source.text.rfind("\n", 0, at) + 1
    looks_like_one = re.compile(
        rf"(?:{'|'.join(_STATEMENTS + _DEFINITIONS)})\b|[A-Za-z_]\w*\s*=(?!=)|\}}"
    ).match(source.text, at)
    return not source.text[line_start:at].strip() or (
        looks_like_one is not None and token.type not in ("NAME", "IF")
    )


def unclosed(source: Source, opener: Token, *places: Label) -> Diagnostic:
    """Return the diagnostic of a bracket that is never closed, with labels for the places that show
    it.
    """
    span = token_span(source, opener)
    message = f"`{opener}` is never closed"
    hints = tuple(_closing(source, span) if opener == "{" else _closing_in_line(source, span))
    return Diagnostic(codes.SYNTAX_BRACKET, message, span, secondary=places, hints=hints)


# Where what a bracket was opened for ends, if it is not closed: before an arrow, a body or a comment.
_BEHIND_ARGUMENTS = re.compile(r"\s*(?:->|\{\s*$|#|$)", re.MULTILINE)


def _closing_in_line(source: Source, opener: Span) -> Iterator[Hint]:
    """Yield the hint to close a bracket on its line."""
    end = source.text.find("\n", opener.end)
    end = len(source.text) if end < 0 else end
    found = _BEHIND_ARGUMENTS.search(source.text, opener.end, min(end, opener.end + _LONGEST_CALL))
    if found is None:
        return
    closer = ")" if opener.text == "(" else "]"
    better = source.text[opener.start : found.start()] + closer
    yield Hint(
        f"close it: {quoted(better, 60)}",
        (Edit(Span(source, found.start(), found.start()), closer),),
    )


def _closing(source: Source, opener: Span) -> Iterator[Hint]:
    """Yield the hint to close a body behind the lines that are indented more than its head."""
    text = source.text
    start = text.rfind("\n", 0, opener.start) + 1
    head = text[start : opener.start]
    indent = head[: len(head) - len(head.lstrip())]
    at = end = len(text) if (first := text.find("\n", opener.end)) < 0 else first
    while at < len(text):
        following = text.find("\n", at + 1)
        following = len(text) if following < 0 else following
        line = text[at + 1 : following]
        inner = line[: len(line) - len(line.lstrip())]
        if line.strip() and len(inner) <= len(indent):
            break
        at, end = following, following if line.strip() else end
    yield Hint("close it", (Edit(Span(source, end, end), f"\n{indent}}}"),))
