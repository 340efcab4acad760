"""The class of a scan block: a method that computes one step, and a `forward` that loops over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from netspec.compiler.elaborate.values import Tensor
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.scan_body import RESULT, ScanBody
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.naming import number, safe_name
from netspec.compiler.torch_backend.python_layout import Doc, Group, statement
from netspec.compiler.torch_backend.structured.constructor import Constructor
from netspec.compiler.torch_backend.structured.follower import Places, StraightFollower
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.liveness import mark_unread
from netspec.compiler.torch_backend.structured.module import ModuleText, forward_head
from netspec.compiler.torch_backend.structured.recording import Recording
from netspec.compiler.torch_backend.structured.structure import Recorder, Suite


def bodies_in(graph: Graph) -> Iterator[ScanBody]:
    """Yield the bodies of scan blocks whose classes a net's need, each once, inner ones first."""
    found: dict[ScanBody, None] = {}
    for node in graph.nodes:
        module = node.op.torch(*graph.shapes_into(node)).module
        if module is not None and module.defines is not None:
            found |= dict.fromkeys(bodies_in(module.defines.graph))
            found[module.defines] = None
    yield from found


def held_parameters(
    node: Node, graph: Graph, form: Torch | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters of a layer: the full name, the module's class, and the name in it.

    The class is "" where no module holds it. `form` is the layer's expression, if it is known.
    """
    module = (form or node.op.torch(*graph.shapes_into(node))).module
    if module is not None and module.defines is not None:
        for inner in module.defines.graph.nodes:
            yield from held_parameters(inner, module.defines.graph)
        return
    for own, full in node.parameters.items():
        yield full, module.target if module is not None else "", own


class ScanClass:
    """The class of one body.

    Attributes:
        steps: the statements of one step.
    """

    def __init__(self, body: ScanBody) -> None:
        self.body = body
        self.graph = graph = body.graph
        assert graph.span is not None
        self.name = syntax.Name(body.block, graph.span)
        self.doc = graph.doc
        read = {value for node in graph.nodes for value in node.inputs}
        read |= set(graph.outputs.values())
        states = {state.name for state in body.states}
        self.inputs = [
            name for i, name in enumerate(graph.inputs)
            if i == 0 or name in read or name in states
        ]  # fmt: skip
        outputs = dict(graph.outputs)
        # The states come first, so that a result that is a state's next value has its name.
        order = [*(outputs[state.name] for state in body.states), outputs[RESULT]]
        self.results = list(dict.fromkeys(order))
        self.steps = self._written()

    def _written(self) -> Suite:
        """The statements of one step."""
        graph, body = self.graph, self.body
        shapes = {node.name: graph.shapes_into(node) for node in graph.nodes}
        paths = {
            node.name: body.local((node.origin.layer or node.name).partition("@")[0])
            for node in graph.nodes
        }
        views = set()
        if any(node.op.moves_axes for node in graph.nodes):
            views = {n.origin.span for n in graph.nodes if n.op.needs_order(*shapes[n.name])}
        recorder, homes = Recorder(), Homes()
        recorder.begin()
        classes = homes.classes((), by_path=True)
        run = Recording(recorder, homes, views, Kept((), ()), classes)
        follower = StraightFollower(run, Places())
        for name in self.inputs:
            follower.given(name, name)
        for node in graph.nodes:
            into = cast(Any, shapes[node.name])
            follower.added(node, into, tuple(node.op.parameters(*into)), paths[node.name])
            if node.name in body.names:
                follower.named(
                    body.names[node.name], Tensor(node.name, node.shape, node.origin.span)
                )
        follower.gives(self.results)
        mark_unread(recorder.root)
        return recorder.root

    def lines(self, functional: str, error: str) -> list[str]:
        """Return the constructor, `step`, and `forward`."""
        names = {safe_name(name) for name in (*self.body.names.values(), *self.inputs)}
        inputs = list(map(safe_name, self.inputs))
        kept = Kept((), ())
        text = ModuleText(self.steps, names, kept, set(), inputs, is_chain=False)
        made = Constructor(self.steps, text.layout, error, set(), text.flags).lines()
        head = ["    def __init__(self) -> None:", "        super().__init__()"]
        return [
            *([*head, *made, ""] if made else []),
            *forward_head(inputs, len(self.results), "step"),
            *text.forward(functional).lines(),
            "",
            *self.loop(),
        ]

    def loop(self) -> list[str]:
        """Return the lines of `forward`, over all steps."""
        given = [safe_name(name) for name in self.body.given]
        x, taken = given[0], {safe_name(name) for name in self.graph.inputs}
        item, steps = _free(f"{x}_t", taken), _free("steps", taken)
        tensors: list[Doc] = ["self", *(f"{name}: torch.Tensor" for name in given)]
        lines = statement(Group("def forward(", tuple(tensors), ") -> torch.Tensor"), 1, after=":")
        for state in self.body.states:
            name = safe_name(state.name)
            if isinstance(state.start, str):
                lines += statement(f"{name} = {safe_name(state.start)}", 2)
            else:
                sizes = ", ".join([f"{x}.shape[0]", *self._sizes(state.name)])
                lines += statement(f"{name} = {self._filled(x, sizes, state.start)}", 2)
        lines += [*statement(f"{steps} = []", 2), *statement(f"for {item} in {x}.unbind(1):", 2)]
        passed: list[Doc] = [safe_name(name) for name in self.inputs]
        passed[0] = item
        targets, last = self._targets(_free("y", taken))
        lines += statement(Group(f"{', '.join(targets)} = self.step(", tuple(passed)), 3)
        for copy in last:
            lines += statement(copy, 3)
        value = self.graph.outputs[RESULT]
        lines += statement(f"{steps}.append({targets[self.results.index(value)]})", 3)
        return [*lines, *statement(f"return torch.stack({steps}, 1)", 2)]

    def _targets(self, plain: str) -> tuple[list[str], list[str]]:
        """Return the names for the results of a step, and statements for states that are alike."""
        outputs, by_value = self.graph.outputs, dict[str, str]()
        copies = []
        for state in self.body.states:
            name = safe_name(state.name)
            first = by_value.setdefault(outputs[state.name], name)
            if first != name:
                copies.append(f"{name} = {first}")
        return [by_value.get(value, plain) for value in self.results], copies

    def _filled(self, x: str, sizes: str, value: float) -> str:
        whole = self.graph.holds(self.body.given[0]) != "real"
        like = "next(self.parameters())" if whole and self.graph.parameters else x
        if value in (0.0, 1.0):
            return f"{like}.new_{'ones' if value else 'zeros'}({sizes})"
        return f"{like}.new_full(({sizes}), {number(value)})"

    def _sizes(self, state: str) -> Iterator[str]:
        """Yield the sizes of a state; those that are open are read from the inputs."""
        known: dict[str, Dim] = {}
        for i, name in enumerate(self.body.given):
            for axis, dim in enumerate(self.graph.inputs[name], 1 if i else 2):
                if isinstance(dim, Size):
                    text = f"{safe_name(name)}.shape[{axis}]"
                    known.setdefault(str(dim), cast(Dim, Size.named(text)))
        for dim in self.graph.inputs[state]:
            if isinstance(dim, Size):
                dim = cast(int, known.get(str(dim), dim.at(cast(Mapping[str, int], known))))
            yield size_text(dim)


def _free(wanted: str, taken: set[str]) -> str:
    name = wanted
    while name in taken:
        name += "_"
    taken.add(name)
    return name
