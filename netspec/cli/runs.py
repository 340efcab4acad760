"""`netspec runs [RUN...]`."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.cli import FAILED, OK
from netspec.cli.common import add_color_option, emit, emit_text, report
from netspec.cli.measure_text import (
    csv_cell,
    is_measure,
    means,
    measure_texts,
    measures_on_demand,
    spread_texts,
)
from netspec.cli.results_table import (
    TABLE_FORMATS,
    ResultsTable,
    choice_column,
    chosen_names,
    setting_titles,
)
from netspec.cli.run_costs import COSTS, costs_of
from netspec.diagnostics import NetspecError
from netspec.text.printable import printable
from netspec.text.table import Column, text_column

if TYPE_CHECKING:
    from netspec.runtime.runs.listing import RunSummary, SeedGroup

# So many runs stand side by side at most, unless they differ in more choices.
_SIDE_BY_SIDE = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path, default=[Path("runs")],
                        help="folders of runs, or folders that hold some (default runs)")  # fmt: skip
    parser.add_argument("--compare", action="store_true",
                        help="also show the options in which the runs differ, and mean and spread of"
                             " (standard deviation, n - 1) of those that differ in the seed")  # fmt: skip
    parser.add_argument("--sort", choices=("started", "val", "test", "loss", "val_loss"),
                        default="started",
                        help="the best, or the oldest, first (default started)")  # fmt: skip
    parser.add_argument("--format", choices=(*TABLE_FORMATS, "json", "csv"), default="table",
                        help="(default table); md and latex have the best in bold")  # fmt: skip
    parser.add_argument("--columns", metavar="NAMES",
                        help="columns of the tables to show, separated by commas")  # fmt: skip
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Print one line for each run. A run that cannot be read is reported, and the command fails."""
    from netspec.runtime.runs.listing import differing, find_runs, seed_groups, summarize_run

    found: list[RunSummary] = []
    code = OK
    for path in find_runs(options.runs):
        try:
            found.append(summarize_run(path))
        except NetspecError as error:
            report(error.diagnostics, options)
            code = FAILED
    found.sort(key=lambda one: _order(one.row(), options.sort))
    costs = costs_of(found) if _wants_costs(options) else [{} for _ in found]
    rows = [_with_costs(one.row(), c) for one, c in zip(found, costs, strict=True)]
    compared = differing(found) if options.compare or options.format == "csv" else {}
    groups = seed_groups(found) if options.compare else []
    if options.format == "csv":
        emit_text(_csv(found, costs, compared))
    elif options.format == "json":
        choices = [{name: values[i] for name, values in compared.items()} for i in range(len(rows))]
        lines = [
            {**one.details(), **cost, "choices": c, "over_seeds": _over_seeds(one, groups)}
            if options.compare
            else one.details()
            for one, cost, c in zip(found, costs, choices, strict=True)
        ]
        emit(json.dumps(lines, indent=1))
    elif rows:
        known = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        measured = {name: [row[name] for row in rows] for name in known if is_measure(name)}
        tables = [_table(_shown(rows, known), measured, _same(costs), heads=2)]
        if any(len(group.runs) > 1 for group in groups):
            tables.append(_grouped(found, groups, costs))
        names = chosen_names(options.columns, tables)
        tables = [table.chosen(names) for table in tables]
        if compared:
            tables.insert(1, _table(_chosen(compared, len(rows)), {}))
        emit("\n\n".join(table.text(options.format) for table in tables))
    return code


def _wants_costs(options: argparse.Namespace) -> bool:
    """Whether the costs of nets are shown, for which each is compiled."""
    named = {part.strip() for part in (options.columns or "").split(",")}
    return options.compare or options.format == "csv" or bool(named & {*COSTS})


