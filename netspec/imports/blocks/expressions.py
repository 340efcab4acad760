"""What each constant of a block is: a literal, an argument of it, or worked out from others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.imports.blocks.items import Item
from netspec.imports.blocks.lined_up import CannotMergeError, LinedUp, Slot
from netspec.imports.blocks.tables import Tables
from netspec.imports.outline import Argument
from netspec.text.free_name import take_name

# Names for arguments whose attribute is a single letter, or says too little in a block's head.
_SPELT_OUT = {"p": "rate", "k": "offset"}
# From which number on a size may be written by the sizes of the block's input.
_LEAST_SIZE = 8
_MOST_TIMES = 16
_MOST_IN_SHAPES = 256
# How the sizes of an input are called: where a constant is a number of channels, and in a shape.
_USUAL_AXES = ((0, "channels"), (-1, "features"))
_ANY_AXIS = ((0, "shape[0]"), (-1, "features"), (1, "shape[1]"), (2, "shape[2]"))


@dataclass(slots=True, eq=False)
class NewArgument:
    """An argument of the block: where it comes from, and its value in each call that has it."""

    base: str
    slot: Slot
    values: list[str | None]
    default: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Following:
    """A constant that follows from an argument, `{} * 4`; from none, a text of its own."""

    text: str
    argument: NewArgument | None = None

    def __str__(self) -> str:
        return self.text.format(self.argument.name) if self.argument is not None else self.text


@dataclass(frozen=True, slots=True)
class Filled:
    """A constant with numbers in it that are worked out one by one."""

    text: str
    numbers: tuple[Following, ...]

    def __str__(self) -> str:
        return self.text.format(*map(str, self.numbers))


class Expressions:
    """What each constant of the calls is: a literal, an argument, or worked out from others."""

    def __init__(self, lined_up: LinedUp, tables: Tables) -> None:
        self._lined_up = lined_up
        self._tables = tables
        self._new: list[NewArgument] = []
        self._found: dict[tuple[int, str], Following | Filled] = {}
        self._conditions: dict[frozenset[int], Following] = {}
        # Names that must keep their values: constants ask for their sizes, or they are inputs.
        self.pinned: set[str] = set() if lined_up.is_block else set(lined_up.inputs)
        self._declared = {slot.key[1] for slot in lined_up.slots if slot.is_declaration}
        for slot in lined_up.slots:
            for name in self._names(slot):
                self._found[id(slot), name] = self._expression(slot, name)
        self._name_arguments()
        for slot in lined_up.slots:
            self._condition(frozenset(slot.items))
        self._name_arguments()

    @staticmethod
    def _names(slot: Slot) -> list[str]:
        names: dict[str, None] = {}
        for item in slot.items.values():
            names.update(dict.fromkeys(item.constants))
        return list(names)

    def text(self, slot: Slot, name: str) -> str:
        """Return a constant as text."""
        return str(self._found[id(slot), name])

    def condition(self, variants: frozenset[int]) -> str:
        """Return the condition under which a call is of one of these variants; empty if always."""
        if variants not in self._conditions:
            self._condition(variants)
            self._name_arguments()
        return str(self._conditions[variants])

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

    def _expression(self, slot: Slot, name: str) -> Following | Filled:
        values = self._lined_up.values(slot, name)
        known = {value for value in values if value is not None}
        item = next(iter(slot.items.values()))
        if len(known) == 1:
            passed = self._passed(slot, next(iter(known)), item if name == "initial" else None)
            if passed is not None:
                return passed
            by_others = [new for new in self._new if None in values and _same(new.values, values)]
            return Following("{}", by_others[0]) if by_others else Following(known.pop())
        default = item.defaults.get(name)
        for new in self._new:
            if _agree(new.values, values):
                new.values = [
                    a if a is not None else b for a, b in zip(new.values, values, strict=True)
                ]
                if new.default is not None and default != new.default:
                    new.default = None if default is None else new.default
                return Following("{}", new)
        worked_out = self._worked_out(values, item)
        if worked_out is not None:
            return worked_out
        filled = self._filled(slot, name)
        if filled is not None:
            return filled
        counts = Counter(value for value in values if value is not None)
        if default is not None and default not in known:
            most, times = counts.most_common(1)[0]
            default = most if 2 * times > len(values) else None
        base = _SPELT_OUT.get(name, name.rstrip("0123456789"))
        made = NewArgument(base, slot, list(values), default)
        self._new.append(made)
        return Following("{}", made)

    def _worked_out(self, values: Sequence[str | None], item: Item) -> Following | None:
        """Return a whole number as it follows from an input's sizes, or from an argument."""
        sizes = [_whole(value) for value in values]
        if any(
            size is None and value is not None for size, value in zip(sizes, values, strict=True)
        ):
            return None
        found = self._by_input(sizes) or self._by_argument(sizes)
        if found is None and item.tensor is not None:
            found = self._by_input(sizes, _ANY_AXIS, least=2)
        return found

    def _passed(self, slot: Slot, value: str, item: Item | None) -> Following | None:
        """Return the argument for a list that the net makes once, if the constant is one."""
        if not self._lined_up.is_block:
            return None
        if item is not None and item.counting is not None:
            value = self._tables.name(item.counting)
        if value not in self._tables.names:
            return None
        values: list[str | None] = [value] * len(self._lined_up.calls)
        for new in self._new:
            if new.values == values:
                return Following("{}", new)
        made = NewArgument(value, slot, values)
        self._new.append(made)
        return Following("{}", made)

    def _filled(self, slot: Slot, name: str) -> Filled | None:
        """Return a constant with its numbers worked out one by one, if its calls have one form."""
        patterns = self._lined_up.patterns(slot, name)
        held = [pattern for pattern in patterns if pattern is not None]
        forms = {(pattern.text, len(pattern.numbers), pattern.rest) for pattern in held}
        if len(forms) != 1 or not held[0].numbers:
            return None
        ((text, count, rest),) = forms
        numbers: list[Following | None] = []
        for i in range(count):
            column = [None if p is None else p.numbers[i] for p in patterns]
            numbers.append(self._number(column, (i, count), in_sum=" * {" in text))
        unknown = [i for i, number in enumerate(numbers) if number is None]
        if len(unknown) == 1 and rest and Following(rest) not in numbers:  # at most one is left
            numbers[unknown[0]] = Following(rest)
        found = [number for number in numbers if number is not None]
        return Filled(text, tuple(found)) if len(found) == count else None

    def _number(
        self, column: list[int | None], place: tuple[int, int], *, in_sum: bool
    ) -> Following | None:
        """Return a number in a constant: equal in all calls, or worked out.

        Args:
            column: the number in each call.
            place: which number it is, and of how many.
            in_sum: whether it is a term.
        """
        known = {number for number in column if number is not None}
        if len(known) == 1:
            return Following(str(known.pop()))
        found = self._by_input(column, _ANY_AXIS, 1, place) or self._by_argument(column)
        if found is not None and in_sum:
            return replace(found, text=f"({found.text})") if " " in found.text else found
        return found

    def _by_input(
        self,
        sizes: list[int | None],
        axes: Sequence[tuple[int, str]] = _USUAL_AXES,
        least: int = _LEAST_SIZE,
        place: tuple[int, int] = (0, 0),
    ) -> Following | None:
        """Return a size by those of an input, such as `4 * x.channels`.

        In a list with a number for each axis, that of the same axis comes first: height and width are
        equal in most pictures.
        """
        given = [size for size in sizes if size is not None]
        if not given or min(given) < least:
            return None
        for i, name in enumerate(self._lined_up.inputs):
            shapes = self._lined_up.input_shapes(i)
            for axis, word in _same_axis_first(axes, place, len(shapes[0])):
                if any(len(shape) <= max(axis, 0) for shape in shapes):
                    continue
                base = [shape[axis] for shape in shapes]
                if axes is _ANY_AXIS:
                    found = _ratio(sizes, base, _MOST_IN_SHAPES) or _less(sizes, base)
                else:
                    found = _ratio(sizes, base)
                if found:
                    self.pinned.add(name)
                    return Following(found.format(f"{name}.{word}"))
        return None

    def _by_argument(self, sizes: list[int | None]) -> Following | None:
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
                return Following(found, new)
        return None

    # -- conditions

    def _condition(self, variants: frozenset[int]) -> None:
        if variants in self._conditions:
            return
        if len(variants) == self._lined_up.variants:
            self._conditions[variants] = Following("")
            return
        wanted = self._lined_up.present(variants)
        other = frozenset(range(self._lined_up.variants)) - variants
        if other in self._conditions:
            opposite = self._conditions[other]
            if opposite.argument is not None and opposite.text == "{}":
                self._conditions[variants] = Following("not {}", opposite.argument)
                return
        for text, holds in self._candidates():
            if holds == wanted:
                self._conditions[variants] = Following(text)
                self._pin(text)
                return
        self._conditions[variants] = Following("{}", self._flag(variants, wanted))

    def _flag(self, variants: frozenset[int], wanted: Sequence[bool]) -> NewArgument:
        """Return an argument that says whether a call is of one of these variants.

        Raises:
            CannotMergeError: if no item tells these calls from the others.
        """
        values: list[str | None] = ["true" if holds else "false" for holds in wanted]
        for new in self._new:
            if new.values == values:
                return new
        slot = next((s for s in self._lined_up.slots if frozenset(s.items) == variants), None)
        if slot is None:
            raise CannotMergeError
        base = identifier(slot.key[1].split(".")[0]) or f"has_{slot.key[0].lstrip('=')}"
        if base in {new.name for new in self._new} | self._declared:
            base = f"has_{base}"
        most = "true" if 2 * sum(wanted) > len(wanted) else "false"
        made = NewArgument(base, slot, values, most)
        self._new.append(made)
        return made

    def _pin(self, text: str) -> None:
        self.pinned.update(name for name in self._lined_up.inputs if f"{name}." in text)

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
        for i, name in enumerate(self._lined_up.inputs):
            shapes = self._lined_up.input_shapes(i)
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
        taken = {*self._lined_up.inputs, *self._declared}
        for new in self._new:
            name = new.base
            if counts[new.base] > 1:
                callee, label, *_ = new.slot.key
                name = f"{identifier(label) or callee.lstrip('=').lower()}_{new.base}"
            name = name if len(name) > 1 and name not in KEYWORDS else f"{name}_value"
            new.name = take_name(name, taken, joint="")


