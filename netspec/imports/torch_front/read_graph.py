"""Translates a graph of `torch.export` to an imported net, operator by operator.

What an operator is in netspec is said by the op's own table (`netspec/compiler/ir/aten_form.py`).
Here are values: which axis is the batch, which tensors are stored, which depend on no input and are
computed, what is changed in place.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from netspec.compiler.ir.aten_form import (
    AtenCall,
    AtenForm,
    AtenTensor,
    ModuleForm,
    NoNetspecFormError,
    Then,
)
from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.op import Op, ShapeError
from netspec.compiler.ops import registry
from netspec.compiler.syntax.tree import NumberType
from netspec.imports.aten_table import AtenTable
from netspec.imports.imported_net import (
    ImportedInput,
    ImportedNet,
    ImportedNode,
    ImportedTensor,
    Place,
    Problem,
    Scope,
)
from netspec.imports.number_lists import numbers_length
from netspec.imports.torch_front.hand_attention import with_attention
from netspec.imports.torch_front.line_names import assigned_names, with_line_names
from netspec.imports.torch_front.number_kinds import (
    are_quantities,
    computed,
    filling_number,
    kind_of,
    operator_name,
)
from netspec.imports.torch_front.own_lines import innermost_own
from netspec.imports.torch_front.written_numbers import (
    MOST_NUMBERS,
    initial,
    nested,
    only_number,
    plain,
)
from netspec.runtime.models.torch_build import require_torch
from netspec.text.free_name import take_name

if TYPE_CHECKING:
    import torch
    from torch import fx, nn
    from torch.export import ExportedProgram

    from netspec.compiler.ir.graph import Shape

# Operators that only PyTorch's memory sees.
_SAME_VALUE = frozenset(
    "contiguous clone detach detach_ alias lift_fresh_copy lift_fresh to _to_copy type_as"
    " view_of".split()
)
# Operators that only give a tensor another shape.
_RESHAPES = frozenset("view reshape _unsafe_view unsqueeze".split())
# Operators that read only the kind of a tensor.
_LIKE = frozenset("new_zeros new_ones new_full new_empty".split())
_CONTAINERS = "torch.nn.modules.container."
# Up to how many characters a table's numbers are written out, if layers could compute it.
_SHORT = 120
# Bytes of a number of single precision.
_SINGLE = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """A tensor that depends on no input and no parameter. Each is one thing, whatever its numbers.

    Attributes:
        tensor: its numbers.
        source: the node that computes it from others of the kind, unless that changes one in place.
        name: the whole name that a module has for it; empty if it was computed.
    """

    tensor: torch.Tensor
    source: fx.Node | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor of the state dict."""

    name: str
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Limited:
    """What a value is limited to, and the value before."""

    source: AtenTensor
    ends: tuple[object, object]


class _Entry(NamedTuple):
    """A call of a module: its path, its class, and which call of it this is."""

    path: str
    kind: str
    call: int


@dataclass(frozen=True, slots=True)
class _Failed:
    """A value that could not be expressed, or that depends on one."""


_FAILED = _Failed()
_Ref = AtenTensor | _Known | _Stored | _Failed


@dataclass(frozen=True, slots=True)
class ReadGraph:
    """An imported net, or what stands in its way.

    Attributes:
        net: the net; without the nodes that the problems are about.
        problems: in order.
        read: the names in the state dict that nodes use.
        tied: other names in the state dict of tensors that nodes use, with the name that they use.
    """

    net: ImportedNet
    problems: tuple[Problem, ...]
    read: frozenset[str]
    tied: Mapping[str, str]


def read_graph(
    program: ExportedProgram,
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    table: AtenTable,
    module: nn.Module | None = None,
    fresh: Mapping[str, torch.Tensor] | None = None,
) -> ReadGraph:
    """Translate a graph.

    Args:
        program: the trace of a module.
        name: what the net is called.
        input_names: the names of the net's inputs, in order.
        output_names: the names of its outputs, in order.
        table: what operators are in netspec.
        module: the module itself, from which attributes are read; a saved trace has none.
        fresh: the state dict before trained weights were loaded, which initial values are taken from;
            by default the model's own.
    """
    with_attention(program)
    reader = _Reader(program, table, module, fresh or {})
    reader.read(input_names)
    return reader.result(name, output_names)


