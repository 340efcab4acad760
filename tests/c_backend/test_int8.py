"""Nets in whole numbers: the C file equals the reference in NumPy bit for bit, and loses little."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import netspec
import netspec.cli as netspec_cli
from netspec.cli.c_file import CFile
from netspec.compiler.c_backend.emit import c_source
from netspec.compiler.c_backend.int8.int8_file import Int8Options, int8_source, takes_bytes
from netspec.compiler.c_backend.int8.losses import layer_losses
from netspec.compiler.c_backend.int8.quantize import evaluated_plan, quantized
from netspec.compiler.c_backend.int8.scheme import factor_of, scale_of, scaled
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ops import registry
from netspec.runtime.models.value_ranges import ranges_of, values_of
from tests.c_backend.test_c_files import without_comments
from tests.helpers.c_programs import SANITIZED, Compiler
from tests.torch_backend.test_names import in_a_comment

NETWORKS = Path(__file__).parents[2] / "networks"
LIBRARY = Compiler("gcc", ("-O1", "-shared", "-fPIC"))

ALL = """
net All(classes = 4) {
    input image: [3, 9, 8]
    x = image -> conv(8, 3, pad = 1, bias = false) -> batch_norm -> relu
    y = x -> conv(8, 3, pad = 1, groups = 2, dilation = 1) -> relu6
    x = x + y -> avg_pool(3, stride = 2, pad = 1)
    z = relu(x + (x -> conv(8, 1)))
    z = z -> max_pool(3, stride = 2, pad = 1) -> avg_pool(2, pad = 1, count_include_pad = false)
    w = (z -> conv(8, 3, groups = 8, stride = 2, pad = 1))
    output w -> flatten -> linear(6) -> relu -> linear(classes)
    output other = relu(w) -> global_avg_pool
}
"""
MORE = """
net More {
    input image: [3, 6, 5]
    x = image -> conv(4, 3, pad = 1) -> tanh
    y = x -> leaky_relu -> sigmoid
    z = concat([x, y, image], axis = 1) -> upsample(2) -> silu
    w = concat([z, z], axis = 2) -> hardswish -> gelu
    output w -> global_avg_pool -> linear(4) -> softmax
    output rows = image -> reshape([15, 6]) -> softmax(axis = 2)
}
"""
SIGNAL = """
net Signal {
    input s: [3, 16]
    x = s -> conv(4, 3, pad = 1, stride = 2) -> relu -> max_pool(2) -> avg_pool(2, pad = 1)
    output x -> upsample(2) -> conv(5, 2, groups = 1, dilation = 2) -> elu -> flatten -> linear(4)
}
"""
# One filter for each channel: of a number of channels that is no multiple of four, with strides,
# dilation, wide borders that whole windows lie in, and of too few channels for the kernel.
DEPTHWISE = """
net Depthwise {
    input image: [3, 9, 8]
    x = image -> conv(3, 3, groups = 3, pad = 1) -> conv(7, 1) -> relu
    x = x -> conv(7, 3, pad = 1, groups = 7, stride = 2) -> relu
    y = x -> conv(7, [3, 2], pad = 5, groups = 7, dilation = 2)
    output y -> conv(8, 1) -> conv(8, 3, groups = 8) -> global_avg_pool -> linear(4)
}
"""
# Pools whose windows follow from the sizes: over everything, and equal ones.
EVEN = """
net Even {
    input image: [3, 8, 6]
    x = image -> conv(5, 3, pad = 1) -> relu
    output most = x -> global_max_pool -> linear(4)
    output means = x -> adaptive_avg_pool(2) -> conv(4, 1)
    output some = x -> adaptive_max_pool([4, 3]) -> flatten -> linear(3)
    output one = x -> adaptive_max_pool(1) -> flatten -> linear(3)
    output all = x -> adaptive_avg_pool(1) -> relu
}
"""
EVEN_OF_SIGNALS = """
net Signals {
    input s: [3, 12]
    t = s -> conv(4, 3, pad = 1) -> tanh
    output signal = t -> adaptive_max_pool(3) -> flatten -> linear(3)
    output level = t -> adaptive_avg_pool(4)
    output top = t -> global_max_pool
}
"""
NETS = {
    "even": lambda: netspec.loads(EVEN),
    "even-signals": lambda: netspec.loads(EVEN_OF_SIGNALS),
    "depthwise": lambda: netspec.loads(DEPTHWISE),
    "tones": lambda: netspec.loads(
        "net T { input s: [6, 12]\n output s -> conv(6, 5, pad = 2, groups = 6) -> relu }"
    ),
    "more": lambda: netspec.loads(MORE),
    "signal": lambda: netspec.loads(SIGNAL),
    "all": lambda: netspec.loads(ALL),
    "rows": lambda: netspec.loads(
        "net R { input x: [5, 6]\n output x -> linear(7) -> relu -> linear(3) }"
    ),
    "resnet": lambda: netspec.load(NETWORKS / "resnet.net", depth=8),
}


def case(net, count=6):
    """Return a model, inputs, and the net in whole numbers."""
    model = net.compile(seed=2)
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.standard_normal((count, *shape)).astype("f")
        for name, shape in net.graph.inputs.items()
    }
    plan = evaluated_plan(net.graph)
    ranges = ranges_of(values_of(net.graph, plan, model.parameters, inputs))
    return model, inputs, quantized(net.graph, model.parameters, ranges)


def run_c(source, inputs, outputs, folder):
    (folder / "net.c").write_text(source.text, "ascii")
    library = ctypes.CDLL(str(LIBRARY.build(folder, [folder / "net.c"], "net.so")))
    found = {name: np.full(array.shape, np.nan, array.dtype) for name, array in outputs.items()}
    arrays = [*inputs.values(), *found.values()]
    count = len(arrays[0])
    function = getattr(library, f"{source.name}_predict_batch")
    function(count, *(ctypes.c_void_p(array.ctypes.data) for array in arrays))
    return found


@pytest.mark.parametrize("name", NETS)
def test_c_equals_the_reference_bit_for_bit(name, tmp_path):
    net = NETS[name]()
    _, inputs, whole = case(net)
    for array in inputs.values():  # beyond what the scales are made for, and no numbers
        array[0] *= 5
        array.flat[1:4] = (np.nan, np.inf, -np.inf)
    expected = whole.outputs(inputs)
    found = run_c(int8_source(whole), inputs, expected, tmp_path)
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name


def test_inputs_keep_their_order(tmp_path):
    net = netspec.loads(
        "net A { input a: [4]\n input b: [5]\n output x = a -> linear(3)\n output y = b -> linear(2) }"
    )
    _, inputs, whole = case(net)
    expected = whole.outputs(inputs)
    found = run_c(int8_source(whole), inputs, expected, tmp_path)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("name", NETS)
def test_little_is_lost(name):
    net = NETS[name]()
    model, inputs, whole = case(net)
    exact = model.forward(*inputs.values())
    exact = exact if isinstance(exact, dict) else {"output": exact}
    for array, found in zip(exact.values(), whole.outputs(inputs).values(), strict=True):
        assert np.abs(array - found).max() <= 0.06 * np.abs(array).max()
    plan = evaluated_plan(net.graph)
    values = next(values_of(net.graph, plan, model.parameters, inputs))
    losses = layer_losses(whole, inputs, values)
    assert 0 < losses[0].error < 0.1
    assert losses == sorted(losses, key=lambda each: -each.more)


def multiplied(x: int, multiplier: int, shift: int) -> int:
    """TFLite's MultiplyByQuantizedMultiplier with its two roundings, as its source has it."""
    product = (x << max(shift, 0)) * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    right = max(-shift, 0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if (high & mask) > threshold else 0)


