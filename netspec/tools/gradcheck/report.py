"""The result of `netspec gradcheck`, as a table for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import Diagnostic, NetspecError, Span, plural, to_json
from netspec.text import html
from netspec.text.table import Column, name_column, table_lines, text_column
from netspec.tools.agreement.text import batch_shapes, finite, grouped
from netspec.tools.gradcheck.verdict import ENOUGH, Score, Verdict

NAMES = {"numpy": "NumPy", "c": "C", "torch": "PyTorch"}
CAPTION = (
    "error: the largest |gradient - difference|, relative to max(1, the largest slope)",
    "failed: an error beyond the tolerance, or beyond 1e-4 of the row's largest slope, that is more than"
    " 10 times that of the difference itself",
    "relative, median: the largest and the median of |a - b| / max(|a|, |b|)",
    "kinks: probes with every step crossing the kink of a ReLU, a max pool or a hinge",
)
BESIDE = "*: on kinks as the inputs are; its errors were measured with the inputs moved, see below"
Smallness = Literal["", "zero", "tiny"]
UNSURE = "unsure: probes whose differences are not exact enough"


@dataclass(frozen=True)
class GradientRow:
    """One parameter or input.

    Attributes:
        kind: `parameter`, `input`, or `all` for all parameters moved at once.
        span: the layer that first holds it; None for inputs.
        probes, kinks, unsure: the number of probes, of those on kinks, and of inconclusive ones.
        scores: by backend.
        beside: True if it was probed beside the point, which lies on kinks.
        small: what a gradient is that differences are too coarse for: `zero` but for rounding, or
            `tiny`. Both are compared with the reference, and of the second the layers behind it are
            checked one by one.
    """

    kind: Literal["parameter", "input", "all"]
    name: str
    shape: tuple[int, ...]
    span: Span | None
    probes: int
    kinks: int
    unsure: int
    scores: Mapping[str, Score]
    verdict: Verdict
    beside: bool = False
    small: Smallness = ""

    @property
    def is_on_kinks(self) -> bool:
        """True if so many probes cross a kink at every step that nothing is proved."""
        return self.verdict == "inconclusive" and self.kinks > 0


@dataclass(frozen=True)
class Check:
    """A number or an array compared with the reference: the loss, or a buffer after the pass.

    `rounding` is True if each side is what the reference computes from that side's own preceding
    numbers.
    """

    name: str
    span: Span | None
    errors: Mapping[str, float]
    tolerance: float
    rounding: bool = False

    @property
    def beyond(self) -> set[str]:
        """The backends whose difference is larger than the tolerance."""
        return {name for name, error in self.errors.items() if not error <= self.tolerance}

    @property
    def verdict(self) -> Verdict:
        """`failed` if a backend's difference is larger than the tolerance and is not due to rounding."""
        return "failed" if self.beyond and not self.rounding else "ok"


@dataclass
class ModeRows:
    """The rows of one mode, or of both modes if they are the same program."""

    mode: str
    rows: list[GradientRow] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


