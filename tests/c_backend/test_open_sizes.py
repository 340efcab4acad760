"""C files whose functions take sizes: all up to the largest, but none that the net does not take."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend import calls
from netspec.compiler.c_backend.emit import COptions, c_source
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ops import registry
from netspec.compiler.passes.bind_sizes import specialize
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import agreement, random_parameters
from netspec.tools.agreement.case import draw_inputs
from tests.helpers.c_programs import APART, CLANG, CXX, GCC, SANITIZED, Compiler, run_open_c
from tests.ops.test_scan_blocks import ELMAN, MEMORY

NETWORKS = Path(__file__).parents[2] / "networks"
Sizes = Mapping[str, int]


def check_open(
    graph: Graph, all_sizes: list[Sizes], compiler: Compiler, folder: Path, **options: object
) -> None:
    """Hold a file for sizes up to the first of these against the reference at each of them."""
    chosen = COptions("net.h", most=all_sizes[0], **{"dtype": "float64", **options})  # type: ignore[arg-type]
    parameters = random_parameters(graph)
    rng = np.random.default_rng(3)
    runs = [(sizes, draw_inputs(specialize(graph, sizes), 2, rng)) for sizes in all_sizes]
    found = run_open_c(graph, parameters, runs, compiler, folder, chosen)
    for (sizes, inputs), outputs in zip(runs, found, strict=True):
        known = specialize(graph, sizes)
        expected = Reference(known, parameters, training=False).forward(inputs)
        tolerance = 1e-10 if chosen.dtype == "float64" else 1e-5
        for name, value in expected.items():
            assert agreement(value, outputs[name]) <= tolerance, (name, sizes)


TEXTS: dict[str, tuple[str, list[Sizes]]] = {
    "pictures": (
        """net N {
            input x: [2, H, W]
            y = x -> conv(6, 3, stride = 2, pad = 1) -> batch_norm -> relu
            z = y -> conv(6, 3, pad = 1, groups = 2) -> relu
            output (y + z) -> max_pool(2) -> group_norm(3) -> avg_pool(2, stride = 1) -> conv(3, 1)
        }""",
        [{"H": 21, "W": 13}, {"H": 7, "W": 7}, {"H": 9, "W": 12}],
    ),
    "scores of pictures": (
        """net N {
            input x: [1, S, S]
            output x -> conv(5, 5) -> relu -> max_pool(2) -> adaptive_avg_pool(2) -> flatten -> linear(3)
        }""",
        [{"S": 20}, {"S": 8}, {"S": 13}],
    ),
    "a sequence": (
        """net N {
            input tokens: int[T]
            h = tokens -> embedding(11, 6) -> lstm(6, bidirectional = true) -> layer_norm
            output h + ((h, h, h) -> multihead_attention(3)) -> gelu -> linear(4) -> softmax
        }""",
        [{"T": 9}, {"T": 1}, {"T": 4}],
    ),
    "a scan block": (
        f"{ELMAN}net N {{ input tokens: int[T]\n"
        " output tokens -> embedding(7, 3) -> Elman(4) -> Elman(2) -> linear(2) }",
        [{"T": 8}, {"T": 1}, {"T": 3}],
    ),
    "states that are given": (
        f"{MEMORY}net N {{ input t: [T, 3]\n input h: [4]\n input c: [4]\n"
        "  output Memory(t, h, c, 4) }",
        [{"T": 6}, {"T": 1}, {"T": 5}],
    ),
    "pictures of other sizes": (
        """net N {
            input x: [2, H, W]
            output a = x -> upsample(2, mode = bilinear)
            output b = x -> upsample([1.5, 2.5], mode = bilinear)
            output c = x -> upsample(size = [7, 3], mode = bilinear, align_corners = true)
        }""",
        [{"H": 9, "W": 13}, {"H": 1, "W": 1}, {"H": 7, "W": 3}],
    ),
    "two of a size": (
        """net N {
            input a: [H, 4]
            input b: [W, 4]
            output s = concat(a, b, axis = 1) -> cumsum(1)
            output t = (a, b -> permute([2, 1])) -> matmul
        }""",
        [{"H": 5, "W": 7}, {"H": 1, "W": 1}, {"H": 2, "W": 6}],
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_size_equals_the_reference(name, tmp_path):
    text, sizes = TEXTS[name]
    check_open(netspec.loads(text).graph, sizes, GCC, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("compiler", [SANITIZED, CLANG, CXX], ids=str)
def test_every_size_with_other_compilers(name, compiler, tmp_path):
    text, sizes = TEXTS[name]
    graph = netspec.loads(text).graph
    check_open(graph, sizes, compiler, tmp_path, dtype="float32", fast=True, extern_arena=True)


ZOO: dict[str, tuple[dict[str, int], list[Sizes]]] = {
    "unet": ({"width": 4, "depth": 3}, [{"H": 32, "W": 24}, {"H": 8, "W": 8}, {"H": 16, "W": 24}]),
    "bert_base": (
        {"vocabulary": 19, "width": 12, "layers": 2, "heads": 3, "positions": 9},
        [{"T": 9}, {"T": 1}, {"T": 5}],
    ),
    "transformer": (
        {"source_vocabulary": 11, "target_vocabulary": 13, "width": 12, "layers": 2, "heads": 3,
         "hidden": 20, "positions": 9},
        [{"S": 9, "T": 8}, {"S": 1, "T": 1}, {"S": 4, "T": 7}],
    ),
    "whisper_tiny_encoder": (
        {"mels": 5, "width": 12, "blocks": 2, "heads": 3, "positions": 9},
        [{"T": 18}, {"T": 1}, {"T": 7}],
    ),
    "gpt2": (
        {"vocabulary": 13, "width": 12, "layers": 2, "heads": 3, "positions": 7},
        [{"T": 7}, {"T": 1}, {"T": 4}],
    ),
    "char_lstm": (
        {"vocabulary": 13, "width": 6, "layers": 2}, [{"T": 9}, {"T": 1}, {"T": 4}],
    ),
    "llama": (
        {"vocabulary": 13, "width": 16, "layers": 2, "heads": 4, "shared": 2, "hidden": 24},
        [{"T": 9}, {"T": 1}, {"T": 4}],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["unet", *(pytest.param(n, marks=pytest.mark.heavy) for n in ZOO if n != "unet")]
)
def test_nets_of_the_zoo_that_leave_sizes_open(name, tmp_path):
    arguments, sizes = ZOO[name]
    graph = netspec.load(NETWORKS / f"zoo/{name}.net", **arguments).graph
    check_open(graph, sizes, SANITIZED, tmp_path, dtype="float32", extern_arena=True)


def test_the_zoo_that_leaves_sizes_open_is_tested():
    texts = {path.stem: path.read_text("utf-8") for path in (NETWORKS / "zoo").glob("*.net")}
    assert {n for n, text in texts.items() if re.search(r"input .*\[.*\b[A-Z]\b", text)} == {*ZOO}


# ------------------------------------------------------------------------------------ all layers


@dataclass(frozen=True)
class Open:
    """An example of an op with names for sizes: its text, and sizes that it takes, the largest first."""

    text: str
    sizes: list[Sizes]


def opened(call: str, inputs: tuple[tuple[int, ...], ...], i: int) -> Iterator[Open]:
    """Yield an example with names for the axes behind the first, for all, and for each alone.

    Axes of the same place and number have the same name. Those that stand for parameters are refused
    when the net is checked.
    """
    ranks = range(max(map(len, inputs)))
    chosen = {tuple(ranks[1:]), tuple(ranks), *((axis,) for axis in ranks)}
    for k, axes in enumerate(sorted(chosen)):
        known: dict[str, int] = {}
        lines = []
        for j, shape in enumerate(inputs):
            names = {a: f"S{i}_{k}_{n}_{a}" for a, n in enumerate(shape) if a in axes and n > 1}
            known |= {name: shape[axis] for axis, name in names.items()}
            shown = ", ".join(names.get(axis, str(n)) for axis, n in enumerate(shape))
            lines.append(f"input x{i}_{k}_{j}: [{shown}]")
        given = ", ".join(f"x{i}_{k}_{j}" for j in range(len(inputs)))
        lines.append(f"output y{i}_{k} = {given if len(inputs) == 1 else f'({given})'} -> {call}")
        text = "\n".join(lines)
        if known and (sizes := _taken(text, known)):
            yield Open(text, sizes)


def _taken(text: str, known: Sizes) -> list[Sizes]:
    """Return three sizes with which a net is one, the largest first; none if it is none."""
    try:
        graph = netspec.loads(f"net Example {{\n{text}\n}}").graph
    except netspec.NetspecError:
        return []
    found = []
    # `roll` counts on as many places as it moves by, as docs/c.md says.
    least = 9 if "-> roll(9" in text else 2 if "-> roll(" in text else 1
    for more in (7, 5, 3, 2, 1, 0, -1, -2):
        sizes = {name: number + more for name, number in known.items()}
        try:
            if min(sizes.values()) >= least:
                specialize(graph, sizes)
                found.append(sizes)
        except netspec.NetspecError:
            continue
    if len(found) < 2:
        return []
    try:
        c_source(graph, random_parameters(graph), COptions(most=found[0]))
    except netspec.NetspecError as error:
        by_tables = "sizes that are arguments" in str(error) and "-> upsample(" in text
        shared_heads = "in C counts on" in str(error) and "-> attention" in text
        if not by_tables and not shared_heads:
            raise
        return []
    return [found[0], found[-1], found[len(found) // 2]]


def check_together(parts: list[Open], compiler: Compiler, folder: Path, **options: object) -> None:
    """Compile many examples as one net, and hold them against the reference."""
    text = "\n".join(["net Examples {", *(part.text for part in parts), "}"])
    sizes = [dict(pair for part in parts for pair in part.sizes[i].items()) for i in range(3)]
    check_open(netspec.loads(text).graph, sizes, compiler, folder, **options)


EXAMPLES = [(e.call, e.inputs) for cls in registry().values() for e in cls.examples]
TOGETHER = 24


@functools.cache
def first_examples() -> list[Open]:
    firsts = [cls.examples[0] for cls in registry().values() if cls.examples]
    found = (next(opened(e.call, e.inputs, i), None) for i, e in enumerate(firsts))
    return [each for each in found if each is not None]


def test_the_first_example_of_each_op_with_open_sizes(tmp_path):
    assert len(first_examples()) > 60
    check_together(first_examples(), GCC, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("at", range(0, len(EXAMPLES), TOGETHER))
def test_every_example_with_open_sizes(at, tmp_path):
    chosen = EXAMPLES[at : at + TOGETHER]
    parts = [part for i, (call, inputs) in enumerate(chosen) for part in opened(call, inputs, i)]
    check_together(parts, APART, tmp_path, extern_arena=True)


# ------------------------------------------------------------------------------- what is refused

HALVES = """net Halves {
    input image: [1, H, W]
    x = image -> max_pool(2) -> upsample(2)
    output image + x
}
"""
REFUSED = """\
#include "net.h"
#include <stdio.h>
int main(void)
{
    static const int tried[][2] = {{8, 6}, {2, 2}, {8, 8}, {10, 6}, {7, 6}, {8, 0}, {-4, 6}, {0, 0}};
    static float image[400], output[400];
    for (int i = 0; i < 8; i++) {
        output[0] = 5;
        printf("%d", halves_predict(tried[i][0], tried[i][1], image, output));
        printf("%d", halves_predict_batch(2, tried[i][0], tried[i][1], image, output));
        printf("%d ", output[0] == 5);
    }
    return HALVES_MOST_H == 8 && HALVES_MOST_W == 6 ? 0 : 1;
}
"""


def test_sizes_that_the_net_does_not_take_are_refused_and_nothing_is_written(tmp_path):
    source = c_source(netspec.loads(HALVES).graph, {}, COptions("net.h", most={"H": 8, "W": 6}))
    (tmp_path / "net.c").write_text(source.text)
    (tmp_path / "net.h").write_text(source.header or "")
    (tmp_path / "main.c").write_text(REFUSED)
    program = SANITIZED.build(tmp_path, [tmp_path / "net.c", tmp_path / "main.c"], "program")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["000", "000", *["111"] * 6]
    assert (
        source.text.count("H - 2 * (H / 2) == 0") + source.text.count("2 * (H / 2) - H == 0") == 1
    )


def test_the_memory_is_what_the_largest_size_needs():
    graph = netspec.load(NETWORKS / "zoo/unet.net", width=4, depth=2).graph
    sizes = {"H": 32, "W": 24}
    parameters = random_parameters(graph)
    opened = c_source(graph, parameters, COptions(most=sizes))
    fixed = c_source(specialize(graph, sizes), parameters)
    assert (opened.arena_bytes, opened.constant_bytes, opened.macs) == (
        fixed.arena_bytes, fixed.constant_bytes, fixed.macs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("most", "said"),
    [
        ({}, "leaves sizes of its input open: H, W"),
        ({"H": 8}, "leaves sizes of its input open: W"),
        ({"H": 8, "W": 8, "V": 8}, "leaves no size open that is called 'V'"),
        ({"H": 8, "W": 7}, "with an input of"),
    ],
)
def test_largest_sizes_that_are_none_are_refused(most, said):
    with pytest.raises(netspec.NetspecError, match=said):
        c_source(netspec.loads(HALVES).graph, {}, COptions(most=most))


def test_heads_that_are_open_are_as_many():
    text = "net A { input q: [M, 3, 2]\n input k: [K, 3, 2]\n output (q, k, k) -> attention }"
    graph = netspec.loads(text).graph
    assert c_source(graph, {}, COptions(most={"M": 4, "K": 4})).text.count(" - K == 0") == 1
    with pytest.raises(netspec.NetspecError, match="counts on M - K == 0, and its largest sizes"):
        c_source(graph, {}, COptions(most={"M": 4, "K": 2}))


def test_a_layer_that_needs_numbers_is_located(monkeypatch):
    text = HALVES.replace("upsample(2)", "upsample(2, mode = bicubic)")
    with pytest.raises(netspec.NetspecError, match="sizes that are arguments") as error:
        c_source(netspec.loads(text).graph, {}, COptions(most={"H": 8, "W": 8}))
    assert error.value.diagnostics[0].span.text == "upsample(2, mode = bicubic)"
    forms = {k: v for k, v in calls.FORMS.items() if k != "pool.max_forward"}
    monkeypatch.setattr(calls, "FORMS", forms)
    with pytest.raises(netspec.NetspecError) as error:
        c_source(netspec.loads(text).graph, {}, COptions(most={"H": 8, "W": 8}))
    assert len(error.value.diagnostics) == 2


@pytest.mark.parametrize("word", ["N", "I", "REAL", "NAN", "EOF", "H", "ARENA"])
def test_sizes_with_names_that_c_has_already(word, tmp_path):
    text = f"""net N {{
        input y: [2, {word}, 3]
        output o = y -> conv(2, 3, pad = 1) -> mean(3)
        output p = y -> permute([3, 2, 1])
    }}"""
    check_open(netspec.loads(text).graph, [{word: 5}, {word: 1}, {word: 3}], GCC, tmp_path)


# ------------------------------------------------------------------------------------- the command

SCORES = """net Scores {
    input image: [1, H, W]
    output image -> conv(3, 3) -> relu -> global_avg_pool -> linear(4)
}
"""
CLASSES = """\
#include "net.h"
#include <stdio.h>
int main(void)
{
    static float image[64], output[4];
    image[3] = 1;
    printf("%d %d", scores_classify(8, 8, image, output) >= 0, scores_classify(9, 8, image, output));
    return output[0] + output[1] + output[2] + output[3] > 0.999f ? 0 : 1;
}
"""


def test_the_command_takes_largest_sizes(run, write, tmp_path):
    path, out = write(SCORES), tmp_path / "net.c"
    command = ("compile", path, "--target", "c", "--header", "-o", out)
    finished = run(*command, "--max", "H=8", "--max", "W=8", "--classify")
    assert finished.code == 0, finished.err
    (tmp_path / "main.c").write_text(CLASSES)
    program = GCC.build(tmp_path, [out, tmp_path / "main.c"], "program")
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"1 -1"
    finished = run(*command, "--max", "H=8", "--force")
    assert finished.code == 1
    assert "for one size: --set W=...; for all up to a largest one: --max W=..." in finished.err
    assert run(*command, "--max", "H=8", "--set", "W=8").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--max H=0 --max W=3", "argument --max"),
        ("--max 8", "a size and its largest number, such as H=64"),
        ("--max H=8 --max W=8 --train", "for a file that predicts, without --train"),
        ("--max H=8 --int8 --calibrate mnist", "without --int8"),
    ],
)
def test_largest_sizes_that_do_not_fit_are_refused(run, write, options, said):
    finished = run("compile", write(SCORES), "--target", "c", *options.split())
    assert finished.code == 2
    assert said in finished.err
    finished = run("compile", write(SCORES), "--target", "numpy", "--max", "H=8")
    assert "--max: for --target c alone" in finished.err