@given(st.integers(-(2**27), 2**27), st.floats(1e-9, 3.9))
def test_products_are_rounded_as_tensorflow_lite_does(x, number):
    factor = factor_of(number)
    found = int(scaled(np.array(x), factor.multiplier, factor.shift))
    assert found == multiplied(x, factor.multiplier, factor.shift)
    assert abs(found - x * number) <= 1 + abs(x * number) * 2**-30


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
@example(1e-45, 1.978e-41)
@settings(max_examples=50)
def test_0_is_exact_and_ranges_are_covered(a, b):
    low, high = sorted((a, b))
    scale = scale_of(low, high)
    ends = np.array([0, min(low, 0), max(high, 0)], "f")
    found = scale.numbers(scale.quantized(ends))
    assert found[0] == 0
    assert np.abs(found - ends).max() <= scale.scale * 1.01


def test_constants_are_a_quarter():
    net = netspec.load(NETWORKS / "lenet.net")
    model, _, whole = case(net, 2)
    exact = c_source(net.graph, model.parameters)
    assert int8_source(whole).constant_bytes * 3.5 <= exact.constant_bytes


def test_layers_without_a_form_are_located_in_one_run():
    text = (
        "net A { input x: [2, 4, 4]\n x = x -> conv(2, 3) -> layer_norm\n output x -> softmax(2) }"
    )
    net = netspec.loads(text)
    with pytest.raises(netspec.NetspecError) as error:
        quantized(net.graph, net.compile().parameters, {})
    assert [(d.code, d.span.text) for d in error.value.diagnostics] == [
        ("compile/no-c", "layer_norm"),
        ("compile/no-c", "softmax(2)"),
    ]


