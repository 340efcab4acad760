"""Shape comments held to the truth, each time the value that one is about is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from netspec import codes
from netspec.compiler.elaborate.expressions import Evaluator
from netspec.compiler.elaborate.fix_its import is_inside, shape_hints
from netspec.compiler.elaborate.scope import UNKNOWN, Tensor, Tensors
from netspec.compiler.elaborate.statements import StatementRunner
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.sizes import Size, may_equal
from netspec.compiler.parse.shape_comments import ShapeComment
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Code, Edit, Hint, Label, Span, quoted

_BATCH, _ANY = "N", "_"


class CommentChecker(StatementRunner):
    """Compares values with what comments say of them.

    A comment speaks about the file as it is written: with other arguments it is silent. After a false
    one the values that follow from it are doubtful, until a comment on one of them is true again, so
    that one mistake is reported once, where it was made.
    """

    def check_comment(self, node: object, value: Any) -> None:
        """Warn if a comment gives another shape than the value has."""
        comment = self.module.shape_comments.get(node)
        if comment is None or not self.assembly.as_written:
            return
        values = value.items if isinstance(value, Tensors) else (value,)
        for each in values:
            if isinstance(each, Tensor):
                self._hold(comment, each)

    def has_defaults(
        self, parameters: Sequence[syntax.Parameter], given: Mapping[str, Any]
    ) -> bool:
        """Whether a net's arguments are those of its file, and the sizes that it leaves open are open."""
        defaults = {p.name.id: p.default for p in parameters}
        try:
            return all(
                (expr := defaults.get(name)) is not None and _Said(self).evaluate(expr) == value
                for name, value in given.items()
            )
        except _UnclearError:
            return False

    def _hold(self, comment: ShapeComment, value: Tensor) -> None:
        sink, doubtful = self.assembly.sink, self.assembly.doubtful
        try:
            sizes, said = _Said(self).shape(comment, len(value.shape))
        except _UnclearError as error:
            if not sink.knows(codes.SHAPE_COMMENT_VALUE, error.span):
                message = f"this comment gives a shape, but {error.message}"
                self.report(codes.SHAPE_COMMENT_VALUE, message, error.span, hints=error.hints)
            return
        if UNKNOWN in said:
            return
        if _holds(said, value.shape):
            doubtful.pop(value.name, None)
            return
        # What a call of a block should give is said by the caller: if that is false too, the call may
        # be the mistake.
        depth = self.assembly.calls_deep
        if doubtful.get(value.name, depth + 1) <= depth:
            return
        doubtful[value.name] = depth
        about = comment.about
        if about.line != comment.span.line and is_inside(value.span, about):
            about = value.span  # the branch that was taken, of a choice over several lines
        if sink.knows(codes.SHAPE_COMMENT, about):
            return
        shown = _shown(said)
        notes = tuple(
            f"{quoted(size.span.text)[1:-1]} = {item}"
            for size, item in zip(sizes, said, strict=True)
            if item is not _ANY and not isinstance(size, syntax.Literal)
        )
        self.report(
            codes.SHAPE_COMMENT, f"the shape here is {show_shape(value.shape)}, not {shown}",
            about,
            label=f"gives {show_shape(value.shape)}",
            secondary=(Label(comment.span, "the comment"),),
            notes=notes,
            hints=() if self.trace() else tuple(self._hints(comment, sizes, said, value)),
        )  # fmt: skip

    def _hints(
        self, comment: ShapeComment, sizes: tuple[syntax.Expr, ...], said: list[Any], value: Tensor
    ) -> Iterator[Hint]:
        """A layer that would make the comment true, and a comment that would be true."""
        wanted = tuple(None if item is _ANY else item for item in said)
        yield from shape_hints(self.assembly, value.name, comment.about, wanted)
        kept = [size.span.text for size in sizes]
        if len(said) != len(value.shape):
            if not all(isinstance(size, syntax.Literal) for size in sizes):
                return
            kept = [str(size) for size in value.shape]
        for i, size in enumerate(value.shape[: len(sizes)]):
            if (
                kept[i] != str(size)
                and said[i] is not _ANY
                and not _holds(said[i : i + 1], (size,))
            ):
                if not isinstance(sizes[i], syntax.Literal):
                    return
                kept[i] = str(size)
        batch = f"{_BATCH}, " if len(comment.sizes) > len(sizes) else ""
        right = f"[{batch}{', '.join(kept)}]"
        yield Hint(f"if the layers are right, say `# {right}`", (Edit(comment.span, right),))


def _holds(said: list[Any], shape: Shape) -> bool:
    return len(said) == len(shape) and all(
        item is _ANY or may_equal((item,), (size,)) for item, size in zip(said, shape, strict=True)
    )


def _shown(said: list[Any]) -> str:
    return "[" + ", ".join([_BATCH, *map(str, said)]) + "]"


class _UnclearError(Exception):
    """A size in a comment that cannot be worked out."""

    def __init__(self, message: str, span: Span, hints: tuple[Hint, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hints = hints


class _Said(Evaluator):
    """Works out the sizes in a comment.

    A comment is no code: it adds nothing to the net, and a name that it reads counts as unread.
    """

    def __init__(self, body: CommentChecker) -> None:
        self.body = body
        self.scope = body.scope.view()
        self.assembly = body.assembly
        self.module = body.module

    def shape(self, comment: ShapeComment, rank: int) -> tuple[tuple[syntax.Expr, ...], list[Any]]:
        """The sizes without the batch: as they are written, and their values."""
        sizes = comment.sizes
        first = sizes[0]
        is_batch = len(sizes) == rank + 1 or _BATCH not in self.scope.names()
        if isinstance(first, syntax.Name) and first.id == _BATCH and is_batch:
            sizes = sizes[1:]
        return sizes, [self._size(size) for size in sizes]

    def _size(self, expr: syntax.Expr) -> Any:
        if isinstance(expr, syntax.Name) and expr.id == _ANY and _ANY not in self.scope.names():
            return _ANY
        value = self.constant(expr, "a size")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if (isinstance(value, (int, Size)) and not isinstance(value, bool)) or value is UNKNOWN:
            return value
        raise _UnclearError(f"a size is a whole number, not {show(value)}", expr.span)

    def report(self, code: Code, message: str, span: Span, **more: Any) -> None:
        """What would be an error in code; of what would be a warning nothing is said."""
        if code.severity == "error":
            raise _UnclearError(message, span, more.get("hints", ()))

    def check_comment(self, node: object, value: Any) -> None:
        """Nothing is said of a comment."""

    def apply(
        self, call: syntax.Call, inputs: list[Any], label: syntax.Label | None, span: Span
    ) -> NoReturn:
        """A comment calls no layers."""
        raise _UnclearError("a comment cannot call layers", span)

    def callables(self) -> list[str]:
        """As in the code."""
        return self.body.callables()

    def defined_later(self, name: str) -> Iterator[Span]:
        """As in the code."""
        return self.body.defined_later(name)

    def count_work(self, span: Span, units: int = 1) -> None:
        """It is bounded like the code."""
        self.body.count_work(span, units)
