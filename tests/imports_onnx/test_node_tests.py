"""ONNX's node tests, each as a model that is imported: the net computes ONNX's values.

`node_tests.md` lists the operators, how many of their tests a net can express, and why not the rest.
All that are expressible pass, in the reference, in NumPy and in PyTorch.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import netspec  # noqa: E402
from netspec.diagnostics import NetspecError  # noqa: E402
from netspec.imports.onnx.front import OnnxImport, read_onnx  # noqa: E402
from netspec.imports.structure import structured  # noqa: E402
from netspec.imports.text import net_tree  # noqa: E402
from netspec.runtime.engine.program import Program, make_plan  # noqa: E402
from netspec.runtime.engine.reference import Reference  # noqa: E402
from netspec.testing.op_examples import agreement  # noqa: E402
from tests.helpers.golden import check_golden  # noqa: E402
from tests.helpers.onnx_support import onnx  # noqa: E402
from tests.helpers.torch_support import classes, load  # noqa: E402
from tests.onnx_nodes.test_onnx_nodes import NAMES, NodeTest, cases  # noqa: E402

TABLE = Path(__file__).with_name("node_tests.md")
# ONNX's values are of float32, and some of them are written with four digits.
TOLERANCE = 1e-4


class InexpressibleError(Exception):
    """No net is like a test; the reason."""


def models(one: NodeTest) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
    """Models of a test, with their inputs: the first one alone, the rest being stored; all numbers;
    everything.
    """
    names = list(one.arrays)
    numbers = [name for name in names if one.arrays[name].dtype.kind == "f"]
    for kept in dict.fromkeys((tuple(names[:1]), tuple(numbers), tuple(names))):
        if not kept:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(one.model)
        del model.graph.input[:]
        model.graph.input.extend(v for v in one.model.graph.input if v.name in kept)
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(one.arrays[name], name)
            for name in names
            if name not in kept
        )
        del model.graph.output[1:]
        yield model, {name: one.arrays[name] for name in kept}


def imported(one: NodeTest, folder: Path) -> tuple[netspec.Net, OnnxImport, dict[str, np.ndarray]]:
    """The net of a test.

    Raises:
        InexpressibleError: if there is none.
    """
    reason = ""
    for model, inputs in models(one):
        path = folder / "node.onnx"
        onnx.save(model, path)
        try:
            found = read_onnx(path)
            if not found.problems:
                return (
                    netspec.loads(net_tree("a.net", structured(found.net)).source.text),
                    found,
                    inputs,
                )
            why = found.problems[0].why.partition(", with")[0]
        except NetspecError as error:
            first = error.diagnostics[0]
            why = str(first.code)
            if why.startswith("onnx/"):
                why = re.sub(r"`[^`]*`", "it", first.message)
        reason = reason or why
    raise InexpressibleError(reason)


def values(net: netspec.Net, found: OnnxImport, inputs: dict[str, np.ndarray]) -> Iterator[Any]:
    """What each evaluator computes for the only output, with its name.

    A single number for each image has an axis in the net.
    """
    graph = net.graph
    assert all(border.flat for border in found.borders.inputs.values())
    given = {
        name: np.asarray(inputs[own], np.float64).reshape(-1, *graph.inputs[name])
        for name, own in found.inputs.items()
    }
    state = {
        n: np.asarray(a, np.int64 if a.dtype.kind in "iu" else np.float64)
        for n, a in found.state.items()
    }
    (output,) = graph.outputs
    yield "reference", Reference(graph, state, training=False).forward(given)[output]
    plan = make_plan(graph, training=False)
    program = Program(graph, plan, np.dtype(np.float64))
    buffers = program.bind(len(next(iter(given.values()))))
    for name, buffer in plan.inputs.items():
        buffers[buffer.name] = np.ascontiguousarray(given[name])
    program.forward(buffers, {n: a.copy() for n, a in state.items()})
    yield "NumPy", buffers[plan.outputs[output].name]
    module = load(classes(net.source("torch"))[net.name]().double(), state).eval()
    tensors = [
        torch.tensor(
            given[name]
            if graph.holds(name) == "real"
            else given[name].astype(np.int64 if graph.holds(name) == "int" else np.bool_)
        )
        for name in graph.inputs
    ]
    with torch.no_grad():
        yield "PyTorch", module(*tensors).numpy()


def check(one: NodeTest, folder: Path) -> None:
    """Check what every evaluator computes.

    Raises:
        InexpressibleError: if there is no such net.
        AssertionError: naming the evaluator and what differs.
    """
    net, found, inputs = imported(one, folder)
    expected = found.borders.output(
        next(iter(found.outputs.values())), one.expected.astype(np.float64)
    )
    finite = np.isfinite(expected)
    for who, value in values(net, found, inputs):
        assert value.shape == expected.shape, f"{who}: {value.shape} for {expected.shape}"
        assert (np.isfinite(value) == finite).all(), f"{who} is not finite elsewhere"
        error = agreement(np.where(finite, expected, 0), np.where(finite, value, 0))
        assert error <= TOLERANCE, f"{who} is off by {error:.1e}"


@pytest.mark.parametrize(
    "operator", ["Conv", "Gemm", "LayerNormalization", "MaxPool", "Slice", "Softmax"]
)
def test_some_node_of_onnx_is_imported(operator: str, tmp_path: Path) -> None:
    for one in cases(operator):
        try:
            check(one, tmp_path)
        except InexpressibleError:
            continue
        return
    pytest.fail("no test of the operator is expressible")


@pytest.mark.heavy
def test_every_expressible_node_of_onnx_passes_and_the_table_says_which(tmp_path: Path) -> None:
    rows, faults, relevant, passed = [], [], 0, 0
    for operator in NAMES:
        reasons: Counter[str] = Counter()
        found = cases(operator)
        for one in found:
            try:
                check(one, tmp_path)
            except InexpressibleError as error:
                reasons[str(error)] += 1
            except Exception as error:
                faults.append(f"{one.name}: {type(error).__name__}: {error}")
        told = "; ".join(f"{why} ({n})" for why, n in sorted(reasons.items()))
        written = len(found) - reasons.total()
        relevant, passed = relevant + len(found), passed + written
        rows.append(f"| {operator} | {len(found)} | {written} | {told} |")
    assert not faults, "\n".join(faults)
    is_other = TABLE.exists() and f"Of ONNX {onnx.__version__}." not in TABLE.read_text("utf-8")
    if is_other and not os.environ.get("UPDATE_GOLDEN"):
        pytest.skip("the table is of another version of ONNX, which has other tests")
    lines = [
        "# ONNX's node tests, imported",
        "",
        f"Of ONNX {onnx.__version__}. Every one that is expressible passes in the reference, in NumPy"
        " and in PyTorch.",
        "",
        f"{relevant} tests, of which {passed} are expressible.",
        "",
        "| operator | tests | expressible, and passed | the rest by reason |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    check_golden(TABLE, "\n".join(lines))
