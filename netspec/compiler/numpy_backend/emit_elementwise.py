"""Emits elementwise formulas: as a function of blocked NumPy ufuncs, or as a numexpr program."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from netspec.compiler.ir.expression import FUNCTIONS, Apply, Const, Expression, Var, walk
from netspec.compiler.ir.plan import Buffer, ElementwiseStep
from netspec.compiler.ir.sizes import typical
from netspec.records import record


@record(slots=True)
class Emitted:
    """The definition of a step's function.

    Attributes:
        definition: its source.
        registers: how many registers it computes in.
        modules: the modules of `netspec.kernels` that it uses.
    """

    definition: str
    registers: int
    modules: frozenset[str] = frozenset()


def emit(step: ElementwiseStep, name: str) -> Emitted:
    """Return the source of a step, under a function name."""
    if step.emitter == "numexpr":
        return _emit_numexpr(step, name)
    return _emit_numpy(step, name)


# ------------------------------------------------------------------------------------------- NumPy


class _Registers:
    """Allocates numbered registers, and reuses those whose value is no longer needed."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.free: list[int] = []
        self.count = 0

    def take(self) -> str:
        if not self.free:
            self.free.append(self.count)
            self.count += 1
        return f"{self.prefix}{self.free.pop()}"

    def give_back(self, register: str) -> None:
        if register.startswith(self.prefix) and register[len(self.prefix) :].isdigit():
            self.free.append(int(register[len(self.prefix) :]))


class _Statements:
    """The ufunc calls of a formula.

    Each subformula is computed once, in an order that needs few registers.
    """

    def __init__(self, formula: Expression) -> None:
        self.lines: list[str] = []
        self.floats = _Registers("t")
        self.flags = _Registers("m")
        self.uses: dict[Expression, int] = {}
        self.where: dict[Expression, str] = {}
        self._count(formula)

    def _count(self, formula: Expression) -> None:
        self.uses[formula] = self.uses.get(formula, 0) + 1
        if isinstance(formula, Apply) and self.uses[formula] == 1:
            for argument in formula.arguments:
                self._count(argument)

    def value(self, formula: Expression, target: str | None = None) -> str:
        """Compute a formula. Return the name or the number that holds its value."""
        if isinstance(formula, Const):
            return _number(formula.value)
        if isinstance(formula, Var):
            return formula.name
        assert isinstance(formula, Apply)
        if formula in self.where:
            return self.where[formula]
        function = FUNCTIONS[formula.function]
        arguments = [self.value(argument) for argument in formula.arguments]
        bank = self.flags if function.boolean else self.floats
        masks = formula.function == "where" and _can_multiply(formula)
        if masks:
            out = self._mask(arguments, formula, target)
        elif formula.function == "where":
            out = self._choose(arguments, target)
            self._release_all(formula)
        else:
            # The result can be put into the register of an operand that is no longer needed.
            self._release_all(formula)
            out = target or bank.take()
            ufunc = function.numpy if function.kernel_module else f"np.{function.numpy}"
            self.lines.append(f"{ufunc}({', '.join(arguments)}, out={out})")
        self.where[formula] = out
        return out

    def _mask(self, arguments: list[str], formula: Apply, target: str | None) -> str:
        """Compute `where(c, a, 0)` as `a * c`, with true and false as 1 and 0.

        This is faster than a masked copy.

        Both factors are numbers, because NumPy would allocate an array to convert a condition. The
        register that holds 1 and 0 is not one of the operands' registers.
        """
        condition, then, _ = arguments
        ones = self.floats.take()
        self.lines.append(f"np.copyto({ones}, {condition})")
        self._release_all(formula)
        out = target or ones
        self.lines.append(f"np.multiply({then}, {ones}, out={out})")
        if target is not None:
            self.floats.give_back(ones)
        return out

    def _choose(self, arguments: list[str], target: str | None) -> str:
        """Compute `where` with two registers of its own, because the output may share memory with
        an operand.
        """
        spare, mask = self.floats.take(), self.floats.take()
        out = target or spare
        self.lines.append(f"elementwise.select({', '.join(arguments)}, {mask}, {spare}, out={out})")
        self.floats.give_back(mask)
        if target is not None:
            self.floats.give_back(spare)
        return out

    def _release_all(self, formula: Apply) -> None:
        for argument in dict.fromkeys(formula.arguments):
            self._release(argument, formula.arguments.count(argument))

    def _release(self, formula: Expression, times: int) -> None:
        self.uses[formula] -= times
        if self.uses[formula] <= 0 and formula in self.where:
            register = self.where.pop(formula)
            bank = self.flags if register.startswith("m") else self.floats
            bank.give_back(register)


