"""Silences the warnings about a model that is as it is: `# allow:` comments where they are found."""

from __future__ import annotations

from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source
from netspec.imports.proof import CheckedText, checked_text

# How often comments are added: each may make a line longer, and so move others.
_ROUNDS = 3


def allowed(name: str, text: str) -> tuple[str, CheckedText]:
    """Return a text in which what is odd about the model is allowed, and the same compiled.

    Raises:
        NetspecError: with the errors of the text.
    """
    checked = checked_text(name, text)
    for _ in range(_ROUNDS):
        codes: dict[int, set[str]] = {}
        for warning in checked.warnings:
            if warning.span is not None:
                codes.setdefault(warning.span.line, set()).add(str(warning.code))
        if not codes:
            break
        lines: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            indent = line[: len(line) - len(line.lstrip())]
            if number in codes:
                lines.append(f"{indent}# allow: {', '.join(sorted(codes[number]))}")
            lines.append(line)
        text = format_source(Source(f"{name}.net", "\n".join(lines) + "\n"))
        checked = checked_text(name, text)
    return text, checked
