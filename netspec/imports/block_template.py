"""One block for all calls of a class: what differs between them becomes arguments and conditions.

A template lines up the items of the calls. Where calls have the same items with other constants,
the constants become arguments; where some have items that others lack, the items stand under a
condition. What cannot be lined up becomes a block for each kind of call.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cached_property

from netspec.compiler.ir.attributes import Kind, WrongValueError
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ops import registry
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.imports.call_tree import ModuleCall
from netspec.imports.imported_net import ImportedNode, ImportedTensor
from netspec.imports.outline import (
    Argument,
    BlockOutline,
    Copy,
    Declaration,
    SharedLayer,
    Statement,
    Step,
    When,
)
from netspec.imports.value_names import Names

ValueShapes = dict[str, Shape]

# Names for arguments whose attribute is a single letter, or says too little in a block's head.
_SPELT_OUT = {"p": "rate", "k": "offset"}
# How the declaration of a layer that is called again begins, among the items.
_SHARED = "layer"
# From which number on a size may be written by the sizes of the block's input.
_LEAST_SIZE = 8
_MOST_TIMES = 16


class CannotMergeError(Exception):
    """Calls of a class are too different for one block."""


@dataclass(slots=True, eq=False)
class Definition:
    """A block, the calls that it is for, and the arguments that each of them gives."""

    outline: BlockOutline
    calls: Sequence[ModuleCall]
    arguments: Mapping[ModuleCall, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Body:
    """The statements of the net itself, and the names of its outputs' values."""

    body: tuple[Statement, ...]
    results: tuple[str, ...]


# A value in a body: an input of it, or a result of a slot.
@dataclass(frozen=True, slots=True)
class Ref:
    """A value in a body: input `index`, or result `part` of the item `index`."""

    is_input: bool
    index: int
    part: int = 0


@dataclass(slots=True, eq=False)
class _Item:
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

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.callee, self.label, self.count, len(self.refs)


@dataclass(slots=True, eq=False)
class _Slot:
    """A place in a template: the items of the calls that have one there."""

    key: tuple[str, str, int, int]
    items: dict[int, _Item]  # by the number of the variant

    @property
    def is_declaration(self) -> bool:
        """Whether it declares a tensor, whose name is then a value of the body."""
        return next(iter(self.items.values())).tensor is not None


def define(
    kind: str,
    calls: Sequence[ModuleCall],
    inner: Mapping[ModuleCall, Definition],
    shapes: ValueShapes,
    taken: set[str],
) -> list[Definition]:
    """Return the blocks for the calls of a class: one, if they can share it.

    There is none if no two calls are alike: they had better lie in their parents.
    """
    groups: list[Sequence[ModuleCall]] = [calls]
    try:
        return [_definition(_free_name(kind, taken, keep=True), calls, inner, shapes, taken)]
    except CannotMergeError:
        variants: dict[object, list[ModuleCall]] = {}
        for call in calls:
            items, results = _items(call, inner, shapes)
            key = (tuple((i.key, i.refs) for i in items), results, len(call.inputs))
            variants.setdefault(key, []).append(call)
        groups = list(variants.values())
        if all(len(group) == 1 and not group[0].tensors for group in groups):
            return []
    return [
        _definition(_free_name(kind, taken, keep=True), group, inner, shapes, taken)
        for group in groups
    ]


def net_template(
    root: ModuleCall, inner: Mapping[ModuleCall, Definition], shapes: ValueShapes
) -> Body:
    """Return the statements of the net itself."""
    template = _Template([root], inner, shapes, list(root.inputs), noted=True)
    return Body(template.statements(), template.results())


def _free_name(kind: str, taken: set[str], *, keep: bool) -> str:
    name = re.sub(r"\W|_", "", kind) or "Block"
    name = name[0].upper() + name[1:]
    if not name[0].isalpha():
        name = f"Block{name}"
    if name in registry():
        name = f"{name}Block"
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}{count}"
    if keep:
        taken.add(found)
    return found


