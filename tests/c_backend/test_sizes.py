"""What `summarize --target c` says a file will take is what the file takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions, c_source
from netspec.compiler.c_backend.int8.int8_file import Int8Options, int8_source
from netspec.compiler.c_backend.sizes import c_sizes
from netspec.compiler.ir.input_scale import InputScale
from tests.c_backend.test_int8 import NETS, case

NETWORKS = Path(__file__).parents[2] / "networks"


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_sizes_are_those_of_the_file(kind):
    graph = netspec.load(NETWORKS / "lenet.net").graph
    rng = np.random.default_rng(0)
    parameters = {n: rng.standard_normal(p.shape) for n, p in graph.parameters.items()}
    source, found = c_source(graph, parameters, COptions(dtype=kind)), c_sizes(graph, kind)
    assert (found.weights, found.arena) == (source.constant_bytes, source.arena_bytes)
    each = 4 if kind == "float32" else 8
    assert found.arrays == {"image": 784 * each, "output": 10 * each}
    assert found.ram == found.arena + 794 * each
    assert found.peak is not None
    assert found.peak.name == "max_pool1"
    assert list(found.held.items()) == [("conv1", 3456 * each), ("max_pool1", 864 * each)]


@pytest.mark.parametrize("name", ["all", "rows"])
def test_sizes_in_whole_numbers_are_those_of_the_file(name):
    net = NETS[name]()
    by = InputScale(*(np.ones((3, 1, 1) if name == "all" else (1, 1), "f") for _ in range(2)))
    options = Int8Options(input_scale=by, pixels=by)
    source, found = int8_source(case(net)[2], options), c_sizes(net.graph, "int8", by, by)
    assert (found.weights, found.arena) == (source.constant_bytes, source.arena_bytes)


DEEP = """net Deep {
    input image: [3, 32, 32]
    output image -> conv(4, 3, stride = 2, pad = 1) -> relu -> global_avg_pool -> linear(10)
}
"""


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("normalize", ["channel", "mean-image"])
def test_a_file_that_normalises_takes_what_is_said(run, write, tmp_path, kind, normalize):
    net, rng = write(DEEP), np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 32, 32), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=images, y_train=np.arange(40) % 10,
             x_test=images, y_test=np.arange(40) % 10)  # fmt: skip
    folder, whole = tmp_path / "r", ["--int8"] if kind == "int8" else []
    done = run("train", "numpy", net, "--data", tmp_path / "d.npz", "--epochs", 1,
               "--normalize", normalize, "--out", folder)  # fmt: skip
    assert done.code == 0, done.err
    done = run("summarize", folder, "--target", "c", "--normalize", *whole, "--format", "json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    done = run("compile", folder, "--target", "c", "--normalize", *whole, "-o", tmp_path / "n.c")
    assert done.code == 0, done.err
    text = (tmp_path / "n.c").read_text("utf-8")
    assert f"memory    {said['arena']:,} bytes" in text
    assert f"weights   {said['weights']:,} bytes" in text
    before = json.loads(run("summarize", folder, "--target", "c", *whole, "--format", "json").out)
    assert said["arena"] > before["arena"] or kind == "int8"


SHAPES = {"[3, 32]": (3, 32), "[5, 32]": (5, 32), "[12]": (12,), "[3, 12, 12]": (3, 12, 12)}
TYPES = {"bytes": np.uint8, "counts": np.int16}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TYPES)
def test_budgets_hold_for_what_is_compiled(run, write, tmp_path, shape, kind):
    """For inputs of any number of axes: the numbers of `summarize`, of the file and of its object."""
    layers = "conv(4, 3) -> relu -> flatten ->" if len(SHAPES[shape]) > 1 else ""
    net = write(f"net N {{ input x: {shape}\n output x -> {layers} linear(3) }}")
    rng, folder = np.random.default_rng(0), tmp_path / "r"
    x = rng.integers(0, 200, (12, *SHAPES[shape])).astype(TYPES[kind])
    y = np.arange(12) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    done = run("train", "numpy", net, "--data", tmp_path / "d.npz", "--epochs", 1, "--out", folder)
    assert done.code == 0, done.err
    for options in ((), ("--normalize",), ("--int8",), ("--int8", "--normalize")):
        out = tmp_path / "n.c"
        done = run("compile", folder, "--target", "c", *options, "-o", out, "--force")
        assert done.code == 0, done.err
        held = compiled_constants(out)
        assert f"weights   {held:,} bytes" in out.read_text("utf-8"), options
        sizes = ("--target", "c", *options, "--format", "json")
        said = json.loads(run("summarize", folder, *sizes).out)
        assert said["weights"] == held, options
        assert run("summarize", folder, *sizes, "--flash", held).code == 0
        assert run("summarize", folder, *sizes, "--flash", held - 1).code == 1
        before = json.loads(run("summarize", net, *sizes).out)
        assert before["weights"] >= held, options
        assert kind != "bytes" or len(SHAPES[shape]) == 1 or before["weights"] == held, options


CALLS = """#include "n.h"
static {kind} x[N_X_NUMBERS], output[N_OUTPUT_NUMBERS];
int main(void) {{ n_{function}(x, output); return output[0] != 0; }}
"""
FUNCTIONS = {"predict": "float", "predict_int8": "int8_t"}


def test_ram_is_that_of_a_program_that_calls_the_functions_that_are_meant(run, write, tmp_path):
    """`--normalize` is for `predict`, which takes floats, in whole numbers too."""
    net, rng = write("net N { input x: [3, 32]\n output x -> conv(4, 3) -> relu -> flatten ->"
                     " linear(3) }"), np.random.default_rng(0)  # fmt: skip
    x, y, folder = (
        rng.integers(0, 2000, (12, 3, 32)).astype(np.int16),
        np.arange(12) % 3,
        tmp_path / "r",
    )
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    done = run("train", "numpy", net, "--data", tmp_path / "d.npz", "--epochs", 1, "--out", folder)
    assert done.code == 0, done.err
    for options, function, other in (
        ((), "predict", None),
        (("--normalize",), "predict", None),
        (("--int8",), "predict_int8", "predict"),
        (("--int8", "--normalize"), "predict", "predict_int8"),
    ):
        out, sizes = tmp_path / "n.c", ("--target", "c", *options, "--format", "json")
        done = run("compile", folder, "--target", "c", *options, "--header", "-o", out, "--force")
        assert done.code == 0, done.err
        for each in (folder, net):
            said = json.loads(run("summarize", each, *sizes).out)
            assert said["ram"] == taken(tmp_path, function), options
            if other is None:
                assert "others" not in said
            else:
                assert said["others"]["ram"] == taken(tmp_path, other), options
        there = said["ram"] + said["stack"]
        assert run("summarize", folder, *sizes, "--ram", there).code == 0
        assert run("summarize", folder, *sizes, "--ram", there - 1).code == 1


def taken(folder: Path, function: str) -> int:
    """Return the bytes of the variables of a program that calls a function of n.c."""
    (folder / "main.c").write_text(
        CALLS.format(function=function, kind=FUNCTIONS[function]), "utf-8"
    )
    found = 0
    for name in ("n", "main"):
        subprocess.run(["gcc", "-std=c99", "-O0", "-c", f"{name}.c"], cwd=folder, check=True)
        listed = subprocess.run(["nm", "-S", f"{name}.o"], cwd=folder, check=True,
                                capture_output=True, text=True)  # fmt: skip
        found += sum(
            int(n, 16) for n in re.findall(r"^\w+ (\w+) [bd] ", listed.stdout, re.MULTILINE)
        )
    return found


def test_both_kinds_of_calls_are_shown_in_whole_numbers(run):
    sizes = ("summarize", NETWORKS / "lenet.net", "--target", "c", "--int8")
    done = run(*sizes)
    assert "predict takes floats: image (3,136), output (40), total 7,496; --normalize" in done.out
    assert "image               784 bytes  the caller's\n" in done.out
    done = run(*sizes, "--normalize", "--ram", "8K")
    assert done.code == 1
    assert "image             3,136 bytes  the caller's, floats of predict\n" in done.out
    assert (
        "predict_int8 takes whole numbers: image (784), output (10), total 5,114; with" in done.out
    )
    assert "takes 7,496 bytes of RAM and at most 1,024 of stack, and 8,192 are there" in done.err
    assert "help: predict_int8 takes whole numbers, and fits: leave out --normalize" in done.err
    assert "leave out --normalize" not in run(*sizes, "--normalize", "--ram", "5K").err
    assert run(*sizes, "--normalize", "--ram", 7496 + 1024).code == 0


def test_no_option_is_named_that_several_inputs_do_not_take(run, write):
    net = write("net A { input a: [4]\n input b: [4]\n output a + b -> linear(3) }")
    done = run("summarize", net, "--target", "c", "--int8")
    assert "predict takes floats: a (16), b (16), output (12), total" in done.out
    assert "--normalize" not in done.out
    assert run("summarize", net, "--target", "c", "--int8", "--normalize").code == 2


def test_the_callers_arrays_are_marked_where_they_take_most(run, write):
    net = write("net Q { input signal: [3, 128]\n output signal -> flatten -> linear(8) }")
    done = run("summarize", net, "--target", "c", "--ram", "2K")
    assert done.code == 1
    assert "1,568 bytes are the caller's inputs and outputs, most of them signal" in done.err
    assert "note: the caller's arrays: signal (1,536), output (32)\n" in done.err
    assert "most of them here" not in done.err


def compiled_constants(source: Path) -> int:
    """Return the bytes of the constant arrays of a file's object, without the digest, which is global.

    Optimised, arrays of one number would be parts of instructions.
    """
    subprocess.run(["gcc", "-std=c99", "-O0", "-c", source.name], cwd=source.parent, check=True)
    listed = subprocess.run(
        ["nm", "-S", source.with_suffix(".o").name],
        cwd=source.parent, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return sum(int(size, 16) for size in re.findall(r"^\w+ (\w+) r ", listed.stdout, re.MULTILINE))


def test_a_net_that_is_not_trained_normalises_each_channel(run, write):
    net = write(DEEP)
    plain = json.loads(run("summarize", net, "--target", "c", "--format", "json").out)
    options = ("summarize", net, "--target", "c", "--normalize", "--format", "json")
    found = json.loads(run(*options).out)
    assert found["arena"] > plain["arena"]
    assert found["weights"] - plain["weights"] == 2 * 4 * 3
    done = run("summarize", net, "--target", "c", "--normalize", "--ram", "20K")
    assert done.code == 1
    assert (
        f"{found['arena']:,} bytes of the arena, most of them for the picture as the net"
        in done.err
    )
    done = run("summarize", net, "--normalize")
    assert (done.code, "add --target c" in done.err) == (2, True)


def test_a_budget_fails_where_the_most_is_needed(run):
    lenet = NETWORKS / "lenet.net"
    done = run("summarize", lenet, "--target", "c", "--ram", "64K", "--flash", "256k")
    assert done.code == 0
    assert "181,840 bytes" in done.out
    done = run("summarize", lenet, "--target", "c", "--ram", "16K", "--flash", "100000")
    assert done.code == 1
    assert "LeNet takes 20,456 bytes of RAM and at most 2,048 of stack, and 16,384 are" in done.err
    assert "17,280 bytes of the arena, most of them here, at max_pool1" in done.err
    assert "note: in the arena there: conv1 (13,824), max_pool1 (3,456)\n" in done.err
    assert "LeNet has 181,840 bytes of weights, and 100,000 of flash are there" in done.err
    assert "the most are here, in linear1" in done.err
    assert done.err.count("lenet.net:") == 2
    done = run("summarize", lenet, "--target", "c", "--int8", "--format", "json")
    assert json.loads(done.out)["kind"] == "int8"
    assert json.loads(done.out)["held"] == {"conv1": 3456, "max_pool1": 864}
    assert json.loads(done.out)["stack"] == 1024


CALLED_TWICE = """
block Twice(count) x { return x -> conv(count, 3, pad = 1) -> relu }
net Small { input image: [1, 6, 6]
 output image -> Twice(2) -> Twice(8) -> global_avg_pool -> linear(2) }