def _can_multiply(where: Apply) -> bool:
    """Whether `where(c, a, 0)` can be computed as `a * c`: not if `a` may be infinite where c is
    false.
    """
    _, then, otherwise = where.arguments
    return otherwise == Const(0.0) and not any(
        FUNCTIONS[e.function].partial for e in walk(then) if isinstance(e, Apply)
    )


def _overflows(formula: Expression) -> bool:
    """Whether exp may overflow to infinity as an intermediate step, as in the sigmoid."""
    return any(isinstance(e, Apply) and e.function in ("exp", "expm1") for e in walk(formula))


def kernel_modules(formula: Expression) -> set[str]:
    """Return the kernel modules of functions that NumPy lacks."""
    functions = {e.function for e in walk(formula) if isinstance(e, Apply)}
    return {module for name in functions if (module := FUNCTIONS[name].kernel_module)}


def _number(value: float) -> str:
    """Return a number as Python writes it, including infinities."""
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def _emit_numpy(step: ElementwiseStep, name: str) -> Emitted:
    statements = _Statements(step.formula)
    result = statements.value(step.formula, "out")
    if result != "out":  # the formula is a single operand or number
        statements.lines.append(f"np.copyto(out, {result})")
    floats = [f"t{i}" for i in range(statements.floats.count)]
    flags = [f"m{i}" for i in range(statements.flags.count)]
    body = statements.lines
    if _overflows(step.formula):
        body = ['with np.errstate(over="ignore"):', *(f"    {line}" for line in body)]
    lines = [
        f"@elementwise.tiled({', '.join(_options(step, len(floats), len(flags)))})",
        f"def {name}({', '.join(['out', *step.operands, *floats, *flags])}):",
        _docstring(f"out = {step.formula}"),
        *(f"    {line}" for line in body),
    ]
    return Emitted(
        "\n".join(lines),
        registers=len(floats) + len(flags),
        modules=frozenset(("elementwise", *kernel_modules(step.formula))),
    )


def _options(step: ElementwiseStep, floats: int, flags: int) -> Iterator[str]:
    """Yield the options of a function of tiles.

    It reads the sizes at run time, so steps that differ only in their sizes share it.
    """
    vectors = [f'"{name}"' for name in step.vectors]
    if vectors:
        yield f"along=({', '.join(vectors)}{',' if len(vectors) == 1 else ''})"
    if row_axes(step) > 2:
        yield f"axes={row_axes(step)}"
    if floats:
        yield f"floats={floats}"
    if flags:
        yield f"flags={flags}"


def _docstring(text: str) -> str:
    """Return a docstring. A long formula is spread over several lines."""
    if len(text) <= 90:
        return f'    """{text}"""'
    first, *rest = textwrap.wrap(text, 88, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f'    """{first}', *(f"    {line}" for line in rest), '    """'])


def _rank(step: ElementwiseStep, name: str) -> int:
    """Return the number of last axes to which a broadcast operand applies."""
    operand = step.operands[name]
    return len(operand.shape) if isinstance(operand, Buffer) else 0


def row_axes(step: ElementwiseStep) -> int:
    """Return the number of last axes that make up a row of a step with broadcast operands."""
    return max([2, *(_rank(step, name) for name in step.vectors)])


def row_width(step: ElementwiseStep) -> int:
    """Return the number of elements that a tile cannot be smaller than. Open sizes are typical."""
    if not step.vectors or not isinstance(step.output, Buffer):
        return 1
    return typical(math.prod(step.output.shape[-row_axes(step) :]))


# ----------------------------------------------------------------------------------------- numexpr


def _emit_numexpr(step: ElementwiseStep, name: str) -> Emitted:
    """Return `NAME = elementwise program`.

    Numbers are passed as arrays, because numexpr would take literals as double precision, and so
    everything that is combined with them.
    """
    constants: dict[float, str] = {}

    def text(formula: Expression) -> str:
        if isinstance(formula, Const):
            return constants.setdefault(formula.value, f"c{len(constants)}")
        if isinstance(formula, Var):
            return formula.name
        assert isinstance(formula, Apply)
        return FUNCTIONS[formula.function].text.format(*map(text, formula.arguments))

    source = text(step.formula)
    numbers = [_number(value) for value in constants]
    names = [*constants.values(), *step.operands]
    arguments = f"{source!r},\n    {names!r},\n    [{', '.join(numbers)}],"
    definition = f"{name} = NumexprFunction(\n    {arguments}\n)"
    return Emitted(definition, 0)
