"""Lists of values and inline blocks in generated PyTorch modules: the statements of the file stay."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.torch_build import module_class  # noqa: E402
from tests.helpers.torch_support import check_against, check_equal, classes  # noqa: E402

ZOO = Path(__file__).parents[2] / "networks" / "zoo"
pytestmark = pytest.mark.usefixtures("one_thread")

# A net, the arguments that it is tried with, and what its module has in it.
NETS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "items of turns": (
        """block B(heads) x {
            width = x.features
            parts = x -> linear(3 * width)
            all = []
            for i in range(3) {
                y = parts -> slice(2, i * width, (i + 1) * width)
                all = all + [y -> reshape([-1, heads, width // heads]) -> permute([2, 1, 3])]
            }
            return attention(all[0], all[1], all[2], causal = true)
                -> permute([2, 1, 3]) -> reshape([-1, width])
        }
        net N(width = 8, heads = 2, n = 2) {
            input x: [5, width]
            for i in range(n) { x = x -> b{i}: B(heads) }
            output x
        }""",
        {"width": 12, "heads": 3, "n": 1}, ("all = all + [", "all[0], all[1], all[2]"),
    ),
    "a list that is given again": (
        """net N(n = 2) {
            input x: [3, 6, 6]
            all = [x]
            for i in range(n) {
                y = all[i] -> c{i}: conv(3, 3, pad = 1)
                all = all + [y + all[0]]
            }
            last = all[n]
            all = [last -> relu, x]
            output all[1] + all[0] -> global_avg_pool
        }""",
        {"n": 4}, ("all = [x]", "all = all + ["),
    ),
    "lists of lists' items in cases": (
        """net N(n = 2, wide = true) {
            input x: [3, 6, 6]
            all = []
            for i in range(n) { all = all + [x -> c{i}: conv(3, 1)] + [x] }
            y = x
            for i in range(2 * n) { y = y + all[i] }
            if wide { y = y * all[0] }
            output y -> global_avg_pool
        }""",
        {"wide": False, "n": 3}, ("all + [", "all[0]"),
    ),
    "a list that is given whole": (
        """block Pyramid(width) x {
            all = [x -> c0: conv(width, 1)]
            for i, d in enumerate([1, 2, 3]) {
                all = all + [x -> c{i + 1}: conv(width, 3, pad = d, dilation = d)]
            }
            y = x -> conv(width, 1) -> relu
            return concat([x] + all + [y, x]) -> conv(width, 1)
        }
        net N(n = 2, width = 4) {
            input x: [3, 7, 7]
            all = []
            for i in range(n) { all = all + [x -> p{i}: Pyramid(width)] }
            output concat(all) -> global_avg_pool
            output whole = stack(all)
        }""",
        {"n": 3, "width": 5}, ("torch.cat([x] + all + [", "torch.stack(all, dim=1)"),
    ),
    "channels of values in a list": (
        """net N(depth = 3, width = 4, classes = 2) {
            input x: [3, 16, 16]
            skips = []
            for i in range(depth) {
                x = x -> down{i}: conv(width * 2 ** i + i, 3, pad = 1) -> relu
                skips = skips + [x]
                x = x -> max_pool(2)
            }
            for i in reversed(range(depth)) {
                x = x -> up{i}: conv_transpose(width, 2, stride = 2)
                x = concat(skips[i], x) -> merge{i}: conv(width, 3, pad = 1) -> relu
            }
            last = [x -> conv(width + 1, 1), skips[0]]
            output concat(last[0], last[1]) -> conv(classes, 1)
        }""",
        {"depth": 2, "width": 3, "classes": 4}, ("skips_channels[i] + width",),
    ),
    "levels that run backwards": (
        """net N(depth = 3, width = 4, classes = 2) {
            input x: [3, 16, 16]
            skips = []
            for i in range(depth) {
                x = x -> down.{i}: conv(width * 2 ** i, 3, pad = 1) -> relu
                skips = skips + [x]
                x = x -> max_pool(2)
            }
            for i in reversed(range(depth)) {
                x = x -> up.{i}: conv_transpose(width * 2 ** i, 2, stride = 2)
                x = concat(skips[i], x) -> merge.{i}: conv(width * 2 ** i, 3, pad = 1) -> relu
            }
            output x -> conv(classes, 1)
        }""",
        {"depth": 2, "width": 3, "classes": 4}, ("self.up[str(i)]", "self.down.append("),
    ),
    "a list that a loop over constants empties": (
        """net N(n = 2, width = 4) {
            input x: [4]
            for i in range(3) { skips = [] }
            for i in range(n) {
                x = x -> f{i}: linear(width * (i + 1))
                skips = skips + [x]
            }
            skips_channels = width
            output concat(x, skips[0]) -> m: linear(skips_channels)
        }""",
        {"n": 3, "width": 5}, ("skips_channels_[0]",),
    ),
    "an inline block": (
        """inline block Part(hidden, label, act = true) x {
            y = x -> first{label}: linear(hidden)
            if act { y = y -> relu }
            x = x + (y -> second{label}: linear(x.features))
            return x
        }
        block B(hidden, act) x {
            y = x -> Part(hidden, 1)
            y = y -> Part(2 * hidden, 2, act) -> Part(act = not act, hidden = hidden + 1, label = 3)
            return x + y
        }
        net N(n = 2, hidden = 5) {
            input x: [4]
            for i in range(n) { x = x -> b{i}: B(hidden, i % 2 == 0) }
            x = x -> Part(hidden, "a")
            output x
        }""",
        {"n": 3, "hidden": 2}, ("first1", "second3", "firsta"),
    ),
    "an inline block with loops and a list": (
        """inline block Many(n) x, y {
            all = []
            for i in range(n) { all = all + [(x if i == 0 else y) -> m{i}: linear(3)] }
            y = all[0]
            for i in range(1, n) { y = y + all[i] }
            return y
        }
        net N(n = 2) {
            input x: [4]
            y = x -> linear(4)
            output (x, y) -> Many(n)
        }""",
        {"n": 3}, ("for i in range(n)",),
    ),
    "an inline block in an inline block": (
        """inline block Inner(c) x { return x -> conv(c, 1) -> relu }
        inline block Outer(c) x {
            y = x -> Inner(c)
            return concat(y, x) -> Inner(c + 1)
        }
        net N(c = 2, n = 2) {
            input x: [3, 4, 4]
            for i in range(n) { x = x -> Outer(c) }
            output x -> global_avg_pool
        }""",
        {"n": 3, "c": 4}, ("for _ in range(n)",),
    ),
    "an inline block that gives several values": (
        """inline block Two(c) x {
            a, b = x -> conv(2 * c, 1) -> split(2)
            return a -> relu, b
        }
        net N(c = 2) {
            input x: [3, 4, 4]
            a, b = x -> Two(c)
            output a * b -> global_avg_pool
        }""",
        {"c": 3}, ("torch.chunk",),
    ),
    "a flag that decides how attention is computed": (
        """block A(causal) x { return attention(x, x, x, causal = causal) }
        net N(causal = true, drop = 0.0) {
            input x: [4, 6]
            y = x -> A(true) -> A(false)
            y = attention(y, y, y, dropout = drop, causal = causal)
            output y -> A(causal)
        }""",
        {"causal": False, "drop": 0.5}, ("if self.", "else:", "dropout_p=self.drop"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "turns", ["range(n)", "reversed(range(n))", "[2, 0, 1]", "range(n, 0, -1)"]
)
@pytest.mark.parametrize("label", ["up.{i}", "up{i}", "up.{i}.c", "up.{i + 1}"])
def test_parameters_are_in_the_order_of_the_net(label: str, turns: str) -> None:
    """A container beside layers that a loop names began before the first of them."""
    net = netspec.loads(
        f"""net N(n = 3, width = 4) {{
            input x: [3, 8, 8]
            all = [x]
            for i in {turns} {{
                x = x -> {label}: conv(width + i, 3, pad = 1) -> m.{{i}}: conv(4 + i, 1) -> relu
            }}
            output concat(all + [x]) -> conv(2, 1)
        }}"""
    )
    check_equal(net)


@pytest.mark.parametrize("name", NETS)
def test_nets_with_other_arguments(name: str) -> None:
    text, arguments, parts = NETS[name]
    net = netspec.loads(text)
    source = net.source("torch")
    assert all(part in source for part in parts), source
    check_equal(net)
    module = classes(source)[net.name]
    assert arguments.keys() <= inspect.signature(module).parameters.keys()
    check_against(module(**arguments).double(), netspec.loads(text, **arguments).graph)
    if not re.search(r"get_submodule|\[str\(", source):
        torch.jit.script(module_class(net)(**arguments))


@pytest.mark.parametrize(
    "name", ["gpt2", "bert_base", pytest.param("transformer", marks=pytest.mark.heavy)]
)
def test_a_transformer_has_a_class_for_each_block(name: str) -> None:
    text = (ZOO / f"{name}.net").read_text("utf-8")
    source = netspec.load(ZOO / f"{name}.net").source("torch")
    blocks = sum(line.startswith("block ") for line in text.splitlines())
    found = sum(line.startswith("class ") and "(nn." in line for line in source.splitlines())
    assert found == blocks + 1
    assert len(source.splitlines()) <= 6 * len(text.splitlines())
    assert "for i in range(" in source
