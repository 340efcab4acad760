"""Times a net's machine code with 1, 2, 4, 8 threads in alternation, in one process.

    python benchmarks/threads.py [--net networks/lenet.net] [--batch 64] [--infer] [--rounds 15]

A ratio is to the time with as many threads as there are processors, the median over the rounds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import netspec
from netspec.compiler.overrides import parse_setting
from netspec.kernels import parallel
from netspec.runtime.engine import threads
from netspec.tools.bench.machine import machine
from netspec.tools.bench.peers import PEERS
from netspec.tools.bench.report import machine_text
from netspec.tools.bench.timing import Round, ratio, summary, time_round, turns
from netspec.tools.bench.workload import Workload


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--net", type=Path, default=Path("networks/lenet.net"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--backend", choices=("netspec-c", "netspec"), default="netspec-c")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    net = netspec.load(options.net, **dict(parse_setting(text) for text in options.set))
    case = Workload(net, options.batch, not options.infer, parallel.available())
    case.require()
    runner = PEERS[options.backend].load()(case)
    counts = {str(count): count for count in (*options.threads, parallel.available())}
    rounds: dict[str, list[Round]] = {name: [] for name in counts}
    for number in range(-1, options.rounds):
        for name in turns(list(counts), number):
            threads.limit(counts[name])
            timed = time_round(runner.step)
            if number >= 0:  # the first round warms up
                rounds[name].append(timed)
    print(
        f"{case.what} of {options.batch}, {net.name}, {options.backend}, {options.rounds} rounds\n"
    )
    print("threads    ms   processor ms   ratio")
    for name in sorted(counts, key=int):
        seconds, cpu = summary(rounds, name)
        relative = ratio(rounds[name], rounds[str(parallel.available())])
        print(f"{name:>7} {seconds * 1e3:7.2f} {cpu * 1e3:10.2f} {relative:11.2f}")
    print(f"\n{machine_text(machine())}")


if __name__ == "__main__":
    main()
