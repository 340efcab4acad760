"""The statements of a program as data: calls whose operands are not yet text.

What calls of a block have in common becomes a function only because operands can still be renamed.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from netspec.compiler.ir.graph import Node
from netspec.compiler.ir.plan import Buffer, GradientRef, Marker, Option, ParameterRef
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Size
from netspec.records import record
from netspec.text.python_tree import parse_python

# A line of a function has no more characters than this.
WIDTH = 96


@record(slots=True)
class Path:
    """The path of a block's call or of a layer, handed to the function that it shares."""

    name: str


@record(slots=True)
class Whole:
    """A mapping of a program, `b`, `p` or `g`, or another argument of all its functions."""

    name: str

    def __str__(self) -> str:
        return self.name


@record(slots=True)
class Local:
    """An argument of the function that a statement is in.

    `stands_for` is what it is in the first call: an operand, or a number or a tuple of them.
    """

    name: str
    stands_for: Operand | Option


Operand = Buffer | ParameterRef | GradientRef | Path
# The same for `isinstance`, which takes several times as long with a union.
OPERANDS = (Buffer, ParameterRef, GradientRef, Path)
Value = Operand | Marker | Whole | Local | Option


@record(slots=True)
class Argument:
    """An argument of a call. `keyword` is empty if it is given by its position."""

    value: Value
    keyword: str = ""


@record(slots=True)
class Note:
    """What a statement computes, for the comment above it.

    Attributes:
        where: its line in the file, as text.
        name: the layer; empty for a call of a block.
        op: the op, with numbers.
        source: the call as it is written in the file.
    """

    where: str
    name: str
    op: str
    source: str


@record(slots=True)
class BlockCall:
    """A call of a block.

    Attributes:
        block: the block's name.
        path: what the names of its layers begin with.
        use: the path with the number of the use, if the block is shared.
        where: the line of the call in the file, as text.
    """

    block: str
    path: str
    use: str
    where: str


@record(slots=True)
class Formula:
    """An expression of NumPy, with `{}` for each of its operands."""

    text: str


@record(slots=True)
class Statement:
    """A call; or a view where `function` is `RESHAPE`, or the values of a formula: the first argument
    is then the target.

    Attributes:
        notes: the layers that it computes.
        blocks: the calls of blocks that it is in, outermost first.
        layer: the layer, if it is of one alone.
    """

    function: str | Formula
    arguments: tuple[Argument, ...]
    notes: tuple[Note, ...] = ()
    blocks: tuple[BlockCall, ...] = ()
    layer: Node | None = None

    def values(self) -> Iterator[Value]:
        """Yield what it is called with."""
        return (argument.value for argument in self.arguments)


RESHAPE = "reshape"


@dataclass
class Function:
    """A function of a program.

    Attributes:
        way: what it is a part of: `sample`, `forward` or `backward`.
        path: the path that its argument `at` stands for in its first call; None for a function of
            the whole net.
        sizes: statements that read open sizes from the inputs.
    """

    name: str
    arguments: tuple[str, ...]
    doc: str
    statements: list[Statement]
    way: str
    path: str | None = None
    sizes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return its source."""
        lines = [*self.sizes, *body_lines(self.statements, self.path)]
        head = "\n".join(call_lines(f"def {self.name}", self.arguments))
        return "\n".join([f"{head}:", f'    """{self.doc}"""', *(f"    {line}" for line in lines)])


def body_lines(statements: Sequence[Statement], path: str | None) -> list[str]:
    """Return the lines of statements, with a comment above those from one line of a file."""
    lines: list[str] = []
    notes: tuple[Note, ...] = ()
    where: set[str] = set()
    comment = 0  # the line of the last comment
    for statement in statements:
        if not set(statement.notes) <= set(notes) or not statement.notes:
            here = {note.where for note in statement.notes}
            more = tuple(dict.fromkeys((*notes, *statement.notes)))
            together = _comment(more, path) if here == where and len(where) == 1 else ""
            if together and len(together) <= WIDTH:
                notes = more
                lines[comment] = together
            else:
                notes, where, comment = statement.notes, here, len(lines)
                lines += _comments(notes, path)
        lines += statement_lines(statement, path)
    return lines


def _comments(notes: Sequence[Note], path: str | None) -> list[str]:
    """Return a comment on one line if it fits, else on one for each line of the file."""
    comment = _comment(notes, path)
    if len(comment) <= WIDTH:
        return [comment] if notes else []
    return [_comment(list(each), path) for _, each in groupby(notes, lambda note: note.where)]


def _comment(notes: Sequence[Note], path: str | None) -> str:
    parts = [
        f"{where}: {', '.join(_made(note, path) for note in each)}"
        for where, each in groupby(notes, lambda note: note.where)
    ]
    return f"# {'; '.join(parts)}"


def _made(note: Note, path: str | None) -> str:
    name = note.name if path is None else relative(note.name, path)
    if not name:
        return note.op
    # A layer without a label has the name of its op, with a number.
    number = name.rpartition(".")[2].removeprefix(note.op)
    return name if number.isdecimal() else f"{name} = {note.op}"


def statement_lines(statement: Statement, path: str | None) -> list[str]:
    """Return a statement's lines."""
    values = [_argument(argument, path) for argument in statement.arguments]
    if statement.function == RESHAPE:
        target, source, *sizes = values
        return [f"{target} = {source}.reshape({', '.join(sizes)})"]
    if isinstance(statement.function, Formula):
        target, *operands = values
        return _assignment(f"{target}[...]", statement.function.text.format(*operands))
    return call_lines(statement.function, values)


