"""`netspec sweep FILE.toml`: a run for each combination of the values in a recipe."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import add_color_option, emit, emit_text, positive, requested_net, tell
from netspec.cli.interrupts import until_stopped
from netspec.cli.measure_text import csv_cell, means, measures_on_demand, spread_texts
from netspec.cli.results_table import (
    TABLE_FORMATS,
    ResultsTable,
    choice_column,
    chosen_names,
    setting_titles,
)
from netspec.compiler.parse.shipped_nets import find_net
from netspec.diagnostics import NetspecError
from netspec.text.printable import printable
from netspec.text.table import Column, text_column

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.runtime.runs.sweeps.results import Row
    from netspec.runtime.runs.sweeps.sweep_file import Member, SweepFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", metavar="FILE", type=Path,
                        help="a recipe, with lists of values where runs differ")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="the folder of the runs (default runs/NAME for NAME.toml); a sweep that is"
                             " there goes on")  # fmt: skip
    parser.add_argument("--jobs", metavar="N", type=positive,
                        help="how many runs at once (default: as many as there are GPUs, or else"
                             " cores)")  # fmt: skip
    parser.add_argument("--format", choices=(*TABLE_FORMATS, "json", "csv"), default="table",
                        help="(default table); md and latex have the best in bold")  # fmt: skip
    parser.add_argument("--columns", metavar="NAMES",
                        help="columns of the table to show, separated by commas")  # fmt: skip
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Run what is left of a sweep, and print its table. Each run that ends is a line on stderr."""
    from netspec.cli.sweep_runner import Runner
    from netspec.runtime.runs.sweeps.results import rows_of
    from netspec.runtime.runs.sweeps.search_draws import require_optuna
    from netspec.runtime.runs.sweeps.sweep_file import read_sweep
    from netspec.runtime.runs.sweeps.sweep_folder import SweepFolder

    sweep = read_sweep(options.file)
    if sweep.target == "torch":
        from netspec.runtime.models.torch_build import require_torch

        require_torch()
    net = _net_of(sweep, options.file)
    if sweep.search is None:
        members = sweep.grid()
    else:
        require_optuna()
        members = [m for chosen in sweep.search.corners() for m in sweep.trial(0, chosen)]
    nets = _Nets(net, options)
    for member in members:
        nets.of(member)
    facts = _facts(sweep, nets.of(members[0]))
    folder = SweepFolder(options.out or Path("runs") / options.file.stem, facts)
    try:
        runner = Runner(sweep, folder, net, options.jobs)
        with until_stopped() as wish:
            if sweep.search is None:
                runner.run_grid(members, wish)
            else:
                runner.run_search(sweep.search, wish)
        rows = rows_of(runner.members, folder, runner.failed, sweep.measure, nets.facts)
    finally:
        folder.release()
    if wish():
        tell(f"stopped by {wish.name}; the same command goes on")
        return wish.code
    _print(rows, sweep.measure, options.format, options.columns)
    return FAILED if runner.failed else OK


def _net_of(sweep: SweepFile, file: Path) -> Path:
    """Return the net's file: that which the sweep names, from its own folder on, or the one beside it.

    Raises:
        NetspecError: `usage/train` if there is none.
    """
    if sweep.net:
        return find_net(file.parent / sweep.net if _is_beside(file, sweep.net) else sweep.net)
    beside = file.with_suffix(".net")
    if not beside.is_file():
        raise NetspecError.simple(
            codes.USAGE_TRAIN, f"{file} does not say which net is trained",
            'write [sweep], and under it net = "lenet.net"',
        )  # fmt: skip
    return beside


def _is_beside(file: Path, net: str) -> bool:
    return (file.parent / net).exists() or (file.parent / f"{net}.net").exists()


class _Nets:
    """The net of a sweep with the arguments of its runs, each checked once."""

    def __init__(self, net: Path, options: argparse.Namespace) -> None:
        self._net, self._options = net, options
        self._found: dict[str, Net] = {}

    def of(self, member: Member) -> Net:
        """Return the net of a run.

        Raises:
            NetspecError: what is wrong with the net, or with its arguments.
        """
        from netspec.compiler.driver import Request
        from netspec.runtime.runs.resolve import check_arguments

        arguments = member.recipe.arguments
        key = repr(sorted(arguments.items()))
        if key not in self._found:
            try:
                request = Request(path=self._net, arguments=arguments)
                found = requested_net(request, self._options, warn=not self._found)
            except NetspecError as error:
                raise check_arguments(member.recipe, error) from None
            self._found[key] = found
        return self._found[key]

    def facts(self, member: Member) -> dict[str, int]:
        """Return parameters and MACs of a run's net; nothing of a faulty one, whose run has failed."""
        from netspec.compiler.ir.net_facts import params_and_macs

        try:
            return params_and_macs(self.of(member).graph)
        except NetspecError:
            return {}


