"""A choice of a file's outputs, and what helps where one of them cannot be expressed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from tests.conftest import Run
from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_patterns import Graph, ints, node, weights


def saved(
    path: Path, nodes: Graph, outputs: Mapping[str, int], inputs: Mapping[str, tuple[int, ...]]
) -> Path:
    make = onnx.helper.make_tensor_value_info
    stored = {"w": weights(6, 3), "classes": ints(10, 20, 30), "k": ints(2)}
    graph = onnx.helper.make_graph(
        nodes, "g", [make(name, 1, ["N", *sizes]) for name, sizes in inputs.items()],
        [make(name, kind, ["N", None]) for name, kind in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=opsets), path)
    return path


def classifier(path: Path) -> Path:
    """What scikit-learn's converter writes of a classifier: a label, and probabilities."""
    nodes = [
        node("MatMul", "x w", "a"), node("Softmax", "a", "probabilities", axis=1),
        node("ArgMax", "probabilities", "place", axis=1),
        node("ArrayFeatureExtractor", "classes place", "label", domain="ai.onnx.ml"),
    ]  # fmt: skip
    return saved(path, nodes, {"label": 7, "probabilities": 1}, {"x": (6,)})


def test_an_output_that_stands_in_the_way_is_left_out(tmp_path: Path, run: Run) -> None:
    path = classifier(tmp_path / "net.onnx")
    refused = run("import", "onnx", path)
    assert "`ai.onnx.ml.ArrayFeatureExtractor` cannot be expressed" in refused.err
    assert "--outputs probabilities imports these alone" in refused.err
    done = run("import", "onnx", path, "--outputs", "probabilities")
    assert done.code == 0
    assert "output probabilities = x -> linear" in done.out
    assert "argmax" not in done.out
    assert list(netspec.from_onnx(path, outputs=["probabilities"]).graph.outputs) == [
        "probabilities"
    ]


def test_outputs_have_the_order_that_was_asked_for(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "first"), node("Tanh", "x", "second"), node("Neg", "z", "third")]
    path = saved(
        tmp_path / "net.onnx", nodes, {"first": 1, "second": 1, "third": 1}, {"x": (6,), "z": (2,)}
    )
    found = netspec.from_onnx(path, outputs=("third", "first"))
    assert list(found.graph.outputs) == ["third", "first"]
    alone = netspec.from_onnx(path, outputs=["second"])
    assert list(alone.graph.inputs) == ["x"]  # nothing of the net reads the other one


def test_an_output_that_is_not_there_is_told_which_are(tmp_path: Path, run: Run) -> None:
    done = run("import", "onnx", classifier(tmp_path / "net.onnx"), "--outputs", "label,prob")
    assert done.code == 1
    assert "the file has no output `prob`; its outputs are `label`, `probabilities`" in done.err


def no_input(name: str) -> onnx.ValueInfoProto:
    """An input that no net takes, called t."""
    if name == "sequence":
        return onnx.helper.make_tensor_sequence_value_info("t", 1, ["N", 2])
    if name == "optional":
        tensor = onnx.helper.make_tensor_type_proto(1, ["N", 2])
        return onnx.helper.make_value_info("t", onnx.helper.make_optional_type_proto(tensor))
    kinds = {"string": 8, "uint8": 2, "scalar": 1}
    sizes = [] if name == "scalar" else ["N", 2]
    return onnx.helper.make_tensor_value_info("t", kinds[name], sizes)


READERS = {
    "string": node(
        "LabelEncoder", "t", "other", domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1]
    ),
    "uint8": node("Cast", "t", "other", to=7),
    "scalar": node("Neg", "t", "other"),
    "sequence": node("SequenceLength", "t", "other"),
    "optional": node("OptionalHasElement", "t", "other"),
}  # fmt: skip


@pytest.mark.parametrize("what", READERS)
def test_an_input_that_no_net_takes_is_left_out_with_the_outputs_that_need_it(
    what: str, tmp_path: Path
) -> None:
    nodes = [READERS[what], node("MatMul", "x w", "scores")]
    path = saved(tmp_path / "net.onnx", nodes, {"scores": 1}, {"x": (6,)})
    model = onnx.load(path)
    model.graph.input.append(no_input(what))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("other"))
    onnx.save(model, path)
    with pytest.raises(NetspecError) as caught:
        netspec.from_onnx(path)
    (found,) = caught.value.diagnostics
    assert found.code == "onnx/input"  # the file is not broken
    assert "the input `t` " in found.message
    assert "--outputs scores imports these alone" in found.hints[0].text
    alone = netspec.from_onnx(path, outputs=["scores"])
    assert list(alone.graph.inputs) == ["x"]


