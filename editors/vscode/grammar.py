"""Writes `syntaxes/netspec.tmLanguage.json`, with the words that the language has.

python editors/vscode/grammar.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netspec.highlight.words import words

TARGET = Path(__file__).parent / "syntaxes/netspec.tmLanguage.json"
_FLOAT = r"\b[0-9][0-9_]*(?:\.[0-9_]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


def _rule(scope: str, pattern: str) -> dict[str, Any]:
    return {"name": f"{scope}.netspec", "match": pattern}


def _captured(pattern: str, *scopes: str) -> dict[str, Any]:
    captures = {
        str(at): {"name": f"{scope}.netspec"} for at, scope in enumerate(scopes, 1) if scope
    }
    return {"match": pattern, "captures": captures}


def _any(found: tuple[str, ...], after: str = r"\b") -> str:
    return rf"\b(?:{'|'.join(found)}){after}"


def grammar() -> dict[str, Any]:
    """Return the TextMate grammar."""
    known = words()
    label = r'(->)\s*((?:"(?:[^"\\]|\\.)*"|\{[^{}]*\}|[\w.-])+)\s*(:)'
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "netspec",
        "scopeName": "source.netspec",
        "fileTypes": ["net"],
        "patterns": [
            _rule("comment.line.number-sign.shape", r"#\s*\[[^\]]*\].*$"),
            _rule("comment.line.number-sign", r"#.*$"),
            _captured(label, "keyword.operator.arrow", "entity.name.label", "punctuation"),
            {
                "name": "string.quoted.double.netspec",
                "begin": '"',
                "end": '"|$',
                "patterns": [_rule("constant.character.escape", r"\\.")],
            },
            _rule("constant.numeric.float", _FLOAT),
            _rule("constant.numeric.integer", r"\b[0-9][0-9_]*\b"),
            _captured(rf"\b(net|block)\s+({_NAME})", "keyword.declaration", "entity.name.type"),
            _captured(rf"\.({_NAME})", "variable.other.property"),
            _rule("variable.other", rf"\b{_NAME}(?=\s*=(?!=))"),
            _rule("keyword.declaration", _any(known.declared, rf"(?=\s+{_NAME}\s*:)")),
            _rule("keyword.control", _any(known.keywords)),
            _rule("constant.language", _any(known.constants)),
            _rule("keyword.operator.word", _any(known.operators)),
            _rule("support.function", _any(known.ops)),
            _rule("entity.name.function", rf"\b{_NAME}(?=\s*\()"),
            _rule("keyword.operator.arrow", "->"),
            _rule("keyword.operator", r"\*\*|//|[-+*/%<>=!]=?"),
        ],
    }  # fmt: skip


def text() -> str:
    """Return the file."""
    return json.dumps(grammar(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
