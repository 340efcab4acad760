"""Syntax errors that come from another language's syntax, or are typical of beginners in this one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netspec import codes
from netspec.compiler.ops import registry
from netspec.compiler.parse.lalr import Token
from netspec.compiler.parse.layout import token_span
from netspec.compiler.parse.missing_arrows import arrow_of_the_line_above, commas_for_arrows
from netspec.compiler.syntax import other_frameworks
from netspec.diagnostics import Diagnostic, Edit, Hint, Source, Span, quoted

_CODE = codes.SYNTAX_UNEXPECTED_TOKEN
_DOTTED = re.compile(r"((?:[A-Za-z_]\w*\.)*)([A-Za-z_]\w*)?\.([A-Za-z_]\w*)[ \t]*$")
_LONGEST_DOTTED = 400  # longer ones were written by no one, and searching takes the square of it
# The names that layers in Python start with, as in `nn.Conv2d`.
_MODULES = frozenset("nn torch F tf keras layers functional np flax jax nnx".split())
_IS_PYTHON = re.compile(rf"\b(?:{'|'.join(sorted(_MODULES))}|self)\.\w|\w\([^()\n]*\)\(|\bself\.")
_PYTHON_LINE = re.compile(r"(?:import|from|class|def|model|if __name__|@)\b")
_OF_MODULE = re.compile(rf"\b(?:{'|'.join(sorted(_MODULES))})\.(?:\w+\.)*(\w+)")
_CALLED = re.compile(r"\(([^()\n]*)\)\(([^()\n]*)\)")
_VALUES = frozenset("x input inputs image value".split())
_SIZES = frozenset("size dim shape numel".split())
_NO_LAYERS = frozenset(
    "contiguous detach clone to cuda cpu float half double requires_grad_".split()
)
_BLOCK_HEAD = re.compile(
    r"[ \t]*(?:(?:inline|scan)[ \t]+)?block[ \t]+(\w+)[ \t]*(\(([^(){}\n]*)\))?[ \t]*$"
)
DEFINITION = re.compile(r"^[ \t]*(?:(?:inline|scan)[ \t]+)?(net|block)\b", re.MULTILINE)
_STATEMENT = re.compile(
    r"(?:input|output|return|init|assert|layer)\b(?!\s*=)"
    r"|(?:parameter|buffer|constant|state)[ \t]+[A-Za-z_]"
    r"|[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*\s*=(?!=)"
)
_IMPORT_OF_PYTHON = re.compile(
    r"import[ \t]+(?:[^\n]*[ \t]as[ \t]|(?:torch|torchvision|numpy|tensorflow|keras|jax|flax|math)\b)"
)
# `network Name(` and the like, in place of `net Name(`.
_CALLED_NET = re.compile(r"(?:network|model|module|graph|architecture)[ \t]+[A-Za-z_]\w*[ \t]*[({]")
_LEXEME = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*|\w+|.')


def foreign(source: Source, token: Token, accepted: set[str]) -> Diagnostic | None:
    """Return the diagnostic of an error that is recognized as another language's syntax, or None."""
    at = token_span(source, token)
    line_start = source.text.rfind("\n", 0, at.start) + 1
    before = source.text[line_start : at.start]
    if ("FROM" in accepted and not before.strip()) or accepted == {"STRING"}:
        if (python := _python_file(source, line_start)) is not None:
            return python
    elif (pasted := _pasted(source, at)) is not None:
        return pasted
    if dotted := _dotted_end(before):
        found = _dotted(source, token, line_start, dotted)
        if found is not None:
            return found
    if token == "{" and accepted <= {"NAME", "LPAR"} and (head := _BLOCK_HEAD.match(before)):
        return _block_without_value(source, at, line_start, head)
    if accepted == {"STRING"} and token.type == "NAME":
        return _import_without_quotes(source, at)
    if "FROM" in accepted and not before.strip():
        return _top_level(token, at)
    if "_NL" in accepted and _ends_early(source, token):
        return _one_line(source, token, at)
    return commas_for_arrows(source, token, accepted)


def expression_hint(source: Source, token: Token, accepted: set[str]) -> Hint | None:
    """Return a hint for `x -> relu` in place of a statement, which does not say what the value is
    for.
    """
    if "EQUAL" not in accepted or token not in ("->", "(", "+", "*", "."):
        return None
    at = token.start_pos or 0
    start = source.text.rfind("\n", 0, at) + 1
    match = re.compile(r"[ \t]*([A-Za-z_]\w*)[ \t]*$").match(source.text[start:at])
    if match is None:
        return None
    name = Span(source, start + match.start(1), start + match.end(1))
    if (arrow := arrow_of_the_line_above(source, start, name)) is not None:
        return arrow
    kind = ([found.group(1) for found in DEFINITION.finditer(source.text, 0, at)] or ["net"])[-1]
    word = "return" if kind == "block" else "output"
    end = re.compile(r"[^\n]*(?:\n[ \t]*->[^\n]*)*\s*").match(source.text, at)
    if end is None or source.text[end.end() : end.end() + 1] != "}":
        return Hint(f"give the value a name, `y = x -> ...`, or write `{word} x -> ...`")
    place = Span(source, name.start, name.start)
    return Hint(
        f"if that is what the {kind} gives, write `{word}` before it", (Edit(place, f"{word} "),)
    )