def _facts(sweep: SweepFile, net: Net) -> dict[str, Any]:
    """Return what the runs of a sweep have in common: it goes on only with the same."""
    from netspec.runtime.runs.folder import net_files

    digest = hashlib.sha256()
    for name, content in sorted(net_files(net.written)[1].items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    varied = ["/".join(place) for place in sweep.varied]
    return {
        "net": f"{net.name} ({digest.hexdigest()[:16]})",
        "target": sweep.target,
        "varied": varied,
        "search": None if sweep.search is None else sweep.search.to_dict(),
        **sweep.fixed.values,
        **{f"set {name}": value for name, value in sweep.fixed.arguments.items()},
    }


# ---------------------------------------------------------------------------------------- the table


def _print(rows: Sequence[Row], by: str, form: str, columns: str | None) -> None:
    if form == "json":
        emit(json.dumps([row.to_dict() for row in rows], indent=1))
    elif form == "csv":
        emit_text(_csv(rows))
    elif rows:
        table = _table(rows, by)
        emit(table.chosen(chosen_names(columns, [table])).text(form))


def _csv(rows: Sequence[Row]) -> str:
    from netspec.runtime.runs.listing import MEASURED
    from netspec.runtime.runs.sweeps.results import COUNTED

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [*rows[0].choices] if rows else []
    measures = [f"{m}{end}" for m in MEASURED for end in ("", "_spread")]
    results = [*COUNTED, "done", "of", *measures]
    writer.writerow([*setting_titles(names, results).values(), *results])
    for row in rows:
        values: list[Any] = [row.choices[name] for name in names]
        values += [row.facts.get(name) for name in COUNTED]
        values += [row.ends.get("done", 0), sum(row.ends.values())]
        for measure in MEASURED:
            found = row.group.measure(measure)
            values += ["", ""] if found is None else [found.mean, found.spread]
        writer.writerow(map(csv_cell, values))
    return text.getvalue()


def _table(rows: Sequence[Row], by: str) -> ResultsTable:
    """Return the table: choices, facts of the net, on demand where these are the same, how many runs
    are done, and what was measured; the best first.
    """
    from netspec.runtime.runs.listing import IN_TABLES
    from netspec.runtime.runs.sweeps.results import COUNTED
    from netspec.runtime.runs.sweeps.sweep_file import shown_choice

    names = [*rows[0].choices]
    facts = [name for name in COUNTED if any(name in row.facts for row in rows)]
    same = [name for name in facts if len({row.facts.get(name) for row in rows}) == 1]
    measures = [by, *(m for m in IN_TABLES if m != by)]
    shown = [m for m in measures if any(row.group.measure(m) is not None for row in rows)]
    measured = {name: [row.group.measure(name) for row in rows] for name in shown}
    settings = {
        title: [printable(shown_choice(row.choices[name])) for row in rows]
        for name, title in setting_titles(names, ["runs", *facts, *shown]).items()
    }
    pairs = [
        (text_column(""), [str(i) for i in range(1, len(rows) + 1)]),
        *((choice_column(name, cells), cells) for name, cells in settings.items()),
        *((Column(name), [_count(row.facts.get(name)) for row in rows]) for name in facts),
        (text_column("runs"), [_ends(row) for row in rows]),
        *((Column(name), spread_texts(name, found)) for name, found in measured.items()),
    ]
    on_demand = [*same, *measures_on_demand(shown)]
    columns = [column for column, _ in pairs]
    body = [[*cells] for cells in zip(*(cells for _, cells in pairs), strict=True)]
    return ResultsTable(columns, body, means(measured), on_demand, heads=1 + len(names))


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _ends(row: Row) -> str:
    total = sum(row.ends.values())
    others = [f"{count} {end}" for end, count in row.ends.items() if end != "done"]
    done = row.ends.get("done", 0)
    return str(total) if done == total else ", ".join([f"{done} of {total}", *others])
