"""Elementwise programs run by numexpr. Separate, so that only programs that use it import it."""

from collections.abc import Sequence
from typing import Any

import numexpr
import numpy as np
from numexpr.necompiler import NumExpr

from netspec.kernels import parallel
from netspec.kernels.arrays import Array, as_one

# No more threads than the kernels use: a caller that was given one processor keeps to it.
numexpr.set_num_threads(min(parallel.threads(), numexpr.MAX_THREADS))


class NumexprFunction:
    """A formula, compiled by numexpr once for each precision.

    Args:
        formula: in numexpr's syntax.
        names: the names in it: first those of `numbers`, then those of the operands in order.
        numbers: constants of the formula, passed as 0-d arrays of the operands' precision.
    """

    def __init__(self, formula: str, names: Sequence[str], numbers: Sequence[float]) -> None:
        self.formula = formula
        self.names = tuple(names)
        self.numbers = tuple(numbers)
        self._compiled: dict[Any, tuple[Any, list[Any]]] = {}

    def __call__(self, out: Array, *operands: Array) -> None:
        """Write the formula's value for the operands, all of the shape of `out`, into `out`."""
        if out.dtype not in self._compiled:
            # numexpr calls single precision `float` and double `numpy.float64`.
            kind = float if out.dtype == np.float32 else np.float64
            program = NumExpr(self.formula, [(name, kind) for name in self.names])
            constants = [np.asarray(number, out.dtype) for number in self.numbers]
            self._compiled[out.dtype] = program, constants
        program, constants = self._compiled[out.dtype]

        def run(out: Array, *operands: Array) -> None:
            program(*constants, *operands, out=out, ex_uses_vml=False)

        as_one(run, out, reads=operands)
