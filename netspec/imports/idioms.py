"""Puts one layer in place of several that it stands for, as the ops say (`Op.idioms`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from netspec.compiler.ir.idiom import Idiom
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.imports.imported_net import ImportedNet, ImportedNode


def with_idioms(net: ImportedNet) -> ImportedNet:
    """Return a net with the idioms of all ops recognised."""
    idioms = [(op, idiom) for op in registry().values() for idiom in op.idioms]
    reads = _reads(net)
    shapes = {i.name: i.shape for i in net.inputs} | {t.value: t.shape for t in net.tensors}
    made: dict[str, ImportedNode] = {}
    gone: set[str] = set()
    for node in net.nodes:
        made[node.value] = node
        shapes[node.value] = node.shape
        for op, idiom in idioms:
            row = _row(node, idiom, made, reads)
            if not row or row[0].inputs[0] not in shapes:
                continue
            given = tuple(n.attributes for n in row)
            attributes = idiom.attributes(given, shapes[row[0].inputs[0]])
            if attributes is not None:
                made[node.value] = _joined(op, row, attributes)
                gone.update(n.value for n in row[:-1])
                break
    return replace(net, nodes=tuple(n for n in made.values() if n.value not in gone))


def _reads(net: ImportedNet) -> Counter[str]:
    """Return how often each value is read by what the outputs depend on, and as an output."""
    reads = Counter(net.outputs.values())
    for node in reversed(net.nodes):
        if reads[node.value]:
            reads.update(node.inputs)
    return reads


def _row(
    last: ImportedNode, idiom: Idiom, made: dict[str, ImportedNode], reads: Counter[str]
) -> list[ImportedNode]:
    """Return the nodes that end in one, if they are of the kinds of an idiom, and read once."""
    row = [last]
    if last.op != idiom.ops[-1]:
        return []
    for name in reversed(idiom.ops[:-1]):
        before = made.get(row[0].inputs[0]) if row[0].inputs else None
        if before is None or before.op != name or reads[before.value] != 1:
            return []
        row.insert(0, before)
    lone = row[:-1] if idiom.turned else row
    alone = all(len(node.inputs) == 1 for node in lone)
    return row if alone and not any(node.parameters for node in row) else []


def _joined(op: type[Op], row: list[ImportedNode], attributes: object) -> ImportedNode:
    assert isinstance(attributes, dict)
    inputs = (*row[0].inputs, *reversed(row[-1].inputs[1:]))
    return replace(row[-1], op=op.name, attributes=attributes, inputs=inputs)
