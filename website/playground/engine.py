"""What the playground's worker calls: netspec's front end over one text, with answers as JSON.

Offsets are in UTF-16 units, as JavaScript counts them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from netspec.compiler.driver import select, written
from netspec.compiler.overrides import parse_settings
from netspec.diagnostics import Diagnostic, NetspecError, render
from netspec.draw.drawing import Drawing
from netspec.language_server.analysis import Analysis, analyze
from netspec.language_server.fixes import quick_fixes
from netspec.language_server.heads import heads
from netspec.language_server.hints import shape_hints
from netspec.language_server.problems import problems, untried
from netspec.net import Net


class Units:
    """The offsets of a text in UTF-16 units."""

    def __init__(self, text: str) -> None:
        self._before: list[int] | None = None
        if not text.isascii():
            widths = (1 + (ord(char) > 0xFFFF) for char in text)
            self._before = list(accumulate(widths, initial=0))

    def __call__(self, offset: int) -> int:
        """Return an offset in code points as one in units."""
        return offset if self._before is None else self._before[offset]


@dataclass(frozen=True)
class Pane:
    """What is shown beside the text: `text`, `svg` or `html`, or the errors in its place."""

    form: str
    content: str


class Playground:
    """A text that is being typed, and what is known of it."""

    def __init__(self) -> None:
        self._analysis: Analysis | None = None
        self._misset: tuple[Diagnostic, ...] = ()

    def check(self, text: str, name: str, settings: str = "") -> str:
        """Check a new text; return its problems, without fixes, its shapes and its nets.

        Args:
            text: the text.
            name: the name of the file that it would be.
            settings: constants for arguments of its nets, such as `classes = 5, depth = 3`.
        """
        arguments: dict[str, Any] = {}
        self._misset = ()
        try:
            arguments = parse_settings(_separate(settings))
        except NetspecError as error:
            self._misset = tuple(error.diagnostics)
        analysis = analyze(text, name, before=self._analysis, arguments=arguments)
        self._analysis = analysis
        units = Units(text)
        hints = [
            {"at": units(hint.offset), "text": hint.text, "tooltip": hint.tooltip}
            for hint in shape_hints(analysis)
        ]
        found = _told(analysis, (*self._misset, *untried(analysis)), {}, units)
        return json.dumps({"problems": found, "hints": hints, **self._nets()})

    def fixes(self) -> str:
        """Return the problems of the text with the fixes that the compiler has tried."""
        analysis = self._known()
        units = Units(analysis.text)
        changes: dict[int, list[dict[str, Any]]] = {}
        for fix in quick_fixes(analysis, 0, len(analysis.text)):
            edits = [
                {"from": units(e.span.start), "to": units(e.span.end), "insert": e.replacement}
                for e in fix.edits
            ]
            told = {"title": fix.title, "edits": edits}
            changes.setdefault(id(fix.problem.diagnostic), []).append(told)
        found = (*self._misset, *analysis.diagnostics())
        return json.dumps(_told(analysis, found, changes, units))

    def pane(self, which: str, net: str) -> str:
        """Return what a pane shows of a net.

        Args:
            which: `summary`, `picture`, `torch`, `numpy` or `plain`.
            net: the name of the net; the first is taken where there is none of it.
        """
        try:
            if self._misset:
                raise NetspecError(list(self._misset))
            pane = _PANES[which](self._known(), self._chosen(net))
        except NetspecError as error:
            pane = Pane("error", "\n\n".join(render(d) for d in error.diagnostics))
        return json.dumps({"form": pane.form, "content": pane.content})

    def _chosen(self, net: str) -> str | None:
        known = self._known().result.sketches
        return net if net in known else next(iter(known), None)

    def _known(self) -> Analysis:
        assert self._analysis is not None
        return self._analysis

    def _nets(self) -> dict[str, Any]:
        analysis = self._known()
        totals = {}
        for name in analysis.result.graphs:
            summary = analysis.summary(name)
            totals[name] = f"{summary.parameters:,} parameters · {summary.macs:,} MACs"
        arguments = {h.name: ", ".join(h.parameters) for h in heads(analysis.tokens)}
        return {"nets": [*analysis.result.sketches], "totals": totals, "arguments": arguments}


def _separate(settings: str) -> Iterator[str]:
    """Yield the settings of a line: they are separated by commas, as in a call."""
    start = depth = 0
    quoted = False
    for at, char in enumerate(settings):
        quoted ^= char == '"'
        depth += 0 if quoted else (char in "([") - (char in ")]")
        if char == "," and not quoted and depth <= 0:
            yield settings[start:at]
            start = at + 1
    if settings[start:].strip():
        yield settings[start:]


def _told(
    analysis: Analysis,
    diagnostics: Iterable[Diagnostic],
    changes: Mapping[int, list[dict[str, Any]]],
    units: Units,
) -> list[dict[str, Any]]:
    return [
        {
            "from": units(problem.span.start),
            "to": units(problem.span.end),
            "severity": problem.diagnostic.severity,
            "code": problem.diagnostic.code,
            "message": problem.message,
            "rendered": render(problem.diagnostic),
            "fixes": changes.get(id(problem.diagnostic), []),
        }
        for problem in problems(analysis, diagnostics)
    ]


def _net(analysis: Analysis, name: str | None) -> Net:
    graph = select(analysis.result, name)
    return Net(graph, written(analysis.result, analysis.request, graph.name))


def _picture(analysis: Analysis, name: str | None) -> Pane:
    if name is None:
        select(analysis.result, None)  # which says what is wrong
    return Pane("svg", Drawing(analysis.result.sketches[name or ""]).svg())


_PANES: dict[str, Callable[[Analysis, str | None], Pane]] = {
    "summary": lambda a, net: Pane("html", _net(a, net).summary()._repr_html_()),
    "picture": _picture,
    "torch": lambda a, net: Pane("text", _net(a, net).source("torch")),
    "numpy": lambda a, net: Pane("text", _net(a, net).source("numpy")),
    "plain": lambda a, net: Pane("text", _net(a, net).source("numpy", plain=True)),
}