def _same_axis_first(
    axes: Sequence[tuple[int, str]], place: tuple[int, int], rank: int
) -> Sequence[tuple[int, str]]:
    """Return axes with that of a place in front, if the list has a number for each axis."""
    at, count = place
    return sorted(axes, key=lambda each: each[0] % rank != at) if count == rank else axes


def identifier(label: str) -> str:
    """Return a label as a name, or an empty string if it can be none."""
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


def _ratio(sizes: Sequence[int | None], base: Sequence[int], most: int = _MOST_TIMES) -> str:
    """Return how sizes follow from others: `{}`, `{} * 4` or `{} // 4`; empty if they do not."""
    pairs = [(s, b) for s, b in zip(sizes, base, strict=True) if s is not None]
    if not pairs or any(not isinstance(b, int) or b < 1 for _, b in pairs):
        return ""
    if all(s == b for s, b in pairs):
        return "{}"
    s, b = pairs[0]
    times, over = s // b, b // s if s else 0
    if 1 < times <= most and all(s == b * times for s, b in pairs):
        return f"{{}} * {times}"
    if 1 < over <= most and all(s == b // over for s, b in pairs):
        return f"{{}} // {over}"
    return ""


def _less(sizes: Sequence[int | None], base: Sequence[int]) -> str:
    """Return how sizes are others less a number: `{} - 7`; empty if they are not."""
    differences = {b - s for s, b in zip(sizes, base, strict=True) if s is not None}
    given = {s for s in sizes if s is not None}
    difference = differences.pop() if len(differences) == 1 else 0
    return f"{{}} - {difference}" if difference > 0 and len(given) > 1 else ""
