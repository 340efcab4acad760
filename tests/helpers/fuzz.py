"""A fuzzer for `netspec check`: bytes, tokens, and mutations of the files in the repository.

    python -m tests.helpers.fuzz --seconds 3600 --seed 0 --out found/

Each case is a file of at most 64 KB. See `tests.helpers.fuzz_core` for what must hold.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import render, to_json
from tests.helpers.fuzz_core import ROOT, Case, run_program

MAX_BYTES = 64 * 1024

TOKENS = """
net block input output return init assert for in if else layer from import language and or not true
false none ( ) [ ] { } -> = == != < > <= >= + - * ** / // % , . : conv linear relu max_pool avg_pool
inline batch_norm flatten dropout add global_avg_pool same normal zeros range len min max enumerate zip
image x y classes channels weight bias stride pad kernel 0 1 2 3 7 10 -1 2.5 1e308 "a" "x.net"
1000000000000 # \n \n \n \n ; ' é \t @ $ ? \\ | x.channels x.shape[0] layer{i}.0 conv(3,3) params macs
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
        # What is repeated twice would take the memory that is looked for in the compiler.
        text = rng.choice(MUTATIONS)(rng, text, files)[:MAX_BYTES]
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


def _repeat(rng: random.Random, text: str, files: list[str]) -> str:
    """Make a chain of an operator, or of a line; of an open size, now and then."""
    times = rng.choice([2, 50, 1030, 2000])
    if rng.random() < 0.3:
        text = re.sub(r"\[(\d+), \d+, \d+\]", r"[\1, H, W]", text)
    if rng.random() < 0.5:
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        lines[at : at + 1] = [lines[at]] * times
        return "\n".join(lines)
    piece = rng.choice(
        [" ** 1", " ** -1", " + 1", " * x", " // 2", " < 2", " and true", "[0]", ".a"]
    )
    at = rng.choice([match.end() for match in re.finditer(r"\w\b", text)] or [0])
    return text[:at] + piece * times + text[at:]


def _name_itself(rng: random.Random, text: str, files: list[str]) -> str:
    """Insert a definition that leads back to itself."""
    lines = text.split("\n")
    piece = rng.choice(
        ["layer a = a", "layer a = b\nlayer b = a", "a = a", "block A x { return x -> A }"]
    )
    lines.insert(rng.randrange(len(lines) + 1), piece)
    return "\n".join(lines)


MUTATIONS: list[Callable[[random.Random, str, list[str]], str]] = [
    _drop, _drop, _double, _swap, _renumber, _renumber, _reword, _splice, _nest, _repeat,
    _name_itself,
]  # fmt: skip
GENERATORS = {"bytes": random_bytes, "tokens": random_tokens, "mutations": mutated}


class Nets:
    """Files for `netspec check`; see `Target`."""

    module = "tests.helpers.fuzz"
    seconds = megabytes = 0.0

    def __init__(self) -> None:
        self._files = corpus()

    def case(self, rng: random.Random) -> Case:
        kind = rng.choices([*GENERATORS], [1, 2, 5])[0]
        return Case(kind, {"case.net": GENERATORS[kind](rng, self._files)[:MAX_BYTES]})

    def carry_out(self, folder: Path, case: Case) -> Iterator[str]:
        for diagnostic in compile_request(Request(path=folder / "case.net")).diagnostics:
            render(diagnostic)
            to_json(diagnostic)
            yield diagnostic.code


if __name__ == "__main__":
    sys.exit(run_program(Nets, __doc__))
