"""Finds the layers of a file: at each operator, the largest of those that may end there."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.onnx_read import (
    MOST_AXES,
    FileAttributes,
    FileOperator,
    FileValue,
    Found,
    Held,
    OnnxLayer,
    OnnxReader,
)
from netspec.compiler.ir.op import Op, ShapeError
from netspec.compiler.ir.sizes import Dim, are_short
from netspec.compiler.ops import DECLARED, declared_op, registry
from netspec.imports.onnx.apart import apart, with_keys_apart
from netspec.imports.onnx.batch_first import BatchFirst
from netspec.imports.onnx.constants import Constants, is_sound
from netspec.imports.onnx.file_graph import LAYER, NETSPEC, FileGraph, source_of
from netspec.imports.onnx.op_forms import OPSETS, form_pattern, shapeless_forms
from netspec.imports.onnx.patterns import Applied, Facts, Search, Wanted, pattern_of
from netspec.imports.onnx.proto_file import REAL, Array
from netspec.imports.onnx.said_op import said_op


@dataclass(frozen=True, eq=False)
class FoundLayer:
    """A layer of the file: what it computes, its op, inputs and parameters with their numbers."""

    value: FileValue
    op: Op
    inputs: tuple[FileValue, ...]
    parameters: Mapping[str, Held]
    root: FileOperator
    shape: Shape


@dataclass(frozen=True)
class Missing:
    """An operator that no layer stands for, what is known of the reason, and whether it reads values
    with open sizes, which can be the reason.
    """

    operator: FileOperator
    reason: str
    is_open: bool = False


@dataclass(frozen=True, eq=False)
class FoundNet:
    """The layers that the outputs depend on, in order, and what is missing for that. Outputs may be
    single numbers for each image, which have an axis in the net, or have the batch second in the file.
    `sound` are those for which nothing is missing, if something is for others.
    """

    layers: tuple[FoundLayer, ...]
    outputs: Mapping[str, FileValue]
    missing: tuple[Missing, ...]
    numbers: frozenset[str] = frozenset()
    second: frozenset[str] = frozenset()
    sound: tuple[str, ...] = ()


def found_net(
    graph: FileGraph,
    inputs: Mapping[str, Shape],
    batch: int | None,
    statistics: Collection[FileValue] = (),
) -> FoundNet:
    """Return the layers of a file.

    Args:
        graph: the file.
        inputs: the shapes of its inputs for one image.
        batch: the size of its batch, if that is fixed.
        statistics: stored numbers that nobody learns, besides those of which the file says it.
    """
    for name, given in graph.inputs.items():
        given.value.shape = inputs[name]
    said = {value for value in graph.stored if graph.kinds.get(value.name) == "buffer"}
    return _Recognition(graph, batch, said.union(statistics)).net()


class _Recognition:
    """Recognises the layers of one file."""

    def __init__(self, graph: FileGraph, batch: int | None, unlearned: Set[FileValue]) -> None:
        self._graph = graph
        self._batch = batch
        self._unlearned = unlearned
        self._is_own = graph.producer == NETSPEC
        if not self._is_own:
            graph.operators = with_keys_apart(graph.operators)
        self._constants = Constants(graph)
        self._batch_first = BatchFirst(self._constants, batch, self._is_read)
        self._facts = Facts(self._constants.array, self._constants.sizes)
        self._same: dict[FileValue, FileValue] = {}
        self._layers: dict[FileValue, FoundLayer] = {}
        self._declared: dict[tuple[FileValue, Shape, str], FileValue] = {}
        self._why: dict[int, str] = {}
        self._order: dict[FileOperator, int] = {}
        for name, given in graph.inputs.items():
            if given.value.shape == ():
                own = self._batch_first.begin_with_number(given.value)
                graph.inputs[name] = replace(given, value=own)
        self._inputs = [given.value for given in graph.inputs.values()]
        self._ends = set(graph.outputs.values())
        self._readers: dict[FileValue, set[int]] = {}
        for op in graph.operators:
            self._note_reader(op)

    def net(self) -> FoundNet:
        """Return what is found."""
        for op in self._graph.operators:
            self._go_on(op)
        ends = {name: self._same.get(v, v) for name, v in self._graph.outputs.items()}
        numbers = {
            name: self._same.get(own, own)
            for name, v in ends.items()
            if (own := self._batch_first.number_of(v))
        }
        second = {
            name: self._turned(v, rank)
            for name, v in ends.items()
            if (rank := self._batch_first.axes_if_second(v))
        }
        ends |= {**numbers, **second}
        used = self._used(ends)
        sound = [n for n, v in ends.items() if used.missing and not self._used({n: v}).missing]
        return replace(
            used, numbers=frozenset(numbers), second=frozenset(second), sound=tuple(sound)
        )

    def _go_on(self, op: FileOperator) -> None:
        """Read the next operator."""
        op.inputs = tuple(v and self._same.get(v, v) for v in op.inputs)
        self._order[op] = len(self._order)
        instead = (op,) if self._is_own else self._batch_first.instead(op)
        self._forget_reader(op)
        # What an operator stands for may depend on the shapes of those before it.
        for each in instead:
            for part in apart(each, self._constants, self._batch):
                self._note_reader(part)
                self._order[part] = len(self._order)
                self._read(part)

    def _turned(self, value: FileValue, rank: int) -> FileValue:
        """Return a value whose batch is its second axis with the batch in front."""
        found = FileValue("")
        perm = (1, 0, *range(2, rank))
        op = FileOperator(
            "Transpose", (value,), (found,), FileAttributes({"perm": perm}), value.name
        )
        found.maker = op
        self._note_reader(op)
        self._go_on(op)
        return self._same.get(found, found)

    # -- one operator

    def _read(self, op: FileOperator) -> None:
        self._constants.note_sizes(op)
        self._constants.note_fixed(op)
        if all(self._constants.is_fixed(value) for value in op.outputs):
            return
        best: dict[int, tuple[tuple[int, ...], OnnxLayer, FoundLayer]] = {}
        for layer in self._candidates(op):
            found = self._checked(op, layer)
            if found is not None:
                rank = self._rank(layer, op, found)
                if layer.output not in best or rank > best[layer.output][0]:
                    best[layer.output] = rank, layer, found
        for _, layer, found in best.values():
            found = self._as_said(op, layer) or found
            found.value.shape = found.shape
            self._layers[found.value] = found
        x = op.given(0)
        if not best and x is not None and _only_passes_on(op):
            self._pass_on(op, x)

    def _is_read(self, value: FileValue) -> bool:
        return bool(self._readers.get(value)) or value in self._ends

    def _note_reader(self, op: FileOperator) -> None:
        for value in op.inputs:
            if value is not None:
                self._readers.setdefault(value, set()).add(id(op))

    def _forget_reader(self, op: FileOperator) -> None:
        for value in op.inputs:
            if value is not None:
                self._readers[value].discard(id(op))

    def _pass_on(self, op: FileOperator, x: FileValue) -> None:
        """Take what an operator gives for what it gets: who reads the one reads the other."""
        (y,) = op.outputs
        self._same[y] = x
        self._forget_reader(op)
        self._readers[x] |= self._readers.get(y, set())
        if y in self._ends:
            self._ends.add(x)

    def _as_said(self, op: FileOperator, layer: OnnxLayer) -> FoundLayer | None:
        """Return a layer with the attributes that the file says, if they have the same form."""
        text = op.metadata.get(LAYER, "")
        said = said_op(text) if text and text != str(layer.op) else None
        if said is None:
            return None
        other = self._match(op, said, layer.inputs)
        return None if other is None else self._checked(op, other)

    def _rank(self, layer: OnnxLayer, op: FileOperator, found: FoundLayer) -> tuple[int, ...]:
        """Return how good a reading is: what trains no buffers, what covers most, what the file says,
        what is shortest.
        """
        said = op.metadata.get(LAYER, op.layer.rpartition(".")[2])
        named = said.rstrip("0123456789").partition("(")[0] == layer.op.name
        sizes = -len(layer.inputs), -len(str(layer.op))
        return not self._learns_buffers(found), len(set(map(id, layer.covers))), named, *sizes

    def _learns_buffers(self, layer: FoundLayer) -> bool:
        """Whether a layer would train numbers that the file does not."""
        if not layer.parameters or not self._unlearned:
            return False
        specs = layer.op.parameters(*(v.shape for v in layer.inputs if v.shape is not None))
        learned = {spec.name for spec in specs if spec.role not in ("statistic", "constant")}
        sources = (source_of(h.value) for name, h in layer.parameters.items() if name in learned)
        return any(source in self._unlearned for source in sources)

    def _candidates(self, op: FileOperator) -> Iterator[OnnxLayer]:
        reader = OnnxReader(
            op, self._constants.array, self._constants.sizes, self._search, self._match, self._batch,
            self._inputs, op.metadata.get(LAYER, ""), self._last_with,
        )  # fmt: skip
        for cls in _ends().get(op.operator, ()):
            yield from _readings(cls, reader)
        for form in _forms().get(op.operator, ()):
            layer = self._formed(op, form.op, form.pattern)
            if layer is not None:
                yield layer

    def _last_with(self, axis: int, size: Dim) -> FileValue | None:
        """Return the input, or else the last value, that has a size on an axis, counted from 1."""
        for value in (*self._inputs, *reversed(self._layers)):
            if value.shape is not None and value.shape[axis - 1 : axis] == (size,):
                return value
        return None

    def _search(self, root: FileOperator, text: str) -> Found | None:
        search = Search(self._facts)
        if not search.ends_at(pattern_of(text), root):
            return None
        return Found(dict(search.values), tuple(search.covers))

    def _match(
        self, root: FileOperator, op: Op, inputs: Sequence[FileValue] | None
    ) -> OnnxLayer | None:
        if inputs is None:
            patterns: Iterable[Applied | None] = shapeless_forms(op)
        else:
            shapes = [value.shape for value in inputs]
            known = [shape for shape in shapes if shape is not None]
            if len(known) < len(shapes):
                return None
            whole = frozenset(i for i, value in enumerate(inputs) if value.is_whole)
            patterns = (form_pattern(op, known, opset, whole) for opset in OPSETS)
        for pattern in patterns:
            layer = None if pattern is None else self._formed(root, op, pattern, inputs)
            if layer is not None:
                return layer
        return None

    def _formed(
        self, root: FileOperator, op: Op, pattern: Applied,
        inputs: Sequence[FileValue] | None = None,
    ) -> OnnxLayer | None:  # fmt: skip
        search = Search(self._facts)
        for i, value in enumerate(inputs or ()):
            search.values[f"x{i}"] = value
        if not search.ends_at(pattern, root, pattern.output):
            return None
        values = search.values
        count = len(inputs) if inputs is not None else sum(n[0] == "x" for n in values)
        held = {n[2:]: Held(v) for n, v in values.items() if n.startswith("p:")}
        given = tuple(values[f"x{i}"] for i in range(count) if f"x{i}" in values)
        if len(given) < count:
            return None
        return OnnxLayer(op, given, held, tuple(search.covers), pattern.output)

    # -- checks

    def _checked(self, op: FileOperator, layer: OnnxLayer) -> FoundLayer | None:
        """Return a layer whose op takes its inputs and parameters; else None."""
        shapes = self._shapes(layer)
        if shapes is None:
            return None
        try:
            _require_sound(layer.op)
            shape = layer.op.shape(*shapes)
            specs = layer.op.parameters(*shapes)
        except (ShapeError, WrongValueError) as error:
            self._why.setdefault(id(op), str(error))
            return None
        except (ArithmeticError, TypeError, ValueError):
            return None
        if layer.parameters and self._is_read_between(op, layer):
            return None
        specs = tuple(spec for spec in specs if spec.role != "counter")
        if {spec.name for spec in specs} != set(layer.parameters):
            return None
        for spec in specs:
            held = layer.parameters[spec.name]
            array = held.numbers if held.numbers is not None else self._constants.array(held.value)
            if array is None or tuple(spec.shape) != array.shape:
                return None
        if len(shape) > MOST_AXES or not (all(map(is_sound, shape)) and are_short(shape)):
            return None
        scope = f"{op.scopes} {op.layer} {op.name.rpartition('/')[0]}"
        inputs = tuple(self._as_input(v, shapes, scope) for v in layer.inputs)
        given = {
            name: Held(held.value, self._numbers(held)) for name, held in layer.parameters.items()
        }
        value = op.outputs[layer.output]
        is_learned = "" not in given or self._may_be_learned(given[""].value)
        kept = layer.op if is_learned else _as_buffer(layer.op)
        return FoundLayer(value, kept, inputs, given, op, shape)

    def _is_read_between(self, root: FileOperator, layer: OnnxLayer) -> bool:
        """Whether something else reads what a layer of several operators computes in between.

        Its parameters would then belong to two layers.
        """
        covered = set(map(id, layer.covers))
        return any(
            value in self._ends or not self._readers.get(value, set()) <= covered
            for each in layer.covers
            if each is not root
            for value in each.outputs
        )

    def _numbers(self, held: Held) -> Array:
        found = held.numbers if held.numbers is not None else self._constants.array(held.value)
        assert found is not None
        return found

    def _shapes(self, layer: OnnxLayer) -> list[Shape] | None:
        """Return the shapes of a layer's inputs; None if one is no value of the net."""
        ranks = [len(v.shape) for v in layer.inputs if v.shape is not None]
        found: list[Shape] = []
        for value in layer.inputs:
            if value.shape == ():  # a single number for each image, which no layer takes
                return None
            if value.shape is not None:
                found.append(value.shape)
                continue
            array = self._constants.array(value)
            if array is None or not ranks or array.dtype.kind not in "fiu":
                return None
            sizes = _declared_sizes(array, max(ranks))
            if sizes is None:
                return None
            found.append(sizes)
        return found

    def _as_input(self, value: FileValue, shapes: Sequence[Shape], scope: str) -> FileValue:
        """Return an input; stored numbers become a declared parameter, one for all that read them in a
        scope.
        """
        if value.shape is not None or value in self._layers:
            return value
        array = self._constants.array(value)
        assert array is not None
        rank = max(map(len, shapes))
        sizes = _declared_sizes(array, rank)
        assert sizes is not None
        declared = self._declared.get((value, sizes, scope))
        if declared is None:
            declared = FileValue(value.name, value.maker, sizes)
            self._declare(declared, value, array, sizes)
            self._declared[value, sizes, scope] = declared
        return declared

    def _may_be_learned(self, value: FileValue) -> bool:
        """Whether numbers may be a parameter: the file holds them, and nothing says otherwise."""
        source = source_of(value)
        return source is not None and source not in self._unlearned

    def _declare(self, declared: FileValue, value: FileValue, array: Array, sizes: Shape) -> None:
        # A 1 in front of the sizes of a parameter stands for the batch.
        with_batch = array.ndim == len(sizes) + 1 or sizes[:1] == (1,)
        stored = (1, *sizes) if with_batch else sizes
        learned = array.dtype.kind == "f" and self._may_be_learned(value)
        cls = declared_op("parameter" if learned else "buffer")
        op = cls(sizes=stored, batch_axis=with_batch)  # type: ignore[call-arg]
        held = {"": Held(value, array.reshape(stored))}
        first = self._inputs[0]
        root = FileOperator("Expand", (value,), (declared,), FileAttributes({}), value.name)
        self._layers[declared] = FoundLayer(declared, op, (first,), held, root, sizes)

    # -- what counts

    def _used(self, outputs: Mapping[str, FileValue]) -> FoundNet:
        """Return the layers that outputs depend on, and what is missing."""
        given = {each.value for each in self._graph.inputs.values()}
        found: dict[FileValue, FoundLayer] = {}
        missing: dict[int, Missing] = {}
        waiting, seen = list(outputs.values()), set[FileValue]()
        while waiting:
            value = waiting.pop()
            if value in seen or value in given:
                continue
            seen.add(value)
            layer = self._layers.get(value)
            if layer is not None:
                found[value] = layer
                waiting += layer.inputs
            elif value.maker is not None:
                is_first = self._is_first(value.maker) and not self._is_between(value)
                if is_first or not _is_known(value.maker.operator):
                    missing[id(value.maker)] = self._missing(value.maker)
                waiting += [v for v in value.maker.inputs if v and not self._constants.is_fixed(v)]
        layers = sorted(found.values(), key=lambda layer: self._order.get(layer.root, -1))
        lacking = sorted(missing.values(), key=lambda each: self._order[each.operator])
        return FoundNet(_declared_late(layers), outputs, tuple(lacking))

    def _is_between(self, value: FileValue) -> bool:
        """Whether a value is known to those that read it, and nobody else asks for it."""
        return self._batch_first.knows(value) and value not in self._ends

    def _is_first(self, op: FileOperator) -> bool:
        """Whether all that an operator reads is known, so that it is itself what is missing."""
        if all(self._constants.size_array(v) is not None for v in op.outputs):
            return False
        return all(
            v is None
            or v.shape is not None
            or self._batch_first.knows(v)
            or self._constants.is_fixed(v)
            or self._constants.size_array(v) is not None
            for v in op.inputs
        )

    def _missing(self, op: FileOperator) -> Missing:
        if not _is_known(op.operator):
            return Missing(op, "no layer computes this")
        if self._batch_first.has_view(op.outputs[0]):
            return Missing(op, "the batch is not the first axis of an output of the file")
        if any(map(self._batch_first.has_view, op.inputs)):
            return Missing(op, "the batch is not the first axis of what it reads")
        known = [v.shape for v in op.inputs if v is not None and v.shape is not None]
        shown = ", ".join(map(show_shape, known))
        why = self._why.get(id(op))
        if not why and op.operator not in _ends() and op.operator not in _forms():
            return Missing(op, "no layer computes this")
        reason = why or f"no layer is like this use of it{f', with {shown}' if shown else ''}"
        is_open = any(not isinstance(size, int) for shape in known for size in shape)
        return Missing(op, reason, is_open)


