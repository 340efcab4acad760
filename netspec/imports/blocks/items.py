"""The items of a call of a module: layers, calls of blocks, and tensors that it declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netspec.compiler.ir.attributes import IntList, Kind, WrongValueError
from netspec.compiler.ops import registry
from netspec.imports.call_tree import ModuleCall
from netspec.imports.imported_net import ImportedNode, ImportedTensor
from netspec.imports.number_lists import Counting, counting, plain_list, runs
from netspec.imports.outline import BlockOutline

# How the declaration of a layer that is called again begins, among the items.
SHARED = "layer"


@dataclass(slots=True, eq=False)
class Definition:
    """A block, the calls that it is for, and the arguments that each of them gives."""

    outline: BlockOutline
    calls: Sequence[ModuleCall]
    arguments: Mapping[ModuleCall, Mapping[str, str]]


# A value in a body: an input of it, or a result of a slot.
@dataclass(frozen=True, slots=True)
class Ref:
    """A value in a body: input `index`, or result `part` of the item `index`."""

    is_input: bool
    index: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """A constant that is made of numbers which may be worked out one by one.

    Attributes:
        text: the constant, with `{0}`, `{1}` for the numbers.
        numbers: the numbers.
        rest: what may stand for one of them, if it follows from the others.
    """

    text: str
    numbers: tuple[int, ...]
    rest: str = ""


@dataclass(slots=True, eq=False)
class Item:
    """An item of one call, with its values told apart from those of other calls."""

    callee: str
    label: str
    count: int
    constants: dict[str, str]
    refs: tuple[Ref, ...]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    tensor: ImportedTensor | None = None
    values: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()  # that its constants name
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    counting: Counting | None = None  # how the initial numbers of a tensor count
    called: str = ""  # what the source calls its value
    lists: frozenset[str] = frozenset()  # constants that are lists, one number an axis

    @property
    def lengths(self) -> tuple[int, ...]:
        """How long its lists are: the same for all items of one block."""
        return tuple(self.constants[name].count(",") for name in sorted(self.lists))

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What items that stand for each other have in common."""
        return self.callee, self.label, self.count, len(self.refs)


def items_of(
    call: ModuleCall, inner: Mapping[ModuleCall, Definition]
) -> tuple[list[Item], tuple[Ref, ...]]:
    """Return the items of a call, and its results."""
    refs = {value: Ref(True, i) for i, value in enumerate(call.inputs)}
    items: list[Item] = []
    prefix = f"{call.path}." if call.path else ""
    labels = Counter(i.path if isinstance(i, ModuleCall) else i.label for i in call.items)
    again = {label.removeprefix(prefix) for label, times in labels.items() if label and times > 1}
    declared: set[str] = set()
    waiting = {t.value: t for t in call.tensors if not t.is_own}
    for tensor in call.tensors:
        if tensor.value not in waiting:
            refs[tensor.value] = Ref(False, len(items))
            items.append(_tensor_item(tensor, prefix))
    for item in call.items:
        for value in item.inputs:
            if value in waiting:  # what is no module's own is declared where it is read
                refs[value] = Ref(False, len(items))
                items.append(_tensor_item(waiting.pop(value), prefix))
        if isinstance(item, ModuleCall):
            given = tuple(refs[value] for value in item.inputs)
            made = _call_item(item, inner[item], prefix, given)
            values = item.outputs
        else:
            made = _node_item(item, prefix, tuple(refs[value] for value in item.inputs))
            values = (item.value,)
        if made.label in again:
            if made.label not in declared:
                declared.add(made.label)
                items.append(replace(made, callee=f"={SHARED} {made.callee}", refs=(), count=0))
            made = Item(made.label, "", made.count, {}, made.refs, called=made.called)
        for part, value in enumerate(values):
            refs[value] = Ref(False, len(items), part)
        made.values = tuple(values)
        items.append(made)
    return items, tuple(refs[value] for value in call.outputs)


def _tensor_item(tensor: ImportedTensor, prefix: str) -> Item:
    own = tensor.name.removeprefix(prefix)
    constants = {f"size{i}": str(size) for i, size in enumerate(tensor.stored)}
    patterns, counts = {}, None
    if isinstance(tensor.initial, str):
        constants["initial"] = tensor.initial
    else:
        found = runs(tensor.initial)
        constants["initial"] = found.written()
        patterns["initial"] = Pattern(found.text, found.counts)
        counts = counting(tensor.initial)
    return Item(
        f"={tensor.kind}", own, 1, constants, (), tensor=tensor, patterns=patterns, counting=counts
    )


def _call_item(
    call: ModuleCall, definition: Definition, prefix: str, refs: tuple[Ref, ...]
) -> Item:
    block = definition.outline
    return Item(
        block.name, call.path.removeprefix(prefix), len(call.outputs),
        dict(definition.arguments[call]), refs,
        tuple(a.name for a in block.arguments if a.default is None),
        {a.name: a.default for a in block.arguments if a.default is not None},
    )  # fmt: skip


def _node_item(node: ImportedNode, prefix: str, refs: tuple[Ref, ...]) -> Item:
    op = registry()[node.op]
    constants, defaults, required, patterns, lists = {}, {}, [], {}, []
    for name, declared in op.attributes().items():
        kind = op.kind(name)
        default = declared.default
        has_default = not _is_missing(default)
        if has_default:
            defaults[name] = shown(kind, default)
        else:
            required.append(name)
        value = node.attributes.get(name, default if has_default else None)
        constants[name] = shown(kind, value)
        if isinstance(kind, IntList):
            lists.append(name)
        if isinstance(kind, IntList) and kind.are_sizes and isinstance(value, tuple):
            places = ", ".join(f"{{{i}}}" for i in range(len(value)))
            patterns[name] = Pattern(f"[{places}]", value, "-1" if kind.wildcard else "")
    label = node.label.removeprefix(prefix) if node.label else ""
    others = {n: f for n, f in node.parameters.items() if f != f"{node.label}.{n}"}
    ties = {own: full.removeprefix(prefix) for own, full in others.items()}
    return Item(
        node.op, label, 1, constants | ties, refs, tuple(required), defaults,
        labels=frozenset(tie.partition(".")[0] for tie in ties.values()), patterns=patterns,
        lists=frozenset(lists), called=node.called,
    )  # fmt: skip


def _is_missing(default: object) -> bool:
    return type(default).__name__ == "_MISSING_TYPE"


def shown(kind: Kind, value: object) -> str:
    """Return the value of an attribute as a file writes it."""
    if value is None:
        return "none"
    given = _as_list(value)
    try:
        text = kind.show(kind.convert(given))
    except (WrongValueError, TypeError, ValueError):
        return plain_list(value)
    return text


def _as_list(value: object) -> object:
    """Return pairs of equal numbers, as PyTorch has them, as one number."""
    if isinstance(value, tuple) and value and all(isinstance(v, tuple) for v in value):
        return tuple(_as_list(v) if len(set(v)) > 1 else v for v in value)
    return value
