"""The inputs of a net: their shapes, and the sizes that they leave open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.shape_lists import shape_of
from netspec.compiler.elaborate.values import UNKNOWN, Tensor, Unknown
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, quoted, suggest

if TYPE_CHECKING:
    from netspec.compiler.elaborate.expressions import CheckComment

# What other languages call the types of inputs.
_TYPES = {
    **dict.fromkeys(("float", "float16", "float32", "float64", "real", "double", "tensor"), ""),
    **dict.fromkeys(("int", "int8", "int16", "int32", "int64", "uint8", "long", "integer"), "int"),
    **dict.fromkeys(("bool", "boolean", "mask"), "bool"),
}


class Inputs:
    """Adds the inputs of a net to its assembly."""

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        check_comment: CheckComment,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.check_comment = check_comment

    def add(self, s: syntax.Input) -> None:
        """Add an input, and bind its name."""
        if self._has_other_type(s):
            self.names.scope.bind(s.name.id, UNKNOWN, s.name.span)
            return
        self._bind_open_sizes(s)
        value = self.evaluator.constant(s.shape, "the shape of an input")
        shape = None if isinstance(value, Unknown) else self._shape(value, s.shape)
        if shape is None:
            self.names.scope.bind(s.name.id, UNKNOWN, s.name.span)
            return
        taken = self.assembly.take(s.name.id, "", s.name.span)
        if taken is not None:
            earlier = (Label(taken[1], "already here"),)
            message = f"`{s.name.id}` is taken"
            self.reporter.report(codes.NAME_TWICE, message, s.name.span, secondary=earlier)
        self.assembly.add_input(s.name.id, shape, s.holds)
        if isinstance(s.shape, syntax.ListExpr):
            self.assembly.input_shapes[s.name.id] = (s.shape, shape)
        tensor = Tensor(s.name.id, shape, s.span, s.holds)
        self.names.scope.bind(s.name.id, tensor, s.name.span, must_read=True)
        self.check_comment(s, tensor)

    def _has_other_type(self, s: syntax.Input) -> bool:
        """Report the type of an input that other languages know, such as `float[16]`."""
        match s.shape:
            case syntax.Access(syntax.Name() as name, (syntax.Index(),)):
                meant = _TYPES.get(name.id.lower())
                if meant is None or name.id in self.names.scope:
                    return False
            case _:
                return False
        edits = (Edit(name.span, meant),)
        shown = quoted(apply_edits(s.shape.span, edits))
        help = f"real numbers need no word: {shown}" if not meant else f"write {shown}"
        message = f"an input holds `int`, `bool` or real numbers, not `{name.id}`"
        self.reporter.report(codes.INPUT_TYPE, message, name.span, hints=(Hint(help, edits),))
        return True

    def _bind_open_sizes(self, s: syntax.Input) -> None:
        """Bind the open sizes of `input image: [3, H, W]`: names in capitals that are not defined
        yet.
        """
        for name in open_sizes(s):
            if name.id not in self.names.scope:
                given = self.assembly.sizes.get(name.id)
                value = Size.named(name.id) if given is None else given
                self.names.scope.bind(name.id, value, name.span)
        self._bind_small_sizes(s)

    def _bind_small_sizes(self, s: syntax.Input) -> None:
        """Report the sizes of `[3, h, w]`, which were most likely meant as open, and bind them as
        such.
        """
        items = s.shape.items if isinstance(s.shape, syntax.ListExpr) else ()
        names = [item for item in items if isinstance(item, syntax.Name)]
        scope = self.names.scope
        small = [
            name
            for name in names
            if name.id not in scope
            and name.id not in other_frameworks.PYTHON_WORDS
            and name.id.upper() not in scope
            and name.id.upper().isupper()
            and suggest(name.id, scope.names()) is None
        ]
        edits = tuple(Edit(name.span, name.id.upper()) for name in small)
        shown = quoted(apply_edits(s.shape.span, edits))
        for name in small:
            if name.id not in scope:
                message = (
                    f"nothing is called `{name.id}` here; a size left open has a name of capitals"
                )
                hint = Hint(f"write {shown}", edits)
                self.reporter.report(codes.NAME_UNDEFINED, message, name.span, hints=(hint,))
                self.names.scope.bind(name.id, Size.named(name.id.upper()), name.span)

    def _shape(self, value: Constant, expr: syntax.Expr) -> Shape | None:
        """Return the shape that an input was given, or None after reporting an error."""
        hints = (Hint("the shape of one image, without the batch: [3, 32, 32]"),)
        return shape_of(value, expr, self.reporter, what="an input", longest=4, hints=hints)


def open_sizes(s: syntax.Input) -> Iterator[syntax.Name]:
    """Yield the names in an input's shape that may be open sizes: short, and all capitals."""
    for item in s.shape.items if isinstance(s.shape, syntax.ListExpr) else ():
        if isinstance(item, syntax.Name) and item.id.isupper() and len(item.id) <= 12:
            yield item
