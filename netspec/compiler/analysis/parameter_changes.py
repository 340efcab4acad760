"""Changes of a layer's parameters from one net to another: shapes, sharing, initial values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netspec.compiler.ir.graph import Graph, Node, Parameter
from netspec.compiler.ir.initializers import Initializer
from netspec.records import record


@record(slots=True)
class Held:
    """A parameter as one layer uses it.

    `owner` is the first layer that uses it, `default` is the initial rule that its op declares.
    """

    parameter: Parameter
    owner: str
    default: Initializer


class HeldParameters:
    """The parameters and buffers of the layers of a net, by layer and by the op's own names."""

    def __init__(self, graph: Graph) -> None:
        self._owners: dict[str, str] = {}
        self.by_layer = {node.name: self._of(node, graph) for node in graph.nodes}

    def are_saved(self, layer: str) -> bool:
        """Whether a layer has parameters or buffers that weights files have, by its name."""
        return any(held.parameter.is_saved for held in self.by_layer[layer].values())

    def _of(self, node: Node, graph: Graph) -> dict[str, Held]:
        defaults = {
            spec.name: spec.initializer for spec in node.op.parameters(*graph.shapes_into(node))
        }
        return {
            own: Held(
                graph.parameters[full], self._owners.setdefault(full, node.name), defaults[own]
            )
            for own, full in node.parameters.items()
        }


def parameter_changes(
    before: Mapping[str, Held],
    after: Mapping[str, Held],
    names: Mapping[str, str],
    *,
    init: bool = True,
) -> Iterator[str]:
    """Yield in words what changed in the parameters of a layer.

    Args:
        before: the parameters of the layer in the old net.
        after: the parameters of the layer in the new net.
        names: the name in the new net of each layer of the old one.
        init: whether initial values are compared.
    """
    both = [(own, before[own], after[own]) for own in before if own in after]
    yield from (f"no {own} any more" for own in before if own not in after)
    yield from (f"a {own} of {_shape(after[own])}" for own in after if own not in before)
    moved = [(a.owner, b.owner) for _, a, b in both if names.get(a.owner) != b.owner]
    if moved:
        old, new = moved[0]
        yield f"has the parameters of {new} instead of those of {old}"
    reshaped = [(own, a, b) for own, a, b in both if a.parameter.shape != b.parameter.shape]
    yield from (f"{own} {_shape(a)} -> {_shape(b)}" for own, a, b in reshaped)
    for own, a, b in both if init else ():
        old_rule, new_rule = a.parameter.initializer, b.parameter.initializer
        # A default rule depends on the shapes, whose change is already reported.
        follows = bool(reshaped) and old_rule == a.default and new_rule == b.default
        if old_rule != new_rule and not follows:
            yield f"{own} starts as {_told_apart(old_rule, new_rule)}"


def _shape(held: Held) -> str:
    return str(list(held.parameter.shape))


def _told_apart(old: Initializer, new: Initializer) -> str:
    """Return two different rules as text, with all digits where six digits would make them look
    equal.
    """
    if str(old) != str(new):
        return f"{old} -> {new}"
    exact = [
        ", ".join(f"{name} = {value}" for name, value in vars(rule).items()) for rule in (old, new)
    ]
    if max(map(len, exact)) > 60:
        return f"other {old}"
    return f"{old.rule}({exact[0]}) -> {new.rule}({exact[1]})"
