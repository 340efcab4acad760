"""Silences the warnings about a model that is as it is: `# allow:` comments where they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec.compiler.fmt.formatter import formatted
from netspec.compiler.parse import parse
from netspec.diagnostics import Source
from netspec.imports.proof import CheckedText, checked_tree

if TYPE_CHECKING:
    from netspec.compiler.syntax import tree as syntax

# How often comments are added: each may make a line longer, and so move others.
_ROUNDS = 3


def allowed(tree: syntax.File) -> tuple[str, CheckedText]:
    """Return a text in which what is odd about the model is allowed, and the same compiled.

    Raises:
        NetspecError: with the errors of the text.
    """
    checked = checked_tree(tree)
    for _ in range(_ROUNDS):
        codes: dict[int, set[str]] = {}
        for warning in checked.warnings:
            if warning.span is not None:
                codes.setdefault(warning.span.line, set()).add(str(warning.code))
        if not codes:
            break
        lines: list[str] = []
        for number, line in enumerate(tree.source.text.splitlines(), 1):
            indent = line[: len(line) - len(line.lstrip())]
            if number in codes:
                lines.append(f"{indent}# allow: {', '.join(sorted(codes[number]))}")
            lines.append(line)
        tree = formatted(parse(Source(tree.source.name, "\n".join(lines) + "\n")))
        checked = checked_tree(tree)
    return tree.source.text, checked
