"""Arithmetic on values: which layers operators and functions stand for, and what stays a constant."""

from __future__ import annotations

import numpy as np
import pytest

import netspec


def net_of(expression: str, *, shape: str = "[8, 4, 4]") -> netspec.Net:
    return netspec.loads(
        f"net A {{\n input x: {shape}\n input y: {shape}\n output {expression}\n}}"
    )


LAYERS = [
    ("x + y", ["add"]),
    ("x - y", ["sub"]),
    ("x * 0.5", ["mul(number = 0.5)"]),
    ("0.5 * x", ["mul(number = 0.5)"]),
    ("x - 2", ["sub(right = 2.0)"]),
    ("2 - x", ["sub(left = 2.0)"]),
    ("sub(2, x)", ["sub(left = 2.0)"]),
    ("sub(x, 2)", ["sub(right = 2.0)"]),
    ("x -> sub(2)", ["sub(right = 2.0)"]),
    ("x / 4", ["div(right = 4.0)"]),
    ("1 / x", ["div(left = 1.0)"]),
    ("-x", ["neg"]),
    ("--x", []),
    ("+x", []),
    ("x ** 2", ["pow(exponent = 2.0)"]),
    ("x ** 2 ** 0.5 ** 0", ["pow(exponent = 2.0)"]),
    ("2 ** x", ["pow(base = 2.0)"]),
    ("x ** y", ["pow"]),
    ("2 ** x ** 2", ["pow(exponent = 2.0)", "pow(base = 2.0)"]),
    ("-x ** 2", ["pow(exponent = 2.0)", "neg"]),
    ("maximum(x, 0)", ["maximum(number = 0.0)"]),
    ("maximum(0, x)", ["maximum(number = 0.0)"]),
    ("minimum(x, y)", ["minimum"]),
    ("where(x, y, 0)", ["where(otherwise = 0.0)"]),
    ("where(x, 0, y)", ["where(then = 0.0)"]),
    ("where(x, 1, 0)", ["where(then = 1.0, otherwise = 0.0)"]),
    ("add(x, y, 2)", ["add(number = 2.0)"]),
    ("abs(x)", ["abs"]),
    ("x -> sqrt", ["sqrt"]),
    ("mean(x, [2, 3], keep = true)", ["mean([2, 3], keep = true)"]),
    ("x -> sum(1)", ["sum(1)"]),
    ("max(x ** 2, -1)", ["pow(exponent = 2.0)", "max(-1)"]),
    ("min(x, axes = 1)", ["min(1)"]),
    # What only constants are given is a constant.
    ("x * sqrt(4)", ["mul(number = 2.0)"]),
    ("x * abs(0 - 3)", ["mul(number = 3.0)"]),
    ("x * max(1, x.channels // 4)", ["mul(number = 2.0)"]),
    ("x * (sum([1, 2]) - min(x.shape))", ["mul(number = -1.0)"]),
]


@pytest.mark.parametrize(("expression", "layers"), LAYERS, ids=[e for e, _ in LAYERS])
def test_the_layers_of_an_expression(expression: str, layers: list[str]) -> None:
    assert [str(node.op) for node in net_of(expression).graph.nodes] == layers


def test_sizes_of_1_are_repeated_and_others_are_not() -> None:
    shapes = [("[8, 1, 1]", "[8, 4, 4]"), ("[1, 4, 4]", "[8, 1, 4]"), ("[3, 1]", "[1, 5]")]
    for left, right in shapes:
        net = netspec.loads(
            f"net A {{\n input x: {left}\n input y: {right}\n output maximum(x * y, x - y)\n}}"
        )
        rng = np.random.default_rng(0)
        x, y = (rng.standard_normal((2, *s)) for s in net.graph.inputs.values())
        z = net.compile(dtype="float64").forward({"x": x, "y": y})
        np.testing.assert_array_equal(z, np.maximum(x * y, x - y))
    for left, right in [("[8]", "[8, 4, 4]"), ("[2, 4, 4]", "[8, 4, 4]"), ("[4, 1]", "[4]")]:
        with pytest.raises(netspec.NetspecError) as error:
            netspec.loads(f"net A {{\n input x: {left}\n input y: {right}\n output x / y\n}}")
        assert [d.code for d in error.value.diagnostics] == ["shape/div-mismatch"]


def test_a_size_that_is_open_meets_a_size_of_1() -> None:
    net = netspec.loads(
        "net A {\n input x: [3, H, W]\n"
        " output x * (x -> global_avg_pool -> reshape([3, 1, 1]))  # [3, H, W]\n}"
    )
    for shape in ((2, 3, 4, 5), (1, 3, 1, 1), (3, 3, 6, 2)):
        x = np.random.default_rng(0).standard_normal(shape)
        y = net.compile(dtype="float64").forward(x)
        np.testing.assert_allclose(y, x * x.mean((2, 3), keepdims=True), rtol=1e-12, atol=1e-12)


def test_functions_of_constants_and_of_values() -> None:
    net = net_of("exp(x) + log(exp(2)) + sin(0) + cos(0)")
    assert [str(node.op) for node in net.graph.nodes] == [
        "exp", "add(number = 2.0)", "add(number = 0.0)", "add(number = 1.0)",
    ]  # fmt: skip
    for wrong in ("log(0)", "log(-1)", "exp(1000)", "sin([1])"):
        with pytest.raises(netspec.NetspecError):
            net_of(f"x + {wrong}")


def test_the_help_for_a_list_of_numbers_says_both_readings_features_first() -> None:
    """Of 4 tokens of 4 features, a number for each token is another net, and nothing would say so."""
    head = "net A {{\n    input x: {}\n    buffer g: [4] = [1.0, 2.0, 3.0, 4.0]\n\n"
    text = head + "    output x * {}\n}}"
    said = {
        "[4, 4]": "`unsqueeze(1)` makes of [N, 4] a number for each place on the last axis;"
        " `reshape([4, 1])` a number for each place on axis 1",
        "[4, 6]": "`reshape([4, 1])` makes of [N, 4] a number for each place on axis 1",
        "[6, 4]": "`unsqueeze(1)` turns [N, 4] into [N, 1, 4], which fits",
        "[4, 5, 4]": "`reshape([4, 1, 1])` makes of [N, 4] a number for each channel;"
        " `unsqueeze(1) -> unsqueeze(1)` a number for each place on the last axis",
    }
    for shape, help in said.items():
        with pytest.raises(netspec.NetspecError) as raised:
            netspec.loads(text.format(shape, "g"))
        (found,) = raised.value.diagnostics
        assert [hint.text for hint in found.hints] == [help]
        sizes = tuple(map(int, shape.strip("[]").split(",")))
        g, x = np.arange(1.0, 5), np.random.default_rng(0).standard_normal((2, *sizes))
        for part in help.split("; "):
            way = part.split("`")[1]
            model = netspec.loads(text.format(shape, f"(g -> {way})")).compile(dtype="float64")
            on_last = "unsqueeze" in way
            factor = g if on_last else g.reshape(4, *(1 for _ in sizes[1:]))
            assert np.allclose(model.forward(x), x * factor)