# Operators that no layer's form has, and that may disappear all the same: where sizes are computed,
# inside of what a layer stands for, or as others are put in their place.
_OF_SIZES_OR_INSIDE = frozenset(
    "And ArgMin Attention CastLike Ceil Constant ConstantOfShape DequantizeLinear Equal EyeLike"
    " Floor GRU GatherND Greater GreaterOrEqual Hardmax If LSTM Less LessOrEqual Loop Mean Mod"
    " NonZero Not Or RMSNormalization RNN Range ReduceL1 ReduceL2 ReduceLogSum ReduceProd"
    " ReduceSumSquare Round Scan ScatterElements ScatterND Shape Sign Size Swish Tan Tile TopK"
    " Trilu Unique Upsample Xor".split()
)


def _is_known(operator: str) -> bool:
    """Whether a layer may end in an operator, or have it inside; else it is missing wherever it stands,
    also behind what is missing.
    """
    return operator in _ends() or operator in _inside() or operator in _OF_SIZES_OR_INSIDE


def _as_buffer(op: Op) -> Op:
    """Return a declared array as one that is not learned."""
    if op.name != "parameter":
        return op
    return declared_op("buffer")(**{name: getattr(op, name) for name in op.attributes()})


def _require_sound(op: Op) -> None:
    """Check that a file could give an op its attributes.

    Raises:
        WrongValueError: if not.
    """
    for name, field in op.attributes().items():
        value = getattr(op, name)
        if value is not None and value != field.default:
            try:
                op.kind(name).convert(value)
            except WrongValueError as error:
                raise WrongValueError(f"`{name}` of `{op.name}` must be {error}") from None


