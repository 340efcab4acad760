"""Files of 64 KB that hold as much work as fits, and what each verb takes for them.

    python -m tests.helpers.dense_files [--text NAME] [--verb NAME]

The processor time and the memory are those of a whole process, its start included.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netspec.compiler.elaborate.net_builder import MAX_WORK
from netspec.compiler.passes.layer_limit import CLASS, MAX_IN_CLASSES, MAX_LAYERS, MAX_PARTS
from tests.helpers.fuzz_core import ROOT

SIZE = 64 * 1024
# A process that takes longer is ended by the system.
_SECONDS = 120


def _net(*lines: str, shape: str = "[3, 8, 8]", arguments: str = "") -> str:
    return "\n".join([f"net A({arguments}) {{", f"input x: {shape}", *lines, "output x", "}", ""])


def _filled(text: Callable[[int], str], most: int = SIZE) -> str:
    """Return the longest text of a family that has 64 KB, or that of `most` parts."""
    least, most = 1, most + 1
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if len(text(middle)) <= SIZE else (least, middle)
    return text(least)


def _chain(count: int) -> str:
    return _net(*["x = x -> conv(3, 3, pad = 1) -> batch_norm -> relu"] * count)


def _short(count: int) -> str:
    """As many layers as a program may have."""
    return _net(*["x=x->conv(3,1)->relu"] * min(count, MAX_LAYERS // 2))


def _loop(layers: str, count: int) -> str:
    return _net(f"for i in range({MAX_LAYERS // count}) {{ x = x -> {layers} }}")


def _blocks(count: int) -> str:
    """Blocks of 40 layers."""
    stages = " -> ".join(["conv(3, 1)", "relu"] * 20)
    blocks = (f"block B{i} x {{ return x -> {stages} }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _small_blocks(count: int) -> str:
    """Blocks of one layer."""
    blocks = (f"block B{i} x {{ return x -> conv(3, 1) }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _medium_blocks(count: int) -> str:
    """Blocks of ten layers."""
    stages = " -> ".join(["conv(3, 1)", "relu"] * 5)
    blocks = (f"block B{i} x {{ return x -> {stages} }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _nested_blocks(count: int) -> str:
    """Blocks of two blocks."""
    first = "block B0 x { return x -> conv(3, 1) -> relu }\n"
    blocks = "".join(f"block B{i} x {{ return x -> B{i // 2} }}\n" for i in range(1, count))
    return first + blocks + _net(*(f"x = x -> B{i}" for i in range(count // 2, count)))


def _calls(count: int) -> str:
    """Calls of one block with other arguments each."""
    body = "y = x -> conv(c, k, pad = k // 2) -> relu\n z = y -> conv(3, 1)\n return z + x"
    uses = (f"x = x -> B({i % 31 + 1}, {i % 3 * 2 + 1})" for i in range(count))
    return f"block B(c, k) x {{\n {body} }}\n" + _net(*uses)


def _skips(count: int) -> str:
    """Values that are read again, far behind."""
    lines = [f"y{i} = x -> conv(3, 1)\nx = y{i} + y{i // 2}" for i in range(count)]
    return _net(*lines[: MAX_LAYERS // 2])


def _branches(count: int) -> str:
    """A value that a thousand layers read, joined in one."""
    return _net(*(f"y{i} = x -> conv(1, 1)" for i in range(count)),
                f"x = concat([{', '.join(f'y{i}' for i in range(count))}])")  # fmt: skip


def _open_sizes(count: int) -> str:
    pairs = min(count, MAX_LAYERS // 2)
    return _net(*["x=x->conv(3,3)->pad(1)"] * pairs, shape="[3, H, W]")


def _labels(count: int) -> str:
    return _net(*(f"x = x -> stage{i % 7}.unit{i}.a: conv(3, 1) -> stage{i % 7}.unit{i}.b: relu"
                  for i in range(count)))  # fmt: skip


def _arguments(count: int) -> str:
    given = ", ".join(f"a{i} = 3" for i in range(count))
    return _net(
        *(f"x = x -> conv(a{i}, 1)" for i in range(count)), "x = x -> conv(3, 1)", arguments=given
    )


def _parameters(count: int) -> str:
    return _net(
        *(f"parameter p{i}: [3, 1, 1] = normal(0, {i + 1})\nx = x * p{i}" for i in range(count))
    )


def _constants(count: int) -> str:
    return _net(
        "a = [1]",
        *(f"b{i} = a + [len(a) ** 2 // 3, {i} % 7]\na = [max(b{i})]" for i in range(count)),
    )


def _formulas(count: int) -> str:
    """Elementwise arithmetic, which is fused."""
    return _net(*["x=tanh(x*2+1)-x/3"] * min(count, MAX_LAYERS // 5))


def _scans(count: int) -> str:
    blocks = "".join(
        f"scan block S{i}(c) x {{\n state h: [c]\n h = tanh((x -> linear(c)) + (h -> linear(c)))\n"
        " return h\n}\n" for i in range(count)
    )  # fmt: skip
    return blocks + _net(*(f"x = x -> S{i}(4)" for i in range(count)), shape="[5, 4]")


def _many_nets(count: int) -> str:
    nets = (
        f"net N{i} {{ input x: [3, 8, 8]\n output x -> conv(3, 1) -> relu }}\n"
        for i in range(count)
    )
    return "".join(nets) + _net()


def _lines(line: str) -> Callable[[int], str]:
    return lambda count: _net(*[line] * count)


def _empty_calls(count: int) -> str:
    return "block B y { return y }\n" + _lines("x=x->B")(count)


def _deep_loop() -> str:
    """As many layers as can be checked."""
    return _net(f"for i in range({MAX_WORK // 4}) {{ x = x -> relu }}")


def _empty_blocks(count: int) -> str:
    blocks = "".join(f"block B{i} y {{ return y }}\n" for i in range(count))
    return blocks + _net(*(f"x=x->B{i}" for i in range(count)))


def _conditions(count: int) -> str:
    return _net(*["if a { x = x -> relu }"] * count, arguments="a = true")


def _else_ifs(count: int) -> str:
    cases = "".join(f" else if a=={i} {{ x=x->relu }}" for i in range(1, count))
    return _net(f"if a==0 {{ x=x->relu }}{cases}", arguments="a = 3")


def _variants(count: int) -> str:
    """Calls of a block that has other layers in each."""
    taken = [f"a{i}" for i in range(12)]
    body = "".join(f"if {a} {{ y = y -> relu }}\n" for a in taken)
    block = f"block B({', '.join(taken)}) y {{\nz = y -> conv(9, 1)\n{body}return y -> tanh\n}}\n"
    bits = ("true", "false")
    given = (", ".join(bits[(i >> at) & 1] for at in range(12)) for i in range(count))
    return block + _net(*(f"x = x -> B({each})" for each in given))


def _odd_numbers(count: int) -> str:
    """Calls of a block with numbers that no argument explains."""
    block = "block B(a) y {\nz = y -> conv(9, 1)\nreturn y -> conv(1 + a * a % 97, 1)\n}\n"
    return block + _net(*(f"x = x -> B({i})" for i in range(count)))


def _containers(count: int) -> str:
    return _net(*(f"x=x->c{i}.a.b: conv(3,1)" for i in range(count)))


def _long_list(count: int) -> str:
    shape = f"[{count + 1}]"
    return _net(f"parameter p: {shape} = [0{',1' * count}]", "x = x * p", shape=shape)


def _splits(count: int) -> str:
    names = ", ".join(f"a{i}" for i in range(count))
    return _net(f"{names} = split(x, {count})", shape=f"[{count}, 2]")


def _uncalled(count: int) -> str:
    return "".join(f"block B{i} y {{ return y }}\n" for i in range(count)) + _net()


def _given_arguments(count: int) -> str:
    taken = ", ".join(f"a{i} = 1" for i in range(count))
    return f"block B({taken}) y {{ return y -> conv(a0, 1) }}\n" + _net(*["x = x -> B(3)"] * 50)


def _likenesses(count: int) -> str:
    names = "".join(f"a{'b' * (i % 60)}{i} = 1\n" for i in range(count))
    return _net(names, *["x = x -> linear(abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbx)"] * 20)


TEXTS: dict[str, Callable[[], str]] = {
    "chain": lambda: _filled(_chain),
    "short": lambda: _filled(_short),
    "loop": lambda: _loop("conv(3, 3, pad = 1) -> batch_norm -> relu", 3),
    "blocks": lambda: _filled(_blocks),
    "small blocks": lambda: _filled(_small_blocks),
    "nested blocks": lambda: _filled(_nested_blocks),
    "calls": lambda: _filled(_calls),
    "skips": lambda: _filled(_skips),
    "branches": lambda: _filled(_branches),
    "open sizes": lambda: _filled(_open_sizes),
    "labels": lambda: _filled(_labels),
    "arguments": lambda: _filled(_arguments),
    "parameters": lambda: _filled(_parameters),
    "constants": lambda: _filled(_constants),
    "formulas": lambda: _filled(_formulas),
    "scans": lambda: _filled(_scans),
    "many nets": lambda: _filled(_many_nets),
    # With as many layers as programs are made of.
    "most layers": lambda: _filled(_chain, MAX_LAYERS // 3),
    "most blocks": lambda: _blocks(MAX_IN_CLASSES // (CLASS + 40)),
    "most calls": lambda: _filled(_calls, MAX_LAYERS // 10),
    "most terms": lambda: _net("x = x" + "+x" * (MAX_LAYERS - 1)),
    "most formulas": lambda: _net(*["x=tanh(x*2+1)-x/3"] * (MAX_LAYERS // 5)),
    "most small blocks": lambda: _small_blocks(MAX_IN_CLASSES // (CLASS + 1)),
    "most classes": lambda: _medium_blocks(MAX_IN_CLASSES // (CLASS + 10)),
    "most skips": lambda: _filled(_skips, MAX_LAYERS // 4),
    # With no layers to speak of.
    "deep loop": _deep_loop,
    "empty loops": lambda: _net("for i in range(300) { for j in range(300) { } }"),
    "constant loop": lambda: _net("a = 0", f"for i in range({MAX_WORK // 8}) {{ a = a + i % 7 }}"),
    "empty calls": lambda: _filled(_empty_calls),
    "empty blocks": lambda: _filled(_empty_blocks),
    "names": lambda: _filled(_lines("y=x")),
    "lets": lambda: _filled(_lines("a=1")),
    "sums": lambda: _filled(lambda n: _net("a = 1" + "+1" * n, "x = x -> linear(a)")),
    "terms": lambda: _filled(lambda n: _net("x = x" + "+x" * n)),
    "choices": lambda: _filled(lambda n: _net("a = " + "1 if false else " * n + "2")),
    "asked conditions": lambda: _filled(_conditions),
    "else ifs": lambda: _filled(_else_ifs),
    "empty else ifs": lambda: _filled(
        lambda n: _net("if a{}" + "else if a{}" * n, arguments="a = true")
    ),
    "asserts": lambda: _filled(_lines("assert x.shape==[3,8,8]")),
    "variants": lambda: _variants(MAX_IN_CLASSES // (CLASS + 13)),
    "odd numbers": lambda: _odd_numbers(MAX_IN_CLASSES // (CLASS + 1)),
    "containers": lambda: _filled(_containers),
    "many inputs": lambda: _filled(lambda n: _net("x = concat([x" + ",x" * n + "])")),
    "long list": lambda: _filled(_long_list),
    "nested lists": lambda: _filled(
        lambda n: _net("a = [" + "[[1]]," * n + "1]", "b = a", "c = [a, b]")
    ),
    "most inputs": lambda: _net(f"x = concat([x{',x' * (MAX_PARTS - 3)}])"),
    "most names": lambda: _lines("y=x")(MAX_PARTS - 9),
    "most empty calls": lambda: _empty_calls(MAX_PARTS // 2 - 9),
    "string": lambda: _filled(lambda n: _net(f'assert true, "{"a" * n}"')),
    "comments": lambda: _filled(_lines("#a")),
    "shape comments": lambda: _filled(_lines("x=x->relu # [3,8,8]")),
    "docs": lambda: _filled(lambda n: "## word\n" * n + _net()),
    "given arguments": lambda: _filled(_given_arguments),
    "outputs": lambda: _filled(lambda n: _net(*(f"output y{i}=x->relu" for i in range(n)))),
    "splits": lambda: _filled(_splits, 4_096),
    "errors": lambda: _filled(_lines("x=x->conv(q,9)")),
    "likenesses": lambda: _filled(_likenesses),
    "syntax errors": lambda: _filled(_lines("x=x->conv(3,")),
    "shape errors": lambda: _filled(_lines("y=x->conv(3,99)")),
    "uses": lambda: _filled(_uncalled),
}

VERBS = {
    "check": "check dense.net",
    "fmt": "fmt --diff dense.net",
    "shapes": "fmt --shapes --diff dense.net",
    "summarize": "summarize dense.net --net A",
    "svg": "draw dense.net --net A -o out.svg",
    "html": "draw dense.net --net A -o out.html",
    "mermaid": "draw dense.net --net A -o out.mmd",
    "diff": "diff dense.net other.net --net-a A --net-b A",
    "numpy": "compile dense.net --net A --target numpy -o out.py",
    "inference": "compile dense.net --net A --target numpy --inference -o out.py",
    "plain": "compile dense.net --net A --target numpy --plain -o out.py",
    "plan": "compile dense.net --net A --target numpy --explain-plan -o out.txt",
    "standalone": "compile dense.net --net A --target numpy --standalone -o out.py",
    "torch": "compile dense.net --net A --target torch -o out.py",
    "c": "compile dense.net --net A --target c -o out.c",
    "c train": "compile dense.net --net A --target c --train -o out.c",
    "onnx": "compile dense.net --net A --target onnx -o out.onnx",
}  # fmt: skip


# The memory of children is the most of any so far, so that a process says its own.
_MEASURED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
from netspec.cli import main
code = main(sys.argv[1:])
sys.stderr.write("\\n%d" % resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.stderr.flush()
os._exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: processor seconds, megabytes, its exit code and its last words."""

    seconds: float
    megabytes: float
    code: int
    said: str


