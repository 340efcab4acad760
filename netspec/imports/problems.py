"""What cannot be expressed, told: one cause in many places is one error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint
from netspec.imports.imported_net import Problem

# So many further places of one cause are named.
_NAMED = 5


def told(problems: Iterable[Problem], *, nowhere: str) -> list[Diagnostic]:
    """Return an error for each cause: what, why, in which class of modules and in which line.

    Args:
        problems: in the order in which they were found.
        nowhere: what a place without a path is called.
    """
    causes: dict[tuple[object, ...], list[Problem]] = {}
    for each in dict.fromkeys(problems):
        causes.setdefault((each.what, each.why, each.kind, each.place), []).append(each)
    return [_told(group, nowhere) for group in causes.values()]


def _told(group: Sequence[Problem], nowhere: str) -> Diagnostic:
    first, *others = group
    where = first.path or nowhere
    kind = f" ({first.kind})" if first.kind else ""
    notes = [] if first.place is None else [f"at {first.place}: {first.place.text}"]
    if others:
        names = ", ".join(each.path or nowhere for each in others[:_NAMED])
        more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
        notes.append(f"so in {len(group):,} places, also in {names}{more}")
    message = f"{where}{kind}: `{first.what}` cannot be expressed: {first.why}"
    hints = (Hint(first.help),) if first.help else ()
    return Diagnostic(codes.IMPORT_INEXPRESSIBLE, message, notes=tuple(notes), hints=hints)
