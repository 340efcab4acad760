"""Checks shape comments, each time that the value which one is about is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from netspec import codes
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.expressions import Expressions
from netspec.compiler.elaborate.fix_its import is_inside, shape_hints
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.sketch import ValueTypes
from netspec.compiler.elaborate.values import Input, Tensor, Tensors, Unknown, Value
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.sizes import Dim, Size, may_equal
from netspec.compiler.parse.shape_comments import ShapeComment
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Code, Edit, Hint, Label, Span, quoted

if TYPE_CHECKING:
    from typing import Unpack

    from netspec.compiler.elaborate.reporter import Details

_BATCH, _ANY = "N", "_"


class ShapeComments:
    """Compares the shapes of values with those that comments state.

    A comment is about the file as it is written, so it is not checked with other arguments. After a
    wrong comment, the values computed from its value are doubtful until a comment on one of them is
    right. So each mistake is reported once, where it was made.
    """

    def __init__(self, assembly: Assembly, names: Names, reporter: Reporter) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.comments = names.module.shape_comments
        self._sizes: _Sizes | None = None

    def check(self, node: object, value: Value) -> None:
        """Keep the shape of a value, and warn if a comment states another one."""
        values: Sequence[Value]
        types: ValueTypes
        if isinstance(value, Tensor):
            values, types = (value,), ((value.shape, value.holds),)
        elif isinstance(value, Tensors):
            values = value.items
            types = tuple((each.shape, each.holds) for each in values if isinstance(each, Tensor))
        else:
            return
        self.assembly.given.setdefault(node, {})[types] = None
        comment = self.comments.get(node)
        if comment is None or not self.assembly.as_written:
            return
        for each in values:
            if isinstance(each, Tensor):
                self._hold(comment, each)

    def has_defaults(
        self, parameters: Sequence[syntax.Parameter], given: Mapping[str, Constant]
    ) -> bool:
        """Whether a net's arguments have their default values, and its open sizes no values."""
        defaults = {p.name.id: p.default for p in parameters}
        evaluate = _Sizes(self.names, self.reporter).evaluator.evaluate
        try:
            return all(
                (expr := defaults.get(name)) is not None and evaluate(expr) == value
                for name, value in given.items()
            )
        except _UnclearError:
            return False

    def _hold(self, comment: ShapeComment, value: Tensor) -> None:
        sink, doubtful = self.assembly.sink, self.assembly.doubtful
        try:
            if self._sizes is None:
                self._sizes = _Sizes(self.names, self.reporter)
            sizes, said = self._sizes.shape(comment, len(value.shape))
        except _UnclearError as error:
            if not sink.knows(codes.SHAPE_COMMENT_VALUE, error.span):
                message = f"this comment gives a shape, but {error.message}"
                self.reporter.report(
                    codes.SHAPE_COMMENT_VALUE, message, error.span, hints=error.hints
                )
            return
        if said is None:
            return
        if _holds(said, value.shape):
            doubtful.pop(value.name, None)
            return
        # The caller's comment says what a call of a block should give. If it is wrong too, the call
        # may be the mistake.
        depth = self.assembly.calls_deep
        if doubtful.get(value.name, depth + 1) <= depth:
            return
        doubtful[value.name] = depth
        about = comment.about
        if about.line != comment.span.line and is_inside(value.span, about):
            about = value.span  # the branch taken, if the choice has several lines
        if sink.knows(codes.SHAPE_COMMENT, about):
            return
        shown = _shown(said)
        notes = tuple(
            f"{quoted(size.span.text)[1:-1]} = {item}"
            for size, item in zip(sizes, said, strict=True)
            if item is not None and not isinstance(size, syntax.Literal)
        )
        self.reporter.report(
            codes.SHAPE_COMMENT, f"the shape here is {show_shape(value.shape)}, not {shown}",
            about,
            label=f"gives {show_shape(value.shape)}",
            secondary=(Label(comment.span, "the comment"),),
            notes=notes,
            hints=() if self.reporter.trace() else tuple(self._hints(comment, sizes, said, value)),
        )  # fmt: skip

    def _hints(
        self,
        comment: ShapeComment,
        sizes: tuple[syntax.Expr, ...],
        said: Sequence[Dim | None],
        value: Tensor,
    ) -> Iterator[Hint]:
        """Yield a hint that changes a layer to make the comment right, and one that corrects the
        comment.
        """
        yield from shape_hints(self.assembly, value.name, comment.about, said)
        kept = [size.span.text for size in sizes]
        if len(said) != len(value.shape):
            if not all(isinstance(size, syntax.Literal) for size in sizes):
                return
            kept = [str(size) for size in value.shape]
        for i, size in enumerate(value.shape[: len(sizes)]):
            if (
                kept[i] != str(size)
                and said[i] is not None
                and not _holds(said[i : i + 1], (size,))
            ):
                if not isinstance(sizes[i], syntax.Literal):
                    return
                kept[i] = str(size)
        batch = f"{_BATCH}, " if len(comment.sizes) > len(sizes) else ""
        right = f"[{batch}{', '.join(kept)}]"
        yield Hint(f"if the layers are right, say `# {right}`", (Edit(comment.span, right),))


