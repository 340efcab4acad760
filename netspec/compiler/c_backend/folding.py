"""Computes what depends on the parameters alone, such as folded batch norms, when the file is written."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.expression import evaluate
from netspec.compiler.ir.plan import (
    Argument,
    Buffer,
    ElementwiseStep,
    KernelStep,
    Marker,
    Operand,
    ParameterRef,
    Scratch,
    Step,
)
from netspec.compiler.ir.sizes import is_known

Array = NDArray[Any]


class Constants(dict[Operand, Array]):
    """The numbers of parameters, and of buffers that depend on nothing else, as one image."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        super().__init__((ParameterRef(name), _wide(array)) for name, array in parameters.items())

    def fold(self, steps: Sequence[Step], *, batched: bool = True) -> list[Step]:
        """Return the steps that depend on inputs, after the others have been computed.

        Args:
            steps: the steps.
            batched: whether buffers that every image has of its own are computed too, as those of
                one image; False for code that computes several images.
        """
        left = []
        written = Counter(operand for step in steps for operand in step.writes)
        for step in steps:
            # What several steps write, such as the states of a loop, is no constant.
            is_whole = all(written[operand] == 1 for operand in step.writes)
            has_numbers = all(map(_has_numbers, step.writes))
            wanted = batched or not any(isinstance(w, Buffer) and w.batched for w in step.writes)
            reads_known = step.reads and all(operand in self for operand in step.reads)
            if is_whole and has_numbers and wanted and reads_known:
                self._compute(step)
            else:
                left.append(step)
        return left

    def _compute(self, step: Step) -> None:
        if isinstance(step, KernelStep):
            self._call(step)
            return
        (out,) = step.writes
        assert isinstance(out, Buffer)
        if isinstance(step, ElementwiseStep):
            values = {name: self[operand] for name, operand in step.operands.items()}
            result = np.asarray(evaluate(step.formula, values), np.float64)
            self[out] = np.broadcast_to(result, _shape(out)).copy()
        else:
            self[out] = self[step.reads[0]].reshape(_shape(out))

    def _call(self, step: KernelStep) -> None:
        for target in step.writes:
            assert isinstance(target, Buffer)
            self[target] = np.zeros(_shape(target))
        _function(step.kernel)(*(self._given(step, a) for a in step.arguments), **step.options)

    def _given(self, step: KernelStep, argument: Argument) -> Array | None:
        if isinstance(argument, Marker):
            assert step.scratch is not None
            return np.zeros(_scratch(step.scratch))
        return None if argument is None else self[argument]


def _has_numbers(operand: Operand) -> bool:
    """Whether the sizes of an operand are numbers."""
    return not isinstance(operand, Buffer) or is_known(operand.shape)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _shape(buffer: Buffer) -> tuple[int, ...]:
    return (1, *buffer.shape) if buffer.batched else buffer.shape


def _scratch(needed: Scratch) -> int:
    size: int = _function(needed.function)(1, *needed.arguments, **needed.options)
    return math.ceil(size)


def _function(name: str) -> Any:
    module, _, function = name.partition(".")
    return getattr(importlib.import_module(f"netspec.kernels.{module}"), function)
