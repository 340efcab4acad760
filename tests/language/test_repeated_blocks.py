"""The body of a block that does what one did before is repeated, and gives the same graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import netspec
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.repeated_blocks import BlockOutcomes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import DiagnosticSink

BLOCKS = """
block Inner(c) x, y {
    layer shared = conv(c, 3, pad = same)
    z = x -> shared -> relu
    return (z -> shared) + y -> batch_norm
}

block Outer(c, slope) x {
    y = (x, x) -> a.b: Inner(c)
    z = (y, x) -> Inner(c)
    return z -> leaky_relu(slope), y
}

net N(c = 4, slope = 0.25, starts = 0.5) {
    init weight = normal(0, starts)
    input x: [c, 6, 6]
    for i in range(3) {
        x, y = x -> stages.{i}: Outer(c, slope)
    }
    x = (x, y) -> Inner(c)
    x, y = x -> Outer(c, slope)
    output x + y -> flatten -> linear(10)
}
"""


NET = netspec.loads(BLOCKS).written


class Counted(Follower):
    """Asks for bodies that are known, in all builds, and counts those that were repeated."""

    def __init__(self) -> None:
        self.outcomes = BlockOutcomes()
        self.repeated = 0

    def block_outcomes(self) -> BlockOutcomes:
        return self.outcomes

    def block_repeated(self, followed: object, rename: Callable[[str], str]) -> None:
        self.repeated += 1


def graph_of(follower: Follower, arguments: Mapping[str, Any]) -> tuple[Graph, int]:
    """The net with these arguments, and the work that it took of the file's limit."""
    sink = DiagnosticSink()
    graph, assembly = build(NET.net, NET.module, arguments, sink, follower=follower)
    assert graph is not None, sink.errors
    return graph, assembly.work


def facts(graph: Graph) -> object:
    """All of a graph but where its nodes were written."""
    nodes = [
        (n.name, n.op, n.inputs, n.shape, dict(n.parameters), n.origin.span) for n in graph.nodes
    ]
    return graph.inputs, nodes, graph.outputs, graph.parameters


@pytest.mark.parametrize("other", [{}, {"c": 8}, {"slope": 0.5}, {"starts": 0.125}])
def test_a_repeated_body_adds_what_it_would_add(other: dict[str, Any]) -> None:
    follower = Counted()
    for arguments in ({}, other):
        before = follower.repeated
        graph, work = graph_of(follower, arguments)
        plain, plain_work = graph_of(Follower(), arguments)
        assert facts(graph) == facts(plain)
        assert work == plain_work
        assert follower.repeated > before


def test_all_calls_of_a_net_that_is_known_are_repeated() -> None:
    follower = Counted()
    graph_of(follower, {})
    known = follower.repeated
    graph_of(follower, {})
    assert follower.repeated == known + 5, "the calls of the net, and nothing within them"
