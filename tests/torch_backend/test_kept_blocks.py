"""Blocks and loops that keep their form in a generated class."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from tests.helpers.torch_support import check_against, classes, source_of  # noqa: E402

# ShuffleNet's unit: `left` and `right` have other channels in the other case.
UNITS = """
    block Unit(channels, stride) x {
        if stride == 1 {
            left, right = split(x, 2)
        } else {
            left = x -> side: conv(channels // 2, 3, stride, pad = 1)
            right = x
        }
        return concat(left, right -> main: conv(channels // 2, 3, stride, pad = 1))
    }
    net N(width = 8) {
        input image: [4, 8, 8]
        x = image -> a: Unit(width, 2) -> b: Unit(width, 1)
        output x -> c: Unit(2 * width, 2) -> d: Unit(2 * width, 1)
    }"""

# BERT's encoder: the layers of a list have more than one input.
LIST = """
    block Layer x, mask {
        return x + where(mask, x, 0) -> dense: linear(x.features)
    }
    net N(layers = 3) {
        input x: [4]
        input mask: bool[4]
        for i in range(layers) {
            x = (x, mask) -> encoder.layer.{i}: Layer
        }
        output x
    }"""


# Its layer takes a number for both axes, or a list.
EITHER = """
    block Unit(channels, kernel, pad = 0) x {
        return x -> conv: conv(channels, kernel, pad = pad) -> relu
    }
    net N(width = 4) {
        input image: [3, 8, 8]
        output image -> a: Unit(width, 3, pad = 1) -> b: Unit(width, [1, 5], pad = [0, 2])
    }"""

# A condition is asked inside of another one's case, and again behind it.
ASKED_AGAIN = """
    block Unit(width, wide, rough) x {
        if wide {
            x = x -> widen: linear(width)
            x = relu(x) if rough else silu(x)
        }
        x = x -> last: linear(width)
        return relu(x) if rough else silu(x)
    }
    net N {
        input x: [4]
        output x -> a: Unit(6, false, true) -> b: Unit(8, true, false) -> c: Unit(6, true, true)
    }"""


def test_a_case_and_what_follows_it_remember_one_condition():
    net = netspec.loads(ASKED_AGAIN)
    check_against(classes(source_of(net))["N"]().double(), net.graph)


def test_names_that_each_case_gives_to_values_of_other_sizes():
    net = netspec.loads(UNITS)
    made = classes(source_of(net))
    assert [name for name, value in made.items() if type(value) is type] == ["Unit", "N"]
    for width in (8, 12):
        check_against(made["N"](width).double(), netspec.loads(UNITS, width=width).graph)


def test_numbered_blocks_of_several_inputs_are_a_module_list():
    net = netspec.loads(LIST)
    source = source_of(net)
    assert "self.encoder.layer = nn.ModuleList()" in source
    assert "for layer in self.encoder.layer:" in source
    assert "get_submodule" not in source
    for layers in (3, 1):
        module = classes(source)["N"](layers).double()
        check_against(module, netspec.loads(LIST, layers=layers).graph)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    given = torch.randn(2, 4).double(), torch.tensor([[True, False, True, True]] * 2)
    assert torch.equal(compiled(*given), module(*given))


def test_an_argument_is_a_number_in_one_call_and_a_list_in_another():
    net = netspec.loads(EITHER)
    source = source_of(net)
    made = classes(source)
    assert [name for name, value in made.items() if type(value) is type] == ["Unit", "N"]
    assert "kernel: int | tuple[int, int]," in source
    assert "pad: int | tuple[int, int] = 0," in source
    assert "Unit(width, width, (1, 5), pad=(0, 2))" in source
    for width in (4, 6):
        check_against(made["N"](width).double(), netspec.loads(EITHER, width=width).graph)
