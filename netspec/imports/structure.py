"""Finds the structure of an imported net: blocks with arguments and conditions, and loops.

It takes an `ImportedNet` and gives an `Outline`. Blocks come from the calls of modules
(`call_tree`): the calls of one class share a block (`blocks`), and statements that repeat
become loops (`loops`).
"""

from __future__ import annotations

from collections.abc import Mapping

from netspec.imports.blocks.lined_up import ValueShapes
from netspec.imports.blocks.template import Blocks
from netspec.imports.call_tree import ModuleCall, call_tree
from netspec.imports.imported_net import ImportedNet
from netspec.imports.loops import with_loops
from netspec.imports.outline import BlockOutline, Outline


def structured(net: ImportedNet) -> Outline:
    """Return a net as blocks, conditions and loops."""
    root = call_tree(net)
    shapes: ValueShapes = {i.name: i.shape for i in net.inputs}
    shapes |= {node.value: node.shape for node in net.nodes}
    shapes |= {tensor.value: tensor.shape for tensor in net.tensors}
    found = Blocks(net.name, [i.name for i in net.inputs], shapes)
    blocks: list[BlockOutline] = []
    for kind in _inner_first(root):
        calls = [call for call in root.calls() if call.kind == kind]
        made = found.define(kind, calls)
        blocks += made
        if not made:
            root.splice(calls)
    body = found.net(root)
    outputs = tuple(
        ("" if name == "output" else name, body.results[i]) for i, name in enumerate(net.outputs)
    )
    inputs = tuple(
        (i.name, "" if i.holds == "real" else i.holds, str(list(i.shape))) for i in net.inputs
    )
    return Outline(
        net.name, net.doc, inputs,
        tuple(_looped(block) for block in blocks), with_loops(body.body), outputs,
    )  # fmt: skip


def _looped(block: BlockOutline) -> BlockOutline:
    return BlockOutline(
        block.name, block.arguments, block.inputs, with_loops(block.body), block.results
    )


def _inner_first(root: ModuleCall) -> list[str]:
    """Return the classes so that each comes behind those that its calls hold."""
    held: Mapping[str, set[str]] = {
        kind: {inner.kind for call in root.calls() if call.kind == kind for inner in call.calls()}
        for kind in {call.kind for call in root.calls()}
    }
    order: list[str] = []
    for call in root.calls():
        if call.kind not in order:
            order.append(call.kind)
    return sorted(order, key=lambda kind: (len(_all_held(kind, held)), order.index(kind)))


def _all_held(kind: str, held: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [kind]
    while todo:
        for inner in held[todo.pop()] - found:
            found.add(inner)
            todo.append(inner)
    return found
