"""Files that bring the channels in front for each layer, and back behind it, as Keras exports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_patterns import imported, node, weights

FRONT, BACK = [0, 3, 1, 2], [0, 2, 3, 1]
PICTURE = (6, 6, 3)


def front(x: str, y: str) -> onnx.NodeProto:
    return node("Transpose", f"{x}", y, perm=FRONT)


def back(x: str, y: str) -> onnx.NodeProto:
    return node("Transpose", f"{x}", y, perm=BACK)


CONV = [front("x", "f"), node("Conv", "f w", "c", pads=[1] * 4), back("c", "b")]
W = {"w": weights(8, 3, 3, 3)}

CASES = {
    "a bias and an activation": (
        [node("Cast", "x", "x1", to=1), front("x1", "f"), node("Conv", "f w", "c"), back("c", "b"),
         node("Cast", "b", "b1", to=1), node("Add", "b1 bias", "d"), node("Relu", "d", "e"),
         front("e", "g"), node("GlobalAveragePool", "g", "y")],
        W | {"bias": weights(8)},
        "x -> conv1: conv(8, 3) -> relu -> adaptive_avg_pool(1)",
    ),
    "a norm that is written out": (
        [*CONV, node("Sub", "b mean", "d"), node("Mul", "d factor", "e"), node("Add", "e bias", "h"),
         front("h", "g"), node("Relu", "g", "y")],
        W | {"mean": weights(8), "factor": weights(1, 1, 1, 8), "bias": weights(8)},
        "x -> conv1: conv(8, 3, pad = 1, bias = false) -> batch_norm1: batch_norm -> relu",
    ),
    "a mean over the picture": (
        [*CONV, node("Relu", "b", "d"), node("ReduceMean", "d", "y", axes=[1, 2], keepdims=0)],
        W,
        "x -> conv1: conv(8, 3, pad = 1, bias = false) -> relu -> mean([2, 3])",
    ),
    "a join of channels": (
        [*CONV, node("Tanh", "b", "a"), node("Concat", "a b", "d", axis=3), front("d", "g"),
         node("Relu", "g", "y")],
        W, "concat(z, y) -> relu",
    ),
    "shares of the channels": (
        [*CONV, node("Softmax", "b", "d", axis=-1), front("d", "g"), node("Relu", "g", "y")],
        W, "x -> conv1: conv(8, 3, pad = 1, bias = false) -> softmax -> relu",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_turns_that_are_taken_back_are_gone(what: str, tmp_path: Path) -> None:
    nodes, stored, written = CASES[what]
    found = imported(tmp_path, nodes, stored, *PICTURE)
    assert "permute" not in found.text
    assert f"output {written} #" in " ".join(found.text.split())
    assert found.difference <= 1e-4


def test_a_turn_that_stays_is_where_the_file_has_it(tmp_path: Path) -> None:
    nodes = [node("Transpose", "x", "a", perm=[0, 2, 1, 3]), node("Relu", "a", "y")]
    found = imported(tmp_path, nodes, {}, *PICTURE)
    assert "x -> permute([2, 1, 3]) -> relu" in found.text


def test_a_value_between_turns_that_is_read_elsewhere_is_turned_there(tmp_path: Path) -> None:
    nodes = [*CONV, node("Relu", "b", "d"), front("d", "g"), node("Conv", "g v", "h"), back("h", "i"),
             node("Flatten", "d", "j"), node("Flatten", "i", "k"),
             node("Concat", "j k", "y", axis=1)]  # fmt: skip
    found = imported(tmp_path, nodes, W | {"v": weights(4, 8, 3, 3)}, *PICTURE)
    assert found.text.count("permute") == 2
    assert found.difference <= 1e-4
