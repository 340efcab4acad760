"""Warnings about `# allow: CODE` comments that silence nothing: the code is not one of a warning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from netspec import codes
from netspec.compiler.ops import registry
from netspec.diagnostics import Diagnostic, Edit, Hint, Span, declared_codes, suggest

MAX_TOLD = 20


def misspelt_codes(named: Iterable[Span]) -> Iterator[Diagnostic]:
    """Return a warning for each span, up to `MAX_TOLD` of them, that names no warning.

    Args:
        named: the codes in the `# allow:` comments of the files that were read.
    """
    return islice(filter(None, map(_judged, named)), MAX_TOLD)


def _judged(span: Span) -> Diagnostic | None:
    if span.text not in declared_codes():
        list(registry().values())  # loads all ops: one that the file does not use may declare it
    code = declared_codes().get(span.text)
    if code is not None and code.severity == "warning":
        return None
    if code is not None:
        message = f"`{code}` is an error, which no comment can silence"
        return Diagnostic(codes.ALLOW_CODE, message, span)
    warnings = [code for code in declared_codes().values() if code.severity == "warning"]
    meant = suggest(span.text, warnings)
    hint = (
        Hint("`netspec explain` lists all codes")
        if meant is None
        else Hint(f"did you mean `{meant}`?", (Edit(span, meant),))
    )
    return Diagnostic(codes.ALLOW_CODE, f"there is no warning `{span.text}`", span, hints=(hint,))
