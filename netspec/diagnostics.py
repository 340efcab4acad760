"""Sources, spans and diagnostics: what an error says and where it points.

Everything the compiler reads keeps a `Span` into a `Source`, so that whatever goes wrong later
can be shown on the user's own lines. A `Diagnostic` is data; `render` draws it as text and
`to_json` as JSON. What it reports is one of the declared codes: `netspec/codes.py` is the catalogue, and
says how an error is added.
"""

from __future__ import annotations

import bisect
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from netspec.records import record
from netspec.text.printable import printable
from netspec.text.width import columns_of

Severity = Literal["error", "warning"]

# A longer line is shown as a window around the span: a hostile file can be a single line.
_MAX_SHOWN_COLUMNS = 140


_DECLARED: dict[str, Code] = {}


class Code(str):
    """What a diagnostic reports, declared once: `area/name`, with a severity and a summary.

    A code is a string, so it is compared, sorted and printed like one: `d.code == "shape/rank"`.

    Attributes:
        severity: the severity of every diagnostic of this code.
        summary: what is wrong, in one line.
    """

    __slots__ = ("severity", "summary")

    severity: Severity
    summary: str

    def __new__(cls, text: str, severity: Severity, summary: str) -> Code:
        """Make a code without declaring it, for `error` and `warning`, and for copies."""
        code = super().__new__(cls, text)
        code.severity = severity
        code.summary = summary
        return code

    def __reduce__(self) -> tuple[type[Code], tuple[str, Severity, str]]:
        return Code, (str(self), self.severity, self.summary)

    @classmethod
    def error(cls, text: str, summary: str) -> Code:
        """Declare the code of an error.

        Raises:
            ValueError: if the code is already declared differently.
        """
        return cls(text, "error", summary)._declared()

    @classmethod
    def warning(cls, text: str, summary: str) -> Code:
        """Declare the code of a warning, which a comment `# allow: CODE` can silence.

        Raises:
            ValueError: if the code is already declared differently.
        """
        return cls(text, "warning", summary)._declared()

    def _declared(self) -> Code:
        # A module that is loaded again makes the same declaration again.
        earlier = _DECLARED.setdefault(self, self)
        if (earlier.severity, earlier.summary) != (self.severity, self.summary):
            raise ValueError(f"the code {self} is declared twice")
        return earlier


def declared_codes() -> Mapping[str, Code]:
    """Return the codes declared so far, by their text: the catalogue's and those of loaded ops."""
    return MappingProxyType(_DECLARED)


