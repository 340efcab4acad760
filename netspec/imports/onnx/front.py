"""From an ONNX file to an `ImportedNet` with its weights."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.onnx_read import FileValue, Held
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import NetspecError
from netspec.imports.aten_table import aten_table
from netspec.imports.imported_net import (
    Constant,
    ImportedInput,
    ImportedNet,
    ImportedNode,
    ImportedTensor,
    Problem,
    Scope,
)
from netspec.imports.onnx.borders import Border, Borders, taken_away
from netspec.imports.onnx.file_graph import NETSPEC, FileGraph, file_graph
from netspec.imports.onnx.for_inference import notes_for_training
from netspec.imports.onnx.initial_values import initial_value
from netspec.imports.onnx.input_shapes import example, input_shapes
from netspec.imports.onnx.inside import Inside, normalised_inside
from netspec.imports.onnx.layer_names import LayerName, layer_names, with_modules
from netspec.imports.onnx.proto_file import Array, read_model, shown_name
from netspec.imports.onnx.recognition import FoundLayer, FoundNet, found_net
from netspec.imports.onnx.repetition import with_repeated
from netspec.imports.onnx.steps_first import bring_batch_in_front
from netspec.imports.onnx.turned import without_turns
from netspec.imports.onnx.ways_out import way_around, way_out
from netspec.text.free_name import free_name, take_name

_MOST_LISTED = 200

# What exporters call every graph.
_NO_NAMES = ("", "main_graph", "main", "graph", "torch_jit", "torch-jit-export", "tf2onnx", "model")

_ROLES = {"scale": "parameter", "statistic": "buffer", "constant": "constant"}


@dataclass(frozen=True)
class OnnxImport:
    """What is read of an ONNX file.

    Attributes:
        net: the net.
        state: its parameters and buffers by their names in the weights.
        inputs: the name in the file of each input, by the name in the net.
        outputs: the name in the file of each output, by the name in the net.
        batch: the size of the batch, if the file has a fixed one.
        borders: what the file does around the net, by its own names of inputs and outputs.
        metadata: what the file says of the model.
        problems: what no net can express; the net is then not whole.
        normalised: the inputs that the net normalises itself, by its names of them.
        notes: what is worth knowing about it.
        is_half: whether its weights are of half precision.
    """

    net: ImportedNet
    state: Mapping[str, Array]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    batch: int | None
    borders: Borders
    metadata: Mapping[str, str]
    problems: tuple[Problem, ...]
    normalised: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_half: bool = False


def read_onnx(
    path: Path, sizes: Mapping[str, Shape] | None = None, outputs: Sequence[str] = ()
) -> OnnxImport:
    """Read a file.

    Args:
        path: the file.
        sizes: the shapes of inputs for one image, see `input_shapes`.
        outputs: the outputs that are wanted, in this order; without any all of them.

    Raises:
        NetspecError: `file/unreadable`, `onnx/file`, `onnx/input`, `library/onnx`.
    """
    graph = file_graph(read_model(path), path.parent)
    every = dict(graph.outputs)
    if outputs:
        _choose(graph, outputs)
    _require_taken(graph, every)
    second: frozenset[str] = frozenset()
    if graph.producer != NETSPEC:
        without_turns(graph)
        second = bring_batch_in_front(graph)
    shapes = input_shapes(graph, sizes or {})
    borders = taken_away(graph, shapes)
    batches = {given.batch for given in graph.inputs.values()} - {None}
    batch = batches.pop() if len(batches) == 1 else None
    inside = _normalised_inside(graph, borders)
    statistics = frozenset(value for each in inside.values() for value in each.stored)
    found = found_net(graph, shapes, batch, statistics)
    sides = {name: replace(borders.inputs.get(name, Border()), second=True) for name in second}
    borders = replace(
        borders, inputs={**borders.inputs, **sides}, flat_outputs=found.numbers,
        second_outputs=found.second,
    )  # fmt: skip
    return _Front(path, graph, found, batch, borders, inside).imported()


def _choose(graph: FileGraph, names: Sequence[str]) -> None:
    """Leave the outputs with these names, and the inputs that they depend on.

    Raises:
        NetspecError: `onnx/input` for one that the file does not have.
    """
    for name in names:
        if name not in graph.outputs:
            known = ", ".join(f"`{shown_name(each)}`" for each in graph.outputs)
            message = f"the file has no output `{shown_name(name)}`; its outputs are {known}"
            raise NetspecError.simple(codes.ONNX_INPUT, message)
    graph.outputs = {name: graph.outputs[name] for name in names}
    needed = _needed(graph.outputs.values())
    read = {name: given for name, given in graph.inputs.items() if given.value in needed}
    graph.inputs = read or graph.inputs


def _require_taken(graph: FileGraph, every: Mapping[str, FileValue]) -> None:
    """Leave the inputs that a net can take.

    Args:
        graph: the file, with the outputs that are wanted.
        every: the value of each output that the file has, by name.

    Raises:
        NetspecError: `onnx/input` for another one that a wanted output depends on.
    """
    refused = [given for given in graph.inputs.values() if given.refusal]
    needed = _needed(graph.outputs.values()) if refused else set()
    for given in refused:
        if given.value in needed:
            values = {each.value for each in refused}
            sound = [name for name, value in every.items() if not values & _needed([value])]
            raise NetspecError.simple(codes.ONNX_INPUT, given.refusal, way_around(sound))
    graph.inputs = {name: given for name, given in graph.inputs.items() if not given.refusal}


def _require_computed(outputs: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Check that a layer or an input gives each output of a net.

    Raises:
        NetspecError: `onnx/file` for one that is a stored number.
    """
    for name, given in outputs.items():
        if not values[name]:
            message = f"the output `{shown_name(given)}` depends on no input: no layer gives it"
            raise NetspecError.simple(codes.ONNX_FILE, message)


