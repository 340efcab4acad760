"""How far apart two arrays of correct programs may be.

A tolerance relative to max(1, the largest number) says nothing of arrays whose numbers are all tiny: a
gradient of 1e-12 agrees with three times itself. So a difference is also one that is a large share of
the largest number of its own array, or of an output's spread over the batch, unless rounding explains
more. What rounding does is measured: by the reference, with the last bits of its inputs and parameters
changed.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np

from netspec.compiler.ir.graph import Graph
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.difference import Distance, distance, spread
from netspec.tools.agreement.local_reference import shaken
from netspec.tools.agreement.numpy_trace import trace_reference
from netspec.tools.agreement.probabilities import with_softmax
from netspec.tools.agreement.quantities import Item, Trace

EXACT = float(np.finfo(np.float64).eps)
# The share of an array's largest number by which programs may differ in any case: functions of
# libraries are right to so many digits.
SHARES = {"float64": 1e-6, "float32": 1e-3, "float16": 0.1}
# What is computed in half precision is compared to this at least.
HALF_TOLERANCE = 1e-2
# Correct programs differ by at most this many times what the last bits change.
ROUNDINGS = 2.0**10
# Numbers that are nothing but rounding, as sums that cancel, are rounded as those they are made of.
OF_ALL = 4.0
# As many last bits of an output may be others, where what the inputs do to it is a small part of it.
LAST_BITS = 16.0


class Limits:
    """How far apart arrays may be that two evaluators computed of one item.

    Args:
        graph: the net.
        case: the batch.
        reference: what the reference computes for it.
        tolerance: how far apart arrays may be, relative to max(1, the largest number).
        softmax: the outputs whose scores are compared as probabilities.
    """

    def __init__(
        self,
        graph: Graph,
        case: Trial,
        reference: Trace,
        tolerance: float,
        softmax: frozenset[str] = frozenset(),
    ) -> None:
        self.tolerance = tolerance
        self._softmax = softmax
        self._graph, self._case = graph, case
        self._reference = with_softmax(reference, softmax)

    def tolerance_in(self, dtype: str) -> float:
        """Return how far apart arrays of a type may be."""
        return max(self.tolerance, HALF_TOLERANCE) if dtype == "float16" else self.tolerance

    def allow(self, item: Item, found: Distance, dtype: str) -> bool:
        """Return True if two arrays of an item are as close as correct programs are.

        Args:
            item: the item.
            found: how far apart the arrays are.
            dtype: the coarser type of the two evaluators, `float64`, `float32` or `float16`.
        """
        return found.size <= self.tolerance_in(dtype) and not self.is_large_share(
            item, found, dtype
        )

    def is_large_share(self, item: Item, found: Distance, dtype: str) -> bool:
        """Return True if the difference is a large share of the array's own largest number, and more
        than rounding explains.
        """
        if found.share <= SHARES[dtype] and not self._hides_inputs(item, found, dtype):
            return False
        return found.gap > self._rounding(item, dtype)

    def _hides_inputs(self, item: Item, found: Distance, dtype: str) -> bool:
        """Return True if the difference of an output is a large share of how far its numbers are apart
        from image to image, and more than their last bits: what inputs do to outputs near 5000 is a small
        part of them.
        """
        if item.kind != "output" or item not in self._reference:
            return False
        apart = spread(self._reference[item])
        last_bits = LAST_BITS * float(np.finfo(dtype).eps) * found.peak
        return apart > 0 and found.gap > max(SHARES[dtype] * apart, last_bits)

    def is_nothing(self, item: Item) -> bool:
        """Return True if the reference's array is 0 but for rounding."""
        noise = self._noise(item)
        return noise.peak <= ROUNDINGS * noise.gap

    def _rounding(self, item: Item, dtype: str) -> float:
        if item not in self._reference:
            return float("inf")
        eps = float(np.finfo(dtype).eps)
        limit = ROUNDINGS * self._noise(item).gap * eps / EXACT
        if not self.is_nothing(item):
            return limit
        return max(limit, OF_ALL * eps * self._largest[item.is_backward])

    def _noise(self, item: Item) -> Distance:
        return distance(self._reference[item], self._moved[item])

    @cached_property
    def _moved(self) -> Trace:
        """What the reference computes if the last bit of every number that it is given is another."""
        graph, case = self._graph, self._case
        inputs = {
            name: shaken(array) if name in graph.real_inputs else array
            for name, array in case.inputs.items()
        }
        parameters = {
            name: shaken(array) if array.dtype.kind == "f" else array
            for name, array in case.parameters.items()
        }
        moved = dataclasses.replace(case, inputs=inputs, parameters=parameters)
        return with_softmax(trace_reference(graph, moved), self._softmax)

    @cached_property
    def _largest(self) -> dict[bool, float]:
        """The largest finite number of the forward pass (False), and of the backward pass (True)."""
        largest = {False: 0.0, True: 0.0}
        for item, array in self._reference.items():
            peak = distance(array, array).peak
            largest[item.is_backward] = max(largest[item.is_backward], peak)
        return largest
