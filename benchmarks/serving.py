"""Measures a service: processes that answer with a predictor, each called by several threads.

python benchmarks/serving.py [--seconds 300] [--processes 4] [--threads 4] [--net FILE]

It is compared with one process per core, of one thread each, on the same cores. Both run in turns
of some seconds, so that other load of the machine affects both. Every answer is checked. The output
is the answers per second, their ratio to those of the simple processes, and latencies. On a machine
that is busy with other things, sixteen threads get more of it than two, so the ratio that counts
there is that of answers per second of processor time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import netspec
from netspec.kernels import parallel

NET = Path(__file__).parents[1] / "networks/lenet.net"
TURN = 10.0  # seconds
IMAGES = 64
TOLERANCE = 1e-4

Array = NDArray[Any]


@dataclass
class Tally:
    """The results of some turns.

    Attributes:
        answers, wrong: the number of answers, and of wrong ones.
        seconds: the duration of the turns.
        processor: the processor time of all processes, on all cores.
        latencies: the latency of each answer, in seconds.
    """

    answers: int = 0
    wrong: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    latencies: list[Array] = field(default_factory=list)

    def add(self, wrong: int, latencies: Array, processor: float) -> None:
        """Add the answers of a process in a turn."""
        self.processor += processor
        self.answers += len(latencies)
        self.wrong += wrong
        self.latencies.append(latencies)

    @property
    def rate(self) -> float:
        """The answers per second."""
        return self.answers / self.seconds

    def latency(self, percent: float) -> float:
        """Return the latency, in milliseconds, within which `percent` of the answers came."""
        return 1e3 * float(np.percentile(np.concatenate(self.latencies), percent))


def ask(predictor: Any, images: Array, expected: Array, until: float) -> tuple[int, Array]:
    """Ask for answers, one image at a time. Return how many were wrong, and how long each took."""
    wrong, latencies, i = 0, [], 0
    while True:
        start = time.perf_counter()
        if start > until:
            return wrong, np.array(latencies)
        answer = predictor(images[i : i + 1])
        latencies.append(time.perf_counter() - start)
        wrong += not np.allclose(answer[0], expected[i], atol=TOLERANCE, rtol=TOLERANCE)
        i = (i + 1) % len(images)


def serve(connection: Any, predictor: Any, images: Array, expected: Array, threads: int) -> None:
    """Run a process: each message starts a turn of so many seconds, whose results are sent back."""
    if threads == 1:
        parallel.set_threads(1)
    ask(predictor, images, expected, time.perf_counter() + 1)
    connection.send(None)
    while (seconds := connection.recv()) is not None:
        until, processor = time.perf_counter() + seconds, time.process_time()
        found: list[tuple[int, Array]] = []
        callers = [
            threading.Thread(
                target=lambda until=until, found=found: found.append(
                    ask(predictor, images, expected, until)
                )
            )
            for _ in range(threads)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        wrong, latencies = sum(w for w, _ in found), np.concatenate([each for _, each in found])
        connection.send((wrong, latencies, time.process_time() - processor))


class Service:
    """Processes that answer when they are told to."""

    def __init__(self, processes: int, threads: int, *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, *given, threads), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def turn(self, seconds: float, tally: Tally) -> None:
        """Answer for some seconds, all processes at once."""
        for pipe in self._pipes:
            pipe.send(seconds)
        for pipe in self._pipes:
            tally.add(*pipe.recv())
        tally.seconds += seconds

    def end(self) -> None:
        """End the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join()


def compare(net: Path, seconds: float, processes: int, threads: int) -> tuple[Tally, Tally]:
    """Return the tallies of the service, and of one process per core, each for so many seconds."""
    cores = parallel.available()
    model = netspec.load(net).compile()
    images = np.random.default_rng(0).standard_normal((IMAGES, *model.input_shape)).astype("f4")
    given = (model.predictor(), images, model.forward(images))
    service, simple = Service(processes, threads, *given), Service(cores, 1, *given)
    tallies = Tally(), Tally()
    turns = max(1, round(seconds / TURN))
    for _ in range(turns):
        for each, tally in zip((service, simple), tallies, strict=True):
            each.turn(seconds / turns, tally)
    service.end()
    simple.end()
    return tallies


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--net", type=Path, default=NET)
    given = parser.parse_args()
    service, simple = compare(given.net, given.seconds, given.processes, given.threads)
    print(f"{given.net.name}, {parallel.available()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':26}answers  per second    wrong      p50      p99      max (ms)")
    for name, tally in (
        (f"{given.processes} processes, {given.threads} threads", service),
        (f"{parallel.available()} processes, 1 thread", simple),
    ):
        marks = "".join(f"{tally.latency(p):9.2f}" for p in (50, 99, 100))
        print(f"{name:24}{tally.answers:9,}{tally.rate:12,.0f}{tally.wrong:9}{marks}")
    work = (service.answers / service.processor) / (simple.answers / simple.processor)
    print(f"share {service.rate / simple.rate:.2f}; of answers in a processor's second {work:.2f}")


if __name__ == "__main__":
    main()