def _definition(
    name: str,
    calls: Sequence[ModuleCall],
    inner: Mapping[ModuleCall, Definition],
    shapes: ValueShapes,
    taken: set[str],
) -> Definition:
    counts = {(len(call.inputs), len(call.outputs)) for call in calls}
    if len(counts) > 1:
        taken.discard(name)
        raise CannotMergeError
    ((inputs, _),) = counts
    names = ["x"] if inputs == 1 else [f"x{i + 1}" for i in range(inputs)]
    try:
        template = _Template(calls, inner, shapes, names)
        body = template.statements()
    except CannotMergeError:
        taken.discard(name)
        raise
    outline = BlockOutline(name, template.arguments(), tuple(names), body, template.results())
    return Definition(outline, calls, template.given())


# ------------------------------------------------------------------------------------------- items


def _items(
    call: ModuleCall, inner: Mapping[ModuleCall, Definition], shapes: ValueShapes
) -> tuple[list[_Item], tuple[Ref, ...]]:
    """Return the items of a call, and its results."""
    refs = {value: Ref(True, i) for i, value in enumerate(call.inputs)}
    items: list[_Item] = []
    prefix = f"{call.path}." if call.path else ""
    labels = Counter(i.path if isinstance(i, ModuleCall) else i.label for i in call.items)
    again = {label.removeprefix(prefix) for label, times in labels.items() if label and times > 1}
    declared: set[str] = set()
    waiting = {t.value: t for t in call.tensors if t.kind == "constant"}
    for tensor in call.tensors:
        if tensor.value not in waiting:
            refs[tensor.value] = Ref(False, len(items))
            items.append(_tensor_item(tensor, prefix))
    for item in call.items:
        for value in item.inputs:
            if value in waiting:  # a constant is declared where it is read
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
                items.append(replace(made, callee=f"={_SHARED} {made.callee}", refs=(), count=0))
            made = _Item(made.label, "", made.count, {}, made.refs)
        for part, value in enumerate(values):
            refs[value] = Ref(False, len(items), part)
        made.values = tuple(values)
        items.append(made)
    return items, tuple(refs[value] for value in call.outputs)


def _tensor_item(tensor: ImportedTensor, prefix: str) -> _Item:
    own = tensor.name.removeprefix(prefix)
    initial = tensor.initial if isinstance(tensor.initial, str) else written(tensor.initial)
    constants = {f"size{i}": str(size) for i, size in enumerate(tensor.stored)}
    constants["initial"] = initial
    return _Item(f"={tensor.kind}", own, 1, constants, (), tensor=tensor)


def _call_item(
    call: ModuleCall, definition: Definition, prefix: str, refs: tuple[Ref, ...]
) -> _Item:
    block = definition.outline
    return _Item(
        block.name, call.path.removeprefix(prefix), len(call.outputs),
        dict(definition.arguments[call]), refs,
        tuple(a.name for a in block.arguments if a.default is None),
        {a.name: a.default for a in block.arguments if a.default is not None},
    )  # fmt: skip