def _pasted(source: Source, at: Span) -> Diagnostic | None:
    """Return the diagnostic for a statement pasted from PyTorch or Keras, or None."""
    from netspec.compiler.parse import pasted_python  # loads Python's parser, rarely needed

    statement = pasted_python.statement_at(source, at.start)
    found = _IS_PYTHON.search(statement.text)
    if found is None:
        return None
    hint: Hint | None = None
    if (better := pasted_python.translated(statement.text)) is not None:
        hint = Hint(f"write {quoted(better)}", (Edit(statement, better),), stands=True)
    elif (chain := pasted_python.chain(statement.text)) is not None:
        hint = Hint(f"layers are joined by arrows: {quoted(chain)}")
    if hint is None:
        return None
    word = found[0].partition(".")[0]
    message = f"layers have names without `{word}.` here"
    if "." not in found[0]:
        message = "the value comes first, and the layers after it"
    elif word == "self":
        message = "a net has no `self`: a layer that is called by a name is declared by `layer`"
    first = statement.text.partition("\n")[0]
    span = (
        statement
        if "\n" in statement.text
        else Span(source, statement.start, statement.start + len(first))
    )
    return Diagnostic(_CODE, message, span, hints=(hint,))


def _python_file(source: Source, line_start: int) -> Diagnostic | None:
    """Return the diagnostic for a file of Python, in which there is no net at all, or None."""
    line = source.text[line_start:].partition("\n")[0]
    if DEFINITION.search(source.text) or not _PYTHON_LINE.match(line):
        return None
    rows = source.text.split("\n")
    if all(row.startswith("import ") for row in rows if row.strip()):
        return None  # the first line of a net that is being written
    from netspec.compiler.parse import pasted_python

    shown = pasted_python.examples(source.text)
    hints = [Hint("a network is written `net NAME { ... }`, with an `input` and an `output` in it")]
    hints += [Hint(f"{quoted(python)} is {quoted(ours)}") for python, ours in shown]
    span = Span(source, line_start, line_start + len(line.rstrip()))
    message = "this is Python, and a .net file has a language of its own"
    return Diagnostic(_CODE, message, span, hints=tuple(hints))


def _dotted_end(before: str) -> re.Match[str] | None:
    """The dotted name that a part of a line ends with."""
    start = max(0, len(before) - _LONGEST_DOTTED)
    found = _DOTTED.search(before, start)
    is_cut = start and (before[start - 1] in "._" or before[start - 1].isalnum())
    return None if found is None or (is_cut and found.start() == start) else found


def _dotted(
    source: Source, token: Token, line_start: int, dotted: re.Match[str]
) -> Diagnostic | None:
    """Return the diagnostic for `nn.Conv2d(...)` or `x.view(...)`, or None."""
    prefix, last, name = dotted.groups()
    modules = f"{prefix}{last or ''}"
    known = list(registry())
    meant = other_frameworks.layer_meant(name, known)
    advice = other_frameworks.why_absent(name)
    if modules.split(".", maxsplit=1)[0] in _MODULES:
        span = Span(source, line_start + dotted.start(), line_start + dotted.end(3))
        message = f"layers have names without `{modules}.` here"
        hint = Hint(advice) if advice else _own_names(source, span, meant)
        return Diagnostic(_CODE, message, span, hints=(hint,) if hint else ())
    if token != "(":
        return None
    span = Span(source, line_start + dotted.start(3) - 1, line_start + dotted.end(3))
    message = f"a value has no methods, such as `{name}`: layers follow arrows"
    hint = None
    if name in _SIZES:
        hint = Hint(
            "`x.shape`, `x.channels`, `x.height` and `x.width` are constants, and not called"
        )
    elif name in _NO_LAYERS:
        hint = Hint("leave it out")
    elif meant == "reshape":
        hint = Hint("`x -> flatten`, or `x -> reshape([8, 4])` for another shape of each image")
    elif meant is not None:
        hint = Hint(f"write `-> {meant}`", (Edit(span, f" -> {meant}"),))
    return Diagnostic(_CODE, message, span, hints=(hint,) if hint else ())


def _own_names(source: Source, span: Span, meant: str | None) -> Hint | None:
    """Return a hint that renames all layers on this line to ours, as in
    `nn.Conv2d(6, 5)(x) -> nn.ReLU()`.
    """
    if meant is None:
        return None
    text = source.text
    if called := _CALLED.match(text, span.end):
        arguments, value = called.groups()
        better = f"{value} -> {meant}({arguments})"
        edits = [Edit(Span(source, span.start, called.end()), better)]
        return Hint(f"the value comes first: `{better}`", tuple(edits))
    edits = [Edit(span, meant)]
    end = text.find("\n", span.end)
    for other in _OF_MODULE.finditer(text, span.end, end if end >= 0 else len(text)):
        name = other_frameworks.layer_meant(other.group(1), list(registry()))
        if name is not None:
            edits.append(Edit(Span(source, *other.span()), name))
    return Hint(f"write `{meant}`", tuple(edits))