@pytest.mark.parametrize(
    ("layer", "help"),
    [
        ("adaptive_max_pool(3)", "windows of one size have a form: sizes that divide those of what is"
         " pooled"),
        ("adaptive_avg_pool([2, 3])", "windows of one size have a form: sizes that divide those of what"
         " is pooled"),
        ("mean([2, 3])", "`global_avg_pool` computes the same, and has one"),
        ("mean(1)", None),
        ("layer_norm", None),
    ],
)  # fmt: skip
def test_what_has_a_form_is_said(layer, help):
    net = netspec.loads(
        f"net A {{ input x: [2, 8, 8]\n output x -> conv(2, 3, pad = 1) -> {layer} }}"
    )
    with pytest.raises(netspec.NetspecError) as error:
        quantized(net.graph, net.compile().parameters, {})
    (found,) = error.value.diagnostics
    assert [hint.text for hint in found.hints] == ([help] if help else [])


def has_form(example, before: str) -> bool:
    """Whether an example of an op has a form in whole numbers, behind other layers."""
    names = [f"x{k}" for k in range(len(example.inputs))]
    inputs = "\n".join(f"input {n}: {list(s)}" for n, s in zip(names, example.inputs, strict=True))
    source = names[0] if len(names) == 1 else f"({', '.join(names)})"
    try:
        graph = netspec.loads(
            f"net E {{\n{inputs}\noutput y = {source} {before} -> {example.call} }}"
        ).graph
        parameters = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
        with np.errstate(all="ignore"):
            quantized(graph, parameters, defaultdict(lambda: (-1.0, 1.0)))
    except netspec.NetspecError:
        return False
    return True


def test_the_documents_list_what_has_a_form():
    """Of all ops, by their examples, alone and behind a convolution. Nothing here names an op."""
    found: dict[str, set[str]] = {"always": set(), "sometimes": set(), "never": set()}
    for name, op in registry().items():
        alone = [has_form(example, "") for example in op.examples]
        behind = (
            has_form(example, f"-> conv({example.inputs[0][0]}, 1)")
            for example in op.examples
            if len(example.inputs) == 1 and len(example.inputs[0]) in (2, 3)
        )
        kind = "always" if all(alone) else "sometimes" if any(alone) or any(behind) else "never"
        found[kind].add(name)
    text = (NETWORKS.parent / "docs/c.md").read_text("utf-8")
    table = dict(re.findall(r"^\| (always|sometimes|never) \| (.*) \|$", text, re.MULTILINE))
    listed = {
        kind: {name for name in re.findall(r"`(\w+)`", table[kind]) if name in registry()}
        for kind in found
    }
    assert listed == found