def _argument(argument: Argument, path: str | None) -> str:
    text = value_text(argument.value, path)
    return f"{argument.keyword}={text}" if argument.keyword else text


def value_text(value: Value, path: str | None) -> str:
    """Return a value as source, in a function for the layers under `path`."""
    if isinstance(value, Local):
        return value.name
    if isinstance(value, Path):
        return _name(value.name, path)
    if isinstance(value, (Buffer, ParameterRef, GradientRef)):
        return f"{array_of(value)}[{_name(value.name, path)}]"
    return str(value) if isinstance(value, (Marker, Whole)) else _literal(value)


def array_of(operand: Buffer | ParameterRef | GradientRef) -> str:
    """Return the name of the mapping that holds an operand."""
    if isinstance(operand, Buffer):
        return "b"
    return "p" if isinstance(operand, ParameterRef) else "g"


def _name(name: str, path: str | None) -> str:
    """Return a quoted name."""
    if path is None:
        return f'"{name}"'
    if name == path:
        return "at"
    inner = relative(name, path)
    assert inner is not None, f"{name} is not under {path}"
    return f'f"{{at}}.{inner}"'


def relative(name: str, path: str) -> str | None:
    """Return a name without the path that it is under; None if it is not."""
    return name[len(path) + 1 :] if name.startswith(f"{path}.") else None


def is_under(name: str, path: str) -> bool:
    """Whether a name is that of a path, or of something in it."""
    return name == path or name.startswith(f"{path}.")


def _literal(value: Option) -> str:
    """Return a number, a word or a tuple of them as source; open sizes are local variables."""
    if isinstance(value, tuple):
        items = ", ".join(map(_literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    return size_text(value) if isinstance(value, Size) else repr(value)


def open_sizes_in(value: Value) -> set[str]:
    """Return the names of the open sizes that a value is made of."""
    if isinstance(value, tuple):
        return set().union(*map(open_sizes_in, value))
    return set(value.names()) if isinstance(value, Size) else set()


def _assignment(target: str, formula: str) -> list[str]:
    if len(target) + len(formula) + 3 <= WIDTH:
        return [f"{target} = {formula}"]
    lines = textwrap.wrap(formula, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return [f"{target} = (", *(f"    {line}" for line in lines), ")"]


def call_lines(function: str, arguments: Sequence[str]) -> list[str]:
    """Return a call, with its arguments below each other if it is too long for one line."""
    call = f"{function}({', '.join(arguments)})"
    if len(call) <= WIDTH:
        return [call]
    margin = len(function) + 1
    lines = [f"{function}("]
    for argument in arguments:
        if len(lines[-1]) + len(argument) + 1 > WIDTH and len(lines[-1]) > margin:
            lines.append(" " * margin)
        lines[-1] += f"{argument}, "
    return [line.rstrip() for line in lines[:-1]] + [lines[-1][:-2] + ")"]


def wrapped_again(text: str) -> str:
    """Return a function's source with its calls wrapped anew, because names in it have changed."""
    (function,) = parse_python(text).body
    assert isinstance(function, ast.FunctionDef)
    lines = text.split("\n")
    for statement in reversed(function.body):
        if isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
            arguments = [_source(lines, argument) for argument in call.args]
            arguments += [f"{a.arg}={_source(lines, a.value)}" for a in call.keywords]
            new = call_lines(_source(lines, call.func), arguments)
            lines[call.lineno - 1 : call.end_lineno] = [f"    {line}" for line in new]
    names = [argument.arg for argument in function.args.args]
    for i, default in enumerate(reversed(function.args.defaults), start=1):
        names[-i] += f"={_source(lines, default)}"
    head = call_lines(f"def {function.name}", names)
    lines[function.lineno - 1 : function.body[0].lineno - 1] = [*head[:-1], f"{head[-1]}:"]
    return "\n".join(lines)


def _source(lines: Sequence[str], node: ast.expr) -> str:
    """Return the text of an expression that is on one line."""
    assert node.lineno == node.end_lineno
    return lines[node.lineno - 1][node.col_offset : node.end_col_offset]


def plain(text: str) -> str:
    """Escape text from the user for a comment or docstring, so that it cannot end it."""
    return text.encode("unicode_escape").decode("ascii").replace('"', "'")


def in_docstring(text: str) -> str:
    """Return a plain text for a docstring, where an escape would be the character that it stands for.

    Python 3.13 compiles no docstring with a lone surrogate, as in a file name that is no text.
    """
    return text.replace("\\", "\\\\")
