"""The names that a body can use, and the errors for those that are not defined."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.definitions import (
    Definition,
    defined_only,
    definitions,
    move_hints,
)
from netspec.compiler.elaborate.net_builder import Assembly, Undefined
from netspec.compiler.elaborate.scope import Scope
from netspec.compiler.elaborate.values import UNKNOWN, SharedLayer, Value
from netspec.compiler.ir import constants, initializers
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Span, suggest

if TYPE_CHECKING:
    from netspec.compiler.elaborate.reporter import Reports

SPLIT = "split"
"""The name of a built-in that is called like a layer, but adds several."""


class Names:
    """The names that a body can use.

    Attributes:
        scope: the bindings of its values and constants.
        module: the file, with the blocks that it can call.
        statements: its own statements, from when they run.
    """

    def __init__(
        self,
        scope: Scope,
        module: Module,
        assembly: Assembly,
        reporter: Reports,
        statements: tuple[syntax.Statement, ...] = (),
    ) -> None:
        self.scope = scope
        self.module = module
        self.assembly = assembly
        self.reporter = reporter
        self.statements = statements

    def view(self, reporter: Reports) -> Names:
        """Return the same names with another reporter.

        Lookups in the result do not count as uses.
        """
        return Names(self.scope.view(), self.module, self.assembly, reporter, self.statements)

    def callables(self) -> list[str]:
        """Return the names of layers and blocks that can be called here."""
        return [*self.module.ops, SPLIT, *self.module.blocks]

    def is_function(self, name: str) -> bool:
        """Whether a name is that of a function of constants, such as `max`, and of no block.

        It may also be the name of a layer. Its arguments decide which of the two is called.
        """
        return (
            name in constants.FUNCTIONS
            and self.scope.get(name) is None
            and name not in self.module.blocks
        )

    def place(self, expr: syntax.Expr) -> Span:
        """Return where a constant was written. For a name, that is where its value was written."""
        binding = self.scope.get(expr.id) if isinstance(expr, syntax.Name) else None
        return expr.span if binding is None else self.assembly.written.get(binding.span, expr.span)

    def undefined(self, name: syntax.Name) -> Value:
        """Report an undefined name.

        Return the value of the name that was probably meant, or UNKNOWN.
        """
        if name.id in other_frameworks.PYTHON_WORDS:
            word, value = other_frameworks.PYTHON_WORDS[name.id]
            hint = Hint(f"write `{word}`", (Edit(name.span, word),))
            message = f"`{name.id}` is written `{word}` here"
            self.reporter.report(codes.NAME_UNDEFINED, message, name.span, hints=(hint,))
            return value
        if (comment := _comment(name.span)) is not None:
            message = f"nothing is called `{name.id}` here"
            self.reporter.report(codes.NAME_UNDEFINED, message, name.span, hints=(comment,))
            return UNKNOWN
        found = self.assembly.undefined.get(name.span)
        if found is not None:
            self._report(name, found)
            return self._guessed(name, found)
        found = self.assembly.undefined[name.span] = self._undefined(name)
        self._report(name, found)
        if found.meant is not None and (binding := self.scope.get(found.meant)) is not None:
            self.doubt(binding.span, name.id)
        return self._guessed(name, found)

    def _undefined(self, name: syntax.Name) -> Undefined:
        """Return the error for an undefined name."""
        is_layer = name.id in self.callables()
        found = [
            each
            for each in self.definitions(name.id)
            if not isinstance(each.statement, syntax.Layer)
        ]
        hints = move_hints(name, found, self.statements, self.scope.names())
        meant = suggest(name.id, [*self.scope.names(), *initializers.RULES]) if not hints else None
        if meant is not None:
            hints = (Hint(f"did you mean `{meant}`?", (Edit(name.span, meant),)),)
        elif not hints and not is_layer and self._lacks_inputs():
            hints = (Hint(f"declare it, if it is an input: `input {name.id}: [3, 32, 32]`"),)
        elif not hints and (known := self.scope.names()) and len(known) <= 8 and not is_layer:
            hints = (Hint(f"known here: {', '.join(known)}"),)
        message = f"nothing is called `{name.id}` here"
        if is_layer:
            message = f"`{name.id}` is a layer, not a value"
            hints += (Hint(f"a layer is called on a value: `x -> {name.id}`"),)
        return Undefined(message, defined_only(found), hints, meant)

    def _lacks_inputs(self) -> bool:
        """Whether the body is that of a net without any input."""
        kinds = {type(statement) for statement in self.statements}
        return syntax.Output in kinds and syntax.Input not in kinds

    def definitions(self, name: str) -> list[Definition]:
        """Return what defines a name in the body, wherever that stands."""
        statements = self.statements
        index = self.assembly.definitions.get(id(statements))
        if index is None:
            index = self.assembly.definitions[id(statements)] = definitions(statements)
        return index.get(name, [])

    def _report(self, name: syntax.Name, error: Undefined) -> None:
        self.reporter.report(
            codes.NAME_UNDEFINED,
            error.message,
            name.span,
            secondary=error.later,
            hints=error.hints,
        )

    def _guessed(self, name: syntax.Name, error: Undefined) -> Value:
        """Return the value of the name that was probably meant, or UNKNOWN."""
        binding = self.scope.get(error.meant) if error.meant is not None else None
        if binding is None:
            return UNKNOWN
        self.guess(name.span)
        return binding.value

    def places(self, name: str) -> Iterator[Span]:
        """Yield where the body writes a name, what it stands for there aside."""
        statements = self.statements
        index = self.assembly.places_of_names.get(id(statements))
        if index is None:
            index = self.assembly.places_of_names[id(statements)] = {}
            for part in syntax.parts(statements):
                if isinstance(part, syntax.Name):
                    index.setdefault(part.id, []).append(part.span)
        yield from index.get(name, ())

    def skip(self, tree: object) -> None:
        """Skip a part of the file, which is not executed. The names in it still count as used."""
        known = self.module.names_in
        if tree not in known:
            # What is nested in it comes first, for that is a part of what is around it: each statement of
            # a deep nest is looked at once.
            nest = syntax.nested((tree,)) if isinstance(tree, _NESTS) else ()
            for each in reversed([tree, *(s for s in nest if isinstance(s, _NESTS))]):
                if each not in known:
                    known[each] = frozenset(_names_in(each, known))
        for name in known[tree]:
            binding = self.scope.get(name)
            if binding is not None and isinstance(binding.value, SharedLayer):
                self.skip(binding.value.call)

    def guess(self, span: Span) -> None:
        """Mark a span as guessed: errors that follow from it there are not reported."""
        self.assembly.guessed.add(span)

    def doubt(self, defined: Span, used: str) -> None:
        """Warn of a definition that no use refers to, if the undefined name `used` looks much like
        it.
        """
        name = defined.text
        used_once = len(re.findall(rf"\b{re.escape(name)}\b", defined.source.text)) == 1
        if name.isidentifier() and used_once:
            message = f"nothing reads `{name}`, and nothing is called `{used}`: one may be misspelt"
            self.reporter.report(codes.GRAPH_UNUSED, message, defined)


# The statements that have others in them.
_NESTS = (syntax.If, syntax.For)


def _names_in(tree: object, known: Mapping[object, frozenset[str]]) -> Iterator[str]:
    """Yield the names in a part of the file; those of what is nested in it are known."""
    parts: Iterable[object] = (tree,)
    if isinstance(tree, syntax.If):
        parts = (part for condition, body in tree.branches for part in (condition, *body))
        parts = (*parts, *tree.otherwise)
    elif isinstance(tree, syntax.For):
        parts = (tree.targets, tree.iterable, *tree.body)
    for part in parts:
        if isinstance(part, _NESTS):
            yield from known[part]
            continue
        found = syntax.parts(part, ("name", "label"))
        yield from (each.id for each in found if isinstance(each, syntax.Name))


def assigned(statements: Sequence[syntax.Statement]) -> Iterator[syntax.Name]:
    """Yield the names that statements give a value, including those in branches and loops."""
    for statement in syntax.nested(statements):
        if isinstance(statement, syntax.Assign):
            yield from statement.targets
        elif isinstance(statement, syntax.Declared):
            yield statement.name


def _comment(span: Span) -> Hint | None:
    """Return a hint for `x = 3  // three`: a word behind `//` at the end of a line is meant as a
    comment.
    """
    text = span.source.text
    before, behind = text[: span.start].rstrip(" \t"), text[span.end :].partition("\n")[0]
    if not before.endswith("//") or behind.strip():
        return None
    edit = Edit(Span(span.source, len(before) - 2, len(before)), "#")
    return Hint("a comment starts with `#`", (edit,))
