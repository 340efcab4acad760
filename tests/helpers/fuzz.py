"""A fuzzer for `netspec check`: bytes, tokens, and mutations of the files in the repository.

    python -m tests.helpers.fuzz --seconds 3600 --seed 0 --out found/

Each case is a file of at most 64 KB. It must end in diagnostics or a graph: never in another exception,
never after 2 seconds, and never in a process of over 500 MB. Every failure is written to `--out`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import render, to_json

ROOT = Path(__file__).parents[2]
MAX_BYTES = 64 * 1024
MAX_SECONDS = 2.0
MAX_MEGABYTES = 500
MAX_FAILURES = 20

TOKENS = """
net block input output return init assert for in if else layer from import language and or not true
false none ( ) [ ] { } -> = == != < > <= >= + - * ** / // % , . : conv linear relu max_pool avg_pool
batch_norm flatten dropout add global_avg_pool same normal zeros range len min max enumerate zip x y
image classes channels weight bias stride pad kernel 0 1 2 3 7 10 -1 2.5 1e308 1000000000000 "a" "x.net"
# \n \n \n \n ; ' é \t @ $ ? \\ | x.channels x.shape[0] layer{i}.0 conv(3,3) params macs
""".split(" ")
NUMBERS = ["0", "1", "-1", "2", "3", "7", "1000", "65536", "10**12", "2**62", "2.5", "1e308", "-0.0",
           "1/3", "99999999999999999999", "true", "none", '"3"', "[1,2]", "x"]  # fmt: skip
_TOKEN = re.compile(r"\s+|#[^\n]*|\"[^\"\n]*\"|[A-Za-z_]\w*|\d[\d_.]*|->|\*\*|//|[=!<>]=|.", re.S)


def corpus() -> list[str]:
    """The `.net` files of the repository, good and bad."""
    folders = (ROOT / "networks", ROOT / "tests", ROOT / "docs")
    paths = sorted(path for folder in folders for path in folder.rglob("*.net"))
    return [path.read_text("utf-8", "replace") for path in paths]


def random_bytes(rng: random.Random, files: list[str]) -> bytes:
    """Bytes of any kind, or a good file with some of its bytes changed."""
    if rng.random() < 0.4:
        return rng.randbytes(rng.choice([0, 1, 10, 100, 1000, 20000]))
    raw = bytearray(rng.choice(files).encode())
    for _ in range(rng.randint(1, 30)):
        if raw:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def random_tokens(rng: random.Random, files: list[str]) -> bytes:
    """Words of the language in any order."""
    count = rng.choice([5, 20, 100, 1000])
    words = " ".join(rng.choice(TOKENS) for _ in range(count))
    if rng.random() < 0.5:
        words = "net N() {\n input image: [3, 8, 8]\n x = image\n" + words + "\n output x\n}\n"
    return words.encode()


def mutated(rng: random.Random, files: list[str]) -> bytes:
    """A file of the corpus after a few edits of its tokens and lines."""
    text = rng.choice(files)
    for _ in range(rng.randint(1, 6)):
        text = rng.choice(MUTATIONS)(rng, text, files)
    return text.encode("utf-8", "replace")


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _drop(rng: random.Random, text: str, files: list[str]) -> str:
    tokens = _tokens(text)
    start = rng.randrange(len(tokens) + 1)
    del tokens[start : start + rng.choice([1, 1, 1, 2, 5])]
    return "".join(tokens)


def _double(rng: random.Random, text: str, files: list[str]) -> str:
    tokens = _tokens(text)
    start = rng.randrange(len(tokens) + 1)
    piece = tokens[start : start + rng.choice([1, 3, 10, 50])]
    return "".join(tokens[:start] + piece * rng.choice([2, 2, 3, 100]) + tokens[start:])


def _swap(rng: random.Random, text: str, files: list[str]) -> str:
    tokens = _tokens(text)
    if len(tokens) > 1:
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        tokens[i], tokens[j] = tokens[j], tokens[i]
    return "".join(tokens)


def _renumber(rng: random.Random, text: str, files: list[str]) -> str:
    numbers = list(re.finditer(r"\b\d+\b", text))
    if not numbers:
        return text
    match = rng.choice(numbers)
    return text[: match.start()] + rng.choice(NUMBERS) + text[match.end() :]


def _reword(rng: random.Random, text: str, files: list[str]) -> str:
    tokens = _tokens(text)
    tokens.insert(rng.randrange(len(tokens) + 1), f" {rng.choice(TOKENS)} ")
    return "".join(tokens)


def _splice(rng: random.Random, text: str, files: list[str]) -> str:
    lines, other = text.split("\n"), rng.choice(files).split("\n")
    start = rng.randrange(len(other))
    at = rng.randrange(len(lines) + 1)
    lines[at:at] = other[start : start + rng.randint(1, 8)]
    return "\n".join(lines)


def _nest(rng: random.Random, text: str, files: list[str]) -> str:
    opener, closer = rng.choice(
        [("(", ")"), ("[", "]"), ("{", "}"), ("(", ""), ("-", ""), ("not ", "")]
    )
    depth = rng.choice([3, 40, 60, 5000])
    at = rng.randrange(len(text) + 1)
    return text[:at] + opener * depth + text[at : at + 3] + closer * depth + text[at + 3 :]


MUTATIONS: list[Callable[[random.Random, str, list[str]], str]] = [
    _drop, _drop, _double, _swap, _renumber, _renumber, _reword, _splice, _nest,
]  # fmt: skip
GENERATORS = {"bytes": random_bytes, "tokens": random_tokens, "mutations": mutated}


@dataclass
class Report:
    """What a run of the fuzzer did and found."""

    executions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0
    failures: list[tuple[str, bytes, str]] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.executions.items()))
        return (
            f"{sum(self.executions.values())} executions ({kinds}), {self.clean} of them clean,"
            f" {len(self.codes)} different codes, slowest {self.slowest:.2f} s,"
            f" peak {self.megabytes:.0f} MB, {len(self.failures)} failures"
        )


def megabytes() -> float:
    """The largest this process has been."""
    # A process inherits `ru_maxrss` from the one that started it, and a test runner may be large;
    # Linux counts the peak of this program alone in its status.
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text("ascii")
        if found := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(seconds: float, seed: int) -> Report:
    """Fuzz in this process for a time."""
    rng, files, report = random.Random(seed), corpus(), Report()
    names = list(GENERATORS)
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.net"
        while time.monotonic() < end:
            kind = rng.choices(names, [1, 2, 5])[0]
            case = GENERATORS[kind](rng, files)[:MAX_BYTES]
            path.write_bytes(case)
            report.executions[kind] += 1
            start = time.process_time()
            try:
                result = compile_request(Request(path=path))
                for diagnostic in result.diagnostics:
                    render(diagnostic)
                    to_json(diagnostic)
                    report.codes[diagnostic.code] += 1
                report.clean += not result.diagnostics
            except BaseException:
                report.failures.append((kind, case, traceback.format_exc()))
            taken = time.process_time() - start
            report.slowest = max(report.slowest, taken)
            report.megabytes = max(report.megabytes, megabytes())
            if taken > MAX_SECONDS:
                report.failures.append((kind, case, f"took {taken:.1f} s of processor time"))
            if report.megabytes > MAX_MEGABYTES:
                report.failures.append((kind, case, f"{report.megabytes:.0f} MB"))
            if len(report.failures) >= MAX_FAILURES:
                break
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="folder for what fails")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        report = run(options.seconds, options.seed)
        for i, (kind, case, why) in enumerate(report.failures):
            options.out.mkdir(parents=True, exist_ok=True)
            name = f"{kind}-{options.seed}-{i}"
            (options.out / f"{name}.net").write_bytes(case)
            (options.out / f"{name}.txt").write_text(why)
        print(report, flush=True)
        return bool(report.failures)
    # Fresh processes, a few minutes each: one that is killed loses little, and memory is theirs.
    out, failed = options.out or Path("found"), False
    end = time.monotonic() + options.seconds
    seed = options.seed
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, "-m", "tests.helpers.fuzz", "--worker", "--out", str(out)]
        command += ["--seconds", str(min(300.0, left)), "--seed", str(seed)]
        code = subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode
        failed |= code != 0
        seed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
