"""ONNX's node tests, for the operators that ops stand for, as nets.

`table.md` lists the operators, how many of their tests can be written as nets, and why the rest
cannot. Every one that can be passes: the reference, the NumPy program (recorded too), the
standalone file and the PyTorch module give ONNX's values, and the same gradients.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import netspec  # noqa: E402
from netspec.diagnostics import NetspecError  # noqa: E402
from netspec.testing.op_examples import agreement, assert_equal_runs  # noqa: E402
from tests.helpers.golden import check_golden  # noqa: E402
from tests.onnx_nodes.writers import WRITERS, Node  # noqa: E402
from tests.pytorch_samples.check import EVERY_STANDALONE, Given, evaluate  # noqa: E402
from tests.pytorch_samples.written import InexpressibleError, Written  # noqa: E402

TABLE = Path(__file__).with_name("table.md")
NAMES = re.findall(r"^\| (\w+) \| \d", TABLE.read_text("utf-8"), re.MULTILINE)
# ONNX's values are of float32, and some of them are written with four digits.
TOLERANCE = 1e-4


class NodeTest(NamedTuple):
    """One test of ONNX: the node with its inputs, the first of its outputs, and its model with the
    model's inputs.
    """

    name: str
    node: Node
    expected: np.ndarray
    model: Any
    arrays: dict[str, np.ndarray]


@functools.cache
def cases(operator: str) -> list[NodeTest]:
    """The tests of single nodes of an operator, of float32 and float64.

    Those of float16 and of whole numbers alone are left out, and the tests `_expanded`, which are
    the same ones written out as several nodes.
    """
    from onnx.backend.test.case import node as package

    # A module makes its tests as it is imported; all of them together take half a minute.
    for path in sorted(Path(package.__path__[0]).glob("*.py")):
        if f'"{operator}"' in path.read_text("utf-8"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(f"{package.__name__}.{path.stem}")
    found = []
    for case in package._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == operator and "_expanded" not in case.name:
            found += [one for one in [_node_test(case)] if one is not None]
    return found


def _node_test(case: Any) -> NodeTest | None:
    model, ((arrays, expected),) = case.model, case.data_sets
    node = model.graph.node[0]
    given = {}
    for value, array in zip(model.graph.input, arrays, strict=True):
        given[value.name] = array
    inputs = [None if name == "" else given.get(name) for name in node.input]
    numbers = [a for a in (*inputs, expected[0]) if isinstance(a, np.ndarray)]
    if len(numbers) < 1 + sum(a is not None for a in inputs):
        return None  # sequences and optional values
    if not any(a.dtype in (np.float32, np.float64) for a in numbers) or any(
        a.dtype.kind not in "fiub" or a.dtype == np.float16 for a in numbers
    ):
        return None
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {
        name: value.decode()
        if isinstance(value, bytes)
        else list(value)
        if isinstance(value, (list, tuple))
        else value
        for name, value in attributes.items()
    }
    tensors = [
        None if a is None else torch.tensor(a.astype(np.float64) if a.dtype.kind == "f" else a)
        for a in inputs
    ]
    written = Node(tensors, attributes, len(node.output))
    return NodeTest(case.name, written, expected[0], model, given)


def write(operator: str, one: NodeTest) -> tuple[Written, netspec.Net]:
    """Write a test as a net.

    Raises:
        InexpressibleError: if there is no such net.
    """
    written = Written()
    written.output = WRITERS[operator](written, one.node)
    try:
        return written, netspec.loads(written.text)
    except NetspecError as error:
        first = error.diagnostics[0]
        raise InexpressibleError(f"{first.code}: {first.message}") from None


def check(operator: str, one: NodeTest, *, standalone: bool) -> None:
    """Check the value against ONNX's, and the gradients of all evaluators against each other.

    Raises:
        AssertionError: saying which program is off, and by how much.
    """
    written, net = write(operator, one)
    runs = evaluate(written, net, Given.of(written, net), standalone=standalone)
    _, ours = next(runs)
    value, expected = ours.outputs["output"], one.expected.astype(np.float64)
    assert value.size == expected.size, f"{value.shape} for {expected.shape}"
    finite = np.isfinite(expected.ravel())
    error = agreement(expected.ravel()[finite], value.ravel()[finite])
    assert error <= TOLERANCE, f"off by {error:.1e}"
    np.testing.assert_array_equal(np.isfinite(value.ravel()), finite)
    for who, run in runs:
        if who == "standalone":  # which gives the value and the gradients of parameters
            outputs = {"output": run.outputs["output"].reshape(value.shape)}
            run = replace(ours, outputs=outputs, gradients=run.gradients or ours.gradients)
        if finite.all():
            assert_equal_runs(run, ours, 1e-7 if who == "PyTorch" and "Hard" in operator else 1e-9)


def check_all(operator: str) -> None:
    """Check all tests of an operator that can be written, and report the faults of all."""
    faults = []
    for at, one in enumerate(cases(operator)):
        try:
            check(operator, one, standalone=at % EVERY_STANDALONE == 0)
        except InexpressibleError:
            continue
        except Exception as error:
            faults.append(f"{one.name}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("operator", ["Conv", "ReduceL2", "LayerNormalization", "Transpose"])
def test_a_node_gives_the_values_of_onnx(operator: str) -> None:
    check(operator, cases(operator)[0], standalone=False)


@pytest.mark.heavy
@pytest.mark.parametrize("operator", NAMES)
def test_every_node_that_can_be_written_gives_the_values_of_onnx(operator: str) -> None:
    check_all(operator)


def table() -> tuple[str, int, int]:
    """Return the table, how many tests there are, and how many can be written."""
    rows, relevant, expressible = [], 0, 0
    for operator in sorted(WRITERS):
        found = cases(operator)
        if not found:
            continue  # all of them are of whole numbers or random
        reasons: Counter[str] = Counter()
        for one in found:
            try:
                write(operator, one)
            except InexpressibleError as error:
                reasons[str(error)] += 1
        told = "; ".join(f"{why} ({n})" for why, n in sorted(reasons.items()))
        written = len(found) - sum(reasons.values())
        relevant, expressible = relevant + len(found), expressible + written
        rows.append(f"| {operator} | {len(found)} | {written} | {told} |")
    lines = [
        "# ONNX's node tests",
        "",
        f"Of ONNX {onnx.__version__}. Every one that is expressible passes.",
        "",
        f"{relevant} tests, of which {expressible} can be written as nets.",
        "",
        "| operator | relevant | expressible | the rest by reason |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines), relevant, expressible


@pytest.mark.heavy
def test_the_table_says_what_can_be_written() -> None:
    text, relevant, expressible = table()
    assert expressible >= 0.8 * relevant
    is_other = f"Of ONNX {onnx.__version__}." not in TABLE.read_text("utf-8")
    if is_other and not os.environ.get("UPDATE_GOLDEN"):
        pytest.skip("the table is of another version of ONNX, which has other tests")
    check_golden(TABLE, text)
