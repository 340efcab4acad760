"""ONNX files that nobody vouches for: an ordinary error, and nothing read outside of their folder."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec import codes
from netspec.compiler.ir.onnx_form import OnnxForm
from netspec.diagnostics import NetspecError
from netspec.imports.onnx import constants, file_graph
from netspec.imports.onnx.front import OnnxImport, read_onnx
from netspec.runtime.models.onnx_session import session_options
from tests.helpers.onnx_support import onnx

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
Node = Any


def value(name: str, *sizes: Any, kind: int = FLOAT) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, sizes)


def node(operator: str, inputs: list[str], outputs: list[str], **options: Any) -> Node:
    return onnx.helper.make_node(operator, inputs, outputs, **options)


def model(nodes: list[Node], stored: list[Any] | None = None, **options: Any) -> Any:
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", "N", 4)], [value("y", "N", 4)], initializer=stored or []
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], **options
    )


def numbers(name: str, *given: Any, kind: str = "float32") -> Any:
    return onnx.numpy_helper.from_array(np.array(given, kind), name)


def claiming(*dims: int) -> Any:
    """Return a tensor that has four bytes and says that it has other sizes."""
    return onnx.TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=bytes(4))


def beside(location: str, **about: Any) -> Any:
    """Return a tensor whose numbers are in another file."""
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, text in {"location": location, **about}.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def written(tmp_path: Path, content: Any) -> Path:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def read(tmp_path: Path, content: Any) -> OnnxImport:
    return read_onnx(written(tmp_path, content))


ADD = [node("Add", ["x", "w"], ["y"])]
RECURSIVE = onnx.helper.make_function(
    "own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")],
    [onnx.helper.make_opsetid("own", 1)],
)  # fmt: skip
BROKEN: dict[str, tuple[Any, str]] = {
    "no model": (b"not a model", "is not an ONNX file"),
    "nothing": (b"", "it has no graph"),
    "half a model": (model(ADD, [numbers("w", 1)]).SerializeToString()[:-9], "is not an ONNX file"),
    "a circle": (
        model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
        "reads what it computes",
    ),
    "itself": (model([node("Add", ["x", "y"], ["y"])]), "reads what it computes"),
    "undefined": (model([node("Add", ["x", "q"], ["y"])]), "nothing computes `q`"),
    "no output": (model([node("Relu", ["x"], ["z"])]), "nothing computes the output `y`"),
    "a name twice": (model([node("Relu", ["x"], ["y"])] * 2), "two values are called `y`"),
    "a huge shape": (model(ADD, [claiming(2**40, 2**40)]), "says that it has"),
    "a negative shape": (model(ADD, [claiming(-1)]), "impossible shape"),
    "few numbers": (model(ADD, [claiming(4)]), "has 4 bytes, and not 4 numbers"),
    "an unknown type": (model(ADD, [onnx.TensorProto(name="w", data_type=99)]), "unknown type"),
    "functions without end": (
        model([node("F", ["x"], ["y"], domain="own")], functions=[RECURSIVE]),
        "is called inside itself",
    ),
    "another axis": (model([node("Softmax", ["x"], ["y"], axis="one")]), "it has other inputs"),
    "no inputs": (model([node("Conv", [], ["y"])]), "it has other inputs"),
    "outside": (model(ADD, [beside("../secret")]), "not below the folder"),
    "outside by a root": (model(ADD, [beside("/etc/passwd")]), "not below the folder"),
    "outside by a link": (model(ADD, [beside("link")]), "cannot read `link`"),
    "no such file": (model(ADD, [beside("gone")]), "cannot read `gone`"),
    "a folder": (model(ADD, [beside("sub")]), "cannot read `sub`"),
    "a short file": (model(ADD, [beside("short")]), "ends before its numbers do"),
    "another length": (model(ADD, [beside("short", length=2**40)]), "in another file"),
    "before the file": (model(ADD, [beside("short", offset=-4)]), "in another file"),
    "no offset": (model(ADD, [beside("short", offset="x")]), "not in numbers"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_an_ordinary_error(what: str, tmp_path: Path) -> None:
    content, message = BROKEN[what]
    path = written(tmp_path, content)
    (tmp_path / "secret").write_bytes(bytes(16))
    (path.parent / "short").write_bytes(bytes(8))
    (path.parent / "sub").mkdir()
    (path.parent / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NetspecError) as caught:
        read_onnx(path)
    assert message in str(caught.value)
    assert caught.value.diagnostics[0].code == codes.ONNX_FILE


def test_numbers_beside_a_file_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, model(ADD, [beside("own.data", offset=4)]))
    (path.parent / "own.data").write_bytes(np.arange(5, dtype="<f4").tobytes())
    (array,) = read_onnx(path).state.values()
    assert array.tolist() == [1, 2, 3, 4]


def test_a_million_operators_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_graph, "MOST_OPERATORS", 100)
    chain = [node("Relu", [f"x{i}" if i else "x"], [f"x{i + 1}"]) for i in range(101)]
    with pytest.raises(NetspecError, match="more than 100 operators"):
        read(tmp_path, model([*chain, node("Relu", ["x101"], ["y"])]))


# Each asks for more numbers than there is memory, of a file of a few bytes.
LARGE: dict[str, list[Node]] = {
    "Expand": [node("Expand", ["c", "s"], ["w"])],
    "ConstantOfShape": [node("ConstantOfShape", ["s"], ["w"])],
    "Range": [node("Range", ["a", "b", "d"], ["w"])],
    "Tile": [node("Tile", ["c", "s"], ["w"])],
    "Pad": [node("Pad", ["c", "p"], ["w"])],
}


@pytest.mark.parametrize("operator", LARGE)
def test_numbers_without_end_are_not_computed(operator: str, tmp_path: Path) -> None:
    stored = [
        numbers("c", [[1.0]]), numbers("s", 10**6, 10**6, kind="int64"),
        numbers("p", 0, 0, 10**6, 10**7, kind="int64"), *(
            onnx.numpy_helper.from_array(np.array(n, np.float32), name)
            for name, n in (("a", 0), ("b", 1e12), ("d", 1))
        ),
    ]  # fmt: skip
    stored[0].dims[:] = [1, 1]
    found = read(tmp_path, model([*LARGE[operator], *ADD], stored))
    assert [problem.what for problem in found.problems] == ["Add"]


def test_numbers_that_double_are_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "_MOST_AT_ONCE", 1000)
    largest = [0]
    fold = constants._evaluated

    def measured(*given: Any) -> Any:
        found = fold(*given)
        largest.append(max(array.size for array in found or ()))
        return found

    monkeypatch.setattr(constants, "_evaluated", measured)
    doubled = [node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(40)]
    found = read(tmp_path, model([*doubled, node("Add", ["x", "c40"], ["y"])], [numbers("c0", 1)]))
    assert [problem.what for problem in found.problems] == ["Add"]
    assert 500 < max(largest) <= 1000


# Sizes that become longer with each step: numbers, and formulas of a size that is open.
GROWING: dict[str, list[Node]] = {
    "squares": [node("Mul", ["s", "s"], ["t"])],
    "floors": [
        node("Div", ["s", "three"], ["a"]),
        node("Add", ["s", "three"], ["b"]),
        node("Div", ["b", "seven"], ["c"]),
        node("Add", ["a", "c"], ["t"]),
    ],
}


@pytest.mark.parametrize("what", GROWING)
@pytest.mark.parametrize("axis", [1, 2])
def test_sizes_without_end_are_not_computed(what: str, axis: int, tmp_path: Path) -> None:
    nodes = [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "at"], ["s0"])]
    for i in range(80):
        for step in GROWING[what]:
            names = {"s": f"s{i}", "t": f"s{i + 1}"}
            nodes.append(
                node(
                    step.op_type,
                    [names.get(n, n if n in ("three", "seven") else f"{n}{i}") for n in step.input],
                    [names.get(n, f"{n}{i}") for n in step.output],
                )
            )
    nodes += [
        node("Concat", ["minus", "s80"], ["target"], axis=0), node("Reshape", ["x", "target"], ["y"]),
    ]  # fmt: skip
    stored = [
        numbers(name, number, kind="int64")
        for name, number in {"at": axis, "three": 3, "seven": 7, "minus": -1}.items()
    ]
    content = model(nodes, stored)
    content.graph.input[0].CopyFrom(value("x", "N", 4, "T"))
    found = read(tmp_path, content)
    assert found.problems


def test_all_that_is_missing_is_listed_by_name(tmp_path: Path) -> None:
    branch = onnx.helper.make_graph([], "g", [], [])
    nodes = [
        node("Det", ["x"], ["a"], name="first"),
        node("If", ["x"], ["b"], name="second", then_branch=branch, else_branch=branch),
        node("Own", ["x"], ["c"], name="third", domain="some.where"),
        node("Sum", ["a", "b", "c"], ["y"], name="sum"),
    ]
    found = read(tmp_path, model(nodes))
    listed = [(problem.what, problem.path) for problem in found.problems]
    assert listed == [("Det", "first"), ("If", "second"), ("some.where.Own", "third")]


@pytest.mark.parametrize("parts", [3, 2**32 - 1, -1])
def test_a_split_has_as_many_outputs_as_it_says(parts: int, tmp_path: Path) -> None:
    """onnxruntime and the package onnx are not done for hours with a split into 2**32 parts."""
    nodes = [
        node("Split", ["x"], ["a", "b"], name="cut", axis=1, num_outputs=parts),
        node("Add", ["a", "b"], ["y"]),
    ]
    with pytest.raises(NetspecError, match="`cut` has 2 outputs, and says that it has"):
        read(tmp_path, model(nodes))


NAMES = ("x\n}\nnet Evil {", "\x1b[31mred", "../../etc", "__import__('os')", "a" * 5000, "1.2", " ")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names_become_ordinary_ones(name: str, tmp_path: Path) -> None:
    weight, bias = numbers(f"{name}.weight", *[[1.0] * 4] * 4), numbers(f"{name}.bias", *[1.0] * 4)
    gemm = node("Gemm", ["x", weight.name, bias.name], ["y"], name=name, transB=1)
    found = read(tmp_path, model([gemm], [weight, bias]))
    (layer,) = found.net.nodes
    parts = layer.label.split(".")
    assert all(part.replace("_", "a").replace("-", "a").isalnum() for part in parts)
    assert len(layer.label) < 300
    assert layer.label.isascii()


def mutated(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


# Those that only arrange, and those that take the arrangement of the axes into account.
OTHER_OPERATORS = (
    "Concat", "Gather", "GatherND", "Slice", "Squeeze", "Unsqueeze", "Split", "Expand", "MatMul",
    "ConstantOfShape", "ReduceSum", "ArgMax", "LSTM", "GRU", "RNN", "Pad", "Transpose", "Reshape",
)  # fmt: skip


def changed_parts(content: bytes, rng: random.Random) -> bytes:
    """Return a model with other numbers, operators and wires in some places."""
    found = onnx.load_from_string(content)
    wires = [v for n in found.graph.node for v in n.output]
    wires += [t.name for t in found.graph.initializer] + [""]
    sizes = (0, -1, 1, 2, 3, 2**31, 2**62, -(2**62), 100_000)
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(found.graph.node)
        changes: list[Callable[[], object]] = [
            lambda at=at: setattr(at, "op_type", rng.choice(found.graph.node).op_type),
            lambda at=at: setattr(at, "op_type", rng.choice(OTHER_OPERATORS)),
            lambda: setattr(found, "producer_name", ""),
            lambda at=at: at.input.append(rng.choice(wires)),
            lambda at=at: at.input.pop() if at.input else None,
            lambda at=at: at.attribute.pop() if at.attribute else None,
            lambda: rng.choice(found.graph.initializer).dims.append(rng.choice(sizes)),
            lambda: setattr(found.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 3),
        ]
        for attribute in at.attribute:
            if attribute.type == onnx.AttributeProto.INT:
                attribute.i = rng.choice(sizes)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(sizes)
        rng.choice(changes)()
    content = found.SerializeToString()
    return bytes(content)


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.heavy)])
def test_changed_files_are_read_or_refused(count: int, tmp_path: Path) -> None:
    text = (
        "net F { input image: [3, 8, 8]\n"
        " x = image -> conv(4, 3, pad = 1) -> batch_norm -> relu -> max_pool(2)\n"
        " y = x -> conv(4, 1) -> reshape([4, 16]) -> permute([2, 1]) -> layer_norm -> linear(6)\n"
        " z = y -> gelu -> slice(1, 0, 8) -> lstm(5) -> mean(1)\n"
        " output concat(z, x -> global_avg_pool) -> linear(3) -> softmax }"
    )
    netspec.loads(text).compile().to_onnx(tmp_path / "net.onnx")
    content, rng = (tmp_path / "net.onnx").read_bytes(), random.Random(0)
    outcomes = set()
    for i in range(count):
        change = mutated if i % 3 == 0 else changed_parts
        try:
            outcomes.add(bool(read(tmp_path, change(content, rng)).problems))
        except NetspecError:
            outcomes.add(None)
    assert outcomes == {True, False, None}


def test_onnxruntime_writes_nothing_of_a_file_to_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    failing = node("Gather", ["x", "at"], ["y"], name="a\x1b]0;title\x07", axis=1)
    content = model([failing], [numbers("at", 9, 9, 9, 9, kind="int64")], ir_version=8)
    session = runtime.InferenceSession(content.SerializeToString(), session_options(1))
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"x": np.ones((2, 4), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_an_output_that_is_a_stored_number_is_refused(tmp_path: Path) -> None:
    stored = node("Constant", ["x"], ["y"], value=numbers("c", 1.0))
    path = tmp_path / "a.onnx"
    path.write_bytes(model([stored], ir_version=8).SerializeToString())
    with pytest.raises(NetspecError, match="depends on no input") as caught:
        netspec.from_onnx(path)
    assert caught.value.diagnostics[0].code == codes.ONNX_FILE


def test_a_pool_of_a_very_wide_picture_is_no_operator_for_each_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an adaptive pool of 50,003 windows, which it is not, it would be."""
    made: list[str] = []
    operators = OnnxForm.operators

    def counted(form: OnnxForm, operator: str, *inputs: Any, **options: Any) -> Any:
        made.append(operator)
        return operators(form, operator, *inputs, **options)

    monkeypatch.setattr(OnnxForm, "operators", counted)
    pooled = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    sizes = ("N", 3, 8, 100_007), ("N", 3, 4, 50_003)
    graph = onnx.helper.make_graph([pooled], "g", [value("x", *sizes[0])], [value("y", *sizes[1])])
    opset = [onnx.helper.make_opsetid("", 20)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    found = read(tmp_path, content.SerializeToString())
    assert not found.problems
    assert len(made) < 1000
