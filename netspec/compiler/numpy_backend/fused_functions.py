"""The functions of elementwise steps: one for each formula, named for what it computes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection

from netspec.compiler.ir.expression import Expression, Var, substitute, variables
from netspec.compiler.ir.plan import ElementwiseStep, Emitter, Operand
from netspec.compiler.numpy_backend.emit_elementwise import emit, row_axes, row_width
from netspec.records import record

# A function of more formulas than this has a name made of only the first and the last.
MOST_IN_A_NAME = 4


@record
class Tile:
    """What decides on the scratch of an elementwise step; see `elementwise.scratch_size`."""

    width: int
    registers: int


@record
class FusedCall:
    """A call of a function for a step, with its operands in the order of the function's."""

    function: str
    operands: tuple[Operand, ...]


@record
class _Formula:
    """What steps have in common that share a function: names are replaced by their order."""

    formula: Expression
    vectors: tuple[int, ...]
    axes: int
    emitter: Emitter


class FusedFunctions:
    """Makes the functions, in the order in which they are first called.

    Attributes:
        definitions: their sources, by name.
        tiles: the tiles of all steps, each once.
        modules: the kernels that they use.
    """

    def __init__(self, names: FreeNames) -> None:
        self.names = names
        self.definitions: dict[str, str] = {}
        self.tiles: dict[Tile, None] = {}
        self.modules: set[str] = set()
        self._known: dict[_Formula, tuple[str, int]] = {}  # names, and numbers of registers

    def call(self, step: ElementwiseStep) -> FusedCall:
        """Return the call for a step."""
        operands = {name: step.operands[name] for name in variables(step.formula)}
        step = dataclasses.replace(step, operands=operands)
        formula = _formula(step)
        if formula not in self._known:
            name = self.names.take(self._wanted(step))
            emitted = emit(step, name)
            self.definitions[name] = emitted.definition
            self.modules |= emitted.modules
            self._known[formula] = name, emitted.registers
        name, registers = self._known[formula]
        self.tiles[Tile(row_width(step), registers)] = None
        return FusedCall(name, tuple(operands.values()))

    def _wanted(self, step: ElementwiseStep) -> str:
        """Return a name for a function, made of those of the formulas in its formula."""
        parts = step.parts
        if len(parts) > MOST_IN_A_NAME:
            parts = (parts[0], "to", parts[-1])
        name = "_".join(parts) or "formula"
        return f"{name}_elements" if self.names.is_reserved(name) else name


class FreeNames:
    """Names of functions, each taken once."""

    def __init__(self, reserved: Collection[str]) -> None:
        self._reserved = frozenset(reserved)
        self._taken: set[str] = set(reserved)
        self._numbers: Counter[str] = Counter()  # last suffix of a wanted name, less one

    def is_reserved(self, name: str) -> bool:
        """Whether no function may have a name, because it means something else in a program."""
        return name in self._reserved

    def inside(self, more: Collection[str]) -> FreeNames:
        """Return the free names of arguments of a function, which has `more` besides."""
        return FreeNames(self._taken.union(more))

    def take(self, wanted: str) -> str:
        """Return a name that nothing has yet: the wanted one, with a number if it is taken."""
        name = wanted
        while name in self._taken:
            self._numbers[wanted] += 1
            name = f"{wanted}_{self._numbers[wanted] + 1}"
        self._taken.add(name)
        return name


def _formula(step: ElementwiseStep) -> _Formula:
    numbers = {name: i for i, name in enumerate(step.operands)}
    formula = substitute(step.formula, {name: Var(f"v{i}") for name, i in numbers.items()})
    vectors = tuple(numbers[name] for name in step.vectors)
    return _Formula(formula, vectors, row_axes(step), step.emitter)
