"""The functions of a file that apply a formula to every number, one for each formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netspec.compiler.c_backend.c_text import without_brackets
from netspec.compiler.c_backend.formulas import c_formula
from netspec.compiler.c_backend.kernel_call import Memory
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.expression import Expression, Var, substitute, variables
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Operand
from netspec.records import record

# The numbers, or a few less, that a thread computes at a time.
PIECE = 4096


@record
class _Vector:
    """An operand that is broadcast: one number for each `after` numbers, of which there are `size`."""

    size: int
    after: int


@dataclass
class ElementwiseFunctions:
    """Makes the functions, and gives equal formulas the same one.

    Attributes:
        threads: how threads share their loops: `openmp`, `turns`, or not at all; see `used_units`.
        nested: whether operands that are repeated for each row have a loop over a row, whose length is
            written into the function.
    """

    names: Names
    double: bool = False
    threads: str = ""
    nested: bool = False
    definitions: dict[tuple[object, ...], tuple[str, str]] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Return the definitions of the functions."""
        return [text for _, text in self.definitions.values()]

    def made(self) -> frozenset[str]:
        """Return what the functions are called."""
        return frozenset(name for name, _ in self.definitions.values())

    def call(self, step: ElementwiseStep, memory: Memory, images: str = "") -> list[str]:
        """Return the call of a step's function, for so many images."""
        used = variables(step.formula)
        operands = [step.operands[name] for name in used]
        count = math.prod(memory.shape(step.output))
        repeats = bool(images) and _batched(step.output)
        vectors = [
            _vector(
                memory.shape(each),
                memory.shape(step.output),
                in_each=repeats and not _batched(each),
            )
            for each in operands
        ]
        renamed = {name: f"x{i}" if len(used) > 1 else "x" for i, name in enumerate(used)}
        formula = substitute(step.formula, {old: Var(new) for old, new in renamed.items()})
        kinds = tuple(_kind(vector) for vector in vectors)
        row = _row(vectors) if self.nested else 0
        name = self._function(step, formula, dict(zip(renamed.values(), kinds, strict=True)), row)
        pointers = [memory.pointer(operand) for operand in (*operands, step.output)]
        sizes = [
            without_brackets(str(number))
            for vector, kind in zip(vectors, kinds, strict=True)
            for number in (() if row else _sizes(vector, kind))
        ]
        many = (
            f"{images} * {count}"
            if images and _batched(step.output)
            else without_brackets(str(count))
        )
        return [f"{name}({', '.join([*pointers, *sizes, many])});"]

    def _function(
        self, step: ElementwiseStep, formula: Expression, kinds: Mapping[str, str], row: int
    ) -> str:
        key = (str(formula), tuple(kinds.items()), row)
        if key not in self.definitions:
            parts = "_".join(dict.fromkeys(step.parts)) or "formula"
            name = self.names.free(parts if len(parts) < 40 else f"{parts[:36]}_etc")
            self.definitions[key] = (name, self._text(name, formula, kinds, row))
        return self.definitions[key][0]

    def _text(self, name: str, formula: Expression, kinds: Mapping[str, str], row: int) -> str:
        """Return the definition of a function, which loops over rows if a row has a length."""
        known = _PLACES_IN_ROW if row else _PLACES
        places = {x: known[kind].format(x=x) for x, kind in kinds.items()}
        statements, value = c_formula(formula, places, double=self.double)
        given = [f"const real *{x}" for x in kinds] + ["real *y"]
        sizes = () if row else kinds.items()
        given += [f"int {x}_{what}" for x, kind in sizes for what in _SIZES[kind]]
        head = f"static void {name}({', '.join([*given, 'int count'])})"
        first, end = ("first", "end") if self.threads == "turns" else ("0", "count")
        loop = [f"for (int i = {first}; i < {end}; i++)"]
        if row:
            loop = [
                f"for (int r = {first}; r < {end}; r += {row})",
                "    APART",
                f"    for (int i = 0; i < {row}; i++)",
            ]
        inner = [*statements, f"y[{'r + i' if row else 'i'}] = {value};"]
        inside = indented(inner) if not row else indented(indented(inner))
        if statements:
            loop[-1] += " {"
            inside.append("    }" if row else "}")
        shared = _shared([*loop, *inside], self.threads, max(row, 1))
        return "\n".join([head, "{", *indented(shared), "}"])


def _shared(loop: Sequence[str], threads: str, row: int) -> list[str]:
    """Return a loop over `count` numbers, which threads share, in pieces of whole rows."""
    if threads == "openmp":
        return ["PARALLEL_IF_LARGE", *loop]
    if threads == "turns":
        piece = row * max(1, PIECE // row)
        head = f"SHARE(first, count, {piece}, count > NUMBERS) {{"
        end = f"    const int end = count - first < {piece} ? count : first + {piece};"
        return [head, end, *indented(loop), "}"]
    return [*loop]


_PLACES = {
    "value": "{x}[i]",
    "one": "{x}[0]",
    "last": "{x}[i % {x}_size]",
    "each": "{x}[i / {x}_after % {x}_size]",
}
_PLACES_IN_ROW = {"value": "{x}[r + i]", "one": "{x}[0]", "last": "{x}[i]"}
_SIZES: Mapping[str, tuple[str, ...]] = {
    "value": (),
    "one": (),
    "last": ("size",),
    "each": ("size", "after"),
}


def _batched(operand: Operand) -> bool:
    """Whether an operand has numbers for each image of a batch."""
    return isinstance(operand, Buffer) and operand.batched


def _vector(
    shape: tuple[int, ...], output: tuple[int, ...], *, in_each: bool = False
) -> _Vector | None:
    """Return how an operand is broadcast; None if it has a number for each of the output.

    An operand that is the same in each image of a batch is broadcast, whatever its shape.
    """
    if math.prod(shape) == math.prod(output):
        return _Vector(math.prod(shape), 1) if in_each else None
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    if not wide:
        return _Vector(1, 1)
    behind = len(shape) - 1 - wide[-1]
    after = math.prod(output[len(output) - behind :]) if behind else 1
    return _Vector(math.prod(shape), after)


def _kind(vector: _Vector | None) -> str:
    if vector is None:
        return "value"
    if vector.size == 1:
        return "one"
    return "last" if vector.after == 1 else "each"


def _row(vectors: Sequence[_Vector | None]) -> int:
    """Return the length of the rows for each of which operands are repeated; 0 if there is none."""
    wide = [vector for vector in vectors if vector is not None and vector.size != 1]
    same = {(vector.size, vector.after) for vector in wide}
    if len(same) != 1:
        return 0
    ((size, after),) = same
    return size if after == 1 and isinstance(size, int) else 0


def _sizes(vector: _Vector | None, kind: str) -> tuple[int, ...]:
    known = {} if vector is None else {"size": vector.size, "after": vector.after}
    return tuple(known[what] for what in _SIZES[kind])
