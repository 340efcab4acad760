"""A mistake is reported where it was made: mutations of every net of the repository.

Counted are mutations that the file does not survive unchanged: the mutated file is refused, or its
layers or parameters have other names or shapes. Those that give another sound net (`max_pool(2)` for
`max_pool(3)`) cannot be told from what somebody wants, and are counted apart as silent.

`on the line`: the first span of an error or a warning lies on the mutated line. `named`: some span of
one does, or a change that a hint proposes. A wrong shape inside a residual branch is reported where
the branches meet, with the branch as a further span, so that it can be named without being hit.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from netspec.compiler.pipeline import Compilation, Request, compile_request
from netspec.diagnostics import Diagnostic, Source, Span
from tests.mutations import OPERATORS, mutations

ROOT = Path(__file__).parents[1] / "networks"
EACH, SEED = 8, 1
COLUMNS = ("counted", "reported", "on the line", "named", "silent", "same")
# The least share of the reported mutations whose first span lies on the mutated line.
LEAST = {
    "misspell": 0.9, "drop_an_argument": 0.75, "break_a_wire": 0.65,
    "change_a_stride": 0.3, "swap_operands": 0.4,
}  # fmt: skip


def facts(result: Compilation) -> list[Any]:
    """Names and shapes of all layers and parameters."""
    return [
        ([(n.name, n.shape) for n in graph.nodes],
         [(p.name, p.shape) for p in graph.parameters.values()])
        for graph in result.graphs.values()
    ]  # fmt: skip


def lines(span: Span) -> range:
    last, _ = span.source.position(max(span.start, span.end - 1))
    return range(span.line, last + 1)


def names_line(diagnostic: Diagnostic, line: int) -> bool:
    edits = [edit.span for hint in diagnostic.hints for edit in hint.edits]
    spans = [diagnostic.span, *(label.span for label in diagnostic.secondary), *edits]
    return any(line in lines(span) for span in spans if span is not None)


def count(path: Path) -> Counter[tuple[str, str]]:
    """What became of the mutations of a file, by operator and column."""
    found: Counter[tuple[str, str]] = Counter()
    source = path.read_text("utf-8")
    original = facts(compile_request(Request(source=Source(path.name, source))))
    for mutation in mutations(source, EACH, SEED):
        text = mutation.apply(source)
        result = compile_request(Request(source=Source(path.name, text)))
        what = ["counted"]
        if not result.errors and facts(result) == original:
            what = ["same"]
        elif not result.diagnostics:
            what.append("silent")
        else:
            what.append("reported")
            if any(d.span and d.span.line == mutation.line for d in result.diagnostics):
                what.append("on the line")
            if any(names_line(d, mutation.line) for d in result.diagnostics):
                what.append("named")
        found.update((mutation.operator, column) for column in what)
    return found


def test_a_mistake_is_reported_where_it_was_made() -> None:
    total: Counter[tuple[str, str]] = Counter()
    for path in sorted(ROOT.rglob("*.net")):
        found = count(path)
        assert sum(n for (_, column), n in found.items() if column != "same") >= 5, path
        total += found
    names = [operator.__name__ for operator in OPERATORS]
    table = [f"{'':18}" + "".join(f"{column:>12}" for column in COLUMNS)]
    table += [
        f"{name:18}" + "".join(f"{total[name, column]:12}" for column in COLUMNS) for name in names
    ]
    print("\n".join(table))
    for name in names:
        share = total[name, "on the line"] / total[name, "reported"]
        assert share >= LEAST[name], "\n".join([f"{name}: {share:.0%}", *table])