@record
class Source:
    """A text that was read, and the name under which messages show it."""

    name: str
    text: str

    @property
    def file_name(self) -> str:
        """The last part of the name. It does not depend on the folder that the file was named from."""
        return self.name.replace("\\", "/").rpartition("/")[2]

    def __reduce__(self) -> tuple[type[Source], tuple[str, str]]:
        return Source, (self.name, self.text)

    @functools.cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Return the 1-based (line, column) of a character offset."""
        line = bisect.bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of a 1-based line, without its line break."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] - 1 if number < len(self._line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r")

    def line_span(self, number: int) -> Span:
        """Return the span of a 1-based line, without the blanks at its ends."""
        start, line = self._line_starts[number - 1], self.line(number)
        indent = len(line) - len(line.lstrip())
        return Span(self, start + indent, start + max(indent, len(line.rstrip())))


# So many characters of a span are shown on one line.
_MOST_WORDS = 500


@record(slots=True)
class Span:
    """The half-open range [start, end) of characters of a source."""

    source: Source
    start: int
    end: int

    def __hash__(self) -> int:
        # Without the source, whose hash takes three times as long: names are looked up by spans.
        return hash((self.start, self.end))

    @property
    def text(self) -> str:
        """The characters that the span covers."""
        return self.source.text[self.start : self.end]

    @property
    def words(self) -> str:
        """The text on one line; of a long one the beginning, for the terms of a sum are prefixes of
        each other, which would be a gigabyte for a file of 64 KB.
        """
        end = min(self.end, self.start + _MOST_WORDS)
        text = " ".join(self.source.text[self.start : end].split())
        return text if end == self.end else f"{text} ..."

    @property
    def line(self) -> int:
        """The 1-based line at which the span starts."""
        return self.source.position(self.start)[0]

    @property
    def where(self) -> str:
        """`file:line:column`, as editors and terminals understand it."""
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))


@record(slots=True)
class Label:
    """A span with a few words next to its underline."""

    span: Span
    text: str = ""


@record(slots=True)
class Edit:
    """Replace the text of a span. An insertion has an empty span."""

    span: Span
    replacement: str


@record(slots=True)
class Hint:
    """Advice. If it names a change, it carries the change as edits, which the compiler tries first.

    If the edits do not help, the hint is dropped; a hint that `stands` keeps its words in any case.
    A hint with `instead` is shown if no change was found that helps. One that is `unsure` may change
    what the net computes: nobody makes its change unasked.
    """

    text: str
    edits: tuple[Edit, ...] = ()
    stands: bool = False
    instead: bool = False
    unsure: bool = False


@record(slots=True)
class Frame:
    """One step in the chain that led to a place: a call of a block, or just turns of loops.

    A call has the name of its `block` and the `path` of its layers, with `@2` behind it in the
    second use of a shared block. That of an inline block has neither.
    """

    text: str = ""
    call: Span | None = None
    turns: tuple[tuple[str, object], ...] = ()
    block: str = ""
    path: str = ""

    def __str__(self) -> str:
        turns = ", ".join(f"{name} = {value}" for name, value in self.turns)
        if self.call is None:
            return f"the turn {turns}"
        called = f"{self.text}, called at {self.call.where}"
        return f"{called}, {turns}" if turns else called


@record(slots=True)
class Diagnostic:
    """One error or warning.

    `code` is the declared code that it is a case of; `span` is the place to look at first (None for
    a mistake outside any file), `secondary` the other spans that are involved, `notes` the facts (a
    formula with its numbers), `hints` what to do about it.
    """

    code: Code
    message: str
    span: Span | None = None
    label: str = ""
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[Hint, ...] = ()
    trace: tuple[Frame, ...] = ()

    @property
    def severity(self) -> Severity:
        """The severity of the code: `error` or `warning`."""
        return self.code.severity

    @property
    def sole_change(self) -> Hint | None:
        """The one change that helps, if there is no other to choose from, and if it is no guess."""
        changes = [hint for hint in self.hints if hint.edits]
        return changes[0] if len(changes) == 1 and not changes[0].unsure else None

    def __str__(self) -> str:
        return render(self)


class NetspecError(Exception):
    """The exception for every failure that is the input's fault; `.diagnostics` says what and where.

    The diagnostics of a file are in the order of their places.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = in_order(diagnostics)
        super().__init__("\n\n".join(render(d) for d in self.diagnostics))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the diagnostics: a worker process passes the error on unchanged."""
        return type(self), (self.diagnostics,), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: the places in the `.net` file."""
        return str(self).splitlines()

    @classmethod
    def simple(cls, code: Code, message: str, help: str | None = None) -> NetspecError:
        """Return an error that belongs to no place in a file."""
        hints = (Hint(help),) if help else ()
        return cls([Diagnostic(code, message, hints=hints)])


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the diagnostics sorted by place within each file; those without a place come last.

    Files are in the order of their first diagnostic, and diagnostics of one place keep their order.
    """
    found = tuple(diagnostics)
    sources: dict[Source, int] = {}
    for d in found:
        if d.span is not None:
            sources.setdefault(d.span.source, len(sources))

    def place(d: Diagnostic) -> tuple[int, int]:
        return (len(sources), 0) if d.span is None else (sources[d.span.source], d.span.start)

    return tuple(sorted(found, key=place))


@dataclass
class DiagnosticSink:
    """Collects the diagnostics of one run; a mistake that is met in several loop turns counts once.

    `unsaid` are diagnostics that follow from a guess at what was meant. They are not reported, and
    a change that leaves them in place is no worse for it.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list)
    unsaid: list[Diagnostic] = field(default_factory=list)
    _seen: set[tuple[str, Span | None]] = field(default_factory=set)

    def add(self, diagnostic: Diagnostic) -> bool:
        """Keep a diagnostic. Returns False if its code was already reported at its span."""
        if self.knows(diagnostic.code, diagnostic.span):
            return False
        self._seen.add((diagnostic.code, diagnostic.span))
        self.diagnostics.append(diagnostic)
        return True

    def leave_unsaid(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic that will not be shown."""
        self._seen.add((diagnostic.code, diagnostic.span))
        self.unsaid.append(diagnostic)

    def knows(self, code: str, span: Span | None) -> bool:
        """Return True if a code was already reported at a span."""
        return (code, span) in self._seen

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics that are errors."""
        return [d for d in self.diagnostics if d.severity == "error"]

    def raise_if_errors(self) -> None:
        """Raise `NetspecError` with the errors, if there are any."""
        if self.errors:
            raise NetspecError(self.errors)


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or None if none is close enough."""
    # A hostile file can hold a huge name, or thousands of names; a name this long is no
    # misspelling.
    return _closest(name, _worth_comparing(name, known)) if len(name) <= 80 else None


# Comparing two names takes steps in proportion to the product of their lengths. This is the limit
# on the sum for one name.
MAX_COMPARISON = 60_000


def _worth_comparing(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names to compare: those closest in length, as many as the limit allows."""
    chosen, left = [], MAX_COMPARISON
    near = sorted(set(known), key=lambda choice: (abs(len(choice) - len(name)), choice))
    for choice in near[:500]:
        left -= len(name) * len(choice)
        if left < 0:
            break
        chosen.append(choice)
    return tuple(sorted(chosen))


@functools.lru_cache(maxsize=256)
def _closest(name: str, choices: tuple[str, ...]) -> str | None:
    import difflib

    by_lower = {choice.lower(): choice for choice in choices}
    squashed = {choice.lower().replace("_", ""): choice for choice in choices}
    for table, key in ((by_lower, name.lower()), (squashed, name.lower().replace("_", ""))):
        if key in table and table[key] != name:
            return table[key]
    for table, key in ((by_lower, name.lower()), (squashed, name.lower().replace("_", ""))):
        close = difflib.get_close_matches(key, list(table), n=1, cutoff=0.65)
        if close and table[close[0]] != name:
            return table[close[0]]
    return None


# ---------------------------------------------------------------------------------------- rendering

_STYLES = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "bold": "\x1b[1m", "rail": "\x1b[1;34m"}
_RESET = "\x1b[0m"


