"""A mistake is reported where it was made: mutations of every net of the repository.

Mutations are counted if they change the net: the mutated file is rejected, or its layers or
parameters have other names or shapes. Those after which every name and shape is the same (such as
another order of equal arguments, or another value of the same shape) are `same`, and are not
counted.

`on the line` means that the first span of an error or a warning is on the mutated line; others may
be elsewhere. `named` means that some span of one is, or the edit of a hint. `silent` means that
nothing is reported. The test requires a share of `on the line` among all that are counted,
including the silent ones.

Only code is mutated. Shape comments (`# [64, 55, 55]`) stay as they are, and they are how most
changed strides and paddings are found, which give another valid net. What they do not state is not
found: which of two values of the same height and width is read, or the groups of a convolution. A
wrong default of a block, or a wrong constant, is reported where it is used.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.diagnostics import Diagnostic, Source, Span
from tests.helpers.mutations import OPERATORS, mutations
from tests.helpers.zoo import SEQUENCES, WIDE

ROOT = Path(__file__).parents[2] / "networks"
COLUMNS = ("counted", "on the line", "named", "silent", "same")
# The least share of the counted mutations that must be reported on the mutated line.
LEAST_OF_ALL = 0.9
LEAST = {
    "misspell": 0.9, "drop_an_argument": 0.93, "break_a_wire": 0.86,
    "change_a_stride": 0.86, "swap_operands": 0.9,
}  # fmt: skip


def facts(result: Compilation) -> list[Any]:
    """Return the names and shapes of all layers and parameters."""
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


def count(path: Path, each: int, seed: int) -> Counter[tuple[str, str]]:
    """Count the outcomes of the mutations of a file, by operator and column."""
    found: Counter[tuple[str, str]] = Counter()
    source = path.read_text("utf-8")
    before = compile_request(Request(source=Source(path.name, source)))
    assert not before.diagnostics
    original = facts(before)
    for mutation in mutations(source, each, seed):
        text = mutation.apply(source)
        result = compile_request(Request(source=Source(path.name, text)))
        what = ["counted"]
        if not result.errors and facts(result) == original:
            what = ["same"]
        elif not result.diagnostics:
            what.append("silent")
        else:
            if any(d.span and d.span.line == mutation.line for d in result.diagnostics):
                what.append("on the line")
            if any(names_line(d, mutation.line) for d in result.diagnostics):
                what.append("named")
        found.update((mutation.operator, column) for column in what)
    return found


# Mutations of each kind in each file, and the seed that chooses them.
@pytest.mark.parametrize(
    ("each", "seed"), [(4, 1), *(pytest.param(8, s, marks=pytest.mark.heavy) for s in (1, 2, 3))]
)
def test_a_mistake_is_reported_where_it_was_made(each: int, seed: int) -> None:
    total: Counter[tuple[str, str]] = Counter()
    for path in sorted(
        path for path in ROOT.rglob("*.net") if path.stem not in (*WIDE, *SEQUENCES)
    ):
        found = count(path, each, seed)
        assert sum(n for (_, column), n in found.items() if column == "counted") >= 5, path
        total += found
    names = [operator.__name__ for operator in OPERATORS]
    for column in COLUMNS:
        total["all", column] = sum(total[name, column] for name in names)
    table = [f"{'':18}" + "".join(f"{column:>12}" for column in COLUMNS) + f"{'share':>8}"]
    shares = {name: total[name, "on the line"] / total[name, "counted"] for name in [*names, "all"]}
    table += [
        f"{name:18}" + "".join(f"{total[name, column]:12}" for column in COLUMNS) + f"{share:8.1%}"
        for name, share in shares.items()
    ]
    print("\n".join([f"seed {seed}", *table]))
    least = LEAST | {"all": LEAST_OF_ALL}
    assert all(shares[name] >= least[name] for name in shares), "\n".join(table)
