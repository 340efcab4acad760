"""`parameter`, `buffer` and `constant`: arrays of a net's own, which are values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments, Bound
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.layers import Layers
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.shape_lists import shape_of
from netspec.compiler.elaborate.values import UNKNOWN, Input, Tensor, Unknown
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ops import declared_op
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint

if TYPE_CHECKING:
    from netspec.compiler.elaborate.expressions import CheckComment

# One axis more than a value can have: that of the batch.
MAX_RANK = 5
_BATCH = frozenset(("N", "n", "B", "b", "batch", "batch_size"))


class Declarations:
    """Adds the parameters, buffers and constants that a body declares.

    Attributes:
        batch_of: the value whose batch theirs has: a block's first input. A net's is that of its
            first input.
    """

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        layer_names: LayerNames,
        arguments: Arguments,
        layers: Layers,
        check_comment: CheckComment,
        *,
        is_block: bool,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.layer_names = layer_names
        self.arguments = arguments
        self.layers = layers
        self.check_comment = check_comment
        self.batch_of: Input | None = UNKNOWN if is_block else None

    def add(self, s: syntax.Declared) -> Input:
        """Add one of them, and return its value; UNKNOWN after a reported error."""
        shape = self._shape(s)
        given = self.evaluator.constant(s.initial, f"the initial value of a {s.kind}")
        rule = self._rule(s, self.arguments.init_rule(given, s.initial.span))
        path = self._path(s)
        of = self._batch_of(s)
        if shape is None or rule is None or path is None or isinstance(of, Unknown):
            return UNKNOWN
        value = self._value(s, shape, rule, path, of)
        self.check_comment(s, value)
        return value

    def _value(
        self, s: syntax.Declared, shape: Shape, rule: Initializer, path: str, of: Tensor
    ) -> Input:
        spans = {"": s.initial.span, "sizes": s.shape.span}
        bound = Bound({"sizes": shape, "batch_axis": _has_batch_axis(s)}, {"": rule}, spans=spans)
        op = bound.make(declared_op(s.kind))
        call = syntax.Call(syntax.Name(s.kind, s.name.span), (), s.name.span)
        return self.layers.add(op, bound, [of], call, s.span, path, self.layer_names.suffix)

    def _rule(self, s: syntax.Declared, rule: Initializer | None) -> Initializer | None:
        """Report a constant of random numbers, and return the rule of all else."""
        if rule is None or s.kind != "constant" or not rule.is_random:
            return rule
        message = f"a constant is not saved, so its values cannot be those of `{rule}`"
        notes = (
            "another run would draw other numbers than those that the weights were trained with",
        )
        hints = (Hint("a `buffer` is saved and not learned"),)
        self.reporter.report(codes.INIT_RULE, message, s.initial.span, notes=notes, hints=hints)
        return None

    def _path(self, s: syntax.Declared) -> str | None:
        name = s.name
        what = f"the name of a {s.kind}"
        written = self.names.places(name.id)
        if not self.layer_names.are_usable([name.id], name.span, what, written):
            return None
        path = self.layer_names.path(name.id)
        return path if self.layer_names.take(path, name.span, name.id) else None

    def _shape(self, s: syntax.Declared) -> Shape | None:
        if self._depends_on_batch(s):
            return None
        value = self.evaluator.constant(s.shape, f"the shape of a {s.kind}")
        if isinstance(value, Unknown):
            return None
        hints = (Hint("the shape as it is stored: [1, 197, 768], or [64, 1, 1]"),)
        what = f"a {s.kind}"
        return shape_of(value, s.shape, self.reporter, what=what, longest=MAX_RANK, hints=hints)

    def _depends_on_batch(self, s: syntax.Declared) -> bool:
        """Report a name in the shape that stands for the size of the batch, as in `[N, 1, 768]`."""
        known = self.names.scope.names()
        for i, item in enumerate(s.shape.items if isinstance(s.shape, syntax.ListExpr) else ()):
            if isinstance(item, syntax.Name) and item.id in _BATCH and item.id not in known:
                better = "a 1 in front stands for the axis of the batch"
                hints = (Hint(better, (Edit(item.span, "1"),)),) if i == 0 else ()
                message = (
                    f"a {s.kind} is the same for every batch, so no size of it can be `{item.id}`"
                )
                self.reporter.report(codes.SHAPE_BATCH, message, item.span, hints=hints)
                return True
        return False

    def _batch_of(self, s: syntax.Declared) -> Input:
        if self.batch_of is not None:
            return self.batch_of
        for name, shape in self.assembly.inputs.items():
            return Tensor(name, shape, s.span)
        if not self.assembly.failed:
            message = f"a {s.kind} is declared behind the first input of the net"
            self.reporter.report(codes.STATEMENT_PLACE, message, s.span)
        return UNKNOWN


def _has_batch_axis(s: syntax.Declared) -> bool:
    """Whether a 1 is written in front of other sizes, which then stands for the axis of the batch.

    It must be written: where a size such as `heads` happens to be 1, the axes stay what they are.
    """
    items = s.shape.items if isinstance(s.shape, syntax.ListExpr) else ()
    first = items[0] if len(items) > 1 else None
    return isinstance(first, syntax.Literal) and first.value == 1 and first.value is not True
