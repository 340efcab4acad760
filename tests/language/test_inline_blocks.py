"""Blocks whose layers keep the names that they would have in the body that calls them."""

from __future__ import annotations

import pytest

import netspec
from netspec.compiler.analysis.diff import compare
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source

UNIT = """inline block Unit(i, c) x {
    x = x -> conv{i}: conv(c, 3, pad = 1) -> relu
    return x -> batch_norm -> relu
}
"""


def names(body: str, blocks: str = "") -> list[str]:
    net = netspec.loads(f"{UNIT}{blocks}net N {{\n input x: [2, 6, 6]\n{body}\n}}")
    return [node.name for node in net.graph.nodes]


def test_layers_are_named_and_numbered_as_in_the_caller():
    found = names(" y = x -> relu -> Unit(1, 4) -> relu\n output y -> Unit(2, 4)")
    assert found == [
        "relu1", "conv1", "relu2", "batch_norm1", "relu3", "relu4",
        "conv2", "relu5", "batch_norm2", "relu6",
    ]  # fmt: skip


def test_they_equal_those_of_the_statements_written_out():
    inline = names(" output x -> relu -> Unit(1, 4) -> linear(2)")
    written = names(
        " y = x -> relu -> conv1: conv(4, 3, pad = 1) -> relu\n"
        " output y -> batch_norm -> relu -> linear(2)"
    )
    assert inline == written


def test_in_a_block_they_lie_below_its_name_and_below_a_label_of_the_call():
    blocks = "block Both(c) x { return x -> Unit(1, c) -> low: Unit(2, c) }\n"
    found = names(" output x -> stem: Both(4)", blocks)
    assert found == [
        "stem.conv1", "stem.relu1", "stem.batch_norm1", "stem.relu2",
        "stem.low.conv2", "stem.low.relu1", "stem.low.batch_norm1", "stem.low.relu2",
    ]  # fmt: skip


def test_two_calls_that_give_one_name_are_an_error_that_says_what_helps():
    with pytest.raises(netspec.NetspecError) as caught:
        names(" output x -> Unit(1, 4) -> Unit(1, 4)")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "label/twice"
    assert diagnostic.message == "`conv1` is already the name of a layer"
    assert [hint.text for hint in diagnostic.hints] == [
        "label a call of this inline block, `-> NAME: ...`: its layers lie below that"
    ]


def test_the_formatter_keeps_the_word_and_inline_stays_a_name():
    text = (
        "inline  block  Inline(inline = 2)inline{return inline->conv(3,1)}\n"
        "net N {input inline: [2,4,4]\noutput inline->a.inline: Inline(inline=3)}"
    )
    formatted = format_source(Source("n.net", text))
    assert formatted.startswith("inline block Inline(inline = 2) inline {\n")
    assert format_source(Source("n.net", formatted)) == formatted
    assert [node.name for node in netspec.loads(formatted).graph.nodes] == ["a.inline.conv1"]


def test_a_difference_names_layers_as_the_caller_does():
    texts = (f"{UNIT}net N {{\n input x: [2, 6, 6]\n output x -> Unit(1, {c})\n}}" for c in (4, 5))
    comparison = compare(*(netspec.loads(text).graph for text in texts))
    changed = [c.name for c in comparison.changes if c.kind != "same"]
    assert changed == ["conv1", "relu1", "batch_norm1", "relu2"]
