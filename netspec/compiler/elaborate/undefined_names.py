"""What a body reports by, and what it says of names that nothing is called by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.scope import UNKNOWN, Scope, SharedLayer
from netspec.compiler.ir import initializers
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Code, Edit, Hint, Label, Span, suggest


class Reporter:
    """The part of a body that knows its names."""

    scope: Scope
    assembly: Assembly
    module: Module

    def report(self, code: Code, message: str, span: Span, **more: Any) -> None:
        """Report an error or a warning here."""
        raise NotImplementedError

    def callables(self) -> list[str]:
        """The names of layers and blocks that can be called here."""
        raise NotImplementedError

    def defined_later(self, name: str) -> Iterator[Span]:
        """Where the body gives a name that it does not know yet."""
        raise NotImplementedError

    def undefined(self, name: syntax.Name) -> Any:
        """Report an unknown name, and go on with what was probably meant."""
        if name.id in other_frameworks.PYTHON_WORDS:
            word, value = other_frameworks.PYTHON_WORDS[name.id]
            hint = Hint(f"write `{word}`", (Edit(name.span, word),))
            message = f"`{name.id}` is written `{word}` here"
            self.report(codes.NAME_UNDEFINED, message, name.span, hints=(hint,))
            return value
        if (comment := _comment(name.span)) is not None:
            message = f"nothing is called `{name.id}` here"
            self.report(codes.NAME_UNDEFINED, message, name.span, hints=(comment,))
            return UNKNOWN
        is_layer = name.id in self.callables()
        meant = suggest(name.id, [*self.scope.names(), *initializers.RULES])
        hints: tuple[Hint, ...] = ()
        if meant is not None:
            hints = (Hint(f"did you mean `{meant}`?", (Edit(name.span, meant),)),)
        elif (known := self.scope.names()) and len(known) <= 8 and not is_layer:
            hints = (Hint(f"known here: {', '.join(known)}"),)
        message = f"nothing is called `{name.id}` here"
        if is_layer:
            message = f"`{name.id}` is a layer, not a value"
            hints += (Hint(f"a layer is called on a value: `x -> {name.id}`"),)
        later = tuple(Label(span, "defined only here") for span in self.defined_later(name.id))
        self.report(codes.NAME_UNDEFINED, message, name.span, secondary=later, hints=hints)
        binding = self.scope.get(meant) if meant is not None else None
        if binding is None:
            return UNKNOWN
        self.doubt(binding.span, name.id)
        self.guess(name.span)
        return binding.value

    def skip(self, tree: Any) -> None:
        """Go on without running a part of the file: what it names is of use all the same."""
        names = self.assembly.names_skipped.get(id(tree))
        if names is None:
            found = syntax.parts(tree, ("name", "label"))
            names = frozenset(part.id for part in found if isinstance(part, syntax.Name))
            self.assembly.names_skipped[id(tree)] = names
        for name in names:
            binding = self.scope.get(name)
            if binding is not None and isinstance(binding.value, SharedLayer):
                binding.value.scope.skip(binding.value.call)

    def guess(self, span: Span) -> None:
        """Go on with a guess: the file does not say what follows from it there."""
        self.assembly.guessed.add(span)

    def doubt(self, defined: Span, used: str) -> None:
        """Warn of a definition that nothing uses under its name, while `used` looks much like it."""
        name = defined.text
        used_once = len(re.findall(rf"\b{re.escape(name)}\b", defined.source.text)) == 1
        if name.isidentifier() and used_once:
            message = f"nothing reads `{name}`, and nothing is called `{used}`: one may be misspelt"
            self.report(codes.GRAPH_UNUSED, message, defined)


def _comment(span: Span) -> Hint | None:
    """`x = 3  // three`: a word behind `//` at the end of a line was meant as a comment."""
    text = span.source.text
    before, behind = text[: span.start].rstrip(" \t"), text[span.end :].partition("\n")[0]
    if not before.endswith("//") or behind.strip():
        return None
    edit = Edit(Span(span.source, len(before) - 2, len(before)), "#")
    return Hint("a comment starts with `#`", (edit,))