def _holds(said: Sequence[Dim | None], shape: Shape) -> bool:
    return len(said) == len(shape) and all(
        item is None or may_equal((item,), (size,)) for item, size in zip(said, shape, strict=True)
    )


def _shown(said: Sequence[Dim | None]) -> str:
    return "[" + ", ".join([_BATCH, *(_ANY if s is None else str(s) for s in said)]) + "]"


class _UnclearError(Exception):
    """Raised at a size in a comment that cannot be evaluated."""

    def __init__(self, message: str, span: Span, hints: tuple[Hint, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hints = hints


class _Refusals:
    """The reporter for comments: an error means that a size is unclear, and warnings are dropped."""

    def __init__(self, reporter: Reporter) -> None:
        self.count_work = reporter.count_work  # limited like that of code

    def report(self, code: Code, message: str, span: Span, **details: Unpack[Details]) -> None:
        """Give up a comment whose evaluation is an error.

        Raises:
            _UnclearError: for an error, but not for a warning.
        """
        if code.severity == "error":
            raise _UnclearError(message, span, details.get("hints", ()))


class _Sizes:
    """Evaluates the sizes in a comment.

    A comment is not code: it adds nothing to the net, and reading a name in it does not count as a
    use.
    """

    def __init__(self, names: Names, reporter: Reporter) -> None:
        refusals = _Refusals(reporter)
        self.names = names.view(refusals)
        self.evaluator = Evaluator(refusals)
        expressions = Expressions(
            self.names, refusals, self.evaluator, names.assembly, _refuse_call, _say_nothing
        )
        self.evaluator.evaluate = expressions.evaluate

    def shape(
        self, comment: ShapeComment, rank: int
    ) -> tuple[tuple[syntax.Expr, ...], list[Dim | None] | None]:
        """Return the sizes without the batch: as written, and their values.

        A value of None allows any size. The values are None altogether if one of them is unknown.
        """
        sizes = comment.sizes
        first = sizes[0]
        is_batch = len(sizes) == rank + 1 or _BATCH not in self.names.scope.names()
        if isinstance(first, syntax.Name) and first.id == _BATCH and is_batch:
            sizes = sizes[1:]
        values = [None if self._is_any(size) else self._size(size) for size in sizes]
        known = [value for value in values if not isinstance(value, Unknown)]
        return sizes, known if len(known) == len(values) else None

    def _is_any(self, expr: syntax.Expr) -> bool:
        is_any = isinstance(expr, syntax.Name) and expr.id == _ANY
        return is_any and _ANY not in self.names.scope.names()

    def _size(self, expr: syntax.Expr) -> Dim | Unknown:
        value = self.evaluator.constant(expr, "a size")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (int, Size, Unknown)) and not isinstance(value, bool):
            return value
        raise _UnclearError(f"a size is a whole number, not {show(value)}", expr.span)


def _refuse_call(
    call: syntax.Call, inputs: Sequence[Input], label: syntax.Label | None, span: Span
) -> NoReturn:
    raise _UnclearError("a comment cannot call layers", span)


def _say_nothing(node: object, value: Value) -> None:
    """Ignore values inside a comment: they have no comments of their own."""