def test_an_input_of_texts_that_nothing_reads_or_that_all_need(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", [node("MatMul", "x w", "best")], {"best": 1}, {"x": (6,)})
    model = onnx.load(path)
    model.graph.input.append(no_input("string"))
    onnx.save(model, path)
    assert list(netspec.from_onnx(path).graph.inputs) == ["x"]
    model.graph.node[0].CopyFrom(node("StringNormalizer", "t", "best"))
    onnx.save(model, path)
    with pytest.raises(NetspecError, match="holds string, which nets do not take") as caught:
        netspec.from_onnx(path)
    assert "cut the file behind what reads it" in str(caught.value)


def test_texts_that_the_chosen_outputs_do_not_need_are_no_refusal(tmp_path: Path) -> None:
    nodes = [
        node("Constant", "", "names", value_strings=["a", "b", "c"]), node("MatMul", "x w", "scores"),
        node("ArrayFeatureExtractor", "names k", "label", domain="ai.onnx.ml"),
    ]  # fmt: skip
    path = saved(tmp_path / "net.onnx", nodes, {"label": 8, "scores": 1}, {"x": (6,)})
    with pytest.raises(NetspecError, match="ArrayFeatureExtractor` cannot be expressed"):
        netspec.from_onnx(path)
    assert list(netspec.from_onnx(path, outputs=["scores"]).graph.outputs) == ["scores"]


WAYS: dict[str, tuple[Graph, str]] = {
    "spectrum": (
        [node("Unsqueeze", "x one", "u"), node("DFT", "u", "spectrum", onesided=1)],
        "cut the file behind it, with `spectrum` as an input",
    ),
    "choice": (
        [node("Relu", "x", "scores"), node("TopK", "scores k", "best places", axis=1)],
        "cut the file before it, with `scores` as an output",
    ),
    "8 bits": (
        [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "best")],
        "this is a model of 8-bit numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WAYS)
def test_a_refusal_says_what_helps(what: str, tmp_path: Path) -> None:
    nodes, help = WAYS[what]
    end = "spectrum" if what == "spectrum" else "best"
    stored = [] if what != "spectrum" else [node("Constant", "", "one", value_ints=[2])]
    path = saved(tmp_path / "net.onnx", [*stored, *nodes], {end: 1}, {"x": (6,)})
    with pytest.raises(NetspecError) as caught:
        netspec.from_onnx(path)
    hints = [hint.text for each in caught.value.diagnostics for hint in each.hints]
    assert any(help in each for each in hints)


def test_a_file_that_is_cut_as_the_help_says_comes_in(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", WAYS["choice"][0], {"best": 1}, {"x": (6,)})
    model = onnx.load(path)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("scores", 1, ["N", 6]))
    onnx.save(model, path)
    onnx.utils.extract_model(path, tmp_path / "cut.onnx", ["x"], ["scores"])
    found = netspec.from_onnx(tmp_path / "cut.onnx")
    assert found.compile().predict(np.ones((2, 6), np.float32)).shape == (2,)  # classes


def test_a_proof_that_says_little_names_the_verb_that_takes_own_inputs(
    tmp_path: Path, run: Run
) -> None:
    stored = node("Constant", "", "zero", value_floats=[0.0])
    nodes = [stored, node("MatMul", "x w", "a"), node("Mul", "a zero", "best")]
    path = saved(tmp_path / "net.onnx", nodes, {"best": 1}, {"x": (6,)})
    net, held = tmp_path / "net.net", tmp_path / "w.safetensors"
    done = run("import", "onnx", path, "-o", net, "--weights-out", held)
    assert "netspec verify NET --weights W --against FILE --data FILE.npz" in done.err
    images = tmp_path / "own.npz"
    np.savez(images, x_test=np.ones((4, 6), np.float32), y_test=np.zeros(4, np.int64))
    options = ("--weights", held, "--against", path, "--data", images, "--outputs-only")
    assert run("verify", net, *options).code == 0