@dataclass(repr=False)
class GradcheckReport:
    """What was checked, and the result.

    Attributes:
        sections: a table for each mode.
        diagnostics: for a failure, the layer where the error first appears.
        notes: what a reader should know about the point and the probes.
    """

    graph: Graph
    batch: int
    seed: int
    tolerance: float
    backends: tuple[str, ...]
    how: str
    sections: list[ModeRows] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[GradientRow]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rows and checks."""
        found = [row.verdict for row in self.rows]
        found += [check.verdict for section in self.sections for check in section.checks]
        order: tuple[Verdict, ...] = ("failed", "inconclusive", "ok")
        return next((worst for worst in order if worst in found), "ok")

    @property
    def ok(self) -> bool:
        """True if every verdict is `ok`."""
        return self.verdict == "ok"

    def require(self) -> None:
        """Raise NetspecError unless the verdict is `ok`.

        Raises:
            NetspecError: with the diagnostics, or `gradcheck/inconclusive`.
        """
        if self.diagnostics:
            raise NetspecError(self.diagnostics)
        if not self.ok:
            has_failed = self.verdict == "failed"
            code = codes.GRADCHECK_GRADIENT if has_failed else codes.GRADCHECK_INCONCLUSIVE
            raise NetspecError.simple(code, self._conclusion())

    def __str__(self) -> str:
        """Return the tables and a verdict, without the diagnostics."""
        return self.text()

    def __repr__(self) -> str:
        return f"<netspec.GradcheckReport of {self.graph.name}: {self.verdict}>"

    def _repr_html_(self) -> str:
        shown = "\n\n".join([str(self), *map(str, self.diagnostics)])
        return html.preformatted(shown)

    def text(self, width: int | None = None) -> str:
        """Return the same, with names shortened to fit the tables to `width`."""
        return "\n".join(self._lines(width)) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; an infinite number is null."""
        return {
            "net": self.graph.name,
            "verdict": self.verdict,
            "ok": self.ok,
            "batch": self.batch,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "backends": list(self.backends),
            "probes": self.how,
            "modes": [_section_as_dict(section) for section in self.sections],
            "notes": self.notes,
            "diagnostics": [to_json(diagnostic) for diagnostic in self.diagnostics],
        }

    # -- text

    def _lines(self, width: int | None) -> Iterator[str]:
        shapes = batch_shapes(self.graph, self.batch)
        yield f"{self.graph.name}: {shapes}, seed {self.seed}; {self.how}, to {self.tolerance:g}"
        yield ""
        for section in self.sections:
            if section.rows:
                yield from _table(*self._rows(section), width)
                yield ""
            if section.checks:
                yield from _table(*self._checks(section), width)
                yield ""
        yield from CAPTION
        if any(row.beside for row in self.rows):
            yield BESIDE
        if any(row.unsure for row in self.rows):
            yield UNSURE
        if zeros := self._small("zero"):
            yield (
                f"{zeros}: the slopes are 0 but for rounding (as of a bias that a batch norm"
                " behind it subtracts again), so that the relative errors say nothing"
            )
        if tiny := self._small("tiny"):
            yield (
                f"{tiny}: differences are too coarse for slopes this small; compared with the reference,"
                " whose layers were checked one by one"
            )
        yield from self.notes
        yield self._conclusion()

    def _small(self, how: Smallness) -> str:
        return grouped([row.name for row in self.rows if row.small == how])

    def _conclusion(self) -> str:
        bad = [row for row in self.rows if row.verdict != "ok"]
        checks = [c for s in self.sections for c in s.checks if c.verdict != "ok"]
        if not bad and not checks:
            return "every gradient agrees"
        count = sum(row.verdict == "failed" for row in bad) + len(checks)
        parts = [f"{plural(count, 'row')} failed"] if count else []
        if len(bad) + len(checks) > count:
            few = len(bad) + len(checks) - count
            parts.append(f"{plural(few, 'row')} with less than {ENOUGH:.0%} conclusive probes")
        return ", ".join(parts)

    def _rows(self, section: ModeRows) -> tuple[list[str], list[list[str]]]:
        unsure = any(row.unsure for row in self.rows)
        head = [section.mode, "line", "probes", "kinks", *(["unsure"] if unsure else [])]
        for backend in self.backends:
            head += [f"{NAMES[backend]} error", "relative", "median"]
        rows = []
        for row in section.rows:
            cells = [
                row.name,
                self._line(row.span),
                str(row.probes),
                f"{row.kinks}{'*' * row.beside}",
            ]
            if unsure:
                cells.append(str(row.unsure))
            for backend in self.backends:
                s = row.scores[backend]
                known = row.kinks < row.probes or row.beside
                cells += [_number(n) if known else "" for n in (s.error, s.largest, s.median)]
            rows.append([*cells, row.verdict])
        return [*head, "verdict"], rows

    def _checks(self, section: ModeRows) -> tuple[list[str], list[list[str]]]:
        heads = [f"{NAMES[backend]} error" for backend in self.backends]
        head = [f"{section.mode}, against the reference", "line", *heads, "verdict"]
        rows = []
        for check in _folded(section.checks):
            errors = [_number(check.errors[b]) if b in check.errors else "" for b in self.backends]
            rows.append([check.name, self._line(check.span), *errors, check.verdict])
        return head, rows

    def _line(self, span: Span | None) -> str:
        if span is None:
            return ""
        home = self.graph.span.source if self.graph.span is not None else None
        return str(span.line) if span.source is home else f"{span.source.name}:{span.line}"


def _folded(checks: list[Check]) -> Iterator[Check]:
    """Return the loss, the failed checks, and one row for the worst of all other buffers."""
    sound = [check for check in checks[1:] if check.verdict == "ok"]
    for check in checks:
        if check not in sound:
            yield check
    if sound:
        backends = {backend for check in sound for backend in check.errors}
        worst = {b: max(check.errors.get(b, 0.0) for check in sound) for b in backends}
        yield Check(plural(len(sound), "buffer"), None, worst, sound[0].tolerance)


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _table(head: list[str], rows: list[list[str]], width: int | None) -> Iterator[str]:
    first, *numbers, verdict = head
    columns = [name_column(first), *map(Column, numbers), text_column(verdict)]
    return table_lines(columns, rows, width=width)


# -- data


def _section_as_dict(section: ModeRows) -> dict[str, Any]:
    return {
        "mode": section.mode,
        "rows": [_row_as_dict(row) for row in section.rows],
        "checks": [
            {
                "name": check.name,
                "where": check.span.where if check.span else None,
                "errors": {backend: finite(e) for backend, e in check.errors.items()},
                "tolerance": check.tolerance,
                "rounding": check.rounding,
                "verdict": check.verdict,
            }
            for check in section.checks
        ],
    }


def _row_as_dict(row: GradientRow) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "shape": list(row.shape),
        "where": row.span.where if row.span else None,
        "probes": row.probes,
        "kinks": row.kinks,
        "unsure": row.unsure,
        "beside": row.beside,
        "small": row.small or None,
        "verdict": row.verdict,
        "backends": {
            backend: {
                "error": finite(s.error),
                "largest_relative": finite(s.largest),
                "median_relative": finite(s.median),
                "wrong": s.wrong,
            }
            for backend, s in row.scores.items()
        },
    }
