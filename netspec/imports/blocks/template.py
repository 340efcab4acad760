"""One block for all calls of a class: what differs between them becomes arguments and conditions.

The items of the calls are lined up. Where calls have the same items with other constants, the
constants become arguments; where some have items that others lack, the items stand under a
condition. What cannot be lined up becomes a block for each kind of call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netspec import codes
from netspec.compiler.ops import registry
from netspec.diagnostics import NetspecError
from netspec.imports.blocks.expressions import Expressions
from netspec.imports.blocks.items import Definition, items_of
from netspec.imports.blocks.lined_up import CannotMergeError, LinedUp, ValueShapes
from netspec.imports.blocks.tables import Tables
from netspec.imports.blocks.writing import Writing
from netspec.imports.call_tree import ModuleCall
from netspec.imports.loops import with_loops
from netspec.imports.outline import BlockOutline, Loop, Statement, When
from netspec.imports.value_names import Names
from netspec.text.free_name import take_name


@dataclass(frozen=True, slots=True)
class Body:
    """The statements of the net itself, and the names of its outputs' values."""

    body: tuple[Statement, ...]
    results: tuple[str, ...]


class Blocks:
    """The blocks of a net, found class by class, the inner ones first."""

    def __init__(self, net_name: str, inputs: Sequence[str], shapes: ValueShapes) -> None:
        self._taken = {net_name}
        self._shapes = shapes
        self._tables = Tables(inputs)
        self._of_calls: dict[ModuleCall, Definition] = {}

    def define(self, kind: str, calls: Sequence[ModuleCall]) -> list[BlockOutline]:
        """Return the blocks for the calls of a class: one, if they can share it.

        There is none if no two calls are alike: they had better lie in their parents.

        Raises:
            NetspecError: `import/inexpressible` for a name that no statement can have.
        """
        try:
            templates = [self._template(calls)]
        except CannotMergeError:
            variants = self._variants(calls)
            if all(len(alike) == 1 and not alike[0].tensors for alike in variants):
                return []
            try:
                templates = self._groups(variants)
            except CannotMergeError as error:  # one alone
                raise _without_a_name(error) from None
        found = []
        for template in templates:
            definition = template.definition(self._free_name(kind))
            self._of_calls.update(dict.fromkeys(definition.calls, definition))
            found.append(definition.outline)
        return found

    def net(self, root: ModuleCall) -> Body:
        """Return the statements of the net itself.

        Raises:
            NetspecError: `import/inexpressible` for a name that no statement can have.
        """
        inputs = list(root.inputs)
        try:
            template = _Template([root], self._of_calls, self._shapes, self._tables, inputs)
        except CannotMergeError as error:
            raise _without_a_name(error) from None
        statements, results = template.statements(), template.results()
        return Body((*self._tables.read_by(statements), *statements), results)

    def _variants(self, calls: Sequence[ModuleCall]) -> list[list[ModuleCall]]:
        variants: dict[object, list[ModuleCall]] = {}
        for call in calls:
            items, results = items_of(call, self._of_calls)
            key = (tuple((i.key, i.refs, i.lengths) for i in items), results, len(call.inputs))
            variants.setdefault(key, []).append(call)
        return list(variants.values())

    def _groups(self, variants: Sequence[Sequence[ModuleCall]]) -> list[_Template]:
        """Return templates for as many variants each as can share one, and are shorter with it."""
        groups: list[_Template] = []
        for alike in variants:
            alone = self._template(alike)
            for i, group in enumerate(groups):
                try:
                    both = self._template([*group.calls, *alike])
                except CannotMergeError:
                    continue
                if both.length < group.length + alone.length:
                    groups[i] = both
                    break
            else:
                groups.append(alone)
        return groups

    def _template(self, calls: Sequence[ModuleCall]) -> _Template:
        return _Template(calls, self._of_calls, self._shapes, self._tables)

    def _free_name(self, kind: str) -> str:
        name = re.sub(r"\W|_", "", kind) or "Block"
        name = name[0].upper() + name[1:]
        if not name[0].isalpha():
            name = f"Block{name}"
        if name in registry():
            name = f"{name}Block"
        return take_name(name, self._taken, joint="")


def _without_a_name(error: CannotMergeError) -> NetspecError:
    message = f"{error}: a file has no such names"
    better = "give it a name without dots in its module, as `self.fc1` has one"
    return NetspecError.simple(codes.IMPORT_INEXPRESSIBLE, message, better)


class _Template:
    """The body that several calls share.

    Raises:
        CannotMergeError: if they are too different.
    """

    def __init__(
        self,
        calls: Sequence[ModuleCall],
        inner: Mapping[ModuleCall, Definition],
        shapes: ValueShapes,
        tables: Tables,
        names: list[str] | None = None,
    ) -> None:
        """Line up the calls of a class; with `names` of its inputs, the net itself."""
        counts = {(len(call.inputs), len(call.outputs)) for call in calls}
        if len(counts) > 1:
            raise CannotMergeError
        ((inputs, _),) = counts
        noted = names is not None
        if names is None:
            names = ["x"] if inputs == 1 else [f"x{i + 1}" for i in range(inputs)]
        self.calls = calls
        lined_up = LinedUp(calls, inner, shapes, names)
        self._inputs = names
        self._expressions = Expressions(lined_up, tables)
        labels = {label for item in lined_up.items for label in item.labels}
        labels |= {slot.key[1] for slot in lined_up.slots if slot.is_declaration}
        arguments = {a.name for a in self._expressions.arguments()}
        used = Names({*names, *labels, *arguments, *tables.names})
        self._written = Writing(lined_up, self._expressions, used, noted=noted).write()

    def definition(self, name: str) -> Definition:
        """Return the block."""
        arguments = self._expressions.arguments()
        outline = BlockOutline(
            name, arguments, tuple(self._inputs), self._written.statements, self._written.results
        )
        given = {call: self._expressions.given(i) for i, call in enumerate(self.calls)}
        return Definition(outline, self.calls, given)

    @property
    def length(self) -> int:
        """How much there is to read: statements, loops and conditions with their ends, and arguments."""
        return _count(with_loops(self._written.statements)) + len(self._expressions.arguments())

    def statements(self) -> tuple[Statement, ...]:
        """Return the statements."""
        return self._written.statements

    def results(self) -> tuple[str, ...]:
        """Return the names of the results."""
        return self._written.results


def _count(statements: Sequence[Statement]) -> int:
    found = 0
    for statement in statements:
        if isinstance(statement, When):
            found += 2 + _count((*statement.body, *statement.otherwise))
        else:
            found += 2 + _count(statement.body) if isinstance(statement, Loop) else 1
    return found