DIGITS = "net D { input x: [1, 8, 8]\n output x -> conv(4, 3) -> relu -> flatten -> linear(10) }"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a run on digits, which come with netspec."""
    folder = tmp_path_factory.mktemp("trained")
    net = folder / "d.net"
    net.write_text(DIGITS)
    options = ("--data", "digits", "--epochs", "2", "--out", str(folder / "run"))
    assert netspec_cli.main(["train", "numpy", str(net), *options]) == 0
    return folder / "run"


def test_compile_writes_the_file_and_says_what_it_costs(run, write, tmp_path, trained):
    path, out = write(DIGITS), tmp_path / "d.c"
    chosen = ("--int8", "--calibrate", "digits", "--weights", trained, "--header")
    done = run("compile", path, "--target", "c", "-o", out, *chosen)
    assert done.code == 0, done.err
    exact, rounded = (float(n) for n in re.findall(r"([\d.]+) %(?= of| in int8)", done.err))
    assert abs(exact - rounded) < 3
    assert re.search(r"linear1 differs by [\d.]+ % from its value", done.err)
    assert re.search(r"[\d.]+ % get the same class", done.err)
    assert "int8_t arena" in out.read_text()
    header = out.with_suffix(".h").read_text()
    assert "d_predict_uint8(const uint8_t *x, int8_t *output);" in header
    more = ("--normalize", "--classify", "--arena", "extern", "--name", "small")
    assert run("compile", path, "--target", "c", "-o", out, *chosen, *more).code == 0
    header = out.with_suffix(".h").read_text()
    declared = "int small_classify(const small_real *x, small_real *output, int8_t *arena);"
    assert declared in header
    assert "x: pixels from 0 to 255, as they are: this file makes " in header
    bare = tmp_path / "bare.safetensors"
    netspec.save_weights(bare, netspec.load_weights(trained / "weights.safetensors").tensors)
    options = ("compile", path, "--target", "c", "--int8", "--weights", bare)
    done = run(*options, "--calibrate", "digits", "-o", tmp_path / "bare.c")
    assert done.code == 0
    assert "uint8" not in (tmp_path / "bare.c").read_text()
    assert "bare.safetensors does not say how images were normalised: they are not" in done.err
    done = run(*options)
    assert done.code == 2
    assert "bare.safetensors belongs to no run" in done.err
    assert "--calibrate mnist" in done.err


def test_a_run_knows_the_data_for_the_scales(run, trained):
    whole = run("compile", trained, "--target", "c", "--int8", "--calibrate", "digits")
    done = run("compile", trained, "--target", "c", "--int8", "--test-limit", 50)
    assert done.code == 0, done.err
    assert done.out == whole.out
    assert "scales from training images of digits, the data of the run" in done.err
    assert "% of 50 test images right in float32" in done.err
    assert "some of 360 test images: --test-limit 360 takes all" in done.err
    assert "--test-limit" not in whole.err
    none = run("compile", trained, "--target", "c", "--int8", "--test-limit", 0)
    assert none.out == whole.out
    assert "test images" not in none.err


@pytest.mark.parametrize(("out", "beside"), [("no/d.c", None), ("d.c", "d.h"), ("d.c", "d_main.c")])
def test_places_are_refused_before_anything_is_computed(
    run, trained, tmp_path, monkeypatch, out, beside
):
    def computed(self):
        raise AssertionError("it was compiled first")

    monkeypatch.setattr(CFile, "_compile", computed)
    if beside is not None:
        (tmp_path / beside).mkdir()
    options = ("--header", *(("--train", "--example") if beside == "d_main.c" else ()))
    done = run("compile", trained, "--target", "c", "-o", tmp_path / out, *options)
    assert done.code != 0
    assert "output/unwritable" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--calibrate digits --test-limit 3",
            "--calibrate, --test-limit: for a file in whole numbers",
        ),
        ("--int8", "--weights W --calibrate DATA"),
        ("--int8 --calibrate digits", "--int8 needs weights"),
        (
            "--int8 --calibrate digits --train --fast",
            "--fast, --train: for a file in floating point",
        ),
        ("--data-dir .", "--data-dir: for a file in whole numbers, with --int8"),
    ],
)
def test_options_that_do_not_fit(run, write, options, said):
    net = "net D { input x: [1, 8, 8]\n output x -> flatten -> linear(10) }"
    done = run("compile", write(net), "--target", "c", *options.split())
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("text", ["*/ #error /*", "*??/", "*\\", "\u202e\x1b[2J", "/*"])
def test_no_text_becomes_code(text):
    def written(name: str, said: str) -> str:
        said = in_a_comment(said)
        net = f"# {said}\nnet N {{ # {said}\n input x: [4]\n output x -> linear(2) # {said}\n }}"
        found = netspec.loads(net, name=name)
        return int8_source(case(found)[2]).text

    assert written(text, text).isascii()
    assert without_comments(written(text, text)) == without_comments(written("a.net", "b"))


MEANS = {
    "one": ((1, 1, 1), (1, 1, 1)),
    "channels": ((3, 1, 1), (1, 1, 1)),
    "places": ((3, 4, 5), (1, 1, 1)),
}
SMALL = """
net Small {
    input image: [3, 4, 5]
    x = image -> conv(4, 3, pad = 1) -> relu
    output x -> flatten -> linear(3)
}
"""


@pytest.mark.parametrize("means", MEANS)
def test_pixels_bytes_and_whole_numbers_give_the_same(means, tmp_path):
    """What the file does with bytes, pixels and whole numbers is what the reference does."""
    rng = np.random.default_rng(1)
    mean, scale = (rng.uniform(20, 200, shape).astype("f") for shape in MEANS[means])
    pixels = rng.integers(0, 256, (5, 3, 4, 5), np.uint8)
    net = netspec.loads(SMALL)
    model, x = net.compile(seed=2), {"image": (pixels.astype("f") - mean) / scale}
    plan = evaluated_plan(net.graph)
    whole = quantized(
        net.graph, model.parameters, ranges_of(values_of(net.graph, plan, model.parameters, x))
    )
    by = InputScale(mean, scale)
    bytes_too = by if takes_bytes(by) else None
    assert (bytes_too is None) == (means == "places")
    options = Int8Options(
        "net.h", True, ("a", "b", "c"), by, bytes_too, "other", normalized={"image": by}
    )
    source = int8_source(whole, options)
    header = source.header or ""
    (tmp_path / "net.h").write_text(header, "ascii")
    (tmp_path / "net.c").write_text(source.text, "ascii")
    library = ctypes.CDLL(str(LIBRARY.build(tmp_path, [tmp_path / "net.c"], "net.so")))
    expected = whole.outputs(x)["output"]
    numbers = dict(re.findall(r"#define OTHER_(\w+) (\S+)", header))
    assert (numbers["IMAGE_NUMBERS"], numbers["OUTPUT_NUMBERS"]) == ("60", "3")
    to, zero = (float(numbers[f"OUTPUT_{what}"].strip("()f")) for what in ("SCALE", "ZERO"))
    arena = np.zeros(int(numbers["ARENA_BYTES"]), np.int8)

    def called(name, given):
        made = np.zeros(3, np.int8 if "int8" in name else "f")
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (given, made, arena)]
        number = getattr(library, f"other_{name}")(*pointers)
        return (made - zero).astype("f") * np.float32(to) if "int8" in name else made, number

    assert ("classify_uint8" in header) == (bytes_too is not None)

    for image, answer, normal in zip(pixels, expected, x["image"], strict=True):
        given = whole.scales[next(b for b in whole.scales if b.name == "image.int8")]
        found = {
            "predict": np.ascontiguousarray(image, "f"),
            "predict_int8": given.quantized(normal).astype(np.int8),
        }
        found |= {"predict_uint8": image.copy()} if bytes_too is not None else {}
        for name, array in found.items():
            assert called(name, array)[0].tobytes() == answer.tobytes(), name
        shares, best = called("classify", found["predict"])
        assert best == answer.argmax()
        assert shares.sum() == pytest.approx(1)
        for kind in ("int8", "uint8") if bytes_too is not None else ("int8",):
            made = np.zeros(3, np.int8)
            pointers = [
                ctypes.c_void_p(a.ctypes.data) for a in (found[f"predict_{kind}"], made, arena)
            ]
            assert getattr(library, f"other_classify_{kind}")(*pointers) == answer.argmax()
            assert ((made - zero).astype("f") * np.float32(to)).tobytes() == answer.tobytes()


def test_the_table_of_a_slot_in_the_docs_compiles_without_variables(tmp_path):
    page = (NETWORKS.parent / "docs/c.md").read_text("utf-8")
    (table,) = re.findall(r"```c\n([^`]*struct net_slot.*?)```", page, re.DOTALL)
    whole = case(netspec.load(NETWORKS / "lenet.net"), 2)[2]
    by = InputScale(np.full((1, 1, 1), 78, "f"), np.full((1, 1, 1), 83, "f"))
    source = int8_source(
        whole, Int8Options("lenet.h", True, None, None, by, digest="0123456789abcdef")
    )
    (tmp_path / "lenet.h").write_text(source.header or "", "ascii")
    (tmp_path / "lenet.c").write_text(source.text, "ascii")
    (tmp_path / "slot.c").write_text(table, "ascii")
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-c", "lenet.c", "slot.c"], cwd=tmp_path, check=True
    )
    found = subprocess.run(
        ["size", "lenet.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert found.stdout.splitlines()[1].split()[1:3] == ["0", "0"]


def test_outputs_in_whole_numbers_may_be_inputs_or_each_other(tmp_path):
    text = "net A { input x: [4]\n y = x -> relu\n output a = x\n output b = y\n output c = y }"
    _, inputs, whole = case(netspec.loads(text))
    expected = whole.outputs(inputs)
    found = run_c(int8_source(whole), inputs, expected, tmp_path)
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name


@pytest.mark.parametrize(
    "name", ["a_predict_int8", "a_real", "int8_t", "arena", "A_X_SCALE", "scaled"]
)
def test_names_of_the_file_are_no_names_of_its_arrays(name, tmp_path):
    text = f"net A {{ input {name}: [4]\n y = {name} -> relu\n output x = y -> linear(2) }}"
    _, inputs, whole = case(netspec.loads(text))
    expected = whole.outputs(inputs)
    found = run_c(int8_source(whole), inputs, expected, tmp_path)
    assert expected["x"].tobytes() == found["x"].tobytes()


@pytest.mark.heavy
def test_nothing_undefined_happens(tmp_path):
    """Under the sanitizers, as a program of its own."""
    net = NETS["all"]()
    whole = case(net)[2]
    source = int8_source(whole, Int8Options("net.h"))
    assert source.header is not None
    (tmp_path / "net.h").write_text(source.header, "ascii")
    (tmp_path / "net.c").write_text(source.text, "ascii")
    main = """
    #include "net.h"
    static float x[6 * 3 * 9 * 8], y[6 * 4], z[6 * 8];
    int main(void)
    {
        for (int i = 0; i < 6 * 3 * 9 * 8; i++)
            x[i] = (float)(i * 37 % 101 - 50) / 10;
        all_predict_batch(6, x, y, z);
        return 0;
    }
    """
    (tmp_path / "main.c").write_text(main)
    program = SANITIZED.build(tmp_path, [tmp_path / "net.c", tmp_path / "main.c"], "program")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    assert not done.stderr
