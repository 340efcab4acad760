"""The Pygments lexer `netspec`, for documents, notebooks and terminals.

It is found by Pygments through the entry point of the package: `pygmentize -l netspec lenet.net`, or
a block ```` ```netspec ```` in Sphinx and MkDocs.
"""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.lexer import words as any_of
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Whitespace,
)

from netspec.highlight.words import words

_WORDS = words()
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class NetspecLexer(RegexLexer):
    """Colours `.net` files."""

    name = "netspec"
    url = ""
    aliases: ClassVar[list[str]] = ["netspec"]
    filenames: ClassVar[list[str]] = ["*.net"]
    mimetypes: ClassVar[list[str]] = ["text/x-netspec"]

    tokens: ClassVar = {
        "root": [
            (r"\s+", Whitespace),
            (r"#\s*\[[^\]\n]*\][^\n]*", Comment.Special),  # the shape behind a line
            (r"#[^\n]*", Comment.Single),
            (
                r'(->)(\s*)((?:"(?:[^"\\\n]|\\.)*"|\{[^{}\n]*\}|[\w.-])+)(\s*)(:)',
                bygroups(Operator, Whitespace, Name.Label, Whitespace, Punctuation),
            ),
            (r'"(?:[^"\\\n]|\\.)*"', String.Double),
            (r"[0-9][0-9_]*(?:\.[0-9_]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", Number.Float),
            (r"[0-9][0-9_]*", Number.Integer),
            (rf"(net|block)(\s+)({_NAME})", bygroups(Keyword, Whitespace, Name.Class)),
            (rf"(\.)({_NAME})", bygroups(Punctuation, Name.Attribute)),
            (rf"{_NAME}(?=\s*=(?!=))", Name.Variable),
            (any_of(_WORDS.declared, prefix=r"\b", suffix=rf"(?=\s+{_NAME}\s*:)"), Keyword),
            (any_of(_WORDS.keywords, prefix=r"\b", suffix=r"\b"), Keyword),
            (any_of(_WORDS.constants, prefix=r"\b", suffix=r"\b"), Keyword.Constant),
            (any_of(_WORDS.operators, prefix=r"\b", suffix=r"\b"), Operator.Word),
            (any_of(_WORDS.ops, prefix=r"\b", suffix=r"\b"), Name.Builtin),
            (rf"{_NAME}(?=\s*\()", Name.Function),
            (_NAME, Name),
            (r"->|[-+*/%<>=!]=?|\*\*|//", Operator),
            (r"[()\[\]{},:.]", Punctuation),
        ]
    }
