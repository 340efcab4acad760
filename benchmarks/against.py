"""Training steps, and checks of the zoo, of this checkout next to those of another one.

    python benchmarks/against.py OTHER [--rounds 31] [--only resnet] [--checks 5] [--clock cpu]

OTHER is the folder of another checkout, of an earlier commit for instance. For each net, two
processes of each checkout take turns: the second of them shows what one checkout differs from itself.
Emitters are NumPy's everywhere. Steps are timed by the clock, for which the machine should be quiet, or
by the time of the processor in all threads; checks by the latter, on the nets that both have.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
# The file, the batch, and arguments of the net.
NETS = {"lenet": (64, ""), "threelayer": (50, "hidden=500"), "resnet": (128, "")}
# A round of one process takes at least this long, in seconds, where a step is short.
ROUND = 0.05
WORKER = """
import statistics, sys, time
import netspec
from netspec.tools.bench.peers.ours import prepare
from netspec.tools.bench.workload import Workload

file, batch, arguments, least, clock = sys.argv[1:]
now = time.process_time if clock == "cpu" else time.perf_counter
given = dict(pair.split("=") for pair in arguments.split(",") if pair)
net = netspec.load(file, **{name: int(value) for name, value in given.items()})
step = prepare(Workload(net, int(batch), True, 2)).step
for _ in range(5):
    step()
for _ in sys.stdin:
    times = []
    while not times or sum(times) < float(least):
        start = now()
        step()
        times.append(now() - start)
    print(statistics.median(times), flush=True)
"""


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which Python imports a checkout, and keeps what it has compiled of it."""
    given = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**given, "PYTHONPATH": str(checkout), "NETSPEC_EMITTERS": "numpy"}


def worker(checkout: Path, name: str, clock: str) -> subprocess.Popen[str]:
    """Start a process that takes steps of a net, a round for each line that it reads."""
    batch, arguments = NETS[name]
    file = checkout / "networks" / f"{name}.net"
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(file), str(batch), arguments, str(ROUND), clock],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        env=environment(checkout),
    )  # fmt: skip


def round_of(process: subprocess.Popen[str]) -> float:
    """Return the seconds of a step, in one round of a process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def steps(other: Path, names: Iterable[str], rounds: int, clock: str) -> None:
    """Print the median times of the processes, and the ratios to the first of the other checkout."""
    print(f"{'step':12}{'other':>10}{'again':>10}{'this':>10}{'again':>10}   ratios to the first")
    for name in names:
        workers = [worker(checkout, name, clock) for checkout in (other, other, HERE, HERE)]
        times: list[list[float]] = [[] for _ in workers]
        for turn in range(rounds):
            for at in range(len(workers)):
                chosen = (at + turn) % len(workers)
                times[chosen].append(round_of(workers[chosen]))
        for process in workers:
            process.communicate()
        medians = [statistics.median(column) for column in times]
        shown = "".join(f"{1e3 * value:10.2f}" for value in medians)
        ratios = " ".join(f"{value / medians[0]:.3f}" for value in medians[1:])
        print(f"{name:12}{shown}   {ratios}", flush=True)


def checks(other: Path, count: int) -> None:
    """Print the median processor time of `netspec check` on the nets that both checkouts have."""
    folder = "networks/zoo"
    both = sorted(
        p.name for p in (HERE / folder).glob("*.net") if (other / folder / p.name).exists()
    )
    times: dict[Path, list[float]] = {other: [], HERE: []}
    files = [f"{folder}/{name}" for name in both]
    for checkout in times:
        check_seconds(checkout, files)  # the first compiles the checkout's modules
    for _ in range(count):
        for checkout, column in times.items():
            column.append(check_seconds(checkout, files))
    theirs, ours = (statistics.median(times[checkout]) for checkout in (other, HERE))
    print(
        f"check of {len(both)} nets: other {theirs:.3f} s, this {ours:.3f} s, {ours / theirs:.3f}"
    )


def check_seconds(checkout: Path, files: Sequence[str]) -> float:
    """Return the processor time of a process that checks files of its checkout."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "netspec", "check", *files],
        check=True, capture_output=True, cwd=checkout, env=environment(checkout),
    )  # fmt: skip
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="the folder of another checkout")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--only", choices=NETS, action="append", help="this net; may be repeated")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--checks", type=int, default=5, help="checks of the zoo, 0 for none")
    options = parser.parse_args()
    start = time.perf_counter()
    steps(options.other.resolve(), options.only or NETS, options.rounds, options.clock)
    if options.checks:
        checks(options.other.resolve(), options.checks)
    print(f"{time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
