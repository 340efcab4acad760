"""The shape behind each stage of a file, as an editor shows it and as a comment could state it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from netspec.compiler.elaborate.sketch import ValueTypes
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.records import record


@record(slots=True)
class StageShape:
    """The shapes of the value that a stage gives.

    Attributes:
        stage: the stage, or the value of a statement.
        types: what it gives, in each case that differs: a block may be called with several shapes.
    """

    stage: syntax.Stage | syntax.Expr
    types: tuple[ValueTypes, ...]

    @property
    def span(self) -> Span:
        """The span of the stage."""
        return self.stage.span

    def texts(self) -> list[str]:
        """Return each case in words, as `[N, 8, 32, 32]`; several values have commas between."""
        return [", ".join(show_shape(*each) for each in case) for case in self.types]


def stage_shapes(
    module: Module, given: Mapping[object, Sequence[ValueTypes]]
) -> Iterator[StageShape]:
    """Yield the shape behind each stage of a file that is known, in order.

    A stage whose shape a comment states is left out.

    Args:
        module: the file.
        given: what its stages gave, by their nodes.
    """
    stated = {_ends(node): None for node in module.shape_comments if _ends(node)}
    for part in syntax.parts(module.tree.definitions if module.tree else ()):
        if isinstance(part, syntax.Pipeline):
            for stage in part.stages:
                # A list without values has no shape to show.
                types = tuple(filter(None, given.get(stage, ())))
                if types and stage.span.end not in stated:
                    yield StageShape(stage, types)


def statement_shapes(
    module: Module, given: Mapping[object, Sequence[ValueTypes]]
) -> Iterator[StageShape]:
    """Yield the shape of what each statement computes without an arrow, such as `c = a + b`, in order;
    not of a value that only gets another name.

    Args:
        module: the file.
        given: what its expressions gave, by their nodes.
    """
    stated = {_ends(node) for node in module.shape_comments}
    for part in syntax.parts(module.tree.definitions if module.tree else ()):
        values: tuple[syntax.Expr, ...] = ()
        if isinstance(part, syntax.Return):
            values = part.values
        elif isinstance(part, syntax.Assign | syntax.Output):
            values = (part.value,)
        for value in values:
            types = tuple(filter(None, given.get(value, ())))
            is_plain = isinstance(value, syntax.Pipeline | syntax.Name | syntax.Access)
            if types and not is_plain and value.span.end not in stated:
                yield StageShape(value, types)


def _ends(node: object) -> int | None:
    span = getattr(node, "span", None)
    return span.end if isinstance(span, Span) else None
