"""Writes an outline as a `.net` file: statements become pipelines, and `fmt` sets the lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from netspec.compiler.elaborate.expressions import OPERATORS
from netspec.compiler.fmt.formatter import formatted
from netspec.compiler.ops import registry
from netspec.compiler.parse import parse
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Source
from netspec.imports.outline import (
    BlockOutline,
    Copy,
    CountingTable,
    Declaration,
    Loop,
    Outline,
    SharedLayer,
    Statement,
    Step,
    When,
)

_SIGNS = {op: sign for sign, op in OPERATORS.items()}
_PLAIN_LABEL = re.compile(r"[A-Za-z_]\w*(\{[^{}]*\}\w*)?(\.(\w|\{[^{}]*\})+)*")


def net_tree(name: str, outline: Outline) -> syntax.File:
    """Return the syntax tree of the text of a file, which its `source` has.

    Args:
        name: what errors call the file.
        outline: what is written.

    Raises:
        NetspecError: if a name in the model cannot be one in a file.
    """
    lines: list[str] = []
    for block in outline.blocks:
        lines += _block(block)
        lines.append("")
    lines += [f"# {line}" for line in outline.doc]
    lines.append(f"net {outline.name} {{")
    lines += [f"input {name}: {holds}{sizes}" for name, holds, sizes in outline.inputs]
    last = {value: name for name, value in outline.outputs}
    writer = _Body([value for _, value in outline.outputs])
    body = writer.lines(outline.body)
    if len(outline.outputs) == 1:
        ((name, value),) = outline.outputs
        body = writer.ended(body, value, f"output {name} = " if name else "output ")
    else:
        body += [
            f"output {name} = {value}" if name else f"output {value}"
            for name, value in outline.outputs
        ]
    assert last
    lines += [*body, "}"]
    return formatted(parse(Source(name, "\n".join(lines) + "\n")))


def _block(block: BlockOutline) -> list[str]:
    arguments = ", ".join(
        a.name if a.default is None else f"{a.name} = {a.default}" for a in block.arguments
    )
    head = f"block {block.name}({arguments})" if arguments else f"block {block.name}"
    writer = _Body(block.results)
    body = writer.lines(block.body)
    if len(block.results) == 1:
        body = writer.ended(body, block.results[0], "return ")
    else:
        body.append(f"return {', '.join(block.results)}")
    return [f"{head} {', '.join(block.inputs)} {{", *body, "}"]


class _Line(str):
    """A line that assigns one value, which a `return` may take instead."""

    __slots__ = ("expression", "note", "target")
    target: str
    expression: str
    note: str


def _assigned(target: str, expression: str, note: str = "") -> _Line:
    line = _Line(f"{target} = {expression}" + (f"  # {note}" if note else ""))
    line.target, line.expression, line.note = target, expression, note
    return line


class _Body:
    """Writes the statements of a body, joining those that only pass a value on."""

    def __init__(self, results: Sequence[str]) -> None:
        self._results = results

    def lines(self, statements: Sequence[Statement]) -> list[str]:
        """Return lines."""
        return self._lines(statements, [set(self._results)])

    def ended(self, lines: list[str], value: str, word: str) -> list[str]:
        """Return lines with a last one that gives a value, in place of one that assigns it."""
        last = lines[-1] if lines else ""
        if isinstance(last, _Line) and last.target == value:
            note = f"  # {last.note}" if last.note else ""
            return [*lines[:-1], f"{word}{last.expression}{note}"]
        return [*lines, f"{word}{value}"]

    def _lines(self, statements: Sequence[Statement], after: Sequence[set[str]]) -> list[str]:
        found: list[str] = []
        at = 0
        while at < len(statements):
            statement = statements[at]
            if isinstance(statement, Step) and len(statement.targets) == 1:
                expression, at, note = self._pipeline(statements, at, after)
                found.append(_assigned(*expression, note=note))
                continue
            at += 1
            rest = [_reads(statements[at:]), *after]
            if isinstance(statement, Step):
                found.append(f"{', '.join(statement.targets)} = {_expression(statement)}")
            elif isinstance(statement, Copy):
                found.append(_assigned(statement.target, statement.source))
            elif isinstance(statement, Declaration):
                found.append(
                    f"{statement.kind} {statement.name}: {statement.shape} = {statement.initial}"
                )
            elif isinstance(statement, CountingTable):
                found += _table(statement)
            elif isinstance(statement, SharedLayer):
                layer = Step(
                    (), statement.callee, (), statement.arguments, "", "", statement.by_place
                )
                given = ", ".join(_arguments(layer))
                found.append(f"layer {statement.name} = {layer.callee}({given})")
            elif isinstance(statement, When):
                found.append(f"if {statement.condition} {{")
                found += self._lines(statement.body, rest)
                if statement.otherwise:
                    found.append("} else {")
                    found += self._lines(statement.otherwise, rest)
                found.append("}")
            else:
                found.append(f"for {', '.join(statement.targets)} in {statement.iterable} {{")
                found += self._lines(statement.body, [*rest, _reads(statement.body)])
                found.append("}")
        return found

    def _pipeline(
        self, statements: Sequence[Statement], at: int, after: Sequence[set[str]]
    ) -> tuple[tuple[str, str], int, str]:
        """Return what the steps from here on assign, joined as far as they go, and where that ends."""
        first = statements[at]
        assert isinstance(first, Step)
        text, target, note = _expression(first), first.targets[0], first.note
        at += 1
        while at < len(statements):
            step = statements[at]
            if not isinstance(step, Step) or step.operands != (target,) or len(step.targets) != 1:
                break
            gone = step.targets[0] == target or not self._is_read(
                target, statements[at + 1 :], after
            )
            stage = _stage(step)
            if not gone or stage is None or _refers(step, target):
                break
            text, target, note = f"{text} -> {stage}", step.targets[0], step.note
            at += 1
        return (target, text), at, note

    @staticmethod
    def _is_read(name: str, later: Sequence[Statement], after: Sequence[set[str]]) -> bool:
        for statement in later:
            if name in _reads([statement]):
                return True
            if isinstance(statement, (Step, Copy)) and name in _targets(statement):
                return False
        return any(name in names for names in after)


def _table(table: CountingTable) -> list[str]:
    """Return the loops that make a list of numbers which count."""
    *outer, (size, step) = table.counting.axes
    lines = [f"{table.name} = []"]
    terms = [str(table.counting.start)] if table.counting.start else []
    for counter, (count, stride) in zip(table.counters, outer, strict=True):
        lines.append(f"for {counter} in range({count}) {{")
        times = counter if abs(stride) == 1 else f"{abs(stride)} * {counter}"
        terms += ["-" if stride < 0 else "+", times] if stride else []
    first = " ".join(terms).removeprefix("+ ") or "0"
    if step:
        lines.append(f"{table.first} = {first}")
        end = f"{table.first} {'-' if step < 0 else '+'} {size * abs(step)}"
        by = "" if step == 1 else f", {step}"
        lines.append(f"{table.name} = {table.name} + range({table.first}, {end}{by})")
    else:
        lines.append(f"{table.name} = {table.name} + [{first}] * {size}")
    return [*lines, *["}"] * len(outer)]


def _targets(statement: Step | Copy) -> tuple[str, ...]:
    return statement.targets if isinstance(statement, Step) else (statement.target,)


def _refers(step: Step, name: str) -> bool:
    """Whether a constant of a step asks for the sizes of a value."""
    return any(f"{name}." in text for _, text in step.arguments)


def _reads(statements: Iterable[Statement]) -> set[str]:
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, Step):
            found.update(statement.operands)
            found.update(w for _, text in statement.arguments for w in re.findall(r"\w+", text))
        elif isinstance(statement, Copy):
            found.add(statement.source)
        elif isinstance(statement, When):
            found.update(re.findall(r"\w+", statement.condition))
            found |= _reads((*statement.body, *statement.otherwise))
        elif isinstance(statement, Loop):
            found |= _reads(statement.body)
    return found


# ----------------------------------------------------------------------------------------- a layer


def _expression(step: Step) -> str:
    """Return a step as an expression of its own."""
    sign = _SIGNS.get(step.callee)
    if sign and not step.label:
        return _arithmetic(step, sign)
    if len(step.operands) == 1:
        return f"{step.operands[0]} -> {_call(step)}"
    if step.label:
        return f"({', '.join(step.operands)}) -> {_call(step)}"
    given = ", ".join([*step.operands, *_arguments(step)])
    return f"{step.callee}({given})"


def _arithmetic(step: Step, sign: str) -> str:
    """Return `a + b`, or `a * 0.5` and `1 - a` with the number at its place."""
    if len(step.operands) > 1:
        return f" {sign} ".join(step.operands)
    ((name, number),) = step.arguments
    op = registry()[step.callee]
    is_left = op.number_places[0] == name and op.number_places[-1] != name
    sides = (number, step.operands[0]) if is_left else (step.operands[0], number)
    return f" {sign} ".join(f"({side})" if side.startswith("-") else side for side in sides)


def _stage(step: Step) -> str | None:
    """Return a step as a stage of a pipeline; None if it is written by a sign."""
    return None if step.callee in _SIGNS and not step.label else _call(step)


def _call(step: Step) -> str:
    given = ", ".join(_arguments(step))
    call = f"{step.callee}({given})" if given else step.callee
    return f"{_label(step.label)}: {call}" if step.label else call


def _arguments(step: Step) -> list[str]:
    return [
        text if i < step.by_place else f"{name} = {text}"
        for i, (name, text) in enumerate(step.arguments)
    ]


def _label(label: str) -> str:
    return label if _PLAIN_LABEL.fullmatch(label) else f'"{label}"'
