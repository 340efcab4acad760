"""Calls of one class lined up: which of their items stand for each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from netspec.compiler.ir.graph import Shape
from netspec.imports.blocks.items import Definition, Item, Pattern, Ref, items_of
from netspec.imports.call_tree import ModuleCall

ValueShapes = dict[str, Shape]
# How many kinds of calls a block may have.
_MOST_VARIANTS = 8


class CannotMergeError(Exception):
    """Calls of a class are too different for one block."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place in a template: the items of the calls that have one there."""

    key: tuple[str, str, int, int]
    items: dict[int, Item]  # by the number of the variant

    @property
    def is_declaration(self) -> bool:
        """Whether it declares a tensor or a layer, whose name is then one of the body."""
        return self.key[0].startswith("=")


class LinedUp:
    """The items that several calls share, with the values of each."""

    def __init__(
        self,
        calls: Sequence[ModuleCall],
        inner: Mapping[ModuleCall, Definition],
        shapes: ValueShapes,
        names: list[str],
    ) -> None:
        self.calls = calls
        self._shapes = shapes
        self._inputs = names
        self._variants: list[tuple[list[Item], tuple[Ref, ...]]] = []
        self._variant_of: list[int] = []
        known: dict[object, int] = {}
        per_call: list[list[Item]] = []
        for call in calls:
            items, results = items_of(call, inner)
            key = (tuple((i.key, i.refs, i.lengths) for i in items), results)
            if key not in known:
                known[key] = len(self._variants)
                self._variants.append((items, results))
            self._variant_of.append(known[key])
            per_call.append(items)
        if len(self._variants) > _MOST_VARIANTS:
            raise CannotMergeError
        self._per_call = per_call
        self.items = [item for items in per_call for item in items]
        self._slots: list[Slot] = []
        self._place = {item: i for items, _ in self._variants for i, item in enumerate(items)}
        self._slot_of: list[dict[int, int]] = []
        self._line_up()

    def _line_up(self) -> None:
        """Put the items of all variants in one order."""
        slots: list[Slot] = []
        for number, (items, _) in enumerate(self._variants):
            if not number:
                slots = [Slot(item.key, {0: item}) for item in items]
                continue
            keys = [slot.key for slot in slots]
            matcher = SequenceMatcher(None, keys, [item.key for item in items], autojunk=False)
            merged: list[Slot] = []
            for tag, a, b, c, d in matcher.get_opcodes():
                if tag == "equal":
                    for slot, item in zip(slots[a:b], items[c:d], strict=True):
                        slot.items[number] = item
                        merged.append(slot)
                else:
                    merged += slots[a:b]
                    merged += [Slot(item.key, {number: item}) for item in items[c:d]]
            slots = merged
        if any(len({item.lengths for item in slot.items.values()}) > 1 for slot in slots):
            raise CannotMergeError
        self._slots = slots
        self._slot_of = [
            {
                self._place[slot.items[number]]: i
                for i, slot in enumerate(slots)
                if number in slot.items
            }
            for number in range(len(self._variants))
        ]

    def _located(self, ref: Ref, variant: int) -> Ref:
        if ref.is_input:
            return ref
        return Ref(False, self._slot_of[variant][ref.index], ref.part)

    def sources(self, slot: Slot, operand: int) -> dict[int, Ref]:
        """Return where an operand comes from, in each variant."""
        return {v: self._located(item.refs[operand], v) for v, item in slot.items.items()}

    # -- what the arguments are worked out from

    def values(self, slot: Slot, name: str) -> list[str | None]:
        """Return a constant in each call; None where a call lacks the item."""
        found = self._of_calls(slot)
        return [None if item is None else item.constants.get(name) for item in found]

    def patterns(self, slot: Slot, name: str) -> list[Pattern | None]:
        """Return the pattern of a constant in each call; None where a call lacks the item."""
        found = self._of_calls(slot)
        return [None if item is None else item.patterns.get(name) for item in found]

    def _of_calls(self, slot: Slot) -> list[Item | None]:
        found: list[Item | None] = []
        for call, variant in enumerate(self._variant_of):
            item = slot.items.get(variant)
            found.append(None if item is None else self._per_call[call][self._place[item]])
        return found

    def present(self, variants: Iterable[int]) -> list[bool]:
        """Return for each call whether it is of one of these variants."""
        chosen = set(variants)
        return [variant in chosen for variant in self._variant_of]

    @property
    def slots(self) -> Sequence[Slot]:
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
        return [self._shapes[call.inputs[index]] for call in self.calls]

    @property
    def is_block(self) -> bool:
        """Whether it is the body of a block."""
        return bool(self.calls[0].kind)

    def result_sources(self) -> list[dict[int, Ref]]:
        """Return where each result comes from, in each variant."""
        count = len(self._variants[0][1])
        if any(len(results) != count for _, results in self._variants):
            raise CannotMergeError
        return [
            {v: self._located(results[i], v) for v, (_, results) in enumerate(self._variants)}
            for i in range(count)
        ]

    def shape_of(self, slot: Slot, part: int) -> Shape | None:
        """Return the shape of a value of the net's own body."""
        values = next(iter(slot.items.values())).values
        return self._shapes[values[part]] if values else None