@dataclass
class _Reader:
    program: ExportedProgram
    table: AtenTable
    module: nn.Module | None
    fresh: Mapping[str, torch.Tensor]
    env: dict[fx.Node, Any] = field(default_factory=dict)
    inputs: list[ImportedInput] = field(default_factory=list)
    nodes: list[ImportedNode] = field(default_factory=list)
    tensors: dict[str, ImportedTensor] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)
    _storage: dict[fx.Node, fx.Node] = field(default_factory=dict)
    _learned: set[str] = field(default_factory=set)  # the parameters of the state dict
    _names: set[str] = field(default_factory=set)
    _constants: dict[_Known, AtenTensor] = field(default_factory=dict)
    _stored_as: dict[str, str] = field(default_factory=dict)  # what stored tensors are called
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _unsaved: list[str] = field(default_factory=list)  # buffers that are in no state dict
    _tied: dict[str, str] = field(default_factory=dict)  # the names that nodes use, by the trace's
    _spread_from: dict[str, AtenTensor] = field(default_factory=dict)  # what values only repeat
    _limited: dict[str, _Limited] = field(default_factory=dict)  # what values only limit
    _calls: dict[str, list[str]] = field(default_factory=dict)  # of each module, by its first path
    _filling: dict[str, fx.Node] = field(default_factory=dict)  # what makes tensors of one number

    # -- the graph

    def read(self, input_names: Sequence[str]) -> None:
        """Go through the graph in order."""
        self._placeholders(input_names)
        nodes = list(self.program.graph.nodes)
        done: set[fx.Node] = set()
        for node in nodes:
            if node in done:
                continue
            if node.op == "output":
                self._output(node)
            elif node.op == "get_attr":
                found = getattr(self.program.graph_module, str(node.target), None)
                self.env[node] = _Known(found) if hasattr(found, "shape") else _FAILED
            elif node.op == "call_function":
                call = self._module_call(node, nodes)
                if call is None:
                    self._function(node)
                else:
                    done.update(call)

    def result(self, name: str, output_names: Sequence[str]) -> ReadGraph:
        """Return what was read."""
        names = list(output_names) if len(output_names) == len(self.outputs) else []
        if not names:
            count = len(self.outputs)
            names = ["output"] if count == 1 else [f"output{i + 1}" for i in range(count)]
        net = ImportedNet(
            name,
            tuple(self.inputs),
            tuple(with_line_names(self.nodes, self.outputs)),
            dict(zip(names, self.outputs, strict=True)),
            self._declared(),
        )
        tied = {own: name for own, name in self._tied.items() if own != name}
        return ReadGraph(net, tuple(self.problems), frozenset(self.used), tied)

    def _declared(self) -> tuple[ImportedTensor, ...]:
        """Return all tensors in the order of their first use; what no file saves as modules have it."""
        tensors = list(self.tensors.values())

        def is_own(tensor: ImportedTensor) -> bool:
            return tensor.kind == "constant" and tensor.is_own

        places = {name: at for at, name in enumerate(self._unsaved)}
        ordered = iter(sorted(filter(is_own, tensors), key=lambda t: places[t.name]))
        return tuple(next(ordered) if is_own(t) else t for t in tensors)

    def _placeholders(self, input_names: Sequence[str]) -> None:
        torch = require_torch()
        kinds = torch.export.graph_signature.InputKind
        specs = self.program.graph_signature.input_specs
        placeholders = [node for node in self.program.graph.nodes if node.op == "placeholder"]
        names = iter(input_names)
        for node, spec in zip(placeholders, specs, strict=True):
            if spec.kind == kinds.USER_INPUT:
                self._input(node, next(names, node.name))
            elif spec.kind == kinds.CONSTANT_TENSOR:
                self.env[node] = _Known(self.program.constants[spec.target].detach())
            elif spec.kind in (kinds.PARAMETER, kinds.BUFFER):
                held = self.program.state_dict.get(spec.target)
                if held is None:  # a buffer that is not saved
                    tensor = self.program.constants[spec.target].detach()
                    self.env[node] = _Known(tensor, name=spec.target)
                    self._unsaved.append(spec.target)
                else:
                    self.env[node] = _Stored(spec.target, held.detach())
                    if spec.kind == kinds.PARAMETER:
                        self._learned.add(spec.target)
            else:
                self.env[node] = _FAILED

    def _input(self, node: fx.Node, name: str) -> None:
        value = node.meta.get("val")
        if not hasattr(value, "shape"):
            self.env[node] = value
            return
        self._names.add(name)
        try:
            found = self._layout(value)
        except NoNetspecFormError as error:
            self._problem(node, "input", f"`{name}` has no axis for a batch of any size: {error}")
            self.env[node] = _FAILED
            return
        holds = kind_of(value.dtype)
        if holds == "int" and are_quantities(node):
            holds = "real"
        self.inputs.append(ImportedInput(name, found.shape, holds))
        self._shapes[name] = found.shape
        self.env[node] = replace(found, value=name)
        why = ""
        if found.batch:
            why = f"the batch is not the first axis of `{name}`"
        elif not found.rank:
            why = f"`{name}` has no axis for a batch"
        elif found.first and value.shape[0] == 1:
            why = f"`{name}` is one image in the example: give two"
        elif found.first:
            why = f"the code works only for the batch of `{name}` in the example"
        if why:
            self._problem(node, "input", why)
            self.env[node] = _FAILED

    def _output(self, node: fx.Node) -> None:
        for value in node.args[0]:
            if value is None:
                continue
            ref = self.env.get(value, _FAILED) if hasattr(value, "meta") else _FAILED
            if isinstance(ref, _Failed):
                continue
            try:
                self.outputs.append(self._result(ref).value)
            except NoNetspecFormError as error:
                self._problem(value, "output", str(error))
        if not self.outputs and not self.problems:
            self._problem(node, "output", "it gives no tensor")

    def _result(self, ref: object) -> AtenTensor:
        """Return a value that is an output.

        Raises:
            NoNetspecFormError: if it is none for each image.
        """
        if not isinstance(ref, (AtenTensor, _Known, _Stored)):
            raise NoNetspecFormError("it is no tensor")
        if not isinstance(ref, AtenTensor) or ref.leads or (ref.first and not ref.batch):
            raise NoNetspecFormError("it depends on no input")
        _require_whole(ref)
        if ref.batch or ref.first:
            raise NoNetspecFormError("the batch is not its first axis")
        return self._of_stored(ref)

    # -- modules that are one op

    def _module_call(self, node: fx.Node, nodes: Sequence[fx.Node]) -> list[fx.Node] | None:
        """Read all nodes of a module that an op stands for, and return them; None if there is none."""
        for key, (path, kind) in node.meta.get("nn_module_stack", {}).items():
            found = self.table.module(_class_name(kind))
            if found is None:
                continue
            call = [n for n in nodes if key in n.meta.get("nn_module_stack", {})]
            op, form = found
            if self._as_module(call, self._first_paths.get(path, path), op, form, node):
                return call
        return None

    def _as_module(
        self, call: list[fx.Node], path: str, op: type[Op], form: ModuleForm, node: fx.Node
    ) -> bool:
        if self.module is None:
            return False
        members = set(call)
        outer = {n for c in call for n in c.all_input_nodes if n not in members}
        if any(isinstance(self.env.get(n), _Failed) for n in outer):
            self._fail(call)
            return True
        given = self._given(call, outer, form)
        results = [n for n in call if any(user not in members for user in n.users)]
        results = [n for n in results if hasattr(n.meta.get("val"), "shape")]
        inputs, states, hidden = _parts([self.env[n] for n in given], form)
        if len(results) != 1 or len(states) not in (0, form.states) or len(hidden) > 1:
            return False
        if not 1 <= len(inputs) <= form.inputs:
            return False
        target = self.module.get_submodule(path)
        if len({x.rank for x in inputs}) > 1 or any(x.is_bool for x in inputs):
            return False
        inputs += inputs[-1:] * (form.inputs - len(inputs))
        try:
            found = self._layout(results[0].meta["val"])
            attributes = AtenCall(_Members(target), found.shape)
            if form.unless is not None:
                form.unless(attributes)
            _require_whole(*inputs, *states)
            values = [x.value for x in (*inputs, *map(self._state, states))]
            values += [self._shown(node, x) for x in hidden]
            taken = {name: _taken(how, attributes) for name, how in form.attributes.items()}
            _made(op, taken)
        except NoNetspecFormError as error:
            self._problem(node, _class_name(type(target).__name__), str(error))
            self._fail(call)
            return True
        stored = [f"{path}.{name}" for name in target.state_dict()]
        self.used.update(stored)
        parameters = {full.removeprefix(f"{path}."): full for full in stored}
        made = self._append(
            results[0], op.name, taken, values, found.shape, parameters,
            path if stored else "", path,
        )  # fmt: skip
        for n in call:  # sizes that are computed in a module are read by later ones, too
            inner = n.meta.get("val")
            self.env[n] = _FAILED if _tensors(inner) else inner
        self.env[results[0]] = replace(found, value=made)
        return True

    def _state(self, x: AtenTensor) -> AtenTensor:
        """Return what a module begins with as a layer has it: one layer of it has no axis of layers."""
        if x.shape[0] != 1:
            return x
        source = self._spread_from.get(x.value)
        if source is None or source.shape != x.shape[1:]:
            raise NoNetspecFormError("it begins with states that have an axis of one layer")
        return source

    def _shown(self, node: fx.Node, hidden: AtenTensor) -> str:
        """Return the value that is above 0 where booleans are false."""
        turned = {"then": 0, "otherwise": 1}
        for made in self.nodes:
            if made.value == hidden.value and made.op == "where" and made.attributes == turned:
                return made.inputs[0]
        path = self._path(node)
        return self._append(node, "where", turned, [hidden.value], hidden.shape, {}, "", path)

    def _fail(self, call: list[fx.Node]) -> None:
        """Let something stand in for what a module gives."""
        members = set(call)
        for n in call:
            inner = n.meta.get("val")
            is_result = _tensors(inner) and any(user not in members for user in n.users)
            self.env[n] = self._stand_in(n) if is_result else _FAILED if _tensors(inner) else inner

    def _given(self, call: list[fx.Node], outer: set[fx.Node], form: ModuleForm) -> list[fx.Node]:
        """Return the values that a module reads, in order, without states of zeros."""
        read = [source for n in call for source in n.all_input_nodes if source in outer]
        given = []
        for source in dict.fromkeys(read):
            ref = self.env.get(source)
            if not isinstance(ref, AtenTensor) or (form.starts_at_zero and ref.filled == 0):
                continue
            given.append(source)
        return given

    # -- names of modules

    @cached_property
    def _first_paths(self) -> Mapping[str, str]:
        """The first path of each module, by all that it has: a module may stand in several places."""
        found: dict[str, str] = {}
        firsts: dict[int, str] = {}
        if self.module is not None:
            for path, module in self.module.named_modules(remove_duplicate=False):
                found[path] = firsts.setdefault(id(module), path)
        return found

    def _stack(self, node: fx.Node) -> list[_Entry]:
        """Return the calls of modules around a node, the outermost first."""
        found = []
        for key, (path, kind) in node.meta.get("nn_module_stack", {}).items():
            first = self._first_paths.get(path, path)
            keys = self._calls.setdefault(first, [])
            if key not in keys:
                keys.append(key)
            found.append(_Entry(first, _class_name(kind), keys.index(key)))
        return found

    def _path(self, node: fx.Node) -> str:
        stack = self._stack(node)
        return stack[-1].path if stack else ""

    def _scopes(self, node: fx.Node) -> tuple[Scope, ...]:
        """Return the calls of modules around a node, without the whole module."""
        found = []
        for path, kind, call in self._stack(node):
            if not path:
                continue
            only_holds = kind.startswith(_CONTAINERS)
            if self.module is not None and not only_holds:
                only_holds = _only_holds(self.module, path)
            found.append(Scope(path, kind.rpartition(".")[2], call, only_holds))
        return tuple(found)

    # -- one operator

    def _function(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            held = self.env.get(node.args[0])
            self.env[node] = held[node.args[1]] if isinstance(held, list) else _FAILED
            return
        schema = getattr(node.target, "_schema", None)
        value = node.meta.get("val")
        if not _tensors(value):
            self.env[node] = value  # arithmetic on sizes
            return
        if schema is None:
            self._problem(node, *_named_region(str(node.target)))
            self.env[node] = self._stand_in(node)
            return
        name = schema.name.partition("::")[2]
        overload = schema.overload_name
        refs = [self.env.get(n, _FAILED) for n in node.all_input_nodes]
        if any(isinstance(ref, _Failed) for ref in refs):
            self._store(node, self._stand_in(node), is_sound=False)
            return
        if name in _SAME_VALUE:
            same = self._of_kind(self.env[node.args[0]], node)
            if same is not None:
                self._share(node, node.args[0])
                self.env[node] = same
                return
        try:
            if self._needs_no_layer(node, name, schema):
                return
            if self._compute(node, name, refs) or self._cut_to_lower(node, name):
                return
            self._store(node, self._translated(node, f"{name}.{overload}", schema))
        except NoNetspecFormError as error:
            self._problem(node, name.rstrip("_"), str(error))
            self._store(node, self._stand_in(node), is_sound=False)

    def _stand_in(self, node: fx.Node) -> Any:
        """Return what later nodes read in place of a result that cannot be expressed.

        A net with a problem is never written; what lies behind the first one is read all the same, so
        that one run lists them all. Only images' values have one: a computed weight is a problem of
        the layer that takes it, which has one already.
        """
        value = node.meta["val"]
        if isinstance(value, (list, tuple)):
            return [self._stand_in_of(node, part) for part in value]
        return self._stand_in_of(node, value)

    def _stand_in_of(self, node: fx.Node, value: Any) -> AtenTensor | _Failed:
        if not hasattr(value, "shape") or not value.dtype.is_floating_point:
            return _FAILED
        try:
            found = self._layout(value)
        except NoNetspecFormError:
            return _FAILED
        if found.batch != 0 or found.first != 0 or isinstance(value.shape[0], int):
            return _FAILED
        name = self._free(node.name)
        self._shapes[name] = found.shape
        return replace(found, value=name)

    def _of_kind(self, ref: Any, node: fx.Node) -> Any:
        """Return a value as a node converts it; None if that changes its numbers."""
        source, value = node.args[0].meta.get("val"), node.meta["val"]
        if source is None or not hasattr(value, "dtype") or source.dtype == value.dtype:
            return ref
        kinds = kind_of(source.dtype), kind_of(value.dtype)
        if isinstance(ref, _Known) or "bool" in kinds:
            return None
        if kinds == ("real", "real") and value.dtype.itemsize < _SINGLE:
            return None
        if kinds == ("real", "int"):
            return replace(ref, is_cut=True) if isinstance(ref, AtenTensor) else None
        return ref

    def _fills(self, node: fx.Node, name: str, schema: Any) -> bool:
        """Keep a tensor of one number for each image, which becomes a constant where it must."""
        value = node.meta["val"]
        if not hasattr(value, "shape") or all(isinstance(size, int) for size in value.shape):
            return False
        number = filling_number(name, self._arguments(node, schema))
        if number is None:
            return False
        found = self._layout(value)
        made = self._free(node.name)
        self._filling[made] = node
        self.env[node] = replace(found, value=made, filled=number, is_condition=found.is_bool)
        return True

    def _needs_no_layer(self, node: fx.Node, name: str, schema: Any) -> bool:
        """Keep what an operator gives, if it is a stored tensor or one of equal numbers."""
        return (
            self._gives_other_shape(node, name)
            or self._updates_state(node, name)
            or self._fills(node, name, schema)
        )

    def _gives_other_shape(self, node: fx.Node, name: str) -> bool:
        """Keep a parameter of a module that computes nothing in another shape, as an op may have it:
        no other layer reads it, for a file has no name for it.
        """
        ref = self.env.get(node.args[0]) if node.args else None
        if name not in _RESHAPES or not isinstance(ref, _Stored) or not self._is_apart(ref.name):
            return False
        self.env[node] = replace(ref, tensor=ref.tensor.reshape(node.meta["val"].shape))
        return True

    def _updates_state(self, node: fx.Node, name: str) -> bool:
        """Skip a change of a buffer that a layer keeps itself, such as a count of batches."""
        if not name.endswith("_") or not node.args:
            return False
        ref = self.env.get(node.args[0])
        if isinstance(ref, _Stored) and not node.users:
            self.env[node] = ref
            return True
        return False

    def _compute(self, node: fx.Node, name: str, refs: list[_Ref]) -> bool:
        """Compute what depends on no input and no parameter."""
        known = all(isinstance(ref, _Known) for ref in refs)
        sized = all(isinstance(size, int) for t in _tensors(node.meta["val"]) for size in t.shape)
        if not sized or not (known or name in _LIKE):
            return False
        if "rand" in name or "bernoulli" in name:
            raise NoNetspecFormError("it draws random numbers: `dropout`, `drop_path` or `noise`")
        empty = require_torch().empty

        def tensor(source: fx.Node) -> torch.Tensor:
            ref = self.env[source]
            return (
                ref.tensor if isinstance(ref, _Known) else empty((), dtype=source.meta["val"].dtype)
            )

        found = computed(node, tensor)
        source = node if refs and not name.endswith("_") else None
        results = (
            [_Known(t) for t in found]
            if isinstance(found, (list, tuple))
            else _Known(found, source)
        )
        self.env[node] = results
        return True

    def _cut_to_lower(self, node: fx.Node, name: str) -> bool:
        """Note that only the lower triangle of a value counts, which an op may have a word for."""
        x = self.env.get(node.args[0]) if node.args else None
        if name != "tril" or len(node.args) > 1 or node.kwargs or not isinstance(x, AtenTensor):
            return False
        if x.rank < 3 or x.batch > x.rank - 3:
            return False
        self.env[node] = replace(x, is_lower=True)
        return True

    def _store(self, node: fx.Node, ref: Any, *, is_sound: bool = True) -> None:
        """Keep a result; one in place is what all names of its memory stand for from now on.

        One that only stands in for another is not sound, and its problem was told.
        """
        self.env[node] = ref
        schema = node.target._schema
        if schema.name.partition("::")[2].endswith("_") and node.args:
            target = node.args[0]
            root = self._storage.get(target, target)
            old = self.env.get(target)
            for other in [root, *(n for n, r in self._storage.items() if r is root)]:
                if self.env.get(other) is old or other is target:
                    self.env[other] = ref
                elif self._is_read_later(other, node) and is_sound:
                    self._problem(
                        node, schema.name.partition("::")[2],
                        "it changes a view in place, and another view of it is read later: assign"
                        " the result",
                    )  # fmt: skip
            self._storage[node] = root
        elif any(a.alias_info is not None for a in schema.arguments) and node.args:
            self._share(node, node.args[0])

    def _share(self, node: fx.Node, source: Any) -> None:
        self._storage[node] = self._storage.get(source, source)

    def _is_read_later(self, value: fx.Node, change: fx.Node) -> bool:
        order = {n: i for i, n in enumerate(self.program.graph.nodes)}
        return any(order[user] > order[change] for user in value.users)

    def _translated(self, node: fx.Node, full: str, schema: Any) -> Any:
        """Try the forms that the ops have for an operator, and return the first that fits."""
        forms = self.table.forms(full)
        if not forms:
            raise NoNetspecFormError(self._no_layer(full))
        arguments = self._arguments(node, schema)
        value = node.meta["val"]
        parts = value if isinstance(value, (list, tuple)) else [value]
        found = [self._layout(part) for part in parts]
        if any(not part.shape and not part.first for part in found):
            raise NoNetspecFormError("it leaves no axis but the batch's: keep one of size 1")
        shapes = tuple(part.shape for part in found)
        reasons = []
        for op, form in sorted(forms, key=lambda each: (each[1].is_last, not each[1].is_apart)):
            try:
                if not isinstance(value, (list, tuple)):
                    return self._as_op(node, op, form, AtenCall(arguments, shapes[0]), value)
                return [
                    self._as_op(node, op, form, AtenCall(arguments, s, i, shapes), part, i)
                    for i, (s, part) in enumerate(zip(shapes, value, strict=True))
                ]
            except NoNetspecFormError as error:
                reasons.append((form.is_last, op.name, str(error)))
            except ShapeError as error:
                reasons.append((form.is_last, op.name, error.message))
        _, name, reason = next((r for r in reversed(reasons) if not r[0]), reasons[-1])
        raise NoNetspecFormError(
            reason
            if name == full.partition(".")[0].rstrip("_")
            else f"it is `{name}`, but {reason}"
        )

    def _no_layer(self, full: str) -> str:
        if self.table.has_others(full):
            return f"netspec's layer has no such form (`{full.removesuffix('.')}`)"
        near = self.table.nearest(full)
        return "netspec has no such layer" + (f"; the nearest is `{near}`" if near else "")

    def _as_op(
        self, node: fx.Node, op: type[Op], form: AtenForm, call: AtenCall, value: Any, part: int = 0
    ) -> AtenTensor | _Failed:
        if call.parts and not _is_used(node, part):
            return _FAILED
        found = self._layout(value)
        call, found = self._of_images(node, form, call, found)
        if form.computes:
            self._require_computed(node, call.numbers(form.computes))
        if form.unless is not None:
            form.unless(call)
        inputs = [
            self._prepared(node, given, form.before.get(name, ()), call)
            for name, given in self._operands(form, call)
        ]
        shape = found.shape
        inputs, is_condition = self._conditions(node, op, form, inputs)
        found = replace(found, is_condition=is_condition)
        number = _same_filling(inputs) if op.only_moves else None
        if number is not None:
            assert isinstance(inputs[0], AtenTensor)
            made = self._free(node.name)
            self._filling[made] = self._filling[inputs[0].value]
            return replace(found, value=made, filled=number)
        batches = [x.batch for x in (*inputs, found) if isinstance(x, AtenTensor)]
        behind_ones = form.only_shapes and all(
            set(x.shape[: x.batch]) <= {1} for x in (*inputs, found) if isinstance(x, AtenTensor)
        )
        if any(batches) and not (form.moves_batch or behind_ones):
            raise NoNetspecFormError("the batch is not its first axis")
        if form.only_shapes and inputs and isinstance(inputs[0], AtenTensor):
            x = self._of_stored(inputs[0])
            if x.shape == shape:
                return replace(found, value=x.value)
        parameters, label = self._parameters(node, form, call)
        does_nothing = form.does_nothing is not None and form.does_nothing(call)
        given = {} if does_nothing else form.attributes
        taken = {name: _taken(how, call) for name, how in given.items()}
        taken |= self._starts(form, call)
        if form.spread:
            inputs = self._unspread(op, taken, inputs, form.inputs.index(form.spread))
        values = self._aligned(node, op, inputs, taken, shape, len(value.shape))
        is_join_of_one = (
            op.arity is None
            and len(values) == 1
            and not any(taken.get(n) for n in op.number_places)
        )
        made = values[0] if values else ""
        if not is_join_of_one and not does_nothing:
            own = self._shape_of(op, taken, values, inputs)  # raises for what the op does not take
            own = own if form.then else shape
            path = self._path(node)
            made = self._append(node, op.name, taken, values, own, parameters, label, path, part)
        made = self._followed(node, form, call, replace(found, value=made), part)
        self._note_source(form, call, inputs, made)
        return replace(found, value=made)

    def _require_computed(self, node: fx.Node, numbers: Sequence[int]) -> None:
        """Check that a line of a model computes some numbers.

        Raises:
            NoNetspecFormError: if they are written there, or a module of PyTorch has them.
        """
        place, stack = _place(node), self._stack(node)
        is_layer = bool(stack) and stack[-1].kind.startswith("torch.nn.")
        written = re.findall(r"\b\d+\b", place.text) if place is not None else map(str, numbers)
        if is_layer or set(map(str, numbers)) & set(written):
            raise NoNetspecFormError("its numbers are written, and not computed")

    def _of_images(
        self, node: fx.Node, form: AtenForm, call: AtenCall, found: AtenTensor
    ) -> tuple[AtenCall, AtenTensor]:
        """Return a call with stored tensors as values of their own, where the op reads them so, and
        the layout of its result, which has such a tensor's 1 in front if nothing else has a batch.
        """
        given = {
            name: self._of_image(node, x, found) if isinstance(x, AtenTensor) else x
            for name, x in call.arguments.items()
            if name.partition(".")[0] in form.inputs
        }
        call = replace(call, arguments={**call.arguments, **given})
        leads = any(isinstance(x, AtenTensor) and x.leads for x in given.values())
        if not (leads and found.first and not found.batch):
            return call, found
        return replace(
            call, shape=_behind_one(call.shape), parts=tuple(map(_behind_one, call.parts))
        ), _leading(found)

    def _of_image(self, node: fx.Node, x: AtenTensor, found: AtenTensor) -> AtenTensor:
        """Return a tensor as a value, without a 1 in the place of the result's batch."""
        if x.stored:
            return self._of_stored(x)
        is_same = bool(x.first) and not x.batch and x.rank == len(x.shape)
        if not is_same or found.first or found.rank != x.rank or x.filled is not None:
            return x
        shape = _behind_one(x.shape)
        if shape == x.shape:
            return x
        made = self._append(
            node, "reshape", {"sizes": shape}, [x.value], shape, {}, "", self._path(node)
        )
        return replace(x, value=made, shape=shape, first=0, leads=True)

    def _note_source(
        self, form: AtenForm, call: AtenCall, inputs: Sequence[object], made: str
    ) -> None:
        """Keep what a value was repeated from, or limited from."""
        if not inputs or not isinstance(inputs[0], AtenTensor):
            return
        if form.spreads is not None and form.spreads(call):
            self._spread_from[made] = self._of_stored(inputs[0])
        if form.limits is not None:
            self._limited[made] = _Limited(self._of_stored(inputs[0]), form.limits(call))

    def _unspread(
        self, op: type[Op], taken: Mapping[str, object], inputs: Sequence[object], at: int
    ) -> list[object]:
        """Put in the place of one of the inputs what it was repeated from, as far back as the op
        takes that.

        Raises:
            NoNetspecFormError: if it takes none.
        """
        given = [self._of_stored(x) for x in inputs if isinstance(x, AtenTensor)]
        shapes = [x.shape for x in given]
        made = _made(op, taken).given(_holding(given))
        found: AtenTensor | None = None
        why = ""
        each: AtenTensor | None = given[at]
        while each is not None:
            try:
                made.shape(*shapes[:at], each.shape, *shapes[at + 1 :])
                found = each
            except ShapeError as error:
                why = why or error.message
            each = self._spread_from.get(each.value)
        if found is None:
            raise NoNetspecFormError(why)
        return [*inputs[:at], found, *inputs[at + 1 :]]

    def _shape_of(
        self,
        op: type[Op],
        attributes: Mapping[str, object],
        values: Sequence[str],
        inputs: Sequence[object] = (),
    ) -> Shape:
        """Return the shape of what an op gives.

        Args:
            op: its class.
            attributes: what it is made with.
            values: the names of what it reads.
            inputs: the same before they were aligned, which say what they hold.

        Raises:
            ShapeError: if the op does not take the values.
            NoNetspecFormError: if it does not take an attribute.
        """
        made = _made(op, attributes)
        tensors = [x for x in inputs if isinstance(x, AtenTensor)]
        if tensors and len(tensors) == len(values):
            made = made.given(_holding(tensors))
        return made.shape(*(self._shapes[value] for value in values))

    def _conditions(
        self, node: fx.Node, op: type[Op], form: AtenForm, inputs: list[object]
    ) -> tuple[list[object], bool]:
        """Return the values as an op reads them, 1 and 0 for booleans that it computes with, and
        whether its result is a condition.
        """
        given = [x for x in inputs if isinstance(x, AtenTensor) and x.is_condition]
        if not given or form.reads_conditions:
            return inputs, form.gives_condition
        if op.only_moves:
            return inputs, True
        numbers = {"then": 1, "otherwise": 0}

        def as_number(x: object) -> object:
            if not isinstance(x, AtenTensor) or not x.is_condition or x.filled is not None:
                return x
            x = self._of_stored(x)
            made = self._append(
                node, "where", numbers, [x.value], x.shape, {}, "", self._path(node)
            )  # fmt: skip
            return replace(x, value=made, is_condition=False, is_bool=False)

        return list(map(as_number, inputs)), form.gives_condition or kind_of(
            node.meta["val"].dtype
        ) == "bool"

    def _prepared(
        self, node: fx.Node, given: object, before: Sequence[Then], call: AtenCall
    ) -> object:
        """Return a value as an op reads it, behind what is done with it before."""
        if not before or not isinstance(given, AtenTensor):
            return given
        x = self._of_stored(given)
        value = x.value
        for then in before:
            value = self._then(node, then, call, value)
        return replace(x, value=value, shape=self._shapes[value])

    def _then(self, node: fx.Node, then: Then, call: AtenCall, value: str, part: int = 0) -> str:
        """Append an op on one value."""
        attributes = {name: how(call) for name, how in then.attributes.items()}
        shape = self._shape_of(registry()[then.op], attributes, [value])
        if then.only_shapes and shape == self._shapes[value]:
            return value
        return self._append(
            node, then.op, attributes, [value], shape, {}, "", self._path(node), part
        )

    def _followed(
        self, node: fx.Node, form: AtenForm, call: AtenCall, result: AtenTensor, part: int
    ) -> str:
        """Append the ops that follow a form's own, and the sum with what it adds."""
        made = result.value
        for then in form.then:
            made = self._then(node, then, call, made, part)
        if not form.adds or not call.has(form.adds):
            return made
        terms = (replace(result, value=made), call[form.adds])
        shape, rank = result.shape, len(node.meta["val"].shape)
        values = self._aligned(node, registry()["add"], terms, {}, shape, rank)
        return self._append(node, "add", {}, values, shape, {}, "", self._path(node))

    def _arguments(self, node: fx.Node, schema: Any) -> dict[str, object]:
        """Return the arguments by the schema's names. Lists of tensors get a number each."""
        torch = require_torch()
        found: dict[str, object] = {}
        for i, declared in enumerate(schema.arguments):
            given = declared.default_value
            if i < len(node.args):
                given = node.args[i]
            given = node.kwargs.get(declared.name, given)
            if isinstance(given, (list, tuple)) and any(
                isinstance(g, torch.fx.Node) for g in given
            ):
                items = [self._argument(item, declared.name) for item in given]
                if all(isinstance(item, (AtenTensor, _Known, _Stored)) for item in items):
                    for j, item in enumerate(items):
                        found[f"{declared.name}.{j}"] = item
                    continue
                found[declared.name] = tuple(items)
                continue
            found[declared.name] = self._argument(given, declared.name)
        return found

    def _argument(self, given: Any, name: str) -> object:
        torch = require_torch()
        if isinstance(given, torch.fx.Node):
            ref = self.env[given]
            if isinstance(ref, _Stored):
                return self._as_stored(ref, given)
            if isinstance(ref, _Known):
                if ref.tensor.numel() == 1 and ref.tensor.ndim == 0:
                    return ref.tensor.item()
                return self._constant(ref, given)
            return ref
        if isinstance(given, (list, tuple)):
            return tuple(self._argument(item, name) for item in given)
        return _fixed(given)

    def _operands(self, form: AtenForm, call: AtenCall) -> Iterable[tuple[str, object]]:
        """Yield the values of a call, each with the name of the argument."""
        for name in form.inputs:
            given = call.arguments.get(name)
            if name == form.places:
                given = self._unlimited(form, call, given)
            elif name != form.spread:
                _require_whole(given)
            if isinstance(given, tuple):  # a list with tensors and None in it
                yield from ((name, item) for item in given if isinstance(item, AtenTensor))
                continue
            if name in call.arguments:
                yield name, given
                continue
            for j in range(len(call.arguments)):
                if f"{name}.{j}" in call.arguments:
                    yield name, call.arguments[f"{name}.{j}"]

    def _unlimited(self, form: AtenForm, call: AtenCall, given: object) -> object:
        """Return places as they were before they were cut to those that there are."""
        if not isinstance(given, AtenTensor):
            return given
        limited = self._limited.get(given.value)
        last = form.last_place(call) if form.last_place is not None else None
        if limited is not None and limited.ends == (0, last):
            given = limited.source
        return replace(given, is_cut=False)

    def _parameters(
        self, node: fx.Node, form: AtenForm, call: AtenCall
    ) -> tuple[dict[str, str], str]:
        """Return the stored tensors of a layer by the op's names, and the layer's label."""
        found: dict[str, str] = {}
        here: dict[str, str] = {}  # the same as the module itself calls them
        path = self._path(node)
        for own, argument in form.parameters.items():
            held = call.arguments.get(argument)
            if held is None:
                continue
            if not isinstance(held, AtenTensor) or not held.stored:
                raise NoNetspecFormError(f"its `{argument}` is computed, and not stored")
            if form.is_apart and not self._is_apart(held.stored):
                raise NoNetspecFormError(f"its `{argument}` is of a module that computes")
            alias = f"{path}.{own}"
            here[own] = alias if self._are_one(alias, held.stored) else held.stored
            found[own] = self._tied.setdefault(held.stored, here[own])
        if not found:
            return {}, ""
        labels = [full.removesuffix(f".{own}") for own, full in here.items()]
        for (own, full), label in zip(here.items(), labels, strict=True):
            if label == full:
                raise NoNetspecFormError(
                    f"its {own} is called `{full}`, and would have to be `NAME.{own}`"
                )
        label = path if path in labels else max(set(labels), key=labels.count)
        held_names = self.program.state_dict
        counter = f"{label}.num_batches_tracked"
        if counter in held_names and any(name == "running_mean" for name in found):
            found["num_batches_tracked"] = counter
        self.used.update(found.values())
        return found, label

    def _starts(self, form: AtenForm, call: AtenCall) -> dict[str, object]:
        """Return the attributes that are the one number with which a stored tensor starts."""
        found: dict[str, object] = {}
        for name, argument in form.starts.items():
            number = only_number(self._fresh(call.tensor(argument).stored))
            if number is not None:
                found[name] = number
        return found

    def _fresh(self, name: str) -> torch.Tensor:
        """Return a stored tensor with the values that it starts with."""
        held = self.fresh.get(name)
        return self.program.state_dict[name] if held is None else held

    def _is_apart(self, name: str) -> bool:
        """Whether a name is of a parameter whose module has no call: a module that computes nothing."""
        owner = name.rpartition(".")[0]
        return bool(owner) and name in self._learned and owner not in self._called_paths

    @cached_property
    def _called_paths(self) -> frozenset[str]:
        """The paths of the modules that are called."""
        nodes = self.program.graph.nodes
        return frozenset(entry.path for node in nodes for entry in self._stack(node))

    def _are_one(self, one: str, other: str) -> bool:
        """Whether two names in the state dict are of one tensor."""
        held = self._held
        return one in held and other in held and held[one] is held[other]

    @cached_property
    def _held(self) -> Mapping[str, object]:
        return {} if self.module is None else self.module.state_dict(keep_vars=True)

    def _aligned(
        self,
        node: fx.Node,
        op: type[Op],
        inputs: Sequence[object],
        taken: dict[str, object],
        shape: Shape,
        torch_rank: int,
    ) -> list[str]:
        """Return the names of the inputs; numbers among them go to the op's attributes.

        Values of several inputs get as many axes as the result, as PyTorch's broadcasting does.
        """
        places, rank = op.number_places, len(shape)
        values: list[str] = []
        for i, given in enumerate(inputs):
            if isinstance(given, AtenTensor):
                if given.filled is not None and _has_whole(inputs, shape):
                    place = places[min(i, len(places) - 1)] if places else ""
                    if place:
                        taken[place] = given.filled
                        continue
                x = self._of_stored(given)
                broadcasts = bool(places) and len(x.shape) != rank and len(inputs) > 1
                values.append(self._with_rank(node, x, rank, torch_rank) if broadcasts else x.value)
                continue
            place = places[min(i, len(places) - 1)] if places else ""
            if not isinstance(given, (int, float)) or not place:
                raise NoNetspecFormError("one of its values is a number")
            taken[place] = given
        return values

    def _with_rank(self, node: fx.Node, x: AtenTensor, rank: int, torch_rank: int) -> str:
        shape = x.shape
        if x.first == 0 and x.rank != torch_rank and not x.leads:
            raise NoNetspecFormError("PyTorch would align the batch with another axis")
        while len(shape) > rank and shape[0] == 1:
            shape = shape[1:]
        shape = (1,) * (rank - len(shape)) + shape
        if len(shape) != rank:
            raise NoNetspecFormError("its values have different numbers of axes")
        (op, form), *_ = [f for f in self.table.forms("reshape") if "sizes" in f[1].attributes]
        assert form.attributes
        return self._append(
            node, op.name, {"sizes": shape}, [x.value], shape, {}, "", self._path(node)
        )

    # -- values

    def _value(self, ref: _Ref, node: fx.Node) -> AtenTensor:
        """Return a value that nodes can read.

        Raises:
            NoNetspecFormError: if it cannot be one.
        """
        if isinstance(ref, AtenTensor):
            _require_whole(ref)
            return ref
        if isinstance(ref, _Stored):
            return self._of_stored(self._as_stored(ref, node))
        if isinstance(ref, _Known):
            return self._constant(ref, node)
        raise NoNetspecFormError("it depends on what cannot be expressed")

    def _as_stored(self, ref: _Stored, node: fx.Node) -> AtenTensor:
        """Return a stored tensor as an argument, under one name whichever node gives it on."""
        name = self._stored_as.setdefault(ref.name, node.name)
        shape = tuple(ref.tensor.shape)
        is_bool = str(ref.tensor.dtype) == "torch.bool"
        return AtenTensor(
            f"={name}", shape, len(shape), 1, ref.name, is_condition=is_bool, is_bool=is_bool
        )

    def _of_stored(self, x: AtenTensor) -> AtenTensor:
        """Declare a stored tensor as a value of its own, when it is first read as one, and so one
        of equal numbers.
        """
        if x.filled is not None:
            return self._of_filled(x)
        if not x.stored:
            return x
        value = x.value.removeprefix("=")
        leads = len(x.shape) > 1 and x.shape[0] == 1
        shape = x.shape[1:] if leads else x.shape
        if value not in self.tensors:
            held = self._fresh(x.stored)
            kind = "parameter" if x.stored in self._learned else "buffer"
            self.tensors[value] = ImportedTensor(
                value, x.stored, kind, x.shape, shape, initial(held, kind), self._owner(x.stored)
            )
            self._shapes[value] = shape
            self.used.add(x.stored)
        return replace(x, value=value, shape=shape, first=0 if leads else 1, stored="", leads=leads)

    def _of_filled(self, x: AtenTensor) -> AtenTensor:
        if x.value not in self.tensors:
            node = self._filling[x.value]
            if not x.shape:
                raise NoNetspecFormError("it has no axis but the batch's")
            number = float(x.filled or 0)
            stored = (1, *x.shape) if len(x.shape) > 1 and x.shape[0] == 1 else x.shape
            rule = {0.0: "zeros", 1.0: "ones"}.get(number, f"constant({plain(number)})")
            self.tensors[x.value] = ImportedTensor(
                x.value, _filling_name(node), "constant", stored, x.shape, rule,
                self._scopes(node), False,
            )  # fmt: skip
            self._shapes[x.value] = x.shape
        return x

    def _owner(self, name: str) -> tuple[Scope, ...]:
        """Return the scopes of the module that holds a tensor, as some node's stack has them."""
        path = name.rpartition(".")[0]
        for node in self.program.graph.nodes:
            if path and any(entry.path == path for entry in self._stack(node)):
                scopes = self._scopes(node)
                ends = [i for i, scope in enumerate(scopes) if scope.path == path]
                return scopes[: ends[0] + 1] if ends else ()
        return ()

    def _constant(self, known: _Known, node: fx.Node) -> AtenTensor:
        """Return a computed table as a value: its numbers, or the layers that compute it again.

        Raises:
            NoNetspecFormError: if it has too many numbers, and no layers compute it.
        """
        if known not in self._constants:
            self._constants[known] = self._computed_again(known) or self._written_out(known, node)
        return self._constants[known]

    def _computed_again(self, known: _Known) -> AtenTensor | None:
        """Append the layers that compute a table; None for one that is better written out."""
        if known.source is None:
            return None
        numbers = known.tensor.numel()
        if numbers <= MOST_NUMBERS and numbers_length(nested(known.tensor)) <= _SHORT:
            return None
        schema = known.source.target._schema
        name = schema.name.partition("::")[2]
        before = len(self.nodes), dict(self.tensors), dict(self._constants)
        try:
            if name in _SAME_VALUE:
                return self._constant(self.env[known.source.args[0]], known.source.args[0])
            found = self._translated(known.source, f"{name}.{schema.overload_name}", schema)
        except NoNetspecFormError:
            found = None
        if isinstance(found, AtenTensor):
            return found
        del self.nodes[before[0] :]
        self.tensors, self._constants = before[1:]
        return None

    def _written_out(self, known: _Known, node: fx.Node) -> AtenTensor:
        tensor = known.tensor
        if tensor.numel() > MOST_NUMBERS:
            raise NoNetspecFormError(
                f"it reads a table of {tensor.numel():,} computed numbers, and a file may hold"
                f" {MOST_NUMBERS:,}: register it as a buffer"
            )
        is_condition = str(tensor.dtype) == "torch.bool"
        stored = tuple(tensor.shape)
        leads = len(stored) > 1 and stored[0] == 1
        shape = stored[1:] if leads else stored
        value = self._free(node.name)
        self._shapes[value] = shape
        self.tensors[value] = ImportedTensor(
            value, known.name or self._constant_name(node), "constant", stored, shape,
            nested(tensor.int() if is_condition else tensor), self._scopes(node),
            bool(known.name),
        )  # fmt: skip
        return AtenTensor(
            value, shape, len(stored), 0 if leads else 1, is_condition=is_condition,
            is_bool=is_condition, leads=leads,
        )  # fmt: skip

    @staticmethod
    def _constant_name(node: fx.Node) -> str:
        names = assigned_names(_place(node))
        return names[0] if len(names) == 1 else re.sub(r"_\d+$", "", _snake(node.name))

    def _layout(self, value: Any) -> AtenTensor:
        """Return a tensor without its name: its shape for one image, and where the batch is.

        Raises:
            NoNetspecFormError: if no axis is the batch, or a multiple of it, or several are.
        """
        sizes = list(value.shape)
        opens = [at for at, size in enumerate(sizes) if not isinstance(size, int)]
        is_bool = str(value.dtype) == "torch.bool"
        if not opens:
            return AtenTensor("", tuple(sizes), len(sizes), 1, is_bool=is_bool)
        if len(opens) > 1:
            raise NoNetspecFormError("several of its axes depend on the batch")
        (batch,) = opens
        expression = sizes[batch].node.expr
        symbols = list(expression.free_symbols)
        share = expression / symbols[0] if len(symbols) == 1 else None
        if share is None or not share.is_integer or share.free_symbols:
            raise NoNetspecFormError("an axis is not a multiple of the batch")
        count = (int(share),) if int(share) > 1 else ()
        shape = (*sizes[:batch], *count, *sizes[batch + 1 :])
        return AtenTensor("", shape, len(sizes), len(count), batch=batch, is_bool=is_bool)

    def _append(
        self,
        node: fx.Node,
        op: str,
        attributes: Mapping[str, object],
        inputs: Sequence[str],
        shape: Shape,
        parameters: Mapping[str, str],
        label: str,
        path: str,
        part: int = 0,
    ) -> str:
        value = self._free(f"{node.name}_{part}" if part else node.name)
        self._shapes[value] = shape
        scopes = self._scopes(node)
        scopes = tuple(s for s in scopes if not label or s.path != label)
        self.nodes.append(
            ImportedNode(
                value,
                op,
                {k: plain(v) for k, v in attributes.items()},
                tuple(inputs),
                shape,
                parameters,
                label,
                scopes,
                _place(node),
            )
        )
        return value

    def _free(self, name: str) -> str:
        return take_name(name, self._names)

    def _problem(self, node: fx.Node, what: str, why: str) -> None:
        stack = self._stack(node)
        path, kind, _ = stack[-1] if stack else _Entry("", "", 0)
        kind = kind.rpartition(".")[2]
        self.problems.append(Problem(what, why, path, kind, _place(node)))


def _parts(
    given: Sequence[AtenTensor], form: ModuleForm
) -> tuple[list[AtenTensor], list[AtenTensor], list[AtenTensor]]:
    """Return what a module is given: values, states that it begins with, and keys that are hidden."""
    states = [x for x in given if form.states and x.batch == 1]
    hidden = [x for x in given if form.hides and x.is_bool and len(x.shape) == 1 and not x.batch]
    inputs = [x for x in given if x not in states and x not in hidden]
    return (inputs, states, hidden) if inputs else (states, [], hidden)


def _require_whole(*given: object) -> None:
    """Refuse lower triangles.

    Raises:
        NoNetspecFormError: if one of the values is one.
    """
    if any(isinstance(x, AtenTensor) and x.is_lower for x in given):
        raise NoNetspecFormError("it reads a lower triangle, and only a mask of `attention` is one")
    if any(isinstance(x, AtenTensor) and x.is_cut for x in given):
        raise NoNetspecFormError("it reads numbers whose fractions are cut off")


def _holding(given: Sequence[AtenTensor]) -> tuple[NumberType, ...]:
    """Return what values hold, as ops ask for it."""
    return tuple("bool" if x.is_bool and not x.is_condition else "real" for x in given)


def _behind_one(shape: Shape) -> Shape:
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _leading(x: AtenTensor) -> AtenTensor:
    """Return a layout in which a 1 in front stands for the batch, if there is one."""
    shape = _behind_one(x.shape)
    return x if shape == x.shape else replace(x, shape=shape, first=0, leads=True)


def _named_region(target: str) -> tuple[str, str]:
    """Return what a part of a model stands in that is no operator, and why no net can have it."""
    if "set_grad_enabled" in target:
        return "no_grad", "no layer stops gradients: set `requires_grad` of the parameters instead"
    if "autocast" in target:
        return "autocast", "a net computes with one precision"
    return target, "netspec has no such layer"


def _same_filling(inputs: Sequence[object]) -> float | None:
    """Return the one number that all places of all values have; None if there is none."""
    numbers = {x.filled if isinstance(x, AtenTensor) else None for x in inputs}
    return numbers.pop() if len(numbers) == 1 else None


def _has_whole(inputs: Sequence[object], shape: Shape) -> bool:
    """Whether one of the values has the whole shape of the result, and not one number."""
    return any(isinstance(x, AtenTensor) and x.filled is None and x.shape == shape for x in inputs)


class _Members(Mapping[str, object]):
    """The attributes of a module as arguments of a call."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __getitem__(self, name: str) -> object:
        try:
            return _fixed(getattr(self._module, name))
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Any:
        return iter(vars(self._module))

    def __len__(self) -> int:
        return len(vars(self._module))


def _tensors(value: Any) -> list[Any]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [v for v in values if hasattr(v, "shape")]


def _is_used(node: fx.Node, part: int) -> bool:
    taken = (user for user in node.users if user.target is operator.getitem and user.users)
    return any(user.args[1] == part for user in taken)


def _taken(how: Any, call: AtenCall) -> object:
    if isinstance(how, (str, tuple)):
        names = (how,) if isinstance(how, str) else how
        for name in names:
            with suppress(KeyError):
                return call[name]
        raise NoNetspecFormError(f"it has no `{'` or `'.join(names)}`")
    try:
        return how(call)
    except KeyError as error:
        raise NoNetspecFormError(f"it has no `{error.args[0]}`") from None


def _made(op: type[Op], attributes: Mapping[str, object]) -> Op:
    """Return an op with the attributes that a call has, as a file can say them.

    Raises:
        NoNetspecFormError: if it does not take one.
    """
    given = {}
    for name, value in attributes.items():
        try:
            if value is not None:
                given[name] = op.kind(name).convert(plain(value))
        except WrongValueError as error:
            raise NoNetspecFormError(f"`{name}` must be {error}") from None
    return op(**given)


def _fixed(value: Any) -> object:
    """Return an argument as plain data; what is none becomes its text."""
    if isinstance(value, (list, tuple)):
        return tuple(_fixed(item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "numel"):
        return "a tensor"
    return str(value)


def _class_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def _only_holds(module: nn.Module, path: str) -> bool:
    torch = require_torch()
    try:
        forward = type(module.get_submodule(path)).forward
    except AttributeError:
        return False
    return forward is torch.nn.Sequential.forward


_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in \S+(?:\n +(?!File ")(\S.*))?')


def _place(node: fx.Node) -> Place | None:
    """Return the innermost line outside PyTorch that a node was made by."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = innermost_own((file, int(line), text.strip()) for file, line, text in frames)
    return None if own is None else Place(*own)


def _filling_name(node: fx.Node) -> str:
    """Return what a line calls a tensor of one number, if it only makes that; else the operator."""
    place, name = _place(node), operator_name(node)
    made = re.match(rf"(\w+) = [\w.]*\b{name}\(", place.text) if place is not None else None
    return made[1] if made else _snake(node.name)


def _snake(name: str) -> str:
    return re.sub(r"\W", "_", name)
