"""Mistakes in first nets: what the messages say, and what `--fix` makes of them."""

from __future__ import annotations

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.fixes import fixed
from netspec.diagnostics import Diagnostic, Source

RESIDUAL = """\
block Res(ch) x {{
    {body}
}}
net A {{
    input image: [1, 28, 28]
    output image -> conv(12, 3) -> {call} -> flatten -> linear(10)
}}
"""


def errors(text: str) -> list[Diagnostic]:
    return compile_request(Request(source=Source("a.net", text))).errors


def the_helps(text: str) -> list[str]:
    (error,) = errors(text)
    return [hint.text for hint in error.hints]


def repaired(text: str) -> str:
    found = fixed(Request(source=Source("a.net", text)))
    assert not found.result.errors
    return found.text


def in_net(*lines: str, shape: str = "[1, 28, 28]") -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"net A(classes = 10) {{\n    input image: {shape}\n{body}}}\n"


# ------------------------------------------------------------------------------- the last softmax


@pytest.mark.parametrize("activation", ['"softmax"', '"log_softmax"', "softmax"])
@pytest.mark.parametrize(
    "lines",
    [
        ("output image -> flatten -> Dense(classes, activation={})",),
        ("output image -> flatten -> linear(classes, activation={})",),
        ("x = image -> flatten -> linear(classes, activation={})", "output x"),
        ("output scores = image -> flatten -> linear(classes, activation={})",),
    ],
)
def test_the_softmax_of_a_last_layer_is_left_out(lines: tuple[str, ...], activation: str) -> None:
    text = in_net(*lines).replace("{}", activation)
    assert "linear(classes)" in repaired(text)
    assert "softmax" not in repaired(text)


@pytest.mark.parametrize(
    "lines",
    [
        ('output image -> flatten -> linear(classes, activation="relu")',),
        ('x = image -> flatten -> linear(8, activation="softmax")', "output x -> linear(classes)"),
        ('output image -> flatten -> linear(8, activation="softmax") -> linear(classes)',),
    ],
)
def test_other_activations_are_written_behind_their_layers(lines: tuple[str, ...]) -> None:
    word = "relu" if "relu" in lines[0] else "softmax"
    assert f") -> {word}" in repaired(in_net(*lines))


# ---------------------------------------------------------------------------------- residual blocks


@pytest.mark.parametrize(
    ("body", "better"),
    [
        ("return x + (x -> conv(ch, 3) -> relu)", "x + (x -> conv(ch, 3, pad = same) -> relu)"),
        ("return x + conv(x, ch, 3)", "x + conv(x, ch, 3, pad = same)"),
        ("y = x -> conv(ch, 5) -> relu\n    return x + y", "y = x -> conv(ch, 5, pad = same)"),
        ("return x * (x -> conv(ch, 3) -> sigmoid)", "conv(ch, 3, pad = same) -> sigmoid"),
    ],
)
def test_forgotten_padding_of_a_branch_is_found(body: str, better: str) -> None:
    text = RESIDUAL.format(body=body, call="Res(12)")
    assert better in repaired(text)
    (help,) = the_helps(text)
    assert help.startswith("`pad = same` in this `conv` of the branch keeps the size")


def test_all_layers_of_a_branch_are_padded_at_once() -> None:
    body = "return x + (x -> conv(ch, 3) -> relu -> conv(ch, 1) -> conv(ch, 5))"
    text = RESIDUAL.format(body=body, call="Res(12)")
    better = "conv(ch, 3, pad = same) -> relu -> conv(ch, 1) -> conv(ch, 5, pad = same))"
    assert better in repaired(text)
    assert "the 2 layers with a kernel" in the_helps(text)[0]


def test_wrong_channels_of_a_branch_are_found() -> None:
    text = in_net(
        "x = image -> conv(12, 3)",
        "y = x -> conv(24, 3, pad = same) -> relu",
        "output x + y -> flatten -> linear(classes)",
    )
    assert "give the branch the channels of the other one: `conv(12, 3, pad = same)`" in the_helps(
        text
    )
    body = "return x + (x -> conv(ch, 3, pad = 1))"
    (help,) = the_helps(RESIDUAL.format(body=body, call="Res(24)"))
    assert help == "bring the shortcut to the shape of the other branch with `-> conv(ch, 1)`"


# ------------------------------------------------------------------------------------ numbers compared


@pytest.mark.parametrize(
    "body", ["return x * (x > 0)", "return x if x > 0 else 0", "return x * (0 < x)"]
)
def test_comparing_values_names_the_layers_that_do(body: str) -> None:
    (help,) = the_helps(RESIDUAL.format(body=body, call="Res(12)"))
    assert "`maximum(x, 0)`" in help
    assert "`where(x, a, b)`" in help


def test_what_the_help_says_of_where_is_so() -> None:
    both = "return maximum(x, 0) + where(x, x, 0)"
    assert not errors(RESIDUAL.format(body=both, call="Res(12)"))


# --------------------------------------------------------------------------------- calls half written


def test_a_pool_without_a_number_gets_the_usual_one() -> None:
    text = in_net("output image -> max_pool() -> avg_pool -> flatten -> linear(classes)")
    assert "max_pool(2) -> avg_pool(2)" in repaired(text)


def test_a_layer_without_a_number_is_shown_with_one() -> None:
    text = in_net("output image -> flatten -> linear")
    assert the_helps(text) == ["such as `linear(10)`"]
    assert not errors(text)[0].hints[0].edits  # how wide it is nobody can guess


@pytest.mark.parametrize("word", ["valid", '"valid"', '"VALID"'])
def test_no_padding_is_a_zero(word: str) -> None:
    text = in_net(f"output image -> conv(4, 3, pad = {word}) -> flatten -> linear(classes)")
    assert "pad = 0" in repaired(text)


@pytest.mark.parametrize(
    ("call", "ours"),
    [
        ("Conv2d(1, 12, 3, padding=1, stride=2)", "conv(12, 3, pad=1, stride=2)"),
        ("Conv2d(1, 16, kernel_size=3, padding=1)", "conv(16, kernel=3, pad=1)"),
    ],
)
def test_a_call_of_pytorch_is_shown_with_our_attributes(call: str, ours: str) -> None:
    text = in_net(f"output image -> {call} -> flatten -> linear(classes)")
    assert the_helps(text) == [f"write `{ours}`: the size of the input is inferred"]


def test_a_semicolon_between_arguments_is_a_comma() -> None:
    text = in_net("output image -> conv(4; 3) -> flatten -> linear(classes)")
    assert "conv(4, 3)" in repaired(text)


# -------------------------------------------------------------------------------------- other headings


def test_network_is_net() -> None:
    text = in_net("output image -> flatten -> linear(classes)").replace("net A", "network A")
    assert repaired(text).startswith("net A(")


def test_the_name_of_an_input_stands_before_its_colon() -> None:
    text = in_net("output: image -> flatten -> linear(classes)")
    text = text.replace("input image: [", "input: image [")
    better = repaired(text)
    assert "input image: [1, 28, 28]" in better
    assert "output image -> flatten" in better


def test_an_import_of_python_is_told_what_a_file_of_ours_knows() -> None:
    text = "import torch.nn as nn\n" + in_net("output image -> flatten -> linear(classes)")
    (error,) = errors(text)
    assert error.hints[0].text.startswith("nothing of Python is imported")