def _needed(values: Iterable[FileValue]) -> set[FileValue]:
    """Return the values that values depend on, with these."""
    needed, waiting = set[FileValue](), [*values]
    while waiting:
        value = waiting.pop()
        if value not in needed:
            needed.add(value)
            waiting += [v for v in (value.maker.inputs if value.maker else ()) if v is not None]
    return needed


def _normalised_inside(graph: FileGraph, borders: Borders) -> dict[str, Inside]:
    """Return the inputs that a file normalises by layers. In netspec's own each layer says what it is."""
    if graph.producer == NETSPEC:
        return {}
    taken = {name for name, border in borders.inputs.items() if not border.is_normal}
    return normalised_inside(graph, [name for name in graph.inputs if name not in taken])


@dataclass(frozen=True, slots=True, eq=False)
class _Owned:
    """A parameter that a layer has kept: the layer, its own name of it, its label and its name."""

    layer: FoundLayer
    own: str
    label: str
    name: LayerName

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The modules that the layer is in."""
        return self.name.scopes


def _are_same(one: Held, other: Held) -> bool:
    """Whether two parameters are the same numbers of the file in the same shape."""
    if one.value is not other.value or one.numbers is None or other.numbers is None:
        return False
    same_shape = one.numbers.shape == other.numbers.shape
    return same_shape and bool(np.array_equal(one.numbers, other.numbers, equal_nan=True))


def _encloses(outer: Sequence[Scope], inner: Sequence[Scope]) -> bool:
    """Whether a layer in the one modules sees the labels of those in the others."""
    return tuple(inner[: len(outer)]) == tuple(outer)


def _can_tie(layer: FoundLayer, own: str) -> bool:
    """Whether a layer can take one of its parameters of another layer."""
    shapes = [value.shape for value in layer.inputs if value.shape is not None]
    return own not in layer.op.attributes() and layer.op.torch(*shapes).module is not None


def _is_statistic(layer: FoundLayer, own: str) -> bool:
    """Whether a layer computes a parameter itself, as it trains."""
    shapes = [value.shape for value in layer.inputs if value.shape is not None]
    return any(s.name == own and s.role == "statistic" for s in layer.op.parameters(*shapes))


def _paths(scopes: Sequence[Scope]) -> list[str]:
    return [scope.path for scope in scopes]


def _is_simple(label: str, scopes: Sequence[Scope]) -> bool:
    """Whether a label is a single name in the body of the innermost module."""
    inside = [scope.path for scope in scopes if scope.kind and not scope.only_holds]
    own = label.removeprefix(f"{inside[-1]}.") if inside else label
    return own.isidentifier()


class _Front:
    """Writes down what was found in netspec's terms."""

    def __init__(
        self, path: Path, graph: FileGraph, found: FoundNet, batch: int | None, borders: Borders,
        inside: Mapping[str, Inside],
    ) -> None:  # fmt: skip
        self._path = path
        self._graph = graph
        self._found = found
        self._batch = batch
        self._borders = borders
        self._inside = inside
        self._divisors = {
            each
            for layer in found.layers
            if layer.root.operator == "Div"
            for each in layer.inputs[1:]
        }
        self._state: dict[str, Array] = {}
        self._values: dict[FileValue, str] = {}
        self._taken: set[str] = set()  # the names of values
        self._labels: set[str] = set()
        self._counts: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._owners: dict[FileValue, list[_Owned]] = {}
        self._copies: list[str] = []

    def imported(self) -> OnnxImport:
        """Return all of it."""
        inputs = self._inputs()
        layers = self._found.layers
        names = with_repeated(layers, with_modules(layers, layer_names(layers)))
        nodes: list[ImportedNode] = []
        tensors: list[ImportedTensor] = []
        for layer, name in zip(layers, names, strict=True):
            self._values[layer.value] = self._named(layer.op.name)
            if "" in layer.parameters:
                tensors.append(self._tensor(layer, name))
            else:
                nodes.append(self._node(layer, name))
        outputs = self._outputs()
        problems = tuple(
            Problem(
                each.operator.operator, each.reason, shown_name(each.operator.name),
                help=way_out(each.operator, self._found.sound)
                or (self._sizes_to_say() if each.is_open else ""),
            )
            for each in self._found.missing[:_MOST_LISTED]
        )  # fmt: skip
        values = {
            name: self._values.get(self._found.outputs[given], "")
            for name, given in outputs.items()
        }
        if not problems:
            _require_computed(outputs, values)
        net = ImportedNet(
            _net_name(self._name()), tuple(inputs.values()), tuple(nodes),
            values, tuple(tensors), (f"From {shown_name(self._path.name)}.",),
        )  # fmt: skip
        own = {each.name: name for name, each in inputs.items()}
        named = {name: each.name for name, each in inputs.items()}
        return OnnxImport(
            net, self._state, own, outputs, self._batch, self._borders, self._graph.metadata,
            problems, tuple(named[name] for name in self._inside),
            tuple(self._notes()), any(a.dtype == np.float16 for a in self._graph.stored.values()),
        )  # fmt: skip

    def _sizes_to_say(self) -> str:
        """Return which sizes a person could say."""
        said = [
            example(name, given)
            for name, given in self._graph.inputs.items()
            if not all(isinstance(size, int) for size in given.value.shape or ())
        ]
        return f"sizes are open; say those of one image: {' '.join(said)}" if said else ""

    def _inputs(self) -> dict[str, ImportedInput]:
        found: dict[str, ImportedInput] = {}
        for name, given in self._graph.inputs.items():
            own = _identifier(name, "image", self._taken)
            self._taken.add(own)
            value = given.value
            holds: NumberType = "int" if value.is_whole else "bool" if value.is_bool else "real"
            assert value.shape is not None
            found[name] = ImportedInput(own, value.shape, holds)
            self._values[value] = own
        return found

    def _outputs(self) -> dict[str, str]:
        """Return the name in the file of each output, by the name that it gets."""
        found: dict[str, str] = {}
        is_one = len(self._graph.outputs) == 1
        for name in self._graph.outputs:
            own = name
            if name != "output":
                own = _identifier(name, "output", found) if not is_one or _tells(name) else "output"
            found[own] = name
        return found

    def _node(self, layer: FoundLayer, name: LayerName) -> ImportedNode:
        again = self._again(layer, name)
        label = again or self._label(layer, name)
        parameters = {
            own: f"{label}.{own}" if again else self._held(layer, name, f"{label}.{own}", held)
            for own, held in layer.parameters.items()
        }
        for spec in layer.op.parameters(*(v.shape for v in layer.inputs if v.shape is not None)):
            if spec.role == "counter":
                parameters[spec.name] = f"{label}.{spec.name}"
                self._state[parameters[spec.name]] = np.zeros((), np.int64)
        return ImportedNode(
            self._values[layer.value], layer.op.name, _attributes(layer.op),
            tuple(self._values[value] for value in layer.inputs), layer.shape, parameters, label,
            name.scopes,
        )  # fmt: skip

    def _again(self, layer: FoundLayer, name: LayerName) -> str:
        """Return the label of an earlier layer that is called again here; else an empty one."""
        known = [self._owners.get(held.value, []) for held in layer.parameters.values()]
        if not known or not all(known):
            return ""
        first = known[0][0]
        if first.layer.op != layer.op or _paths(first.scopes) != _paths(name.scopes):
            return ""
        if layer.root.metadata and first.name.path != name.path:
            return ""  # the file knows them apart
        for own, held in layer.parameters.items():
            other = first.layer.parameters.get(own)
            if other is None or not _are_same(other, held):
                return ""
        is_other_call = first.scopes != name.scopes
        return first.label if is_other_call or _is_simple(first.label, name.scopes) else ""

    def _held(self, layer: FoundLayer, name: LayerName, full: str, held: Held) -> str:
        """Keep a parameter, and return its name: that of an earlier layer if it is the same one."""
        assert held.numbers is not None
        label, _, own = full.rpartition(".")
        owners = self._owners.setdefault(held.value, [])
        for owner in owners:
            if not _are_same(owner.layer.parameters[owner.own], held):
                continue
            if _is_statistic(layer, own) or _is_statistic(owner.layer, owner.own):
                continue
            if len(np.unique(held.numbers)) == 1:  # as all layers have it that nobody has trained
                continue
            if _can_tie(layer, own) and _encloses(name.scopes, owner.scopes):
                return f"{owner.label}.{owner.own}"
            self._copies.append(f"`{full}` is a copy of `{owner.label}.{owner.own}`")
            break
        owners.append(_Owned(layer, own, label, name))
        array = np.ascontiguousarray(held.numbers).reshape(held.numbers.shape)
        self._state[full] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return full

    def _label(self, layer: FoundLayer, name: LayerName) -> str:
        """Return the label of a layer: from the file, or as netspec counts layers without one."""
        op = layer.op.name
        if not layer.parameters:
            own = name.path.rpartition(".")[2]
            is_counted = re.fullmatch(rf"{op}\d+", own) is not None
            return "" if is_counted or not name.path else self._fresh(name.path)
        if name.path:
            return self._fresh(name.path)
        self._counts[op] = self._counts.get(op, 0) + 1
        return self._fresh(f"{op}{self._counts[op]}")

    def _name(self) -> str:
        """Return the name of the graph, or of the file where exporters call all graphs that."""
        return self._path.stem if self._graph.name in _NO_NAMES else self._graph.name

    def _named(self, op: str) -> str:
        """Return a name for the value of a layer."""
        self._numbers[op] = self._numbers.get(op, 0) + 1
        while f"{op}{self._numbers[op]}" in self._taken:
            self._numbers[op] += 1
        name = f"{op}{self._numbers[op]}"
        self._taken.add(name)
        return name

    def _fresh(self, wanted: str) -> str:
        return take_name(wanted, self._labels)

    def _tensor(self, layer: FoundLayer, name: LayerName) -> ImportedTensor:
        held = layer.parameters[""]
        array = held.numbers
        assert array is not None
        (spec,) = layer.op.parameters()
        kind = _ROLES.get(spec.role, "parameter")
        path = name.path or _identifier(held.value.name, kind, self._labels)
        full = self._fresh(_declared_in(name.scopes, path))
        if kind != "constant":
            self._state[full] = array.astype(np.float32) if array.dtype.kind == "f" else array
        initial = initial_value(array, kind, divides=layer.value in self._divisors)
        return ImportedTensor(
            self._values[layer.value], full, kind, spec.shape, layer.shape, initial, name.scopes,
            kind != "constant",
        )  # fmt: skip

    def _notes(self) -> Sequence[str]:
        by_value = {layer.value: layer for layer in self._found.layers}
        ends = [by_value.get(value) for value in self._found.outputs.values()]
        kept = sorted({e.op.name for e in ends if e is not None and e.op.is_distribution})
        renamed = [
            f"the input `{shown_name(name)}` of the file is called `{own}` here"
            for name, given in self._graph.inputs.items()
            if name != (own := self._values[given.value])
        ]
        return [
            *self._copies[:_MOST_LISTED],
            *renamed[:_MOST_LISTED],
            *(
                note
                for name, border in self._borders.inputs.items()
                for note in _of_border(self._values[self._graph.inputs[name].value], border)
            ),
            *(
                f"the net itself normalises `{self._values[self._graph.inputs[name].value]}`, which it"
                f" takes as the data has it: it {inside}"
                for name, inside in self._inside.items()
            ),
            *(
                f"`{shown_name(name)}` of the file has the channels last, and here first"
                for name in sorted(self._borders.turned_outputs)
            ),
            *(
                f"`{shown_name(name)}` of the file has the batch as its second axis, and here in front"
                for name in sorted(self._borders.second_outputs)
            ),
            *(
                f"`{shown_name(name)}` of the file is a single number for each image, and [1] here"
                for name in sorted(self._borders.flat_outputs)
            ),
            *(
                f"the net ends in `{op}`: leave it out before training, for the loss has its own"
                for op in kept
            ),
            *notes_for_training(self._graph, [each.root for each in ends if each is not None]),
        ]