def cost(folder: Path, verb: str) -> Cost:
    """Run a verb in a folder that holds `dense.net` and `other.net`, in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        [sys.executable, "-c", _MEASURED, *VERBS[verb].split()],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    *said, peak = finished.stderr.split("\n")
    return Cost(seconds, int(peak or 0) / 1024, finished.returncode, "\n".join(said).strip()[:300])


def make(folder: Path, name: str) -> None:
    """Write the files of a text into a folder: itself, and the same with one layer more."""
    text = TEXTS[name]()
    assert len(text) <= SIZE
    (folder / "dense.net").write_text(text)
    head, _, tail = text.rpartition("output x")
    (folder / "other.net").write_text(f"{head}x = x -> relu\noutput x{tail}")


def costs(names: list[str], verbs: list[str]) -> Iterator[tuple[str, str, Cost]]:
    """Yield what each verb takes for each text."""
    for name, verb in itertools.product(names, verbs):
        with tempfile.TemporaryDirectory() as place:
            make(Path(place), name)
            yield name, verb, cost(Path(place), verb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", choices=TEXTS, action="append")
    parser.add_argument("--verb", choices=VERBS, action="append")
    options = parser.parse_args()
    for name, verb, found in costs(options.text or list(TEXTS), options.verb or list(VERBS)):
        said = "" if not found.code else f"  exit {found.code}: {found.said[:90]!r}"
        print(
            f"{name:14} {verb:10} {found.seconds:6.2f} s {found.megabytes:5.0f} MB{said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