def _readings(cls: type[Op], reader: OnnxReader) -> list[OnnxLayer]:
    """Return the layers of an op that may end at an operator.

    What an op reads of a file may be any numbers: if it stumbles over them, there is no layer.
    """
    try:
        return [layer for layer in cls.from_onnx(reader) if layer is not None]
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
        return []


def _only_passes_on(op: FileOperator) -> bool:
    """Whether an operator gives the numbers that it gets, if perhaps in another precision."""
    if op.operator == "Cast":
        x = op.given(0)
        whole = x is not None and (x.is_whole or x.is_bool)
        return whole or op.attributes.whole("to") in REAL
    return op.operator == "Identity"


def _declared_late(layers: Sequence[FoundLayer]) -> tuple[FoundLayer, ...]:
    """Return layers with each declared array before its first reader."""
    declared = {layer.value: layer for layer in layers if "" in layer.parameters}
    found: list[FoundLayer] = []
    for layer in layers:
        if layer.value in declared:
            continue
        for value in layer.inputs:
            if value in declared:
                found.append(declared.pop(value))
        found.append(layer)
    return (*found, *declared.values())


def _declared_sizes(array: Array, rank: int) -> Shape | None:
    """Return the shape for one image of stored numbers among values with so many axes."""
    shape = array.shape
    if len(shape) == rank + 1:
        return shape[1:] if shape[0] == 1 else None
    return (*(1,) * (rank - len(shape)), *shape) if len(shape) <= rank else None


