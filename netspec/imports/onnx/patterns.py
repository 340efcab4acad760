"""Patterns of operators, and their search in a file.

A pattern is a tree, or a graph without circles, whose root is the last operator. It is read from a
text such as `Mul(x, Sigmoid(x))`, or made of an op's own ONNX form.
"""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.compiler.ir.onnx_read import FileOperator, FileValue
from netspec.compiler.ir.sizes import Dim
from netspec.imports.onnx.proto_file import Array
from netspec.text.python_tree import parse_expression

COMMUTATIVE = {"Add", "Mul", "Min", "Max", "And", "Or", "Equal"}

# Numbers in files are rounded to single precision, and people write 0.79788 for sqrt(2 / pi).
_TOLERANCE = 1e-4

# How often a pattern may start over with the inputs of an operator the other way round.
_MOST_TRIES = 4096


@dataclass(frozen=True, eq=False)
class Wanted:
    """A value, everywhere the same. `constant` says whether it must be stored in the file."""

    name: str
    constant: bool = False


@dataclass(frozen=True, eq=False)
class Numbers:
    """Stored numbers."""

    array: Array


@dataclass(frozen=True, eq=False)
class Sizes:
    """Whole numbers that are these sizes."""

    sizes: tuple[Dim, ...]


@dataclass(frozen=True, eq=False)
class Applied:
    """An operator, of which one output is the value."""

    operator: str
    inputs: tuple[Pattern | None, ...]
    attributes: Mapping[str, Any]
    output: int = 0


Pattern = Wanted | Numbers | Sizes | Applied


@dataclass(frozen=True, eq=False)
class Facts:
    """What the search asks about values: their stored numbers, and the sizes that they hold."""

    array: Callable[[FileValue | None], Array | None]
    sizes: Callable[[FileValue | None], tuple[Dim, ...] | None]


class Search:
    """Searches one pattern.

    Attributes:
        values: what each name stands for, once `ends_at` is true.
        covers: the operators that it stands for, the last one first.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.values: dict[str, FileValue] = {}
        self.covers: list[FileOperator] = []
        self._bound: dict[int, FileValue] = {}
        self._layer = ""
        self._tries = _MOST_TRIES

    def ends_at(self, pattern: Applied, root: FileOperator, output: int = 0) -> bool:
        """Whether the pattern ends at an operator.

        All operators that it stands for are of one layer, where the file tells.
        """
        self._layer = root.layer
        return output < len(root.outputs) and any(
            True for _ in self._fits(pattern, root.outputs[output])
        )

    # Each way in which a pattern fits is yielded while it is noted; what did not lead on is undone.

    def _fits(self, pattern: Pattern | None, value: FileValue | None) -> Iterator[None]:
        if pattern is None or value is None:
            if pattern is None and value is None:
                yield
            return
        key = id(pattern)
        if key in self._bound:
            if self._bound[key] is value or self._are_equal(self._bound[key], value):
                yield
            return
        if isinstance(pattern, Wanted):
            yield from self._named(pattern, value)
        elif isinstance(pattern, Numbers):
            if self._has_numbers(pattern.array, value):
                yield
        elif isinstance(pattern, Sizes):
            if self._facts.sizes(value) == pattern.sizes:
                yield
        else:
            self._bound[key] = value
            yield from self._operator(pattern, value)
            del self._bound[key]

    def _named(self, pattern: Wanted, value: FileValue) -> Iterator[None]:
        known = self.values.get(pattern.name)
        if known is not None:
            if known is value or self._are_equal(known, value):
                yield
            return
        if pattern.constant and self._facts.array(value) is None:
            return
        self.values[pattern.name] = value
        yield
        del self.values[pattern.name]

    def _operator(self, pattern: Applied, value: FileValue) -> Iterator[None]:
        maker = value.maker
        if maker is None or maker.operator != pattern.operator or maker.layer != self._layer:
            return
        if maker.outputs[pattern.output : pattern.output + 1] != (value,):
            return
        if not all(
            _is_like(maker.attributes.values.get(name), wanted)
            for name, wanted in pattern.attributes.items()
        ):
            return
        given = maker.inputs
        for inputs in self._orders(pattern, given):
            self.covers.append(maker)
            yield from self._all(inputs, given)
            self.covers.pop()

    def _orders(
        self, pattern: Applied, given: Sequence[FileValue | None]
    ) -> Iterator[tuple[Pattern | None, ...]]:
        """Yield the pattern's inputs in the orders that mean the same, as many as are given."""
        inputs = pattern.inputs
        if len(inputs) > len(given):
            if any(each is not None for each in inputs[len(given) :]):
                return
            inputs = inputs[: len(given)]
        inputs = (*inputs, *(None,) * (len(given) - len(inputs)))
        yield inputs
        if pattern.operator in COMMUTATIVE and len(inputs) > 1:
            for other in itertools.islice(itertools.permutations(inputs), 1, 6):
                self._tries -= 1
                if self._tries < 0:
                    return
                yield other

    def _all(
        self, patterns: Sequence[Pattern | None], values: Sequence[FileValue | None]
    ) -> Iterator[None]:
        if not patterns:
            yield
            return
        for _ in self._fits(patterns[0], values[0]):
            yield from self._all(patterns[1:], values[1:])

    # -- numbers

    def _are_equal(self, a: FileValue, b: FileValue) -> bool:
        first, second = self._facts.array(a), self._facts.array(b)
        if first is None or second is None:
            return False
        return first is second or (first.shape == second.shape and bool(np.all(first == second)))

    def _has_numbers(self, wanted: Array, value: FileValue) -> bool:
        array = self._facts.array(value)
        if array is None:
            if wanted.dtype.kind != "i":
                return False
            found = self._facts.sizes(value)
            return found is not None and found == tuple(wanted.reshape(-1).tolist())
        if array.size != wanted.size or array.dtype.kind not in "fiub":
            return False
        squeezed = [tuple(s for s in a.shape if s != 1) for a in (array, wanted)]
        if squeezed[0] != squeezed[1]:
            return False
        flat, other = array.reshape(-1).astype(float), wanted.reshape(-1).astype(float)
        return bool(np.allclose(flat, other, rtol=_TOLERANCE, atol=1e-12))


def _is_like(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, (tuple, list)):
        return (
            isinstance(found, (tuple, list))
            and len(found) == len(wanted)
            and all(map(_is_like, found, wanted))
        )
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        return math.isclose(found, wanted, rel_tol=_TOLERANCE)
    return bool(found == wanted)


@functools.cache
def pattern_of(text: str) -> Applied:
    """Return the pattern that a text describes.

    Names that begin with `c_` are stored numbers, `None` is an input that is left out.
    """
    found = _Text().pattern(parse_expression(text))
    assert isinstance(found, Applied)
    return found


class _Text:
    """Makes a pattern of the syntax tree of its text."""

    def pattern(self, tree: ast.expr) -> Pattern | None:
        if isinstance(tree, ast.Name):
            return Wanted(tree.id, tree.id.startswith("c_"))
        if isinstance(tree, ast.Call):
            assert isinstance(tree.func, ast.Name)
            options = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
            return Applied(tree.func.id, tuple(map(self.pattern, tree.args)), options)
        value = ast.literal_eval(tree)
        return None if value is None else Numbers(np.asarray(value))
