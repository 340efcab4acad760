"""Open sizes: their arithmetic compared with that of numbers, and nets that have them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netspec
from netspec.compiler.ir.sizes import Size, at, may_equal, total

FULLY_CONVOLUTIONAL = """
net Fcn(classes = 5) {
    input image: [3, H, W]
    x = image -> conv(8, 3, pad = 1) -> max_pool(2) -> conv(8, 3, stride = 2, pad = 1) -> relu
    y = x -> conv(8, 3, pad = 1)
    output relu(x + y) -> global_avg_pool -> linear(classes)
}
"""


def evaluate(steps, value):
    for op, number in steps:
        match op:
            case "+":
                value = value + number
            case "*":
                value = value * number
            case "-":
                value = number - value
            case "//":
                value = value // number
            case "%":
                value = value % number
            case "square":
                value = value * value
    return value


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("+*-"), st.integers(-6, 6)),
        st.tuples(st.sampled_from(["//", "%"]), st.integers(1, 7)),
        st.just(("square", 0)),
    ),
    max_size=7,
)


@given(steps, st.integers(1, 60))
def test_arithmetic_is_that_of_numbers(operations, n):
    symbolic = evaluate(operations, Size.named("H"))
    expected = evaluate(operations, n)
    assert at([symbolic], {"H": n}) == (expected,)
    if isinstance(symbolic, Size):
        # What holds for all sizes must hold for this one.
        for number in (-3, 0, expected, 7):
            assert not (symbolic < number and not expected < number)
            assert not (symbolic > number and not expected > number)
            assert symbolic <= number or expected > number
            assert symbolic >= number or expected < number
        # The truth value may be wrong for a few sizes, and those are small.
        large = range(10**9, 10**9 + 12)
        assert not symbolic or expected or all(evaluate(operations, size) for size in large)


def test_what_is_certain_and_what_is_not():
    h, w = Size.named("H"), Size.named("W")
    assert h > 0
    assert not h > 1
    assert h >= 5
    assert not h < 5
    assert h + 1 > h
    assert may_equal((h,), (w,))
    assert may_equal((h,), (7,))
    assert not may_equal((h + 1,), (h,))
    assert not may_equal((h,), (h, w))
    assert str(h * w * 3 + h // 2 - 1) == "3*H*W + floor(H/2) - 1"


def test_shapes_costs_and_params():
    net = netspec.loads(FULLY_CONVOLUTIONAL)
    shapes = [str(node.shape[1]) for node in net.graph.nodes[:3]]
    assert shapes == ["H", "floor(H/2)", "floor((H + 2)/4)"]
    assert str(net.graph.nodes[0].op.macs((3, Size.named("H"), Size.named("W")))) == "216*H*W"
    assert "216*H*W" in str(net.summary())


@pytest.mark.parametrize(("height", "width"), [(20, 12), (7, 9), (33, 5)])
def test_one_model_for_every_picture_size(height, width):
    model = netspec.loads(FULLY_CONVOLUTIONAL).compile(dtype="float64")
    fixed = netspec.loads(FULLY_CONVOLUTIONAL, H=height, W=width).compile(dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, 3, height, width))
    assert (model.forward(x) == fixed.forward(x)).all()
    ours, theirs = model.loss_and_grads(x, [1, 2]), fixed.loss_and_grads(x, [1, 2])
    assert ours[0] == theirs[0]
    assert all((ours[1][name] == theirs[1][name]).all() for name in ours[1])


def test_a_picture_too_small_is_an_error_with_its_layer():
    model = netspec.loads(FULLY_CONVOLUTIONAL).compile()
    with pytest.raises(netspec.NetspecError, match="max_pool1"):
        model.forward(np.zeros((1, 3, 1, 8)))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("image -> conv(8, 3) -> flatten -> linear(10)", "shape/open-parameter"),
        ("image + (image -> conv(3, 2))", "shape/add-mismatch"),
        ("image -> conv(8, 3, groups = 2)", "shape/groups"),
        # These can only be if an open size has one certain value.
        (
            "image * (image -> global_avg_pool -> linear(6) -> reshape([3, 1, 2]))",
            "shape/mul-mismatch",
        ),
        ("image + (image -> adaptive_avg_pool(7))", "shape/add-mismatch"),
        ("(image, image -> adaptive_avg_pool([7, 7])) -> concat", "shape/concat-mismatch"),
        ("(image, image -> adaptive_avg_pool(7)) -> matmul", "shape/matmul-mismatch"),
        ("image -> reshape([27])", "shape/reshape"),
        ("image + (image -> reshape([3, 1, -1]))", "shape/add-mismatch"),
    ],
)
def test_mistakes_that_hold_for_every_size(body, code):
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(f"net Bad() {{ input image: [3, H, W]\n output {body} }}")
    assert [d.code for d in error.value.diagnostics] == [code]


def test_a_pickled_size_takes_no_hash_along() -> None:
    """Hashes of strings differ from process to process."""
    size = Size.named("H") // 2 + 1
    assert hash(size) == hash(pickle.loads(pickle.dumps(size)))
    assert size.__reduce__() == (Size, (size.terms,))


def test_a_total_is_the_sum_of_its_sizes():
    h, w = Size.named("H"), Size.named("W")
    for dims in ([], [3, 4], [h, 2, w * h, 5, w // 2, w // 2], [h, -h], [h, 3, -h], [w, h * 2, w]):
        assert total(dims) == sum(dims)
        assert str(total(dims)) == str(sum(dims))
