"""Nets with everything that a file can contain, as PyTorch modules: they compute what the reference
does.
"""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.testing.op_examples import net_of  # noqa: E402
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.op_parameters import EXAMPLES, shown  # noqa: E402
from tests.helpers.random_nets import random_net  # noqa: E402
from tests.helpers.torch_cases import CASES  # noqa: E402
from tests.helpers.torch_support import (  # noqa: E402
    check_equal,
    check_imports,
    check_text,
    classes,
    source_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------- all layers


def in_a_block(call, inputs):
    """Return an example inside a block, where sizes of inputs are arguments."""
    names = [f"x{i}" for i in range(len(inputs))]
    group = names[0] if len(names) == 1 else f"({', '.join(names)})"
    declared = "\n".join(
        f"input {name}: {list(shape)}" for name, shape in zip(names, inputs, strict=True)
    )
    return (
        f"block Inner {', '.join(names)} {{ return {group} -> {call} }}\n"
        f"net Example {{\n{declared}\noutput {group} -> Inner\n}}"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=shown)
def test_every_example_of_every_op(example):
    check_equal(netspec.loads(net_of(example.call, example.inputs)))
    check_equal(netspec.loads(in_a_block(example.call, example.inputs)))


@pytest.mark.heavy
def test_the_sources_of_all_examples_are_formatted():
    sources = {}
    for number, example in enumerate(EXAMPLES):
        for write in (net_of, in_a_block):
            net = netspec.loads(write(example.call, example.inputs))
            source = net.source("torch")
            check_imports(source)
            sources[f"{write.__name__}{number}"] = source
    check_formatted(sources)


# ------------------------------------------------------------------------------------ all that bodies do


@pytest.mark.parametrize("name", CASES)
def test_what_bodies_can_do(name):
    check_text(CASES[name])


@pytest.mark.parametrize("sizes", [{"H": 9, "W": 8}, {"H": 12, "W": 12}])
def test_sizes_left_open(sizes):
    """There is one module for every size, with blocks and reshapes in it."""
    check_text(
        """
        block Seq(c) x {
            y = x -> conv(c, 3, pad = 1) -> relu -> drop_path(0.2)
            return y + (x -> conv(c, 1) -> drop_path(0.3))
        }
        net N(c = 5) {
            input x: [3, H, W]
            input y: [3, H, W]
            x = x + y -> conv(8, 3, pad = 1) -> relu -> Seq(8) -> max_pool(2) -> pad([1, 0])
            x = x -> Seq(8) -> conv(4, 3, stride = 2, pad = [1, 2]) -> relu
            output x -> global_avg_pool -> linear(c)
        }""",
        sizes=sizes,
    )


def test_a_shared_block_that_would_need_two_modules_is_an_error():
    text = """
        block B x {
            if x.height > 4 { x = x -> relu }
            return x -> conv(2, 1)
        }
        net N {
            input a: [2, 4, 4]
            input b: [2, 6, 6]
            layer s = B()
            output p = s(a)
            output q = s(b)
        }"""
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(text).source("torch")
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "compile/shared-block"
    assert diagnostic.span.text == "s(b)"


def test_one_class_a_block():
    """An argument explains the difference between the block's calls, as in torchvision's own code."""
    for name in (
        "nested blocks", "returns in the middle", "names given again in the cases",
        "values that change places", "a decision in each turn",
        "numbers in labels that shift", "numbers that forward needs",
        "shared layers and blocks with masks and statistics",
    ):  # fmt: skip
        net = netspec.loads(CASES[name])
        made = [key for key, value in classes(net.source("torch")).items() if type(value) is type]
        blocks = CASES[name].count("block ")
        assert len(made) <= blocks + 1, (name, made)


@settings(max_examples=7, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6))
@hypothesis.example(0)  # layers that nothing reads have numbers, too
@hypothesis.example(19)  # a name that nothing reads stands for an input
@hypothesis.example(54)  # a word leads to one of three cases, and two of them were tried
@hypothesis.example(905480)  # two decisions of one block have a layer of the same name
@hypothesis.example(75)  # a container begins before the labels of the one around it
def test_random_nets(seed):
    net = netspec.loads(random_net(seed))
    check_imports(source_of(net))
    check_equal(net, tol=1e-8)


@pytest.mark.heavy
def test_random_nets_are_formatted():
    check_formatted(
        {f"net{s}": netspec.loads(random_net(s)).source("torch") for s in range(100, 108)}
    )
