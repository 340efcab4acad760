"""What no output depends on is not in a generated module, and all else is written as in the file."""

from __future__ import annotations

import pytest

import netspec

pytest.importorskip("torch", reason="PyTorch is not installed")

from tests.helpers.torch_support import check_text

LOOP = """
net N(depth = 3) {
    input x: [4, 3, 3]
    unread = x -> aside: conv(8, 1) -> relu
    for i in range(depth) {
        x = x -> body.{i}: conv(4, 3, pad = 1) -> relu
    }
    output x
}"""
HALF = """
block Two(width) x {
    a = x -> left: conv(width, 1)
    b = x -> right: conv(width, 1)
    return a, b
}
net N(depth = 2) {
    input x: [4, 3, 3]
    for i in range(depth) {
        x, unread = x -> twice.{i}: Two(4)
    }
    a, b = x -> both: Two(4)
    output a + b
}"""
INPUT = """
block First(width) x, y {
    unread = y -> aside: conv(width, 1)
    return x -> main: conv(width, 1)
}
net N(depth = 2) {
    input x: [4, 3, 3]
    for i in range(depth) {
        x = First(x, x -> computed.{i}: conv(2, 1), 4)
    }
    output x
}"""
SHARED = """
net N(depth = 2) {
    input x: [4, 3, 3]
    layer twice = conv(4, 1)
    unread = twice(x)
    for i in range(depth) {
        x = x -> relu
    }
    output twice(x)
}"""
SHARED_BLOCK = """
block B(width) x {
    return x -> conv(width, 1)
}
net N {
    input x: [4, 3, 3]
    layer twice = B(4)
    unread = twice(x)
    y = relu(x)
    output twice(y)
}"""
NESTED = """
block Inner(width) x {
    unread = x -> aside: conv(width, 1)
    return x -> main: conv(width, 1), x -> relu
}
block Outer(width) x {
    y, z = x -> inner: Inner(width)
    if width > 4 {
        y = y -> relu
    }
    return y, z -> last: conv(width, 1)
}
net N(width = 4) {
    input x: [4, 3, 3]
    y, unread = x -> outer: Outer(width)
    output y
}"""


@pytest.mark.parametrize("text", [LOOP, HALF, INPUT, SHARED, SHARED_BLOCK, NESTED])
def test_values_and_names_of_parameters_are_those_of_the_net(text):
    check_text(text)


@pytest.mark.parametrize(
    ("text", "unread", "taken"),
    [
        (LOOP, "aside", "depth: int = 3"),
        (HALF, "unread", "depth: int = 2"),
        (INPUT, "aside", "depth: int = 2"),
        (INPUT, "computed", "def forward(self, x: torch.Tensor)"),
        (SHARED, "unread", "depth: int = 2"),
        (NESTED, "last", "width: int = 4"),
    ],
)
def test_loops_and_arguments_stay_beside_what_is_not_written(text, unread, taken):
    source = netspec.loads(text).source("torch")
    assert taken in source
    assert unread not in source


def test_a_block_has_a_class_for_each_choice_of_its_results():
    source = netspec.loads(HALF).source("torch")
    assert source.count("class Two") == 2
    assert source.count("right = nn.Conv2d") == 1
    assert "for " in source


def test_layers_keep_the_numbers_that_they_have_beside_what_is_not_written():
    """One class does for all calls, though the file counts a layer that nothing reads."""
    text = """
    block B(a) x {
        aside = x -> conv(9, 1)
        return x -> conv(1 + a * a % 97, 1)
    }
    net N {
        input x: [3, 8, 8]
        output x -> B(3) -> B(12) -> B(5)
    }"""
    source = netspec.loads(text).source("torch")
    assert "self.conv2 = nn.Conv2d(in_channels, 1 + a * a % 97, kernel_size=1)" in source
    assert source.count("class B") == 1
    check_text(text)


def test_layers_that_a_loop_counts_are_all_written():
    """A layer that nothing reads is counted, too, where the numbers depend on how often a loop turns."""
    text = """
    net N(n = 2) {
        input x: [3, 8, 8]
        aside = x -> conv(9, 1)
        for i in range(n) { x = x -> conv(3, 1) }
        output x
    }"""
    assert "conv2 = " in netspec.loads(text).source("torch")
    check_text(text)