def _block_without_value(
    source: Source, at: Span, line_start: int, head: re.Match[str]
) -> Diagnostic:
    """Return the diagnostic for `block R(x, c) {`, where the value is among the arguments or
    missing.
    """
    name, brackets, inside = head.groups()
    message = f"block {name} has no value to work on: its name stands behind the brackets"
    names = [part.strip() for part in (inside or "").split(",") if part.strip()]
    body = source.text[at.end : _end_of_body(source.text, at.end)]
    plain = [each for each in names if each.isidentifier()]
    flows = (each for each in plain if re.search(rf"\b{each}\s*(?:->|\.\w)", body))
    value = next(flows, None) or next((each for each in plain if each in _VALUES), None)
    if value is None:
        end = len(head.group(0).rstrip())
        place = Span(source, line_start + end, line_start + end)
        hint = Hint(f"write `block {name}{brackets or ''} x {{`", (Edit(place, " x"),))
    else:
        rest = ", ".join(each for each in names if each != value)
        better = f"({rest}) {value}" if rest else f" {value}"
        place = Span(source, line_start + head.start(2), line_start + head.end(2))
        hint = Hint(f"write `block {name}{better} {{`", (Edit(place, better),))
    return Diagnostic(_CODE, message, at, label="expected a name", hints=(hint,))


def _end_of_body(text: str, at: int) -> int:
    following = DEFINITION.search(text, at)
    return following.start() if following else len(text)


def _import_without_quotes(source: Source, at: Span) -> Diagnostic:
    """Return the diagnostic for `from lib import Block`, whose file name is not a string."""
    end = at.end
    while source.text[end : end + 1] and (source.text[end].isalnum() or source.text[end] in "._/-"):
        end += 1
    span = Span(source, at.start, end)
    written = span.text.removesuffix(".net").replace(".", "/")
    hint = Hint(f'write `"{written}.net"`', (Edit(span, f'"{written}.net"'),))
    message = "an import names a file, as a string"
    return Diagnostic(_CODE, message, span, label="expected a string", hints=(hint,))


def _top_level(token: Token, at: Span) -> Diagnostic | None:
    """Return the diagnostic for a Python statement in place of a definition, or None."""
    advice = {
        "import": 'blocks of another file are imported by `from "FILE.net" import NAME`',
        "def": "a network is written `net NAME { ... }`, a part of one `block NAME(...) x { ... }`",
        "class": "a network is written `net NAME { ... }`",
    }.get(str(token))
    if _IMPORT_OF_PYTHON.match(at.source.text, at.start):
        advice = f"nothing of Python is imported, layers are known by their names; {advice}"
    hint = None if advice is None else Hint(advice)
    if _CALLED_NET.match(at.source.text, at.start):
        hint = Hint("a network is declared by `net`", (Edit(at, "net"),), stands=True)
    if hint is None:
        return None
    return Diagnostic(
        _CODE, f"unexpected {quoted(token)}", at,
        label="expected `net`, `block` or `from`", hints=(hint,),
    )  # fmt: skip


# ------------------------------------------------------------------------ several statements on a line


def _ends_early(source: Source, token: Token) -> bool:
    """Whether a statement starts here, or after the comma or semicolon here."""
    at = token_span(source, token)
    behind = at.end if token in (",", ";") else at.start
    while source.text[behind : behind + 1] in (" ", "\t"):
        behind += 1
    return _STATEMENT.match(source.text, behind) is not None


def _one_line(source: Source, token: Token, at: Span) -> Diagnostic:
    edits = tuple(separations(source, at.start))
    message = "each statement needs a line of its own"
    hints = (Hint("put line breaks between them", edits),) if edits else ()
    return Diagnostic(_CODE, message, at, label="a new statement", hints=hints)


def separations(source: Source, at: int) -> Iterator[Edit]:
    """Yield the edits that put the statements of a line, from a place on, on lines of their own.

    A line break takes the place of the `,` or `;` between two statements, if there is one.
    """
    line_end = source.text.find("\n", at)
    line_end = len(source.text) if line_end < 0 else line_end
    depth, gap = 0, at
    for lexeme in _LEXEME.finditer(source.text, at, line_end):
        text = lexeme.group()
        depth += (text in "([") - (text in ")]")
        if text.isspace():
            continue
        if depth == 0 and _STATEMENT.match(source.text, lexeme.start()):
            yield Edit(Span(source, gap, lexeme.start()), "\n")
        elif depth == 0 and text == ";":
            rest = source.text[lexeme.end() : line_end].strip()
            if not rest or rest[0] in "}#":
                yield Edit(Span(source, lexeme.start(), lexeme.end()), "")
        gap = lexeme.start() if text in (",", ";") else lexeme.end()
