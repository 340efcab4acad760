"""Writes the items that calls share as statements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from netspec.imports.blocks.expressions import Expressions, identifier
from netspec.imports.blocks.items import SHARED, Item, Ref
from netspec.imports.blocks.lined_up import CannotMergeError, LinedUp, Slot
from netspec.imports.number_lists import Counting, plain_list
from netspec.imports.outline import (
    Copy,
    CountingTable,
    Declaration,
    SharedLayer,
    Statement,
    Step,
    When,
)
from netspec.imports.value_names import Names


@dataclass(frozen=True, slots=True)
class Written:
    """The statements of a body, and the names of its results."""

    statements: tuple[Statement, ...]
    results: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Merge:
    """A value that is another one in some variants than in others."""

    sources: dict[int, Ref]
    reads: list[int] = field(default_factory=list)  # where it is read, as in `Writing`
    name: str = ""

    def ordered(self) -> tuple[Ref, Ref]:
        """Return the two values, the one that is there first in front."""
        first, last = sorted(
            set(self.sources.values()), key=lambda ref: (not ref.is_input, ref.index, ref.part)
        )
        return first, last


class Writing:
    """Writes the slots that calls share as statements."""

    def __init__(
        self,
        lined_up: LinedUp,
        expressions: Expressions,
        names: Names,
        noted: bool,
    ) -> None:
        self._lined_up = lined_up
        self._expressions = expressions
        self._names = names
        self._noted = noted
        self._merges: list[_Merge] = []
        # Where each value is read: the slots, with len(slots) for the end; and by which merges.
        self._reads: dict[Ref, list[int]] = {}
        self._operands: dict[tuple[int, int], Ref | _Merge] = {}
        self._results: list[Ref | _Merge] = []
        self._called: dict[Ref, str] = {}
        self._starts: dict[int, list[_Merge]] = {}
        self._redefined: dict[Ref, _Merge] = {}

    def write(self) -> Written:
        """Return the statements."""
        self._wire()
        self._plan()
        slots = self._lined_up.slots
        everything = frozenset(range(self._lined_up.variants))
        out: list[tuple[frozenset[int], Statement]] = []
        for i, name in enumerate(self._lined_up.inputs):
            self._called[Ref(True, i)] = name
        for at, slot in enumerate(slots):
            for merge in self._starts.get(at, ()):
                self._begin(merge, at, out)
            for merge in self._merges:
                self._prepare(merge, at, out)
            here = frozenset(slot.items)
            out += [(here, statement) for statement in self._statements(at, slot)]
        for merge in self._merges:
            self._prepare(merge, len(slots), out)
        results = tuple(self._name_of(result) for result in self._results)
        return Written(tuple(self._grouped(out, everything)), results)

    # -- wires

    def _wire(self) -> None:
        for at, slot in enumerate(self._lined_up.slots):
            for operand in range(slot.key[3]):
                self._operands[at, operand] = self._source(
                    self._lined_up.sources(slot, operand), at
                )
        end = len(self._lined_up.slots)
        self._results = [self._source(s, end) for s in self._lined_up.result_sources()]

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
        merge.reads.append(at)

    # -- merges

    def _plan(self) -> None:
        """Find the merges of which the one value is made by a statement under a condition.

        That statement then gives the name of the other value again.
        """
        for merge in self._merges:
            early, late = merge.ordered()
            if late.is_input or not set(self._reads[late]) <= set(merge.reads):
                continue
            slots = self._lined_up.slots
            condition = frozenset(v for v, ref in merge.sources.items() if ref == late)
            if frozenset(slots[late.index].items) != condition:
                continue
            start = late.index
            while start and frozenset(slots[start - 1].items) == condition:
                start -= 1
            everything = len(slots[early.index].items) == self._lined_up.variants
            if early.is_input or (early.index < start and everything):
                self._starts.setdefault(start, []).append(merge)
                self._redefined[late] = merge

    def _begin(
        self, merge: _Merge, start: int, out: list[tuple[frozenset[int], Statement]]
    ) -> None:
        """Give a merge its first value, before the statements under the condition."""
        early, late = merge.ordered()
        name = self._called[early]
        inside = set(range(start, late.index + 1)) | set(merge.reads)
        later = {read for read in self._reads[early] if read >= start}
        is_free = name not in self._expressions.pinned
        is_declared = not early.is_input and self._lined_up.slots[early.index].key[0][0] == "="
        if (
            is_free
            and later <= inside
            and not is_declared
            and not self._is_merged_elsewhere(early, merge)
        ):
            merge.name = name
            return
        merge.name = self._names.fresh(self._hint(late.index))
        out.append((frozenset(range(self._lined_up.variants)), Copy(merge.name, name)))

    def _is_merged_elsewhere(self, ref: Ref | _Merge, merge: _Merge | None) -> bool:
        if isinstance(ref, _Merge):
            return True
        return any(ref in other.sources.values() for other in self._merges if other is not merge)

    def _prepare(self, merge: _Merge, at: int, out: list[tuple[frozenset[int], Statement]]) -> None:
        """Write a value that differs by variant where it is first read: one copy, or the other."""
        if merge.name or at != min(merge.reads):
            return
        merge.name = self._names.fresh("")
        for ref in merge.ordered():
            condition = frozenset(v for v, source in merge.sources.items() if source == ref)
            out.append((condition, Copy(merge.name, self._called[ref])))

    def _name_of(self, source: Ref | _Merge) -> str:
        return source.name if isinstance(source, _Merge) else self._called[source]

    # -- statements

    def _statements(self, at: int, slot: Slot) -> tuple[Statement, ...]:
        item = next(iter(slot.items.values()))
        if item.tensor is not None:
            return self._declaration(at, slot, item)
        return (self._statement(at, slot, item),)

    def _statement(self, at: int, slot: Slot, item: Item) -> Statement:
        callee, label, count, operands = slot.key
        if callee.startswith(f"={SHARED} "):
            if not re.fullmatch(r"[A-Za-z_]\w*", label):
                raise CannotMergeError(f"`{label}` is called again, and its name has dots")
            self._names.take(label)
            own = callee.partition(" ")[2]
            return SharedLayer(label, own, self._arguments(slot, item), len(item.required))
        read = [self._operands[at, i] for i in range(operands)]
        names = tuple(self._name_of(source) for source in read)
        targets = tuple(self._target(at, slot, part, read) for part in range(count))
        for source in dict.fromkeys(read):
            if self._dies(source, at) and self._name_of(source) not in targets:
                self._release(source)
        arguments = self._arguments(slot, item)
        note = ""
        if self._noted and count == 1:
            shape = self._lined_up.shape_of(slot, 0)
            note = plain_list(shape) if shape is not None else ""
        return Step(targets, callee, names, arguments, label, note, len(item.required))

    def _declaration(self, at: int, slot: Slot, item: Item) -> tuple[Statement, ...]:
        """Return the declaration of a tensor, behind the loops that make its numbers if some do."""
        kind, name = slot.key[0][1:], slot.key[1]
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise CannotMergeError(f"`{name}` is a tensor whose name has dots")
        self._called[Ref(False, at)] = name
        self._names.take(name)
        text = self._expressions.text
        sizes = [text(slot, name) for name in item.constants if name != "initial"]
        initial, counts = text(slot, "initial"), self._counting(slot, item)
        shape = f"[{', '.join(sizes)}]"
        if counts is None:
            return (Declaration(kind, name, shape, initial),)
        table = CountingTable.of(self._names.word("numbers"), counts, self._names)
        return table, Declaration(kind, name, shape, table.name)

    def _counting(self, slot: Slot, item: Item) -> Counting | None:
        """Return how the numbers of a tensor count, if they are written here."""
        is_here = self._expressions.text(slot, "initial") == item.constants["initial"]
        return item.counting if is_here else None

    def _arguments(self, slot: Slot, item: Item) -> tuple[tuple[str, str], ...]:
        found = []
        for name in (*item.required, *(n for n in item.constants if n not in item.required)):
            text = self._expressions.text(slot, name)
            if name not in item.defaults or text != item.defaults[name]:
                found.append((name, text))
        return tuple(found)

    def _target(self, at: int, slot: Slot, part: int, read: Sequence[Ref | _Merge]) -> str:
        """Return the name of a value: that of an operand which is not read any more, or a new one."""
        ref = Ref(False, at, part)
        everything = frozenset(range(self._lined_up.variants))
        if ref in self._redefined:
            self._called[ref] = self._redefined[ref].name
            return self._called[ref]
        if part == 0 and frozenset(slot.items) == everything:
            dying = [self._name_of(s) for s in dict.fromkeys(read) if self._dies(s, at)]
            usable = [n for n in dying if n not in self._expressions.pinned]
            called = self._source_name(at)
            if called in usable or self._names.can_be(called):
                self._names.take(called)
                self._called[ref] = called
                return called
            if usable:
                first = self._lined_up.inputs[0] if self._lined_up.inputs else ""
                name = first if first in usable else usable[0]
                self._called[ref] = name
                return name
        name = self._names.fresh(self._hint(at))
        self._called[ref] = name
        return name

    def _release(self, source: Ref | _Merge) -> None:
        """Let other values have the name of one that is not read any more."""
        name = self._name_of(source)
        if name not in self._lined_up.inputs and not self._is_merged_elsewhere(source, None):
            self._names.release(name)

    def _dies(self, source: Ref | _Merge, at: int) -> bool:
        if isinstance(source, _Merge):
            return max(source.reads) <= at
        is_declared = not source.is_input and self._lined_up.slots[source.index].key[0][0] == "="
        return not is_declared and max(self._reads[source]) <= at

    def _source_name(self, at: int) -> str:
        """Return what the source calls a value, if all calls have the same name for it; else nothing."""
        names = {item.called for item in self._lined_up.slots[at].items.values()}
        return names.pop() if len(names) == 1 else ""

    def _hint(self, at: int) -> str:
        """Return what a value may be called: by the source, or by what the labels of the layers that
        follow have in front.
        """
        called = self._source_name(at)
        if self._names.can_be(called):
            return called
        if not self._lined_up.is_block and self._names.is_free("x"):
            return "x"
        labels = []
        now = at
        while True:
            label = self._lined_up.slots[now].key[1]
            if label:
                labels.append(label.split(".")[0])
            reads = self._reads.get(Ref(False, now), [])
            if len(reads) != 1 or reads[0] >= len(self._lined_up.slots):
                break
            now = reads[0]
            if self._lined_up.slots[now].key[3] != 1:
                break
        if labels and len(set(labels)) == 1:
            return identifier(labels[0]).rstrip("0123456789")
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
            condition = self._expressions.condition(variants)
            found.append(When(condition, tuple(statements), tuple(otherwise)))
        return found
