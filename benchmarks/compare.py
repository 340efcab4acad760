"""Compares netspec with its peers on three nets, and writes RESULTS.md.

    python benchmarks/compare.py                          every peer that is installed: half an hour
    python benchmarks/compare.py --against torch          ratios to PyTorch alone: a few minutes
    python benchmarks/compare.py --only lenet --output -  some rows, to stdout

The machine should be quiet: on a busy one, threads that wait for each other cost some peers far
more time than others. Results are written after each row, so that a run that is stopped keeps them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netspec
from netspec.kernels import parallel
from netspec.tools.bench import BenchResult, Workload, compare
from netspec.tools.bench.machine import Machine, machine
from netspec.tools.bench.peers import OURS, PEERS
from netspec.tools.bench.report import machine_text, size
from netspec.tools.bench.worker import PeerError

HERE = Path(__file__).parent
NETWORKS = HERE.parent / "networks"


@dataclass(frozen=True)
class Row:
    """A row of a table: a net with its arguments, a batch size, and whether it is a training step
    or inference.
    """

    title: str
    file: str
    batch: int
    train: bool
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.title}, batch {self.batch}"


WIDE = (("hidden", 500),)
ROWS = [
    Row("LeNet", "lenet", 64, True),
    Row("LeNet", "lenet", 256, True),
    Row("three-layer (hidden 500)", "threelayer", 50, True, WIDE),
    Row("three-layer (hidden 500)", "threelayer", 128, True, WIDE),
    Row("ResNet-20", "resnet", 128, True),
    Row("LeNet", "lenet", 1, False),
    Row("LeNet", "lenet", 64, False),
    Row("LeNet", "lenet", 256, False),
    Row("three-layer (hidden 500)", "threelayer", 1, False, WIDE),
    Row("three-layer (hidden 500)", "threelayer", 50, False, WIDE),
    Row("three-layer (hidden 500)", "threelayer", 128, False, WIDE),
    Row("ResNet-20", "resnet", 1, False),
    Row("ResNet-20", "resnet", 128, False),
]

Found = dict[Row, BenchResult | str]


def main(argv: Sequence[str] | None = None) -> None:
    options = _options(argv)
    peers = [name.strip() for name in options.against.split(",") if name.strip()]
    strange = [name for name in peers if name not in PEERS or name == OURS]
    if strange:
        sys.exit(f"there is no peer {', '.join(strange)}")
    wanted = [
        row
        for row in ROWS
        if row.file in options.only.split(",") and options.mode in ("both", _mode(row))
    ]
    here = machine()
    if here.is_busy:
        print(f"the machine is busy (load {here.load:.1f}): so are these times", file=sys.stderr)
    found: Found = {}
    for number, row in enumerate(wanted):
        print(f"[{number + 1}/{len(wanted)}] {row.name}, {_mode(row)}", file=sys.stderr)
        net = netspec.load(NETWORKS / f"{row.file}.net", **dict(row.arguments))
        case = Workload(net, row.batch, row.train, options.threads)
        try:
            found[row] = compare(case, peers, options.rounds, say=_say)
        except PeerError as error:
            found[row] = f"netspec {error}"
            print(f"  {found[row]}", file=sys.stderr)
        text = report(found, peers, here, options)
        if len(found) < len(wanted):
            text += f"\nUnfinished: {len(found)} of {len(wanted)} rows.\n"
        if options.output != "-":
            Path(options.output).write_text(text, "utf-8")
    if options.output == "-":
        print(report(found, peers, here, options))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    known = [name for name in PEERS if name != OURS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", default=",".join(known), help="peers (default: all)")
    parser.add_argument("--only", default="lenet,threelayer,resnet", help="nets")
    parser.add_argument("--mode", choices=("both", "training", "inference"), default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=parallel.threads())
    parser.add_argument("--output", default=str(HERE / "RESULTS.md"), help="a file, or -")
    return parser.parse_args(argv)


def _mode(row: Row) -> str:
    return "training" if row.train else "inference"


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


# -- the page


def report(found: Found, peers: Sequence[str], here: Machine, options: argparse.Namespace) -> str:
    """Return the text of RESULTS.md."""
    done = {row: one for row, one in found.items() if isinstance(one, BenchResult)}
    base = next((one.timings[0].name for one in done.values()), OURS)
    plural = "thread" if options.threads == 1 else "threads"
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/compare.py`, which says how.",
        "",
        f"Machine: {machine_text(here)}. {options.threads} {plural} each, median of {options.rounds}"
        f" rounds in alternation, float32.{_load(here)}",
        "",
        *_versions(done.values(), peers),
    ]
    for train in (True, False):
        part = {row: one for row, one in done.items() if row.train == train}
        if not part:
            continue
        kind = (
            "Training step (forward, softmax cross-entropy, backward, SGD)"
            if train
            else "Inference (evaluation mode)"
        )
        lines += ["", f"## {kind}", "", f"Time as a multiple of `{base}`'s; less is better.", ""]
        lines += _ratios(part, peers)
        lines += ["", "Milliseconds, and netspec's GFLOP/s next to sgemm's:", ""]
        lines += _times(part, peers)
        lines += [
            "",
            "Memory: netspec's, and the peak of a step by the peers' own profilers:",
            "",
            *_memory(part),
        ]
    lines += _failures(found)
    return "\n".join(lines) + "\n"


def _load(here: Machine) -> str:
    if here.load is None:
        return ""
    busy = ", so the machine was busy and the times are rough" if here.is_busy else ""
    return f" Load before the start: {here.load:.1f}{busy}."


def _versions(done: Iterable[BenchResult], peers: Sequence[str]) -> list[str]:
    versions = {t.name: t.version for one in done for t in one.timings}
    rows = [(f"`{n}`", PEERS[n].about, versions[n]) for n in (OURS, *peers) if n in versions]
    return _table(("peer", "what it is", "version"), rows)


def _ratios(part: dict[Row, BenchResult], peers: Sequence[str]) -> list[str]:
    names = [n for n in (OURS, *peers) if any(one.of(n) for one in part.values())]
    rows = []
    for row, one in part.items():
        best = min(t.ratio for t in one.timings)
        cells = [
            "" if timing is None
            else f"**{timing.ratio:.2f}**" if timing.ratio == best
            else f"{timing.ratio:.2f}"
            for timing in map(one.of, names)
        ]  # fmt: skip
        rows.append((row.name, *cells))
    return _table(("", *names), rows)


def _times(part: dict[Row, BenchResult], peers: Sequence[str]) -> list[str]:
    names = [n for n in (OURS, *peers) if any(one.of(n) for one in part.values())]
    rows = []
    for row, one in part.items():
        cells = [f"{1e3 * t.seconds:,.3f}" if t else "" for t in map(one.of, names)]
        ours = one.of(OURS)
        assert ours is not None
        ceiling = f"{one.ceiling.sustained:.0f} ({one.ceiling.best:.0f} at best)"
        rows.append((row.name, *cells, f"{ours.gflops:.1f}", ceiling))
    return _table(("", *names, "GFLOP/s", "sgemm"), rows)


def _memory(part: dict[Row, BenchResult]) -> list[str]:
    """Return what netspec plans and holds in memory, and what the peers' profilers count for the
    same step.
    """
    names = list(
        dict.fromkeys(t.name for one in part.values() for t in one.timings if t.peak is not None)
    )
    rows = []
    for row, one in part.items():
        memory = one.memory
        peaks = [size(t.peak) if t and t.peak is not None else "" for t in map(one.of, names)]
        share = f"{memory.arena / max(1, memory.lower_bound):.2f}"
        rows.append(
            (row.name, size(memory.arena), share, size(memory.planned), size(memory.peak), *peaks)
        )
    head = ("", "arena", "over what is alive at once", "planned in all", "traced peak", *names)
    return _table(head, rows)


def _failures(found: Found) -> list[str]:
    """Return which peers have no time, and why, with each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row, one in found.items():
        failed = {OURS: one} if isinstance(one, str) else one.failed
        for name, reason in failed.items():
            reasons.setdefault((name, reason), []).append(f"{row.name}, {_mode(row)}")
    if not reasons:
        return []
    lines = [
        f"- `{name}` {reason} ({'; '.join(rows) if len(rows) < len(found) else 'all rows'})"
        for (name, reason), rows in reasons.items()
        if reason != "is for inference alone"
    ]
    return ["", "## Not measured", "", *lines] if lines else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = "| " + " | ".join(head) + " |"
    return [line, "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]


if __name__ == "__main__":
    main()