"""


def test_the_stack_counts_and_what_is_left_is_said(run, write):
    net = write(CALLED_TWICE)
    sizes = ("summarize", net, "--target", "c", "--int8", "--format", "json")
    need = json.loads(run(*sizes).out)
    there = need["ram"] + need["stack"]
    options = ("summarize", net, "--target", "c", "--int8", "--flash", "2 KiB", "--ram")
    done = run(*options, there)
    assert done.code == 0, done.err
    assert "1,024 bytes of RAM are left for the stack" in done.out
    assert f"{2048 - need['weights']:,} bytes of flash are left for code" in done.out
    done = run(*options, there - 1)
    assert done.code == 1
    assert "at twice2.conv1" in done.err or "at twice2.relu1" in done.err


@pytest.mark.parametrize("text", ["64K", "64k", "64KB", "64KiB", "64 kB", "65536", "65536B"])
def test_bytes_are_written_in_any_way(run, text):
    done = run("summarize", NETWORKS / "lenet.net", "--target", "c", "--ram", text)
    assert done.code == 0
    assert "45,080 bytes of RAM are left for the stack" in done.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--ram 64K", "--ram: for the sizes of the C file"),
        ("--int8", "--int8: for the sizes of the C file"),
        ("--target c --int8 --dtype float64", "--dtype: for a file in floating point"),
        ("--target c --batch 2", "for one image"),
        ("--target c --memory", "leave out --memory"),
        ("--target c --format csv", "or JSON"),
        ("--target c --ram 64Q", "a number of bytes, such as 64K"),
    ],
)
def test_options_that_do_not_go_together(run, options, said):
    done = run("summarize", NETWORKS / "lenet.net", *options.split())
    assert done.code == 2
    assert said in done.err
