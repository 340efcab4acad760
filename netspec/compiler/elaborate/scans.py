"""Calls of scan blocks: one layer, whose steps are a graph of their own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.arguments import Bound
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.layers import Layers
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, Tensor, Tensors, Unknown
from netspec.compiler.ir.graph import Graph, show_shape
from netspec.compiler.ir.scan_body import RESULT, ScanBody
from netspec.compiler.ops import scan_op
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Hint, Span

if TYPE_CHECKING:
    from netspec.compiler.elaborate.body import Body


class Scans:
    """Adds the layers of scan blocks."""

    def __init__(
        self, assembly: Assembly, reporter: Reporter, layer_names: LayerNames, layers: Layers
    ) -> None:
        self.assembly = assembly
        self.reporter = reporter
        self.layer_names = layer_names
        self.layers = layers

    def steps(
        self, block: syntax.Block, values: Sequence[Input], span: Span
    ) -> list[Tensor] | None:
        """Return what a step is given: an item of the sequence, and the other values whole.

        Return None after a reported error.
        """
        known = [value for value in values if isinstance(value, Tensor)]
        if len(known) < len(values):
            return None
        first = known[0]
        if len(first.shape) < 2:
            message = (
                f"{block.name.id} goes over the first axis of a sequence, such as [N, length,"
                f" features], not {show_shape(first.shape, first.holds)}"
            )
            self.reporter.report(codes.SHAPE_RANK, message, span)
            return None
        known[0] = replace(first, shape=first.shape[1:])
        return [replace(v, name=n.id) for v, n in zip(known, block.inputs, strict=True)]

    def add(
        self,
        block: syntax.Block,
        inner: Body,
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        call: syntax.Call,
        span: Span,
        path: str,
        suffix: str,
        arguments: str,
    ) -> Result | None:
        """Build the step in `inner`, whose inputs are `inputs`, and add the layer for `values`.

        Return None if the block does not return.
        """
        inside = inner.assembly
        for tensor in inputs:
            inside.add_input(tensor.name, tensor.shape, tensor.holds)
        try:
            returned = inner.run_block(block, inputs)
            if returned is None:
                return None
            following = inner.states.following(block)
        finally:
            self.assembly.take_counts(inside)
        if isinstance(returned, Tensors):
            message = "a scan block returns one value, which is stacked over the steps"
            hints = (Hint("join several by `concat`, and take them apart behind the call"),)
            self.reporter.report(codes.SCAN_STATE, message, block.name.span, hints=hints)
            return UNKNOWN
        if following is None or isinstance(returned, Unknown):
            return UNKNOWN
        if _draws(inner):
            return UNKNOWN
        graph = _graph(block, inside, returned, following)
        states = tuple(d.state for d in inner.states.declared if d.state is not None)
        names = inner.scope.view()
        named = {
            binding.value.name: name
            for name in names.names()
            if (binding := names.get(name)) is not None and isinstance(binding.value, Tensor)
        }
        body = ScanBody(block.name.id, arguments, block.name.id, path, graph, states, named)
        body = replace(body, class_name=self._class_name(body, inner))
        initial = {body.local(p.name): p.initializer for p in graph.parameters.values()}
        tied = {body.local(own): full for own, full in graph.ties.items()}
        spans = dict.fromkeys(tied, span)
        bound = Bound({"body": body}, initial, tied, spans=spans)
        op = bound.make(scan_op())
        return self.layers.add(op, bound, values, call, span, path, suffix)

    def _class_name(self, body: ScanBody, inner: Body) -> str:
        """Return the name of the body's class, the block's if its other calls do the same."""
        known = self.assembly.scan_classes.setdefault(body.block, {})
        if body.text not in known:
            module = inner.names.module
            others = {*module.blocks, *module.nets, *known.values()} - {body.block}
            numbered = (f"{body.block}{i}" for i in itertools.count(2))
            free = (name for name in numbered if name not in others)
            known[body.text] = next(free) if known else body.block
        return known[body.text]


def _graph(
    block: syntax.Block, inside: Assembly, returned: Tensor, following: Mapping[str, Tensor]
) -> Graph:
    outputs = {RESULT: returned.name, **{name: value.name for name, value in following.items()}}
    return Graph(
        block.name.id,
        dict(inside.inputs),
        tuple(inside.nodes),
        outputs,
        dict(inside.parameters),
        block.span,
        block.doc,
        dict(inside.input_types),
    )


def _draws(inner: Body) -> bool:
    """Report a layer that draws random numbers in training."""
    for node in inner.assembly.nodes:
        if node.op.draws():
            message = f"`{node.op.name}` would draw other random numbers in each step"
            hints = (Hint("put it before the call of the scan block, or behind it"),)
            inner.reporter.report(codes.SCAN_RANDOM, message, node.origin.span, hints=hints)
            return True
    return False
