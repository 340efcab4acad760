"""`one_hot` as PyTorch's two exporters write it, and as `OneHot` along other axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netspec.imports.imported_text import ImportedText
from netspec.imports.onnx.convert import import_onnx
from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_patterns import Graph, ints, node

KINDS = {"off_on": np.array([0, 1], np.int64), "n": ints(5), "last": ints(-1),
         "counted": np.arange(5), "first": np.array(0, np.int64)}  # fmt: skip
# The sizes of the codes for one image, the operators, and what the net has.
CASES: dict[str, tuple[tuple[int, ...], Graph, str]] = {
    "old, of numbers": (
        (), [node("OneHot", "x n off_on", "h"), node("Cast", "h", "y", to=1)], "one_hot(5)"
    ),
    "old, of a column": (
        (2,),
        [node("Gather", "x first", "c", axis=1), node("OneHot", "c n off_on", "h"),
         node("Cast", "h", "y", to=1)],
        "slice(1, 0, stop = 1) -> one_hot(5)",
    ),
    "old, of tokens": (
        (7,), [node("OneHot", "x n off_on", "h"), node("Cast", "h", "y", to=1)], "x -> one_hot(5)"
    ),
    "along the last axis by its number": (
        (7,), [node("OneHot", "x n off_on", "h", axis=2), node("Cast", "h", "y", to=1)],
        "x -> one_hot(5)",
    ),
    "along another axis": (
        (7,), [node("OneHot", "x n off_on", "h", axis=1), node("Cast", "h", "y", to=1)],
        "x -> one_hot(5) -> permute([2, 1])",
    ),
    "new, of numbers": (
        (),
        [node("Unsqueeze", "x last", "u"), node("Equal", "u counted", "e"), node("Cast", "e", "w", to=7),
         node("Cast", "w", "y", to=1)],
        "one_hot(5)",
    ),
    "new, of tokens": (
        (7,),
        [node("Unsqueeze", "x last", "u"), node("Equal", "counted u", "e"), node("Cast", "e", "w", to=7),
         node("Cast", "w", "y", to=1)],
        "x -> one_hot(5)",
    ),
}  # fmt: skip


def imported(nodes: Graph, sizes: tuple[int, ...], path: Path) -> ImportedText:
    make = onnx.helper.make_tensor_value_info
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in KINDS.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", [make("x", 7, ["N", *sizes])], [make("y", 1, None)], stored
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=opset), path)
    return import_onnx(path)


@pytest.mark.parametrize("name", CASES)
def test_codes_become_vectors_of_one_1(name: str, tmp_path: Path) -> None:
    sizes, nodes, wanted = CASES[name]
    found = imported(nodes, sizes, tmp_path / "net.onnx")
    assert wanted in found.text
    assert found.difference == 0
