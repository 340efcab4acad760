"""Names of layers and modules, from what files have of either, and parts that repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec.imports.blocks.writing import Writing
from netspec.imports.onnx.convert import import_onnx
from netspec.imports.onnx.front import OnnxImport, read_onnx
from netspec.imports.value_names import Names
from tests.helpers.heavy import some_quick
from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_recognition import without_notes

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
# The classes of modules that are found, with how many there are of each.
CLASSES: dict[str, dict[str, int]] = {
    "bvlc_alexnet": {},
    "densenet121": {"ConvBlock": 58},
    "inception_v1": {"Inception": 9},
    "inception_v2": {"Inception": 10},
    "resnet50": {"Part": 16},
    "shufflenet": {"Part": 13, "Part1": 3},
    "squeezenet": {"Fire": 8},
    "vgg19": {},
    "zfnet512": {},
}
QUICK = ("squeezenet", "shufflenet", "inception_v1")


def classes(found: OnnxImport) -> dict[str, int]:
    paths = {
        (scope.path, scope.kind) for node in found.net.nodes for scope in node.scopes
        if scope.kind and not scope.only_holds
    }  # fmt: skip
    kinds = [kind for _, kind in paths]
    return {kind: kinds.count(kind) for kind in kinds}


@pytest.mark.parametrize("name", some_quick(CLASSES, QUICK))
def test_the_light_models_of_the_package_onnx_have_blocks(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this package onnx comes without its light models")
    found = read_onnx(path)
    assert not found.problems
    assert classes(found) == CLASSES[name]


CALLS = """
block Basic(channels) x {
    y = x -> first: conv(channels, 3, pad = 1) -> batch_norm -> relu -> second: conv(channels, 1)
    return relu(x + y)
}
net Calls {
    input image: [4, 8, 8]
    x = image
    for i in range(3) {
        x = x -> layer.{i}: Basic(4)
    }
    output x -> global_avg_pool -> fc: linear(3)
}
"""


def exported(tmp_path: Path, *, notes: bool) -> Path:
    path = tmp_path / "calls.onnx"
    netspec.loads(CALLS).compile().to_onnx(path)
    model = onnx.load(path)
    if not notes:  # nothing but the names of the parameters is left
        without_notes(model)
        model.producer_name = ""
        for node in model.graph.node:
            node.name = ""
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("notes", [True, False])
def test_modules_come_from_notes_or_from_names_of_parameters(tmp_path: Path, notes: bool) -> None:
    found = read_onnx(exported(tmp_path, notes=notes))
    kind = "Basic" if notes else "Layer"
    inside = [n for n in found.net.nodes if n.scopes]
    assert [s.kind for n in inside for s in n.scopes] == [kind] * 18
    assert [n.op for n in inside[:6]] == ["conv", "batch_norm", "relu", "conv", "add", "relu"]
    assert [n.label for n in inside if n.op == "conv"] == [
        f"layer.{i}.{own}" for i in range(3) for own in ("first", "second")
    ]
    assert not found.net.nodes[-2].scopes
    assert set(found.state) == set(netspec.loads(CALLS).graph.saved())


def test_a_name_for_each_layer_where_one_lies_in_another(tmp_path: Path) -> None:
    text = "net A { input x: [4]\n output x -> a: linear(4) -> b: linear(4) }"
    netspec.loads(text).compile().to_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    for node in model.graph.node:
        node.name = ""
    for held in (*model.graph.initializer, *model.graph.node):
        for names in (held.input,) if isinstance(held, onnx.NodeProto) else ():
            names[:] = [name.replace("b.", "a.bn.") for name in names]
        if isinstance(held, onnx.TensorProto):
            held.name = held.name.replace("b.", "a.bn.")
    model.producer_name = ""
    onnx.save(without_notes(model), tmp_path / "b.onnx")
    assert [node.label for node in read_onnx(tmp_path / "b.onnx").net.nodes] == ["a", "a_bn"]


def test_a_hard_sigmoid_of_another_slope_is_its_formula(tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["N", 4]) for name in ("input", "y"))
    node = onnx.helper.make_node("HardSigmoid", ["input"], ["y"], alpha=0.25)
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y])), tmp_path / "a.onnx"
    )
    found = read_onnx(tmp_path / "a.onnx").net
    assert [node.op for node in found.nodes] == ["mul", "add", "clip"]
    assert found.nodes[0].attributes == {"number": 0.25}
    assert [given.name for given in found.inputs] == ["input_"]  # `input` is a word of the language


def test_an_input_that_is_read_often_is_asked_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its reads all of them were gone through: 5 s for 27 KB of file."""
    asked, dies = [], Writing._dies

    def counted(self: Writing, source: Any, at: int) -> bool:
        asked.append(source)
        return dies(self, source, at)

    monkeypatch.setattr(Writing, "_dies", counted)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Concat", ["x"] * 400, ["y"], axis=1)],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 3))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    text = import_onnx(tmp_path / "a.onnx").text
    assert text.count("x,") >= 399
    assert len(asked) < 20


def test_numbers_behind_names_go_on_where_they_were() -> None:
    """All that were taken were tried again for each new name."""
    names = Names(set())
    tried = []
    is_free = names.is_free

    def counted(name: str) -> bool:
        tried.append(name)
        return is_free(name)

    names.is_free = counted  # type: ignore[method-assign]
    found = [names.word("y") for _ in range(300)]
    assert found == ["y", *(f"y{i}" for i in range(2, 301))]
    assert len(tried) < 1_000
    for released in ("y17", "y4"):
        names.release(released)
    assert [names.word("y") for _ in range(3)] == ["y4", "y17", "y301"]
    names.release("y12")
    assert names.word("y1") == "y1"
    assert names.word("y1") == "y12"