def _node_item(node: ImportedNode, prefix: str, refs: tuple[Ref, ...]) -> _Item:
    op = registry()[node.op]
    constants, defaults, required = {}, {}, []
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
    label = node.label.removeprefix(prefix) if node.label else ""
    others = {n: f for n, f in node.parameters.items() if f != f"{node.label}.{n}"}
    ties = {own: full.removeprefix(prefix) for own, full in others.items()}
    return _Item(
        node.op, label, 1, constants | ties, refs, tuple(required), defaults,
        labels=frozenset(tie.partition(".")[0] for tie in ties.values()),
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
        return written(value)
    return text


def _as_list(value: object) -> object:
    """Return pairs of equal numbers, as PyTorch has them, as one number."""
    if isinstance(value, tuple) and value and all(isinstance(v, tuple) for v in value):
        return tuple(_as_list(v) if len(set(v)) > 1 else v for v in value)
    return value


def written(value: object) -> str:
    """Return a constant as the language writes it."""
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    return f'"{value}"' if isinstance(value, str) else repr(value)


# ---------------------------------------------------------------------------------------- template


class _Template:
    """The body that several calls share."""

    def __init__(
        self,
        calls: Sequence[ModuleCall],
        inner: Mapping[ModuleCall, Definition],
        shapes: ValueShapes,
        names: list[str],
        *,
        noted: bool = False,
    ) -> None:
        self._calls = calls
        self._shapes = shapes
        self._inputs = names
        self._noted = noted
        self._variants: list[tuple[list[_Item], tuple[Ref, ...]]] = []
        self._variant_of: list[int] = []
        known: dict[object, int] = {}
        per_call: list[list[_Item]] = []
        for call in calls:
            items, results = _items(call, inner, shapes)
            key = (tuple((i.key, i.refs) for i in items), results)
            if key not in known:
                known[key] = len(self._variants)
                self._variants.append((items, results))
            self._variant_of.append(known[key])
            per_call.append(items)
        self._per_call = per_call
        if len(self._variants) > 8:
            raise CannotMergeError
        self._slots: list[_Slot] = []
        self._slot_of: list[dict[int, int]] = []
        self._line_up()
        self._expressions = _Expressions(self)
        labels = {label for items in per_call for item in items for label in item.labels}
        labels |= {slot.key[1] for slot in self._slots if slot.is_declaration}
        self._names = Names({*names, *labels, *(a.name for a in self.arguments())})

    # -- lining up

    def _line_up(self) -> None:
        """Put the items of all variants in one order."""
        slots: list[_Slot] = []
        for number, (items, _) in enumerate(self._variants):
            if not number:
                slots = [_Slot(item.key, {0: item}) for item in items]
                continue
            keys = [slot.key for slot in slots]
            matcher = SequenceMatcher(None, keys, [item.key for item in items], autojunk=False)
            merged: list[_Slot] = []
            for tag, a, b, c, d in matcher.get_opcodes():
                if tag == "equal":
                    for slot, item in zip(slots[a:b], items[c:d], strict=True):
                        slot.items[number] = item
                        merged.append(slot)
                else:
                    merged += slots[a:b]
                    merged += [_Slot(item.key, {number: item}) for item in items[c:d]]
            slots = merged
        self._slots = slots
        self._slot_of = [
            {
                self._variants[number][0].index(slot.items[number]): i
                for i, slot in enumerate(slots)
                if number in slot.items
            }
            for number in range(len(self._variants))
        ]

    def _located(self, ref: Ref, variant: int) -> Ref:
        if ref.is_input:
            return ref
        return Ref(False, self._slot_of[variant][ref.index], ref.part)

    def sources(self, slot: _Slot, operand: int) -> dict[int, Ref]:
        """Return where an operand comes from, in each variant."""
        return {v: self._located(item.refs[operand], v) for v, item in slot.items.items()}

    # -- what the arguments are worked out from

    def values(self, slot: _Slot, name: str) -> list[str | None]:
        """Return a constant in each call; None where a call lacks the item."""
        found: list[str | None] = []
        for call, variant in enumerate(self._variant_of):
            item = slot.items.get(variant)
            if item is None:
                found.append(None)
                continue
            at = next(i for i, x in enumerate(self._variants[variant][0]) if x is item)
            found.append(self._per_call[call][at].constants.get(name))
        return found

    def present(self, variants: Iterable[int]) -> list[bool]:
        """Return for each call whether it is of one of these variants."""
        chosen = set(variants)
        return [variant in chosen for variant in self._variant_of]

    @property
    def slots(self) -> Sequence[_Slot]:
        """The places, in order."""
        return self._slots

    @property
    def variants(self) -> int:
        """How many kinds of calls there are."""
        return len(self._variants)

    @property
    def inputs(self) -> Sequence[str]:
        """The names of the inputs."""
        return self._inputs

    def input_shapes(self, index: int) -> list[Shape]:
        """Return the shape of an input in each call."""
        return [self._shapes[call.inputs[index]] for call in self._calls]

    @property
    def is_block(self) -> bool:
        """Whether it is the body of a block."""
        return bool(self._calls[0].kind)

    def arguments(self) -> tuple[Argument, ...]:
        """Return the arguments of the block."""
        return self._expressions.arguments()

    def given(self) -> dict[ModuleCall, dict[str, str]]:
        """Return what each call gives for them."""
        return {call: self._expressions.given(i) for i, call in enumerate(self._calls)}

    # -- statements

    def statements(self) -> tuple[Statement, ...]:
        """Return the statements."""
        return self._written.statements

    def results(self) -> tuple[str, ...]:
        """Return the names of the results."""
        return self._written.results

    @cached_property
    def _written(self) -> _Written:
        return _Writing(self, self._expressions, self._names, self._noted, self._shapes).write()

    def result_sources(self) -> list[dict[int, Ref]]:
        """Return where each result comes from, in each variant."""
        count = len(self._variants[0][1])
        if any(len(results) != count for _, results in self._variants):
            raise CannotMergeError
        return [
            {v: self._located(results[i], v) for v, (_, results) in enumerate(self._variants)}
            for i in range(count)
        ]

    def shape_of(self, slot: _Slot, part: int) -> Shape | None:
        """Return the shape of a value of the net's own body."""
        values = next(iter(slot.items.values())).values
        return self._shapes[values[part]] if values else None


# --------------------------------------------------------------------------------------- constants


@dataclass(slots=True, eq=False)
class _NewArgument:
    base: str
    slot: _Slot
    values: list[str | None]
    default: str | None = None
    name: str = ""


class _Expressions:
    """What each constant of a template is: a literal, an argument, or worked out from others."""

    def __init__(self, template: _Template) -> None:
        self._template = template
        self._new: list[_NewArgument] = []
        self._found: dict[tuple[int, str], str | tuple[_NewArgument, str]] = {}
        self._conditions: dict[frozenset[int], str | tuple[_NewArgument, str]] = {}
        # Names that must keep their values: constants ask for their sizes, or they are inputs.
        self.pinned: set[str] = set() if template.is_block else set(template.inputs)
        self._declared = {slot.key[1] for slot in template.slots if slot.is_declaration}
        for slot in template.slots:
            for name in self._names(slot):
                self._found[id(slot), name] = self._expression(slot, name)
        self._name_arguments()
        for slot in template.slots:
            self._condition(frozenset(slot.items))
        self._name_arguments()

    @staticmethod
    def _names(slot: _Slot) -> list[str]:
        names: dict[str, None] = {}
        for item in slot.items.values():
            names.update(dict.fromkeys(item.constants))
        return list(names)

    def text(self, slot: _Slot, name: str) -> str:
        """Return a constant as text."""
        return self._text(self._found[id(slot), name])

    @staticmethod
    def _text(found: str | tuple[_NewArgument, str]) -> str:
        return found if isinstance(found, str) else found[1].format(found[0].name)

    def condition(self, variants: frozenset[int]) -> str:
        """Return the condition under which a call is of one of these variants; empty if always."""
        return self._text(self._conditions[variants])

    def arguments(self) -> tuple[Argument, ...]:
        """Return the arguments, those with a default last."""
        made = [Argument(new.name, new.default) for new in self._new]
        return tuple(sorted(made, key=lambda a: a.default is not None))

    def given(self, call: int) -> dict[str, str]:
        """Return what a call gives."""
        found = {}
        for new in self._new:
            value = new.values[call]
            if value is None:
                value = new.default or next(v for v in new.values if v is not None)
            found[new.name] = value
        return found

    # -- finding

    def _expression(self, slot: _Slot, name: str) -> str | tuple[_NewArgument, str]:
        values = self._template.values(slot, name)
        known = {value for value in values if value is not None}
        if len(known) == 1:
            by_others = [new for new in self._new if None in values and _same(new.values, values)]
            return (by_others[0], "{}") if by_others else known.pop()
        item = next(iter(slot.items.values()))
        default = item.defaults.get(name)
        for new in self._new:
            if _agree(new.values, values):
                new.values = [
                    a if a is not None else b for a, b in zip(new.values, values, strict=True)
                ]
                if new.default is not None and default != new.default:
                    new.default = None if default is None else new.default
                return new, "{}"
        sizes = [_whole(value) for value in values]
        if all(
            size is not None or value is None for size, value in zip(sizes, values, strict=True)
        ):
            worked_out = self._by_input(sizes) or self._by_argument(sizes)
            if worked_out:
                return worked_out
        counts = Counter(value for value in values if value is not None)
        if default is not None and default not in known:
            most, times = counts.most_common(1)[0]
            default = most if 2 * times > len(values) else None
        made = _NewArgument(_SPELT_OUT.get(name, name), slot, list(values), default)
        self._new.append(made)
        return made, "{}"

    def _by_input(self, sizes: list[int | None]) -> str:
        """Return a size by those of an input, such as `4 * x.channels`."""
        given = [size for size in sizes if size is not None]
        if not given or min(given) < _LEAST_SIZE:
            return ""
        for i, name in enumerate(self._template.inputs):
            shapes = self._template.input_shapes(i)
            for axis, word in ((0, "channels"), (-1, "features")):
                if any(not shape for shape in shapes):
                    continue
                found = _ratio(sizes, [shape[axis] for shape in shapes])
                if found:
                    self.pinned.add(name)
                    return found.format(f"{name}.{word}")
        return ""

    def _by_argument(self, sizes: list[int | None]) -> tuple[_NewArgument, str] | None:
        for new in self._new:
            if any(v is None and s is not None for v, s in zip(new.values, sizes, strict=True)):
                continue
            held = [_whole(value) for value in new.values]
            given = [size for size in sizes if size is not None]
            if (
                not given
                or min(given) < _LEAST_SIZE
                or any(h is None and s is not None for h, s in zip(held, sizes, strict=True))
            ):
                continue
            found = _ratio(sizes, [h or 0 for h in held])
            if found:
                return new, found
        return None

    # -- conditions

    def _condition(self, variants: frozenset[int]) -> None:
        if variants in self._conditions:
            return
        if len(variants) == self._template.variants:
            self._conditions[variants] = ""
            return
        wanted = self._template.present(variants)
        other = frozenset(range(self._template.variants)) - variants
        if other in self._conditions:
            text = self._conditions[other]
            if isinstance(text, tuple) and text[1] == "{}":
                self._conditions[variants] = text[0], "not {}"
                return
        for text, holds in self._candidates():
            if holds == wanted:
                self._conditions[variants] = text
                self._pin(text)
                return
        for new in self._new:
            flags = ["true" if wanted_here else "false" for wanted_here in wanted]
            if new.values == flags:
                self._conditions[variants] = new, "{}"
                return
        slot = next(s for s in self._template.slots if frozenset(s.items) == variants)
        base = _identifier(slot.key[1].split(".")[0]) or f"has_{slot.key[0].lstrip('=')}"
        if base in {new.name for new in self._new} | self._declared:
            base = f"has_{base}"
        values: list[str | None] = ["true" if holds else "false" for holds in wanted]
        most = "true" if 2 * sum(wanted) > len(wanted) else "false"
        made = _NewArgument(base, slot, values, most)
        self._new.append(made)
        self._conditions[variants] = made, "{}"

    def _pin(self, text: str) -> None:
        self.pinned.update(name for name in self._template.inputs if f"{name}." in text)

    def _candidates(self) -> Iterable[tuple[str, list[bool]]]:
        """Yield conditions over the arguments and the inputs, with the calls that they hold for."""
        facts: list[tuple[str, list[bool]]] = []
        numbers = {new.name: [_whole(value) for value in new.values] for new in self._new}
        numbers = {name: held for name, held in numbers.items() if None not in held}
        for new in self._new:
            usual = _whole(new.default)
            if usual is not None and new.name in numbers:
                holds = [h != usual for h in numbers[new.name]]
                facts.append((f"{new.name} != {usual}", holds))
        for i, name in enumerate(self._template.inputs):
            shapes = self._template.input_shapes(i)
            if any(not shape for shape in shapes):
                continue
            for argument, held in numbers.items():
                for times in (1, 2, 4):
                    word = argument if times == 1 else f"{argument} * {times}"
                    facts.append(
                        (
                            f"{name}.channels != {word}",
                            [s[0] != (h or 0) * times for s, h in zip(shapes, held, strict=True)],
                        )
                    )
        for text, holds in facts:
            yield text, holds
            yield text.replace("!=", "=="), [not h for h in holds]
        for i, (one, a) in enumerate(facts):
            for two, b in facts[i + 1 :]:
                either = [x or y for x, y in zip(a, b, strict=True)]
                yield f"{one} or {two}", either
                neither = f"{one.replace('!=', '==')} and {two.replace('!=', '==')}"
                yield neither, [not x for x in either]

    # -- names

    def _name_arguments(self) -> None:
        counts = Counter(new.base for new in self._new)
        taken: set[str] = set()
        for new in self._new:
            name = new.base
            if counts[new.base] > 1:
                callee, label, *_ = new.slot.key
                name = f"{_identifier(label) or callee.lstrip('=').lower()}_{new.base}"
            name = name if len(name) > 1 and name not in KEYWORDS else f"{name}_value"
            found, count = name, 1
            while found in taken or found in self._template.inputs or found in self._declared:
                count += 1
                found = f"{name}{count}"
            taken.add(found)
            new.name = found


def _identifier(label: str) -> str:
    text = re.sub(r"\W+", "_", label).strip("_").lower()
    return text if text and not text[0].isdigit() else ""


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"-?\d+", value) else None


