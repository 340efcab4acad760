"""A comparison as text and as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from netspec.text.table import Column, name_column, table_lines, text_column
from netspec.tools.bench.compare import BenchResult

if TYPE_CHECKING:
    from netspec.tools.bench.machine import Machine
    from netspec.tools.bench.profile import Profile, StepTiming

_UNITS = ("B", "KiB", "MiB", "GiB")


def as_text(found: BenchResult, width: int | None = None) -> str:
    """Return the whole comparison as text for people; words in tables are shortened to fit `width`."""
    case, ceiling = found.case, found.ceiling
    plural = "thread" if case.threads == 1 else "threads"
    lines = [
        f"{case.graph.name}, batch {case.batch}, {case.what}: {case.threads} {plural},"
        f" median of {found.rounds} {'round' if found.rounds == 1 else 'rounds'}",
        "",
    ]
    numbers = ("ms", "CPU ms", "ratio", "GFLOP/s", "of sgemm")
    columns = [text_column(""), *map(Column, numbers), text_column("version", least=8)]
    rows = []
    for timing in found.timings:
        share = timing.gflops / ceiling.sustained if ceiling.sustained else 0.0
        rows.append(
            (
                timing.name,
                f"{1e3 * timing.seconds:,.3f}",
                f"{1e3 * timing.cpu:,.3f}",
                f"{timing.ratio:.2f}",
                f"{timing.gflops:.1f}",
                f"{share:.0%}",
                timing.version,
            )
        )
    lines += table_lines(columns, rows, width=width)
    lines += [f"{name}: {reason}" for name, reason in found.failed.items()]
    memory = found.memory
    lines += [
        "",
        f"FLOPs   {found.flops:,} in a step, of convolutions and matrix products",
        f"sgemm   {ceiling.sustained:.0f} GFLOP/s sustained, {ceiling.best:.0f} at best",
        f"arena   {size(memory.arena)} ({size(memory.lower_bound)} are alive at once)",
        f"memory  {size(memory.planned)} planned, {size(memory.peak)} traced with the batch;"
        f" {size(memory.step)} allocated in a later one",
    ]
    lines += [
        f"        {size(timing.peak)} in {timing.name}, by its own profiler"
        for timing in found.timings
        if timing.peak is not None
    ]
    if found.profile is not None:
        lines += ["", *_profile(found.profile, width)]
    return "\n".join(lines)


def _profile(profile: Profile, width: int | None) -> Iterator[str]:
    whole = profile.seconds

    def shown(row: StepTiming) -> tuple[str, ...]:
        speed = f"{row.flops / row.seconds / 1e9:.1f}" if row.flops and row.seconds else ""
        kernel = row.kernel + (f" x{row.count}" if row.count > 1 else "")
        ms, share = f"{1e3 * row.seconds:.3f}", f"{row.seconds / whole:.1%}"
        return (row.part, row.place, row.ops, kernel, ms, share, speed)

    words = (name_column("line"), text_column("op", least=8), name_column("kernel"))
    columns = [text_column(""), *words, *map(Column, ("ms", "share", "GFLOP/s"))]
    rest = ("rest", "", "outside the program", "", f"{1e3 * profile.rest:.3f}")
    rows = [*map(shown, profile.by_line()), (*rest, f"{profile.rest / whole:.1%}", "")]
    return table_lines(columns, rows, width=width)


def as_data(found: BenchResult) -> dict[str, Any]:
    """Return the whole comparison as data for programs. Times are in seconds."""
    case = found.case
    data: dict[str, Any] = {
        "net": case.graph.name,
        "batch": case.batch,
        "mode": "training" if case.train else "inference",
        "threads": case.threads,
        "rounds": found.rounds,
        "flops": found.flops,
        "sgemm": asdict(found.ceiling),
        "timings": [asdict(timing) for timing in found.timings],
        "failed": dict(found.failed),
        "memory": asdict(found.memory),
    }
    if found.profile is not None:
        data["profile"] = {
            "rows": [asdict(row) for row in found.profile.rows],
            "rest": found.profile.rest,
        }
    return data


def machine_text(machine: Machine) -> str:
    """Describe a machine in one line."""
    parts = [
        machine.processor, f"{machine.cores} cores", machine.vectors, machine.system,
        f"Python {machine.python}", f"NumPy {machine.numpy}", machine.blas,
    ]  # fmt: skip
    return ", ".join(part for part in parts if part)


def size(count: int) -> str:
    """Format bytes in a suitable unit."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"
