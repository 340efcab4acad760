"""Checks asserts: those about constants and shapes where they stand, those about the whole net at
the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netspec import codes
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.values import Tensor
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.net_facts import NET_FACTS
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import quoted


class Asserts:
    """Checks the asserts of a body."""

    def __init__(
        self, assembly: Assembly, names: Names, reporter: Reporter, evaluator: Evaluator
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator

    def check(self, s: syntax.Assert) -> None:
        """Check an assert, or defer it if it asks about the whole net."""
        used = {name.id for name in _names(s.condition)}
        asked = used.intersection(NET_FACTS).difference(self.names.scope.names())
        if not asked:
            self._check(s)
            return
        scope, turns = self.names.scope.part(used), list(self.reporter.turns)
        evaluate = self.evaluator.evaluate

        def check(facts: Mapping[str, Constant]) -> None:
            # Names must have the values that they had in that iteration of the loop.
            self.names.scope, self.reporter.turns = scope, turns
            self.evaluator.evaluate = evaluate  # the body may have been finished, which deletes it
            for fact in asked.intersection(facts):
                scope.bind(fact, facts[fact], s.span)
            self._check(s)

        self.assembly.deferred.append(check)

    def _check(self, s: syntax.Assert) -> None:
        if self.evaluator.condition(s.condition) is not False:
            return
        part = s.condition
        if isinstance(part, syntax.Logic) and part.operator == "and":
            part = next(item for item in part.items if self.evaluator.condition(item) is False)
        terms: list[syntax.Expr] = list(_names(part))
        if isinstance(part, syntax.Compare):
            terms += [part.first, *(operand for _, operand in part.rest)]
        facts = {}
        for term in terms:
            # A term that calls layers is not evaluated again, because that would add the layers
            # again.
            is_plain = not any(
                isinstance(e, (syntax.Call, syntax.Pipeline))
                for e in syntax.parts(term, syntax.NAMING)
            )
            if is_plain and not isinstance(term, (syntax.Literal, syntax.ListExpr)):
                value = self.evaluator.evaluate(term)
                shown = show_shape(value.shape) if isinstance(value, Tensor) else show(value)
                facts[quoted(term.span.text)[1:-1]] = shown
        message = s.message or f"{quoted(s.condition.span.text)} does not hold"
        notes = tuple(f"{term} = {value}" for term, value in facts.items())
        self.reporter.report(codes.ASSERT_FAILED, message, part.span, label="is false", notes=notes)


def check_deferred(assembly: Assembly) -> None:
    """Check the asserts about the whole net."""
    if assembly.deferred and not assembly.failed:
        facts = assembly.totals()
        for check in assembly.deferred:
            check(facts)


def _names(expr: syntax.Expr) -> Iterator[syntax.Name]:
    """Yield the names in an expression that stand for values and constants."""
    return (part for part in syntax.parts(expr, syntax.NAMING) if isinstance(part, syntax.Name))
