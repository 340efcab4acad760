"""Functions for what a program does several times: calls of a block, and layers.

They are found in the statements, when these are scheduled already. Statements in a row that belong
to one call of a block are its run. Runs that are the same, but for the path of the call, operands
from outside of it and numbers, become one function, whose arguments these are.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby

from netspec.compiler.ir.plan import Buffer, GradientRef, Marker, ParameterRef
from netspec.compiler.ir.sizes import Size
from netspec.compiler.numpy_backend.fused_functions import FreeNames
from netspec.compiler.numpy_backend.statements import (
    OPERANDS,
    RESHAPE,
    Argument,
    BlockCall,
    Function,
    Local,
    Note,
    Path,
    Statement,
    Value,
    Whole,
    array_of,
    body_lines,
    is_under,
    open_sizes_in,
    relative,
    value_text,
)
from netspec.records import record
from netspec.text.snake_case import snake_case

# The lines of a function around its statements, and those between it and the next.
SURROUNDINGS = 4
# The arguments of a program's functions.
WHOLE = ("b", "p", "g", "s", "rng")


@record(slots=True)
class Region:
    """What a run belongs to: a call of a block, or a layer.

    Attributes:
        kind: the name of the block or of the op.
        path: where its layers are.
        use: tells the uses of a shared block from each other.
        block: the call; None for a layer.
    """

    kind: str
    path: str
    use: str
    block: BlockCall | None = None


@record
class Run:
    """Statements in a row of a function that belong to one region.

    `outside` are the operands that they use from outside of it, in the order of their first use.
    """

    function: Function
    first: int
    region: Region
    statements: tuple[Statement, ...]
    outside: tuple[Value, ...] = ()


def share(phases: Sequence[Function], names: FreeNames) -> list[Function]:
    """Return the functions that phases can share, and make the phases call them.

    Calls of blocks come first, the innermost ones before those that hold them; then layers, in the
    functions of blocks too.
    """
    made: list[Function] = []
    deepest = max((len(s.blocks) for phase in phases for s in phase.statements), default=0)
    for depth in range(deepest, 0, -1):
        made += _shared(phases, _block_at(depth), names)
    layers = _shared([*phases, *made], _layer, names)
    return [*layers, *made]


def _block_at(depth: int) -> Callable[[Statement], Region | None]:
    """Return the function that tells which call of a block a statement is in, `depth` calls deep."""

    def block(statement: Statement) -> Region | None:
        if len(statement.blocks) < depth:
            return None
        call = statement.blocks[depth - 1]
        return Region(call.block, call.path, call.use, call)

    return block


def _layer(statement: Statement) -> Region | None:
    node = statement.layer
    if node is None:
        return None
    return Region(node.op.name, node.name.partition("@")[0], node.name)


def _shared(
    functions: Sequence[Function], region_of: Callable[[Statement], Region | None], names: FreeNames
) -> list[Function]:
    """Return functions for the runs that are worth one, and put calls in the place of these."""
    alike: dict[object, list[Run]] = {}
    for function in functions:
        for run in _runs(function, region_of):
            outside: dict[Value, tuple[int, str]] = {}
            if (pattern := _pattern(run, outside)) is not None:
                run = dataclasses.replace(run, outside=tuple(outside))
                alike.setdefault(pattern, []).append(run)
    made: list[Function] = []
    calls: dict[tuple[str, int], tuple[Run, Statement]] = {}
    for runs in alike.values():
        if len(runs) == 1:
            continue
        shared = _Shared(runs, names)
        if shared.is_worth_it():
            made.append(shared.function(names))
            for run, call in zip(runs, shared.calls(made[-1].name), strict=True):
                calls[run.function.name, run.first] = run, call
    for function in functions:
        function.statements = list(_with_calls(function, calls))
    return made


def _runs(function: Function, region_of: Callable[[Statement], Region | None]) -> Iterator[Run]:
    first = 0
    for region, group in groupby(function.statements, region_of):
        statements = tuple(group)
        if region is not None:
            yield Run(function, first, region, statements)
        first += len(statements)


def _with_calls(
    function: Function, calls: Mapping[tuple[str, int], tuple[Run, Statement]]
) -> Iterator[Statement]:
    at = 0
    while at < len(function.statements):
        if (function.name, at) in calls:
            run, call = calls[function.name, at]
            yield call
            at += len(run.statements)
        else:
            yield function.statements[at]
            at += 1


# ------------------------------------------------------------------------------------- the pattern


def _pattern(run: Run, outside: dict[Value, tuple[int, str]]) -> object | None:
    """Return what runs must have in common to share a function; None if this one cannot share.

    It is the whole of the statements, with names relative to the path, operands from outside by
    the order of their first use, and without numbers. The notes of a layer stay with its calls.
    `outside` is filled with these operands.
    """
    region = run.region
    statements = []
    for statement in run.statements:
        if statement.function == RESHAPE and _is_outside(statement.arguments[0].value, region.path):
            return None  # a function cannot make a view under the name of an argument
        arguments = tuple(_form(a, region.path, outside) for a in statement.arguments)
        notes = tuple(_note_form(n, region.path) for n in statement.notes if region.block)
        statements.append((statement.function, arguments, notes))
    return region.kind, region.block is None, tuple(statements)


def _form(argument: Argument, path: str, outside: dict[Value, tuple[int, str]]) -> object:
    value = argument.value
    if _is_number(value):
        return "number", argument.keyword
    if _is_outside(value, path):
        if value not in outside:
            outside[value] = len(outside), _wanted_name(value)
        return "argument", outside[value]
    if isinstance(value, OPERANDS):
        return type(value), relative(value.name, path)
    return argument.keyword, repr(value)


def _note_form(note: Note, path: str) -> object:
    """Return the form of a comment. If the texts of ops differ, that of the file is shown."""
    return note.where, relative(note.name, path), note.source


def _is_outside(value: Value, path: str) -> bool:
    """Whether a value is an operand that is not under a path."""
    if isinstance(value, Local):
        return isinstance(value.stands_for, OPERANDS)
    return isinstance(value, OPERANDS) and not is_under(value.name, path)


def _is_number(value: Value) -> bool:
    """Whether a value is a number or a tuple, of which each call may give another."""
    if isinstance(value, Local):
        return not isinstance(value.stands_for, OPERANDS)
    return isinstance(value, (int, float, tuple, Size)) and not isinstance(value, bool)


def _wanted_name(value: Value) -> str:
    """Return a name for an operand from outside."""
    if isinstance(value, Local):
        value = value.stands_for
    assert isinstance(value, OPERANDS)
    last = value.name.rpartition(".")[2]
    if isinstance(value, Buffer) and not value.batched:
        return re.sub(r"\W+", "_", last).strip("_")  # numbers for each channel, by what they are
    if isinstance(value, Buffer):
        return "dy" if re.match(r"d[xy]\d*$|d\(", last) else "x"
    return f"d{last}" if isinstance(value, GradientRef) else last


# ------------------------------------------------------------------------------------ the function


class _Number:
    """A number, or a tuple of them, that is an argument of a function.

    Attributes:
        to: the argument.
        given: what each call gives.
        default: what half of the calls give, or more; None if no number is given so often, or if it
            is known only when the program runs.
    """

    def __init__(self, to: Local, given: Sequence[Value]) -> None:
        self.to = to
        self.given = given
        is_open = any(isinstance(value, Local) or open_sizes_in(value) for value in given)
        ((most, times),) = Counter(given).most_common(1)
        self.default = most if not is_open and 2 * times >= len(given) else None


class _Shared:
    """The function of runs with one pattern, and its calls."""

    def __init__(self, runs: Sequence[Run], names: FreeNames) -> None:
        self.runs = runs
        self.region = runs[0].region
        self.locals = names.inside(("at", *WHOLE))
        self.operands: dict[Value, Local] = {}
        self.numbers: dict[tuple[Value, ...], Local] = {}
        self.statements = [self._statement(i) for i in range(len(runs[0].statements))]

    def is_worth_it(self) -> bool:
        """Whether the program has no more lines with the function than without it, if all runs are as
        long as the first.
        """
        first, times = self.runs[0], len(self.runs)
        call = next(self.calls(f"{self.region.kind}_backward"))
        inside = SURROUNDINGS + len(body_lines(self.statements, self.region.path))
        around = first.function.path
        with_it = inside + times * len(body_lines([call], around))
        return with_it <= times * len(body_lines(first.statements, around))

    def function(self, names: FreeNames) -> Function:
        """Return the function, under a name of its own."""
        way = self.runs[0].function.way
        block = self.region.block
        about = f"Block {block.block}" if block else f"A layer {self.region.kind}"
        given = [*(to.name for to in self.operands.values()), *map(str, self._whole)]
        given += [number.to.name for number in self._numbers if number.default is None]
        given += [
            f"{number.to.name}={value_text(number.default, None)}"
            for number in self._numbers
            if number.default is not None
        ]
        return Function(
            names.take(f"{snake_case(self.region.kind)}_{way}"),
            ("at", *given),
            f"{about}, {way}; `at` is its path.",
            self.statements,
            way,
            self.region.path,
        )

    def calls(self, name: str) -> Iterator[Statement]:
        """Yield the call in the place of each run."""
        for i, run in enumerate(self.runs):
            values = [Path(run.region.path), *run.outside, *self._whole]
            arguments = [
                *map(Argument, values),
                *(
                    Argument(number.given[i], number.to.name)
                    for number in self._numbers
                    if number.default is None or not _is_same(number.given[i], number.default)
                ),
            ]
            first, block = run.statements[0], run.region.block
            if block is None:
                yield Statement(name, tuple(arguments), first.notes, first.blocks)
            else:
                note = Note(block.where, "", block.block, block.block)
                around = first.blocks[: first.blocks.index(block)]
                yield Statement(name, tuple(arguments), (note,), around)

    @cached_property
    def _numbers(self) -> list[_Number]:
        return [_Number(to, column) for column, to in self.numbers.items()]

    @cached_property
    def _whole(self) -> list[Whole]:
        """The arguments of all functions that this one needs."""
        used = {_holder(value) for statement in self.statements for value in statement.values()}
        return [Whole(name) for name in WHOLE if name in used]

    def _statement(self, index: int) -> Statement:
        """Return a statement of the function."""
        each = [run.statements[index] for run in self.runs]
        first = each[0]
        columns = zip(*(statement.arguments for statement in each), strict=True)
        arguments = tuple(self._argument(column, first) for column in columns)
        notes: tuple[Note, ...] = ()
        if self.region.block:
            notes = tuple(map(_common, zip(*(statement.notes for statement in each), strict=True)))
        return Statement(first.function, arguments, notes, layer=first.layer)

    def _argument(self, column: Sequence[Argument], statement: Statement) -> Argument:
        """Return an argument of a statement, from those of the runs."""
        first = column[0]
        if _is_outside(first.value, self.region.path):
            if first.value not in self.operands:
                self.operands[first.value] = self._local(first.value, _wanted_name(first.value))
            return Argument(self.operands[first.value], first.keyword)
        values = tuple(argument.value for argument in column)
        if not _is_number(first.value) or _is_fixed(values):
            return first
        if values not in self.numbers:
            self.numbers[values] = self._local(first.value, first.keyword or "size")
        return Argument(self.numbers[values], first.keyword)

    def _local(self, value: Value, wanted: str) -> Local:
        stands_for = value.stands_for if isinstance(value, Local) else value
        assert not isinstance(stands_for, (Marker, Whole))
        return Local(self.locals.take(wanted), stands_for)


def _is_fixed(values: Sequence[Value]) -> bool:
    """Whether numbers are the same in all calls, and known when the file is compiled."""
    first = values[0]
    same = all(_is_same(value, first) for value in values)
    return same and not isinstance(first, Local) and not open_sizes_in(first)


def _is_same(a: Value, b: Value) -> bool:
    return a == b and type(a) is type(b)


def _common(notes: Sequence[Note]) -> Note:
    """Return the note of a statement in a function from those of the runs."""
    first = notes[0]
    same = all(note.op == first.op for note in notes)
    return first if same else dataclasses.replace(first, op=first.source)


def _holder(value: Value) -> str | None:
    """Return the argument of the program's functions through which a value is reached."""
    if isinstance(value, (Buffer, ParameterRef, GradientRef)):
        return array_of(value)
    return str(value) if isinstance(value, (Marker, Whole)) else None