def render(diagnostic: Diagnostic, *, color: bool = False) -> str:
    """Format a diagnostic the way rustc does: header, source lines with underlines, notes and help."""

    def paint(style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if color and text else text

    d = diagnostic
    head = paint(d.severity, f"{d.severity}[{d.code}]") + paint("bold", f": {printable(d.message)}")
    lines = [head]
    primary = Label(d.span, d.label) if d.span is not None else None
    labels = [label for label in (primary, *d.secondary) if label is not None]
    width = max((len(str(label.span.line)) for label in labels), default=1)
    rail = paint("rail", " " * (width + 1) + " |")
    for source_index, group in enumerate(_by_source(labels)):
        arrow = "-->" if source_index == 0 else ":::"
        lines.append(
            " " * (width + 1) + paint("rail", arrow) + " " + printable(group[0].span.where)
        )
        lines.append(rail)
        shown = ""
        for label in sorted(group, key=lambda item: (item.span.line, item.span.start)):
            mark = "^" if label is primary else "-"
            text, underline = _underlined(label, mark)
            line = paint("rail", f" {label.span.line:>{width}} |") + f" {text}"
            if line != shown:
                lines.append(line)
                shown = line
            style = d.severity if mark == "^" else "rail"
            lines.append(f"{rail} {paint(style, underline)}")
    lead = " " * (width + 1) + " " + paint("rail", "=") + " "
    lines += [f"{lead}in {printable(text)}" for text in chain(d.trace)]
    lines += [f"{lead}note: {printable(note)}" for note in d.notes]
    lines += [f"{lead}help: {printable(hint.text)}" for hint in d.hints]
    return "\n".join(line.rstrip() for line in lines)


def chain(trace: tuple[Frame, ...]) -> Iterator[str]:
    """Describe the frames from the inside out. Recursive repetitions are merged; a long chain is cut."""
    frames = Counter(map(str, reversed(trace)))
    left_out = len(frames) - 6 if len(frames) > 8 else 0
    for i, (frame, times) in enumerate(frames.items()):
        if left_out and i == 4:
            yield f"... {left_out} more ..."
        if not 4 <= i < 4 + left_out:
            yield frame if times == 1 else f"{frame}, {times} times"


def _by_source(labels: list[Label]) -> Iterator[list[Label]]:
    """Group the labels by source; the primary label's source comes first."""
    sources: dict[Source, list[Label]] = {}
    for label in labels:
        sources.setdefault(label.span.source, []).append(label)
    yield from sources.values()


def _underlined(label: Label, mark: str) -> tuple[str, str]:
    """Return the source line of a label and the underline below it, aligned on a terminal."""
    line_number, column = label.span.source.position(label.span.start)
    line = label.span.source.line(line_number)
    start = column - 1
    end = min(start + max(1, label.span.end - label.span.start), max(len(line), start + 1))
    runs_on = label.span.start + (end - start) < label.span.end
    shown_from = 0
    if len(line) > _MAX_SHOWN_COLUMNS:
        shown_from = max(0, start - 40)
        end = min(end, shown_from + _MAX_SHOWN_COLUMNS)
        line = line[: shown_from + _MAX_SHOWN_COLUMNS]
    before = printable(line[shown_from:start])
    under = printable(line[start:end])
    after = printable(line[end:])
    prefix = "..." if shown_from else ""
    text = f"{prefix}{before}{under}{after}"
    underline = " " * columns_of(prefix + before) + mark * max(1, columns_of(under))
    if runs_on:
        underline += "..."
    if label.text:
        underline += f" {printable(label.text)}"
    return text, underline


def plural(count: int, noun: str) -> str:
    """`1 argument`, `2 arguments`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


# So many wrong names of a list are told; the message of each shows the list.
MOST_WRONG_NAMES = 20


def located_names(text: str, where: str) -> Iterator[tuple[str, Span]]:
    """Yield the names in a list with commas, each with its place in the text, which `where` names."""
    typed, start = Source(where, text), 0
    for part in text.split(","):
        name = part.strip()
        at = start + part.index(name)
        yield name, Span(typed, at, at + len(name))
        start += len(part) + 1


def quoted(text: str, limit: int = 60) -> str:
    """Return a piece of the file for a message: in backticks, on one line, and not too long."""
    text = " ".join(text.split())
    return f"`{text if len(text) <= limit else text[: limit - 3] + '...'}`"


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """Return the diagnostic as plain data, for editors and CI."""
    d = diagnostic
    return {
        "severity": d.severity,
        "code": str(d.code),
        "message": d.message,
        "span": _span_json(d.span) if d.span is not None else None,
        "label": d.label,
        "secondary": [{**_span_json(item.span), "label": item.text} for item in d.secondary],
        "trace": list(chain(d.trace)),
        "notes": list(d.notes),
        "hints": [
            {
                "text": hint.text,
                "edits": [
                    {**_span_json(edit.span), "replacement": edit.replacement}
                    for edit in hint.edits
                ],
                "unsure": hint.unsure,
            }
            for hint in d.hints
        ],
    }


def _span_json(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