def _with_costs(row: dict[str, Any], costs: Mapping[str, int]) -> dict[str, Any]:
    """Return the row of a run with the costs of its net, before the epochs."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "epochs":
            found |= {cost: f"{costs[cost]:,}" if cost in costs else None for cost in COSTS}
        found[name] = value
    return found


def _same(costs: Sequence[Mapping[str, int]]) -> list[str]:
    """Return the costs that are the same for all nets, which tables show on demand."""
    return [name for name in COSTS if len({each.get(name) for each in costs}) == 1]


def _chosen(compared: Mapping[str, Sequence[Any]], runs: int) -> list[list[str]]:
    """Return the cells of the table of choices: a line for each, or for each run if these are more."""
    numbers = [f"{i}" for i in range(1, runs + 1)]
    lines = [["choice", *numbers], *([name, *map(_text, row)] for name, row in compared.items())]
    if runs <= max(len(compared), _SIDE_BY_SIDE):
        return lines
    turned = [list(line) for line in zip(*lines, strict=True)]
    return [["", *turned[0][1:]], *turned[1:]]


def _over_seeds(one: RunSummary, groups: Sequence[SeedGroup]) -> dict[str, Any]:
    """Return mean and spread of the runs that differ from this one in the seed alone, for programs."""
    from netspec.runtime.runs.listing import MEASURED

    group = next(group for group in groups if one in group.runs)
    found = {name: group.measure(name) for name in MEASURED}
    measures = {n: {"mean": s.mean, "spread": s.spread} for n, s in found.items() if s is not None}
    return {"runs": len(group.runs), **measures}


def _grouped(
    found: Sequence[RunSummary], groups: Sequence[SeedGroup], costs: Sequence[Mapping[str, int]]
) -> ResultsTable:
    """Return the table over seeds: the numbers of runs, their seeds, costs, mean and spread."""
    from netspec.runtime.runs.listing import IN_TABLES

    shown = [name for name in IN_TABLES if any(group.measure(name) for group in groups)]
    counted = [name for name in COSTS if any(name in each for each in costs)]
    lines = [["over seeds", "seeds", *counted, *shown]]
    measured = {name: [group.measure(name) for group in groups] for name in shown}
    texts = {name: spread_texts(name, values) for name, values in measured.items()}
    for i, group in enumerate(groups):
        at = [found.index(one) for one in group.runs]
        cost = costs[at[0]]
        values = [f"{cost[name]:,}" if name in cost else "-" for name in counted]
        values += [texts[name][i] for name in shown]
        lines.append([_text([str(place + 1) for place in at]), _text(group.seeds), *values])
    return _table(lines, means(measured), _same(costs))


def _csv(
    found: Sequence[RunSummary],
    costs: Sequence[Mapping[str, int]],
    compared: dict[str, list[Any]],
) -> str:
    """Return CSV with one line for each run, the costs of its net, and a column for each choice in which
    the runs differ.
    """
    known = found[0].details() if found else {}
    compared = {n: values for n, values in compared.items() if n not in known or is_measure(n)}
    titles = setting_titles(compared, known)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if found:
        writer.writerow([*known, *COSTS, *titles.values()])
    for i, one in enumerate(found):
        values = [*one.details().values(), *(costs[i].get(name) for name in COSTS)]
        values += [column[i] for column in compared.values()]
        writer.writerow(map(csv_cell, values))
    return text.getvalue()


def _order(row: dict[str, Any], by: str) -> tuple[bool, Any]:
    """The sort key of a run; runs without a value come last."""
    value = row[by]
    if value is None:
        return True, 0
    return False, -value if by in ("val", "test") else value


def _shown(rows: Sequence[dict[str, Any]], known: Sequence[str]) -> list[list[str]]:
    """Return the cells of the table, of the columns in which a run has a value."""
    rows = [{**row, "best": _best(row)} for row in rows]
    names = [name for name in known if name != "best_by"]
    columns = [_cells(name, [row[name] for row in rows]) for name in names]
    return [
        ["", *names],
        *([str(i), *line] for i, line in enumerate(zip(*columns, strict=True), 1)),
    ]


def _cells(name: str, values: Sequence[Any]) -> list[str]:
    return measure_texts(name, values) if is_measure(name) else [*map(_text, values)]


def _best(row: dict[str, Any]) -> str | None:
    """Return the best epoch, and which accuracy it was chosen by."""
    return f"{row['best']} ({row['best_by']})" if row["best"] is not None else None


def _text(value: Any) -> str:
    if value is None or value == []:
        return "-"
    values = value if isinstance(value, list) else [value]
    # As a recipe writes it.
    return printable(",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values))


def _table(
    lines: Sequence[Sequence[str]],
    measured: Mapping[str, Sequence[float | None]],
    on_demand: Sequence[str] = (),
    heads: int = 1,
) -> ResultsTable:
    """Return a table of cells, whose first line is its head."""
    (first, *head), *rows = lines
    columns = [text_column(first, 8 if first else None)]
    for at, name in enumerate(head, 1):
        is_result = name in (*COSTS, *measured)
        columns.append(Column(name) if is_result else choice_column(name, [r[at] for r in rows]))
    on_demand = [*on_demand, *measures_on_demand(measured)]
    return ResultsTable(columns, rows, measured, on_demand, heads)