@dataclass(frozen=True, eq=False)
class _Form:
    op: Op
    pattern: Applied


@functools.cache
def _ends() -> Mapping[str, Sequence[type[Op]]]:
    """Return the ops whose layers may end at each operator."""
    found: dict[str, list[type[Op]]] = {}
    for cls in (*registry().values(), *map(declared_op, DECLARED)):
        for operator in cls.onnx_ends:
            found.setdefault(operator, []).append(cls)
    return found


@functools.cache
def _forms() -> Mapping[str, Sequence[_Form]]:
    """Return the forms of ops that are the same for all shapes, by their last operator."""
    found: dict[str, list[_Form]] = {}
    for cls in registry().values():
        for op in cls.onnx_forms():
            for pattern in shapeless_forms(op):
                found.setdefault(pattern.operator, []).append(_Form(op, pattern))
        for text in cls.onnx_spellings:
            pattern = pattern_of(text)
            found.setdefault(pattern.operator, []).append(_Form(cls(), _numbered(pattern)))
    return found


@functools.cache
def _inside() -> frozenset[str]:
    """Return the operators in the forms of ops."""
    found: set[str] = set()
    waiting: list[object] = [form.pattern for forms in _forms().values() for form in forms]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Applied):
            found.add(part.operator)
            waiting += part.inputs
    return frozenset(found)


def _numbered(pattern: Applied) -> Applied:
    """Return a pattern whose value `x` is the first input."""
    known: dict[int, object] = {}

    def changed(part: object) -> object:
        if isinstance(part, Wanted):
            return Wanted("x0", part.constant)
        if isinstance(part, Applied):
            if id(part) not in known:
                inputs = tuple(changed(each) for each in part.inputs)
                known[id(part)] = replace(part, inputs=inputs)  # type: ignore[arg-type]
            return known[id(part)]
        return part

    found = changed(pattern)
    assert isinstance(found, Applied)
    return found
