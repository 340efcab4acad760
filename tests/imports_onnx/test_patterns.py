"""How other tools write layers in ONNX, graph by graph: what is found, and that it is proved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.imports.imported_text import ImportedText
from netspec.imports.onnx.convert import import_onnx
from netspec.runtime.data.input_normalization import Normalization
from tests.helpers.onnx_support import onnx

RNG = np.random.default_rng(0)
Graph = list[Any]


def node(operator: str, inputs: str, output: str, **options: Any) -> Any:
    """A node of inputs that are named in one text, `x w`."""
    return onnx.helper.make_node(operator, inputs.split(), output.split(), **options)


def weights(*sizes: int) -> np.ndarray:
    return RNG.uniform(0.5, 1.5, sizes).astype(np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def real(number: float) -> np.ndarray:
    return np.array(number, np.float32)


def imported(
    tmp_path: Path, nodes: Graph, stored: Mapping[str, np.ndarray], *sizes: Any,
    functions: Graph | None = None, **about: Any,
) -> ImportedText:  # fmt: skip
    graph = onnx.helper.make_graph(
        nodes, "g", [onnx.helper.make_tensor_value_info("x", 1, ["N", *sizes])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(
        graph, ir_version=9, functions=functions or [],
        opset_imports=[onnx.helper.make_opsetid("", about.pop("opset", 17)),
                       onnx.helper.make_opsetid("own", 1)],
    )  # fmt: skip
    onnx.save(model, tmp_path / "net.onnx")
    return import_onnx(tmp_path / "net.onnx")


VECTOR, SEQUENCE, PICTURE = (6,), (5, 6), (8, 6, 6)
HALF = {"half": real(0.5), "one": real(1), "two": real(2), "three": real(3), "six": real(6),
        "zero": real(0), "root": real(np.sqrt(2)), "eps": real(1e-5)}  # fmt: skip
SHUFFLE: Graph = [
    node("Reshape", "x apart", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
    node("Reshape", "b whole", "y"),
]  # fmt: skip
NORM: Graph = [
    node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "c"),
    node("Pow", "c two", "q"), node("ReduceMean", "q", "v", axes=[-1]),
    node("Add", "v eps", "e"), node("Sqrt", "e", "s"), node("Div", "c s", "n"),
]  # fmt: skip
AFFINE: Graph = [node("Mul", "n gain", "g"), node("Add", "g shift", "y")]
BATCH_NORM = {"w": weights(8), "b": weights(8), "m": weights(8), "v": weights(8)}

# The shape of one image, the operators, their numbers, and the net's output.
PATTERNS: dict[str, tuple[tuple[int, ...], Graph, dict[str, np.ndarray], str]] = {
    "hard swish by a clip": (
        PICTURE,
        [node("Add", "x three", "a"), node("Clip", "a zero six", "b"), node("Mul", "x b", "c"),
         node("Div", "c six", "y")],
        {}, "x -> hardswish",
    ),
    "hard swish by a hard sigmoid": (
        PICTURE, [node("HardSigmoid", "x", "a", alpha=1 / 6), node("Mul", "x a", "y")], {},
        "x -> hardswish",
    ),
    "SiLU": (PICTURE, [node("Sigmoid", "x", "a"), node("Mul", "a x", "y")], {}, "x -> silu"),
    "GELU by Erf": (
        SEQUENCE,
        [node("Div", "x root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c"),
         node("Mul", "x c", "d"), node("Mul", "d half", "y")],
        {}, "x -> gelu",
    ),
    "GELU by Erf in another order": (
        SEQUENCE,
        [node("Div", "x root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c"),
         node("Mul", "x half", "d"), node("Mul", "d c", "y")],
        {}, "x -> gelu",
    ),
    "layer norm by means": (
        SEQUENCE, [*NORM, *AFFINE], {"gain": weights(6), "shift": weights(6)},
        "x -> layer_norm1: layer_norm",
    ),
    "layer norm without a gain": (
        SEQUENCE, [*NORM, node("Identity", "n", "y")], {}, "x -> layer_norm(affine = false)",
    ),
    "Gemm": (
        VECTOR, [node("Gemm", "x w b", "y", transB=1)], {"w": weights(4, 6), "b": weights(4)},
        "x -> linear1: linear(4)",
    ),
    "Gemm without a bias": (
        VECTOR, [node("Gemm", "x w", "y")], {"w": weights(6, 4)},
        "x -> linear1: linear(4, bias = false)",
    ),
    "a product and a sum": (
        SEQUENCE, [node("MatMul", "x w", "a"), node("Add", "b a", "y")],
        {"w": weights(6, 4), "b": weights(4)}, "x -> linear1: linear(4)",
    ),
    "Caffe's Scale": (
        PICTURE,
        [node("BatchNormalization", "x w b m v", "a"), node("Mul", "a gain", "c"),
         node("Add", "c shift", "y")],
        {**BATCH_NORM, "gain": weights(8, 1, 1), "shift": weights(1, 8, 1, 1)},
        "x -> batch_norm1: batch_norm",
    ),
    "the bias of a convolution behind it": (
        PICTURE, [node("Conv", "x w", "a"), node("Add", "a b", "y")],
        {"w": weights(4, 8, 3, 3), "b": weights(1, 4, 1, 1)}, "x -> conv1: conv(4, 3)",
    ),
    "the bias of a transposed convolution behind it": (
        PICTURE, [node("ConvTranspose", "x w", "a", strides=[2, 2]), node("Add", "b a", "y")],
        {"w": weights(8, 4, 2, 2), "b": weights(4, 1, 1)},
        "x -> conv_transpose1: conv_transpose(4, 2, stride = 2)",
    ),
    "a shuffle of channels": (
        PICTURE, SHUFFLE, {"apart": ints(-1, 2, 4, 6, 6), "whole": ints(-1, 8, 6, 6)},
        "x -> channel_shuffle(2)",
    ),
    "a sum of one value": (
        VECTOR,
        [node("Sum", "x", "a"), node("Max", "a", "b"), node("Mean", "b", "c"), node("Relu", "c", "y")],
        {}, "x -> relu",
    ),
    "a number for each image": ((), [node("Tan", "x", "a"), node("Sum", "a", "y")], {}, "y / z"),
    "a cut along two axes": (
        PICTURE, [node("Slice", "x from to axes", "y")],
        {"from": ints(0, 0, 1, 2), "to": ints(2**62, 8, -1, 2**62), "axes": ints(0, 1, 2, 3)},
        "x -> slice(2, 1, stop = 5) -> slice(3, 2)",
    ),
    "old reshapes by a shape that is computed": (
        PICTURE,
        [node("Shape", "x", "s"), node("Gather", "s first", "n"), node("Unsqueeze", "n at", "u"),
         node("Concat", "u rest", "t", axis=0), node("Reshape", "x t", "y")],
        {"first": np.array(0, np.int64), "at": ints(0), "rest": ints(-1)}, "x -> flatten",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PATTERNS)
def test_the_form_of_another_tool_is_the_layer(what: str, tmp_path: Path) -> None:
    sizes, nodes, stored, written = PATTERNS[what]
    read = {name for each in nodes for name in each.input}
    given = {name: array for name, array in {**HALF, **stored}.items() if name in read}
    found = imported(tmp_path, nodes, given, *sizes)
    (line,) = (line for line in found.text.splitlines() if "output" in line)
    assert line.partition("  #")[0].strip() == f"output {written}"
    assert found.difference <= 1e-4


def test_a_convolution_that_is_read_twice_keeps_its_weights_to_itself(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Add", "a b", "c"), node("Mul", "a c", "y")]
    found = imported(tmp_path, nodes, {"w": weights(4, 8, 1, 1), "b": weights(4, 1, 1)}, *PICTURE)
    assert found.text.count("conv(") == 1
    assert not found.notes


# What stands between a convolution and the addition that is its bias.
BETWEEN = {
    "Identity": [node("Identity", "a", "c")],
    "two of them": [node("Identity", "a", "b1"), node("Identity", "b1", "c")],
    "a cut that keeps all": [node("Slice", "a zeros ends axes", "c")],
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_only_passes_on_stands_in_no_layers_way(what: str, tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), *BETWEEN[what], node("Add", "c b", "y")]
    stored = {"w": weights(4, 8, 1, 1), "b": weights(4, 1, 1)}
    cut = {"zeros": ints(0, 0), "ends": ints(2**62, 2**62), "axes": ints(2, 3)}
    found = imported(tmp_path, nodes, stored | (cut if "cut" in what else {}), *PICTURE)
    assert "output x -> conv1: conv(4, 1)" in found.text.replace("weight: ", "")
    assert sorted(array.shape for array in found.state.values()) == [(4,), (4, 8, 1, 1)]


def test_what_is_passed_on_to_another_layer_too_is_no_part_of_the_first(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Identity", "a", "b1"), node("Add", "a b", "c"),
             node("Mul", "b1 c", "y")]  # fmt: skip
    found = imported(tmp_path, nodes, {"w": weights(4, 8, 1, 1), "b": weights(4, 1, 1)}, *PICTURE)
    assert found.text.count("conv(") == 1
    assert "bias = false" in found.text


def test_squeeze_and_excitation_repeats_as_a_block(tmp_path: Path) -> None:
    nodes: Graph = []
    stored: dict[str, np.ndarray] = {}
    at = "x"
    for i in range(3):
        for part in "12":
            stored[f"w{part}_{i}"], stored[f"b{part}_{i}"] = weights(8, 8, 1, 1), weights(8)
        nodes += [
            node("Conv", f"{at} w1_{i} b1_{i}", f"c{i}"), node("Relu", f"c{i}", f"r{i}"),
            node("GlobalAveragePool", f"r{i}", f"p{i}"),
            node("Conv", f"p{i} w2_{i} b2_{i}", f"e{i}"), node("Sigmoid", f"e{i}", f"s{i}"),
            node("Mul", f"r{i} s{i}", "y" if i == 2 else f"x{i}"),
        ]  # fmt: skip
        at = f"x{i}"
    found = imported(tmp_path, nodes, stored, *PICTURE)
    assert found.text.count("block ") == 1
    assert found.text.count("sigmoid") == 1
    assert "x -> part1: Part -> part2: Part -> part3: Part" in found.text


def test_channels_last_of_tensorflow_stay_outside(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "a", perm=[0, 3, 1, 2]), node("Conv", "a w", "b"),
        node("Transpose", "b", "y", perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    found = imported(tmp_path, nodes, {"w": weights(4, 3, 1, 1)}, 8, 6, 3)
    assert "input x: [3, 8, 6]" in found.text
    assert "permute" not in found.text
    assert found.notes == (
        "`x` has the channels first here, and last in the file",
        "`y` of the file has the channels last, and here first",
    )


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Numbers of the file, whether they lie behind the channels, and what the weights file says.
IN_FRONT: dict[str, tuple[Graph, dict[str, np.ndarray], tuple[float, ...], tuple[float, ...]]] = {
    "of pixels to 1": (
        [node("Sub", "x a", "b"), node("Div", "b c", "n")],
        {"a": np.reshape(MEAN, (3, 1, 1)), "c": np.reshape(STD, (1, 3, 1, 1))},
        tuple(255 * m for m in MEAN), tuple(255 * s for s in STD),
    ),
    "of bytes": (
        [node("Mul", "x a", "b"), node("Add", "c b", "n")],
        {"a": np.array(1 / 127.5), "c": np.array([-1.0])}, (127.5,), (127.5,),
    ),
    "with the channels last": (
        [node("Sub", "x a", "b"), node("Transpose", "b", "n", perm=[0, 3, 1, 2])],
        {"a": np.array([123.0, 117.0, 104.0])}, (123, 117, 104), (1,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_FRONT)
def test_normalisation_in_front_is_in_the_weights_file(what: str, tmp_path: Path) -> None:
    nodes, stored, mean, std = IN_FRONT[what]
    sizes = (8, 6, 3) if what == "with the channels last" else (3, 8, 6)
    numbers = {name: array.astype(np.float32) for name, array in stored.items()}
    found = imported(
        tmp_path, [*nodes, node("Conv", "n w", "y")], {**numbers, "w": weights(4, 3, 1, 1)}, *sizes
    )
    assert "output x -> conv1: conv(4, 1, bias = false)" in found.text
    assert "this is in the weights file" in found.notes[-1]
    assert found.notes[-1].endswith(", times 255 for pixels from 0 to 255") == (
        what == "of pixels to 1"
    )
    assert isinstance(found.normalization, Normalization)
    assert found.normalization.kind == "mean-std"
    np.testing.assert_allclose(found.normalization.mean.ravel(), mean, rtol=1e-5)
    np.testing.assert_allclose(found.normalization.scale.ravel(), std, rtol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "operator", "array"),
    [((8, 3), "Sub", weights(3)), ((3, 8, 3), "Sub", weights(3)), ((3, 4, 5), "Mul", -weights(1))],
    ids=["no picture", "columns", "negative"],
)
def test_other_numbers_in_front_stay(
    sizes: tuple[int, ...], operator: str, array: np.ndarray, tmp_path: Path
) -> None:
    nodes = [node(operator, "x a", "b"), node("Relu", "b", "y")]
    found = imported(tmp_path, nodes, {"a": array}, *sizes)
    assert not isinstance(found.normalization, Normalization) or found.normalization.kind == "none"
    assert "input x -> relu" not in found.text
    assert "-" in found.text or "*" in found.text


def test_a_softmax_at_the_end_is_kept_with_a_note(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "a"), node("Softmax", "a", "y", axis=1)]
    found = imported(tmp_path, nodes, {"w": weights(6, 3)}, *VECTOR)
    assert "-> softmax" in found.text
    assert found.notes == (
        "the net ends in `softmax`: leave it out before training, for the loss has its own",
    )


def test_functions_are_blocks(tmp_path: Path) -> None:
    body = [
        node("Conv", "a w", "c", name="mix", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("Add", "r a", "b"),
    ]
    function = onnx.helper.make_function(
        "own", "Residual", ["a", "w"], ["b"], body, [onnx.helper.make_opsetid("", 17)]
    )
    nodes = [
        node("Residual", "x w1", "a", name="first", domain="own"),
        node("Residual", "a w2", "y", name="second", domain="own"),
    ]
    stored = {f"w{i}": weights(8, 8, 3, 3) for i in (1, 2)}
    found = imported(tmp_path, nodes, stored, *PICTURE, functions=[function])
    assert "block Residual" in found.text
    assert "mix: conv(8, 3, pad = 1, bias = false)" in found.text
    assert "x -> first: Residual -> second: Residual" in found.text


def test_open_sizes_get_names_of_the_language(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "y")]
    for given, written in {
        ("H", "W"): "[3, H, W]", ("height", "width"): "[3, HEIGHT, WIDTH]", ("?", "?"): "[3, H, W]",
        ("p2o.DynamicDimension.1", "p2o.DynamicDimension.2"): "[3, H, W]", ("s1", "s1"): "[3, H, H]",
        ("N", "a name that is long"): "[3, H, W]",
    }.items():  # fmt: skip
        found = imported(tmp_path, nodes, {"w": weights(4, 3, 1, 1)}, 3, *given)
        assert f"input x: {written}" in found.text


# -- what is refused, all of it by name


def test_models_of_whole_numbers_and_loops_are_refused(tmp_path: Path) -> None:
    from netspec.diagnostics import NetspecError

    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go"], ["on"])], "body",
        [onnx.helper.make_tensor_value_info("i", 7, []), onnx.helper.make_tensor_value_info("go", 9, [])],
        [onnx.helper.make_tensor_value_info("on", 9, [])],
    )  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x s z", "q", name="in"),
        node("DequantizeLinear", "q s z", "d", name="out"),
        onnx.helper.make_node("Loop", ["five", "go"], [], name="loop", body=body),
        node("Conv", "d w", "a"),
        onnx.helper.make_node("Scan", ["a"], ["y"], name="scan", body=body, num_scan_inputs=1),
    ]
    stored = {
        "s": real(0.1), "z": np.array(0, np.int8), "w": weights(4, 8, 1, 1), "five": ints(5),
        "go": np.array(True),
    }  # fmt: skip
    with pytest.raises(NetspecError) as caught:
        imported(tmp_path, nodes, stored, *PICTURE)
    told = [d.message for d in caught.value.diagnostics]
    assert told == [
        "`in`: `QuantizeLinear` cannot be expressed: no layer computes this",
    ]


def test_a_tensor_that_a_formula_reads_twice_is_one_parameter(tmp_path: Path) -> None:
    """Two would be the same until they are trained, and then drift apart."""
    nodes = [
        node("Mul", "x slope", "a", name="/act/Mul"), node("Sin", "a", "s", name="/act/Sin"),
        node("Div", "s slope", "d", name="/act/Div"), node("Add", "x d", "b", name="/act/Add"),
        node("Mul", "b slope", "y", name="/other/Mul"),
    ]  # fmt: skip
    found = imported(tmp_path, nodes, {"slope": weights(1, 6, 1)}, *(6, 5))
    # Of another module it is one of its own, which the page says.
    assert found.text.count("parameter ") == 2, found.text
    assert [array.shape for array in found.state.values()] == [(1, 6, 1)] * 2