def _of_border(name: str, border: Border) -> Iterator[str]:
    """Yield what a net leaves to its data."""
    if border.flat:
        yield f"`{name}` is [1] here, and a single number for each image in the file"
    if border.second:
        yield f"`{name}` has the batch in front here, and as its second axis in the file"
    if border.turned:
        yield f"`{name}` has the channels first here, and last in the file"
    if not border.is_normal:
        mean, scale = (
            ", ".join(f"{n:.6g}" for n in a.ravel()) for a in (border.mean, border.scale)
        )
        stored = ", times 255 for pixels from 0 to 255" if border.is_of_one else ""
        yield (
            f"the file subtracts {mean} of `{name}` and divides by {scale}: this is in the weights"
            f" file{stored}"
        )


def _attributes(op: Op) -> dict[str, Constant]:
    """Return the attributes that differ from their defaults."""
    found: dict[str, Constant] = {}
    for name, field in op.attributes().items():
        value = getattr(op, name)
        if value != field.default or isinstance(value, bool) != isinstance(field.default, bool):
            found[name] = value
    return found


def _declared_in(scopes: Sequence[Scope], path: str) -> str:
    """Return the path of an array that the innermost module declares itself."""
    modules = [scope.path for scope in scopes if not scope.only_holds and scope.kind]
    prefix = f"{modules[-1]}." if modules and path.startswith(f"{modules[-1]}.") else ""
    return prefix + path.removeprefix(prefix).replace(".", "_").replace("-", "_")


def _identifier(name: str, otherwise: str, taken: Container[str]) -> str:
    """Return a name of a file as one in a net."""
    last = re.split(r"[./:]", name.strip("./:"))[-1]
    usual = re.sub(r"\W", "_", last, flags=re.ASCII).strip("_")[:40]
    wanted = usual if re.match(r"[A-Za-z_]", usual) else otherwise
    return free_name(f"{wanted}_" if wanted in KEYWORDS else wanted, taken, stem=wanted)


def _tells(name: str) -> bool:
    """Whether somebody has named an output, and no exporter by the last operator."""
    stem = re.sub(r"(_\d+)+$", "", name)
    operators = {known.partition(".")[0] for known in aten_table().operators}
    return name.isidentifier() and stem not in operators | registry().keys() | _ALSO_OPERATORS


_ALSO_OPERATORS = {"view", "getitem", "clone", "alias", "to", "t", "y", "identity", "graph_output"}


def _net_name(name: str) -> str:
    """Return a name in PascalCase."""
    words = re.findall(r"[A-Za-z0-9]+", name)[:6]
    joined = "".join(word[:1].upper() + word[1:] for word in words)[:60]
    return joined if joined[:1].isalpha() else f"Net{joined}"