def _agree(one: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Whether two constants are equal in all calls that have both, of which there is one at least."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return bool(both) and all(a == b for a, b in both) and len({a for a, _ in both}) > 1


def _same(one: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Whether the first is the second where that is known."""
    return all(b is None or a == b for a, b in zip(one, other, strict=True))


def _ratio(sizes: Sequence[int | None], base: Sequence[int]) -> str:
    """Return how sizes follow from others: `{}`, `{} * 4` or `{} // 4`; empty if they do not."""
    pairs = [(s, b) for s, b in zip(sizes, base, strict=True) if s is not None]
    if not pairs or any(not isinstance(b, int) or b < 1 for _, b in pairs):
        return ""
    if all(s == b for s, b in pairs):
        return "{}"
    s, b = pairs[0]
    times, over = s // b, b // s if s else 0
    if 1 < times <= _MOST_TIMES and all(s == b * times for s, b in pairs):
        return f"{{}} * {times}"
    if 1 < over <= _MOST_TIMES and all(s == b // over for s, b in pairs):
        return f"{{}} // {over}"
    return ""


# ----------------------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class _Written:
    statements: tuple[Statement, ...]
    results: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Merge:
    """A value that is another one in some variants than in others."""

    sources: dict[int, Ref]
    name: str = ""

    def ordered(self) -> tuple[Ref, Ref]:
        """Return the two values, the one that is there first in front."""
        first, last = sorted(
            set(self.sources.values()), key=lambda ref: (not ref.is_input, ref.index, ref.part)
        )
        return first, last


class _Writing:
    """Writes the slots of a template as statements."""

    def __init__(
        self,
        template: _Template,
        expressions: _Expressions,
        names: Names,
        noted: bool,
        shapes: ValueShapes,
    ) -> None:
        self._template = template
        self._expressions = expressions
        self._names = names
        self._noted = noted
        self._shapes = shapes
        self._merges: list[_Merge] = []
        # Where each value is read: the slots, with len(slots) for the end; and by which merges.
        self._reads: dict[Ref, list[int]] = {}
        self._operands: dict[tuple[int, int], Ref | _Merge] = {}
        self._results: list[Ref | _Merge] = []
        self._called: dict[Ref, str] = {}
        self._starts: dict[int, list[_Merge]] = {}
        self._redefined: dict[Ref, _Merge] = {}

    def write(self) -> _Written:
        """Return the statements."""
        self._wire()
        self._plan()
        slots = self._template.slots
        everything = frozenset(range(self._template.variants))
        merged_at = {id(m): self._first_read(m) for m in self._merges}
        out: list[tuple[frozenset[int], Statement]] = []
        for i, name in enumerate(self._template.inputs):
            self._called[Ref(True, i)] = name
        for at, slot in enumerate(slots):
            for merge in self._starts.get(at, ()):
                self._begin(merge, at, out)
            for merge in self._merges:
                self._prepare(merge, at, merged_at[id(merge)], out)
            out.append((frozenset(slot.items), self._statement(at, slot)))
        for merge in self._merges:
            self._prepare(merge, len(slots), merged_at[id(merge)], out)
        results = tuple(self._name_of(result) for result in self._results)
        return _Written(tuple(self._grouped(out, everything)), results)

    # -- wires

    def _wire(self) -> None:
        for at, slot in enumerate(self._template.slots):
            for operand in range(slot.key[3]):
                self._operands[at, operand] = self._source(
                    self._template.sources(slot, operand), at
                )
        end = len(self._template.slots)
        self._results = [self._source(s, end) for s in self._template.result_sources()]

    def _source(self, sources: dict[int, Ref], at: int) -> Ref | _Merge:
        different = set(sources.values())
        if len(different) == 1:
            (ref,) = different
            self._reads.setdefault(ref, []).append(at)
            return ref
        if len(different) > 2:
            raise CannotMergeError
        for merge in self._merges:
            if all(merge.sources.get(v, ref) == ref for v, ref in sources.items()):
                both = {**merge.sources, **sources}
                if len(set(both.values())) == 2:
                    merge.sources = both
                    self._merge_reads(merge, at)
                    return merge
        made = _Merge(dict(sources))
        self._merges.append(made)
        self._merge_reads(made, at)
        return made

    def _merge_reads(self, merge: _Merge, at: int) -> None:
        for ref in set(merge.sources.values()):
            self._reads.setdefault(ref, []).append(at)
        self._merged_reads.setdefault(id(merge), []).append(at)

    @cached_property
    def _merged_reads(self) -> dict[int, list[int]]:
        return {}

    def _first_read(self, merge: _Merge) -> int:
        return min(self._merged_reads[id(merge)])

    # -- merges

    def _plan(self) -> None:
        """Find the merges of which the one value is made by a statement under a condition.

        That statement then gives the name of the other value again.
        """
        for merge in self._merges:
            early, late = merge.ordered()
            if late.is_input or any(
                r not in self._merged_reads[id(merge)] for r in self._reads[late]
            ):
                continue
            slots = self._template.slots
            condition = frozenset(v for v, ref in merge.sources.items() if ref == late)
            if frozenset(slots[late.index].items) != condition:
                continue
            start = late.index
            while start and frozenset(slots[start - 1].items) == condition:
                start -= 1
            everything = len(slots[early.index].items) == self._template.variants
            if early.is_input or (early.index < start and everything):
                self._starts.setdefault(start, []).append(merge)
                self._redefined[late] = merge

    def _begin(
        self, merge: _Merge, start: int, out: list[tuple[frozenset[int], Statement]]
    ) -> None:
        """Give a merge its first value, before the statements under the condition."""
        early, late = merge.ordered()
        name = self._called[early]
        inside = set(range(start, late.index + 1)) | set(self._merged_reads[id(merge)])
        later = {read for read in self._reads[early] if read >= start}
        is_free = name not in self._expressions.pinned
        is_declared = not early.is_input and self._template.slots[early.index].key[0][0] == "="
        if (
            is_free
            and later <= inside
            and not is_declared
            and not self._is_merged_elsewhere(early, merge)
        ):
            merge.name = name
            return
        merge.name = self._names.fresh(self._hint(late.index))
        out.append((frozenset(range(self._template.variants)), Copy(merge.name, name)))

    def _is_merged_elsewhere(self, ref: Ref | _Merge, merge: _Merge | None) -> bool:
        if isinstance(ref, _Merge):
            return True
        return any(ref in other.sources.values() for other in self._merges if other is not merge)

    def _prepare(
        self, merge: _Merge, at: int, first: int, out: list[tuple[frozenset[int], Statement]]
    ) -> None:
        """Write a value that differs by variant where it is first read: one copy, or the other."""
        if merge.name or at != first:
            return
        merge.name = self._names.fresh("")
        for ref in merge.ordered():
            condition = frozenset(v for v, source in merge.sources.items() if source == ref)
            out.append((condition, Copy(merge.name, self._called[ref])))

    def _name_of(self, source: Ref | _Merge) -> str:
        return source.name if isinstance(source, _Merge) else self._called[source]

    # -- statements

    def _statement(self, at: int, slot: _Slot) -> Statement:
        callee, label, count, operands = slot.key
        item = next(iter(slot.items.values()))
        if item.tensor is not None:
            return self._declaration(at, slot, item)
        if callee.startswith(f"={_SHARED} "):
            if not re.fullmatch(r"[A-Za-z_]\w*", label):
                raise CannotMergeError
            self._names.take(label)
            own = callee.partition(" ")[2]
            return SharedLayer(label, own, self._arguments(slot, item), len(item.required))
        read = [self._operands[at, i] for i in range(operands)]
        names = tuple(self._name_of(source) for source in read)
        targets = tuple(self._target(at, slot, part, read) for part in range(count))
        for source in read:
            if self._dies(source, at) and self._name_of(source) not in targets:
                self._release(source)
        arguments = self._arguments(slot, item)
        note = ""
        if self._noted and count == 1:
            shape = self._template.shape_of(slot, 0)
            note = written(shape) if shape is not None else ""
        return Step(targets, callee, names, arguments, label, note, len(item.required))

    def _declaration(self, at: int, slot: _Slot, item: _Item) -> Statement:
        kind, name = slot.key[0][1:], slot.key[1]
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise CannotMergeError
        self._called[Ref(False, at)] = name
        self._names.take(name)
        text = self._expressions.text
        sizes = [text(slot, name) for name in item.constants if name != "initial"]
        return Declaration(kind, name, f"[{', '.join(sizes)}]", text(slot, "initial"))

    def _arguments(self, slot: _Slot, item: _Item) -> tuple[tuple[str, str], ...]:
        found = []
        for name in (*item.required, *(n for n in item.constants if n not in item.required)):
            text = self._expressions.text(slot, name)
            if name not in item.defaults or text != item.defaults[name]:
                found.append((name, text))
        return tuple(found)

    def _target(self, at: int, slot: _Slot, part: int, read: Sequence[Ref | _Merge]) -> str:
        """Return the name of a value: that of an operand which is not read any more, or a new one."""
        ref = Ref(False, at, part)
        everything = frozenset(range(self._template.variants))
        if ref in self._redefined:
            self._called[ref] = self._redefined[ref].name
            return self._called[ref]
        if part == 0 and frozenset(slot.items) == everything:
            dying = [self._name_of(s) for s in read if self._dies(s, at)]
            usable = [n for n in dying if n not in self._expressions.pinned]
            if usable:
                first = self._template.inputs[0] if self._template.inputs else ""
                name = first if first in usable else usable[0]
                self._called[ref] = name
                return name
        name = self._names.fresh(self._hint(at))
        self._called[ref] = name
        return name

    def _release(self, source: Ref | _Merge) -> None:
        """Let other values have the name of one that is not read any more."""
        name = self._name_of(source)
        if name not in self._template.inputs and not self._is_merged_elsewhere(source, None):
            self._names.release(name)

    def _dies(self, source: Ref | _Merge, at: int) -> bool:
        if isinstance(source, _Merge):
            return max(self._merged_reads[id(source)]) <= at
        is_declared = not source.is_input and self._template.slots[source.index].key[0][0] == "="
        return not is_declared and max(self._reads[source]) <= at

    def _hint(self, at: int) -> str:
        """Return what a value may be called: what the labels of the layers that follow have in front."""
        if not self._template.is_block and self._names.is_free("x"):
            return "x"
        labels = []
        now = at
        while True:
            label = self._template.slots[now].key[1]
            if label:
                labels.append(label.split(".")[0])
            reads = self._reads.get(Ref(False, now), [])
            if len(reads) != 1 or reads[0] >= len(self._template.slots):
                break
            now = reads[0]
            if self._template.slots[now].key[3] != 1:
                break
        if labels and len(set(labels)) == 1:
            return _identifier(labels[0]).rstrip("0123456789")
        return "main" if labels else ""

    # -- conditions

    def _grouped(
        self, out: list[tuple[frozenset[int], Statement]], everything: frozenset[int]
    ) -> list[Statement]:
        """Put neighbours with one condition under one `if`, and those with the opposite in `else`."""
        groups: list[tuple[frozenset[int], list[Statement]]] = []
        for variants, statement in out:
            if groups and groups[-1][0] == variants:
                groups[-1][1].append(statement)
            else:
                groups.append((variants, [statement]))
        found: list[Statement] = []
        skip = False
        for i, (variants, statements) in enumerate(groups):
            if skip:
                skip = False
                continue
            if variants == everything:
                found += statements
                continue
            opposite = groups[i + 1] if i + 1 < len(groups) else (frozenset(), [])
            otherwise: list[Statement] = []
            if opposite[0] and opposite[0] == everything - variants:
                otherwise, skip = opposite[1], True
            if variants not in self._expressions._conditions:
                self._expressions._condition(variants)
                self._expressions._name_arguments()
            condition = self._expressions.condition(variants)
            found.append(When(condition, tuple(statements), tuple(otherwise)))
        return found
