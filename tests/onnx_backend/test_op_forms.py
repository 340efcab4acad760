"""Every example of every op as an ONNX model, held against the reference. Nothing here names an op."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest

from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.compiler.ops import registry
from netspec.testing.op_examples import (
    agreement,
    graph_of,
    random_inputs,
    random_parameters,
    run_reference,
)
from tests.helpers.heavy import some_quick
from tests.helpers.onnx_support import check_model, run_session, session

OPSETS = (17, 20, 21, 23)
BATCHES = (1, 2, 5)
TOLERANCE = 2e-5  # of single precision


class Case(NamedTuple):
    """One example of an op."""

    op: str
    place: int
    call: str
    inputs: tuple[tuple[int, ...], ...]

    @property
    def graph(self) -> Graph:
        return graph_of(self.call, self.inputs)

    def __str__(self) -> str:
        return f"{self.call} of {list(map(list, self.inputs))}"


CASES = [
    Case(name, place, example.call, example.inputs)
    for name, cls in registry().items()
    for place, example in enumerate(cls.examples)
]
FIRST = [case for case in CASES if case.place == 0]


@functools.cache
def parameters_of(case: Case) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(array, np.float32).astype(np.float64)
        for name, array in random_parameters(case.graph).items()
    }


def check(case: Case, opset: int) -> None:
    """Check a model of an example, at several batch sizes."""
    graph, parameters = case.graph, parameters_of(case)
    single = {name: array.astype(np.float32) for name, array in parameters.items()}
    model = onnx_model(graph, single, OnnxOptions(opset=opset))
    check_model(model.proto)
    given = session(model.content())
    for batch in BATCHES:
        inputs = {
            name: x.astype(np.float32).astype(np.float64)
            for name, x in random_inputs(graph, batch).items()
        }
        dy = {n: np.ones((batch, *graph.shape_of(v))) for n, v in graph.outputs.items()}
        expected = run_reference(graph, parameters, inputs, dy, training=False).outputs
        found = run_session(given, inputs)
        assert found.keys() == expected.keys()
        for name, y in expected.items():
            assert agreement(y, found[name]) <= TOLERANCE, (name, batch)


@pytest.mark.parametrize("opset", some_quick(OPSETS, [20]))
@pytest.mark.parametrize("case", some_quick(CASES, FIRST), ids=str)
def test_the_model_of_an_example_equals_the_reference(case: Case, opset: int) -> None:
    check(case, opset)
