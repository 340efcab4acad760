"""The framework of the fuzzers: it makes cases, writes their files, runs them and keeps the
failures.

Each case must end with a result or an ordinary error. It must not raise any other exception, take
more than `MAX_SECONDS` of processor time, or let the process grow by more than `MAX_MEGABYTES`.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 2.0
MAX_MEGABYTES = 500
MAX_FAILURES = 20
# A case that takes this long hangs: the process ends, and prints where it was.
_HANGS = 120.0
# A worker process runs for this long. So little is lost if one is killed, and its memory is its
# own.
_SHIFT = 300.0


@dataclass(frozen=True)
class Case:
    """One case to run.

    Attributes:
        kind: The kind of case, in a word.
        files: The contents of its files, by path below the folder of the case.
        seed: The seed of random choices while it runs.
    """

    kind: str
    files: Mapping[str, bytes]
    seed: int = 0


class Target(Protocol):
    """The code that is fuzzed.

    Attributes:
        module: The module that is run as a program.
        seconds: The processor time of a good case.
        megabytes: The size of the process after the good cases.
    """

    module: str
    seconds: float
    megabytes: float

    def case(self, rng: random.Random) -> Case:
        """Return the next case."""
        ...

    def carry_out(self, folder: Path, case: Case) -> Iterable[str]:
        """Run a case, and return the codes of the errors that it ends with.

        Raises:
            Exception: anything that should not happen.
        """
        ...


@dataclass
class Report:
    """What a fuzzer ran, and what it found."""

    executions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0
    failures: list[tuple[Case, str]] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.executions.items()))
        return (
            f"{sum(self.executions.values())} executions ({kinds}), {self.clean} of them clean,"
            f" {len(self.codes)} different codes, slowest {self.slowest:.2f} s,"
            f" peak {self.megabytes:.0f} MB, {len(self.failures)} failures"
        )


def megabytes() -> float:
    """Return the peak size of this process."""
    # A process inherits `ru_maxrss` from its parent, and a test runner may be large. Linux has the
    # peak of this program alone in its status.
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text("ascii")
        if found := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(target: Target, seconds: float, seed: int, folder: Path) -> Report:
    """Fuzz in this process for some seconds. `folder` holds the files of each case in turn."""
    rng, report = random.Random(seed), Report()
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(report.failures) < MAX_FAILURES:
        case = target.case(rng)
        report.executions[case.kind] += 1
        _write(folder, case.files)
        report.failures += [(case, why) for why in _carry_out(target, folder, case, report)]
    shutil.rmtree(folder, ignore_errors=True)
    return report


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _carry_out(target: Target, folder: Path, case: Case, report: Report) -> Iterable[str]:
    """Yield what is wrong with the run of a case."""
    faulthandler.dump_traceback_later(_HANGS, exit=True)
    start = time.process_time()
    try:
        found = [*target.carry_out(folder, case)]
        report.codes.update(found)
        report.clean += not found
    except BaseException:
        yield traceback.format_exc()
    taken = time.process_time() - start
    faulthandler.cancel_dump_traceback_later()
    grown = megabytes() - target.megabytes
    if taken - target.seconds > MAX_SECONDS:
        yield f"took {taken:.1f} s of processor time"
    # The peak of a process never decreases, so it is reported only once.
    if grown > MAX_MEGABYTES >= report.megabytes:
        yield f"grew by {grown:.0f} MB"
    report.slowest, report.megabytes = max(report.slowest, taken), max(report.megabytes, grown)


def run_program(target: type[Target], about: str) -> int:
    """Run the command line of a fuzzer. Failing cases are written to `--out`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("found"), help="folder for what fails")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return _work(target(), options.seconds, options.seed, options.out)
    failed, seed = False, options.seed
    end = time.monotonic() + options.seconds
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, "-m", target.module, "--worker", "--out", str(options.out)]
        command += ["--seconds", str(min(_SHIFT, left)), "--seed", str(seed)]
        code = subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode
        failed |= code != 0
        seed += 1
    return failed


def _work(target: Target, seconds: float, seed: int, out: Path) -> int:
    report = fuzz(target, seconds, seed, out.absolute() / f"under-way-{seed}")
    for i, (case, why) in enumerate(report.failures):
        kept = out / f"{case.kind}-{seed}-{i}"
        _write(kept, case.files)
        (out / f"{kept.name}.txt").write_text(f"seed {case.seed}\n{why}", "utf-8", "replace")
    print(report, flush=True)
    return bool(report.failures)
