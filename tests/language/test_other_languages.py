"""Files with syntax from other languages, and what the hints make of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netspec
from netspec.compiler.driver import Request, compile_request
from netspec.compiler.fixes import fixed
from netspec.compiler.ops import registry
from netspec.compiler.parse.pasted_python import translated
from netspec.compiler.parse.slips import mended
from netspec.compiler.syntax import other_frameworks
from netspec.diagnostics import Source
from tests.conftest import Run, Write

BAD = Path(__file__).parent / "bad"
# The hints of these files correct all that is wrong with them, one after the other.
MENDED = """
    arrows_of_others augmented_assignment batch_in_shape
    batch_in_shape_open channels_last_pool chains_in_condition comments_of_c comments_of_c_word elif
    indented_branches indented_loop indented_net label_with_minus layer_norm2d layer_without_value let
    numbers_without_digits pasted_keras_calls pasted_torch_lines several_without_brackets
    shape_without_channels torch_classes torch_input_size typographic_more typographic_signs
    value_behind_layer
""".split()


@pytest.mark.parametrize("name", MENDED)
def test_the_helps_mend_the_file(name: str) -> None:
    source = Source("a.net", (BAD / f"{name}.net").read_text("utf-8"))
    done = fixed(Request(source=source), warnings=name == "shape_without_channels")
    assert done.fixes
    assert [d.message for d in done.result.errors] == []
    assert not any(d.code.startswith("input/") for d in done.result.diagnostics)


@pytest.mark.parametrize(
    ("line", "better"),
    [
        ("output x, y", ["output x = x", "output y = y"]),
        ("output x, y ,z  # three", ["output x = x", "output y = y", "output z = z  # three"]),
        ("output x, y -> pad([1, 1], value = 0)",
         ["output a = x", "output b = y -> pad([1, 1], value = 0)"]),
        ("input x, y: [8]  # two", ["input x: [8]", "input y: [8]  # two"]),
        ("output x -> concat(1, 2)", ["output x -> concat(1, 2)"]),
        ("output x, y = z", ["output x, y = z"]),
    ],
)  # fmt: skip
def test_several_outputs_and_inputs_of_one_line_have_a_line_each(
    line: str, better: list[str]
) -> None:
    assert mended(f"    {line}").splitlines() == [f"    {each}" for each in better]


def test_a_slip_is_told_where_more_is_wrong() -> None:
    """A certain mistake is reported even if its edit alone does not make the file valid."""
    text = "net A {\n    input x: [3]\n    y => relu(\n    output x -> covn(3)\n}\n"
    diagnostics = compile_request(Request(source=Source("a.net", text))).diagnostics
    assert any("`->`" in hint.text for d in diagnostics for hint in d.hints)


@pytest.mark.parametrize(
    ("python", "ours"),
    [
        ("self.conv1 = nn.Conv2d(1, 6, 5)", "layer conv1 = conv(6, 5)"),
        ("self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)",
         "layer conv1 = conv(6, kernel = 5, pad = 2)"),
        ("self.conv1 = nn.Conv2d(3, 64, (3, 3), 1, 1, bias=False)",
         "layer conv1 = conv(64, 3, 1, 1, bias = false)"),
        ("self.fc1 = nn.Linear(16 * 5 * 5, 120)", "layer fc1 = linear(120)"),
        ("self.bn1 = nn.BatchNorm2d(64)", "layer bn1 = batch_norm"),
        ("self.act = nn.ReLU(inplace=True)", "layer act = relu"),
        ("x = self.pool(F.relu(self.conv1(x)))", "x = x -> conv1 -> relu -> pool"),
        ("x = F.max_pool2d(x, 2)", "x = x -> max_pool(2)"),
        ("x = torch.flatten(x, 1)", "x = x -> flatten"),
        ("x = x.view(-1, 16 * 5 * 5)", "x = x -> flatten"),
        ("x = x.view(x.size(0), -1)", "x = x -> flatten"),
        ("return self.fc3(x)", "return x -> fc3"),
        ("x = torch.cat([a, b], dim=1)", "x = (a, b) -> concat"),
        ("out = F.relu(self.bn(x)) + x", "out = (x -> bn -> relu) + x"),
        ('x = layers.Conv2D(32, 3, activation="relu")(x)', "x = x -> conv(32, 3) -> relu"),
        ('x = Conv2D(32, (3, 5), strides=2, padding="same")(x)',
         "x = x -> conv(32, [3, 5], stride = 2, pad = same)"),
        ("x = layers.add([x, y])", "x = (x, y) -> add"),
        ("y = conv(6, 5)(x)", "y = x -> conv(6, 5)"),
        ("x = x.reshape(4, -1)", None),
        ("x = x.size(0)", None),
        ("loss = F.cross_entropy(y, t)", None),
        ("import os", None),
        ("self.x = open('/etc/passwd').read()", None),
        ("(" * 500, None),
        ("x = " + "-" * 1500 + "1", None),
        ("x = " + ".a" * 900, None),
        ("x = \0", None),
    ],
)  # fmt: skip
def test_statements_of_pytorch_and_keras(python: str, ours: str | None) -> None:
    assert translated(python) == ours


@given(st.text(st.sampled_from("ab12.=-+*/()[]{}'\"#! \t→“×\u00a0&|:>,"), max_size=40))
def test_mending_ends_and_leaves_strings_and_comments(line: str) -> None:
    again = mended(mended(line))
    assert len(again) <= 8 * len(line) + 8
    text = f'x = "{line.translate({34: None, 92: None})}"  # {line}'
    assert mended(text) == text


def test_what_is_absent_is_no_layer() -> None:
    for name in other_frameworks.ABSENT:
        assert name not in {op.replace("_", "") for op in registry()}
        assert other_frameworks.why_absent(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pixel_shufle", "pixel_shuffle"), ("spatial_shuffle", None), ("cross_attention", None),
        ("group_nrom", "group_norm"), ("global_average_pool", "global_avg_pool"),
        ("max_pol", "max_pool"), ("MaxPool", "max_pool"), ("avg_pool_2", "avg_pool"),
        ("leakyrelu", "leaky_relu"), ("sigmod", "sigmoid"), ("batchnorm", "batch_norm"),
    ],
)  # fmt: skip
def test_a_guess_shares_no_word_with_another_thing(name: str, meant: str | None) -> None:
    assert other_frameworks.layer_meant(name, list(registry())) == meant


def test_layer_norm2d_is_what_is_proposed_for_it() -> None:
    torch = pytest.importorskip("torch")
    import numpy as np

    several = other_frameworks.SEVERAL["layernorm2d"]
    text = f"net A {{\n input x: [3, 4, 5]\n output x -> {several}\n}}"
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = netspec.loads(text).compile().forward(x)
    moved = torch.from_numpy(x).permute(0, 2, 3, 1)
    expected = torch.nn.functional.layer_norm(moved, (3,)).permute(0, 3, 1, 2).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "shape", ["[32, 32, 3]", "[28, 28, 1]", "[64, 48, 3]", "[224, 224, 4]", "[H, W, 3]"]
)
def test_height_width_channels_is_doubted(shape: str) -> None:
    text = f"net A {{\n    input x: {shape}\n    output x -> max_pool(1)\n}}\n"
    (warning,) = compile_request(Request(source=Source("a.net", text))).diagnostics
    assert (warning.code, warning.severity) == ("input/channels-last", "warning")
    done = fixed(Request(source=Source("a.net", text)), warnings=True)
    assert not done.result.diagnostics


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ("[3, 32, 32]", "conv(4, 1)"), ("[1, 28, 28]", "conv(4, 1)"), ("[40, 100, 1]", "conv(4, 1)"),
        ("[8, 6, 4]", "conv(4, 1)"), ("[3, 3, 3]", "conv(4, 1)"), ("[32, 32, 3]", "permute([3, 1, 2])"),
        ("[32, 32, 3]", "flatten"), ("[32, 32, 3]", "reshape([32, 96])"),
    ],
)  # fmt: skip
def test_other_shapes_are_not_doubted(shape: str, first: str) -> None:
    text = f"net A {{\n    input x: {shape}\n    output x -> {first}\n}}\n"
    assert not compile_request(Request(source=Source("a.net", text))).diagnostics


@pytest.mark.parametrize(("word", "ours"), [("None", "none"), ("True", "true"), ("False", "false")])
def test_words_of_python_in_settings(run: Run, write: Write, word: str, ours: str) -> None:
    path = write("net A(size = 3) {\n    input x: [3]\n    output x -> linear(size)\n}\n")
    for setting in (f"size={word}", f"size=[{word}, 2]"):
        finished = run("check", path, "--set", setting)
        assert finished.code == 2
        assert f"`{word}` is written `{ours}` here" in finished.err


def test_a_net_that_ends_in_a_picture_is_told_how_to_end(run: Run, write: Write) -> None:
    path = write("net A {\n    input x: [1, 8, 8]\n    output x -> conv(4, 3)\n}\n")
    finished = run("train", "numpy", path, "--no-recipe", "--epochs", "1", "--out", "none")
    assert "-> global_avg_pool -> linear(10)" in finished.err
