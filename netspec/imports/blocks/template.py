"""One block for all calls of a class: what differs between them becomes arguments and conditions.

The items of the calls are lined up. Where calls have the same items with other constants, the
constants become arguments; where some have items that others lack, the items stand under a
condition. What cannot be lined up becomes a block for each kind of call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netspec.compiler.ops import registry
from netspec.imports.blocks.expressions import Expressions
from netspec.imports.blocks.items import Definition, items_of
from netspec.imports.blocks.lined_up import CannotMergeError, LinedUp, ValueShapes
from netspec.imports.blocks.writing import Writing, Written
from netspec.imports.call_tree import ModuleCall
from netspec.imports.outline import Argument, BlockOutline, Statement
from netspec.imports.value_names import Names


@dataclass(frozen=True, slots=True)
class Body:
    """The statements of the net itself, and the names of its outputs' values."""

    body: tuple[Statement, ...]
    results: tuple[str, ...]


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
            items, results = items_of(call, inner)
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
        self._noted = noted
        self._lined_up = LinedUp(calls, inner, shapes, names)
        self._expressions = Expressions(self._lined_up)
        labels = {label for item in self._lined_up.items for label in item.labels}
        labels |= {slot.key[1] for slot in self._lined_up.slots if slot.is_declaration}
        self._names = Names({*names, *labels, *(a.name for a in self.arguments())})

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
    def _written(self) -> Written:
        return Writing(self._lined_up, self._expressions, self._names, noted=self._noted).write()
