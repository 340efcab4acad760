"""Gives values and operators the names of the file.

A value has the name of its layer, a parameter its full name. What a layer's form has in front of its
last operator is called `layer/Operator`. Where a name is taken, that of an input, an output or a
parameter stays, and the others change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from netspec.compiler.ir.onnx_form import OnnxNode, OnnxValue
from netspec.compiler.onnx_backend.program import OnnxProgram
from netspec.text.free_name import take_name

SIZES = "sizes"


class Names:
    """Names that are taken: each is given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def give(self, wanted: str) -> str:
        """Return a name, with a number behind it if it is taken."""
        return take_name(wanted, self._taken)


def named(program: OnnxProgram) -> OnnxProgram:
    """Return the program with a name for each value and operator.

    An output that is an input, or another output, or whose name a layer has, is an `Identity`.
    """
    for name, value in program.inputs.items():
        value.name = name
    for name, (value, _) in program.parameters.items():
        value.name = name
    program = _with_outputs(program)
    names = Names(
        [*program.inputs, *program.parameters, *(v.name for v in program.outputs.values())]
    )
    for name, value in program.values.items():
        if not value.name:
            value.name = names.give(name)
    _name_nodes(program.nodes, program.values, names, Names(()))
    return program


def _name_nodes(
    nodes: Iterable[OnnxNode], values: Mapping[str, OnnxValue], names: Names, of_layers: Names
) -> None:
    """Give operators names, and the values that have none; also in bodies, whose names are others."""
    own = {value: name for name, value in values.items()}
    for node in nodes:
        layer = node.source.name if node.source is not None else SIZES
        is_last = any(value in own for value in node.outputs)
        node.name = of_layers.give(node.name or (layer if is_last else f"{layer}/{node.operator}"))
        for body in node.bodies:
            for name, value in body.values.items():
                if not value.name:
                    value.name = names.give(
                        f"{layer}.{name}" if name in body.graph.inputs else name
                    )
            _name_nodes(body.nodes, body.values, names, of_layers)
        for value in node.outputs:
            if not value.name:
                value.name = names.give(node.name)


def _with_outputs(program: OnnxProgram) -> OnnxProgram:
    """Give the outputs their names, and those that cannot have theirs an `Identity`."""
    fixed = {*program.inputs, *program.parameters}
    made = {value for node in program.nodes for value in node.outputs}
    of_layer = {value: name for name, value in program.values.items()}
    outputs, added = dict(program.outputs), list[OnnxNode]()
    names = Names(fixed)
    for name, value in program.outputs.items():
        others = program.values.get(name)
        is_free = others is None or others is value or name in program.inputs
        if value in made and not value.name and is_free and name not in fixed:
            value.name = names.give(name)
            continue
        outputs[name] = OnnxValue(names.give(name))
        source = program.graph.by_name.get(of_layer.get(value, ""))
        added.append(
            OnnxNode("Identity", (value,), (outputs[name],), {}, source, name=f"{name}/output")
        )
    return replace(program, nodes=(*program.nodes, *added), outputs=outputs)
