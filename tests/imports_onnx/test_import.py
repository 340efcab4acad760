"""`netspec import onnx`: what is written, and that it computes what the file does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.analysis.diff import as_text, compare
from netspec.diagnostics import NetspecError
from netspec.imports.imported_text import ImportedText
from netspec.imports.onnx.convert import import_onnx
from tests.conftest import ROOT
from tests.helpers.heavy import some_quick
from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_names import LIGHT
from tests.imports_onnx.test_recognition import NETS, QUICK, SMALL, without_notes


def written(net: netspec.Net, path: Path, *, notes: bool = True) -> Path:
    net.compile().to_onnx(path)
    if not notes:
        onnx.save(without_notes(onnx.load(path)), path)
    return path


def assert_same(found: ImportedText, net: netspec.Net) -> None:
    """Check that `netspec diff --ignore init` shows nothing, and what it does not look at."""
    again = netspec.loads(found.text).graph
    comparison = compare(net.graph, again, frozenset(["init"]))
    assert comparison.equal, as_text(comparison, "before", "after")
    assert again.inputs == net.graph.inputs
    assert [again.holds(name) for name in again.inputs] == [
        net.graph.holds(name) for name in net.graph.inputs
    ]
    assert list(again.outputs) == list(net.graph.outputs)
    assert set(again.saved()) == set(net.graph.saved()) == set(found.state)
    assert found.difference <= 1e-4


@pytest.mark.parametrize("name", some_quick(NETS, QUICK))
def test_the_import_of_an_export_is_the_net_again(name: str, tmp_path: Path) -> None:
    net = netspec.load(NETS[name], **SMALL.get(name, {}))
    assert_same(import_onnx(written(net, tmp_path / "net.onnx")), net)


SHARED = {
    "a layer": "net A { input left: [3, 8, 8]\n input right: [3, 8, 8]\n"
    " layer stem = conv(4, 3)\n output stem(left) + (right -> stem) }",
    "a layer in a block": "block B x { layer a = linear(5)\n return x -> a -> relu -> a }\n"
    "net A { input x: [5]\n output x -> one: B -> two: B }",
    "a block": "block B x { return x -> a: linear(7) -> relu -> b: linear(5) }\n"
    "net A { input x: [5]\n layer head = B()\n"
    " output p = x -> head\n output q = tanh(x) -> head }",
    "a weight": "net A { input tokens: int[T]\n x = tokens -> emb.tokens: embedding(9, 4)\n"
    " output x -> tanh -> head: linear(9, weight = emb.tokens.weight) }",
    "a weight in a block": "block B x { y = x -> one: linear(5) -> relu\n"
    " return y -> two: linear(5, weight = one.weight) }\n"
    "net A { input x: [5]\n output x -> p.a: B -> p.b: B }",
    "sizes of two inputs": "net A { input x: int[T]\n input y: [H, 4]\n input m: bool[T]\n"
    " e = x -> embedding(9, 4) -> linear(3)\n z = y -> linear(2) -> mean(1)\n"
    " output first = where(m -> unsqueeze(2), e, 0)\n output second = z }",
}


@pytest.mark.parametrize("what", SHARED)
def test_what_is_shared_is_shared_again(what: str, tmp_path: Path) -> None:
    net = netspec.loads(SHARED[what])
    found = import_onnx(written(net, tmp_path / "net.onnx"))
    assert_same(found, net)
    assert not found.notes


# A list of sizes with a -1 and a size that differs between calls, and how the block writes it.
LAST_SIZES = {
    "reshape(sizes)": "block B(size) x { return x -> a: linear(24) -> reshape([-1, size]) }\n"
    "net A { input x: [12, 8]\n output p = x -> one: B(3)\n output q = x -> two: B(4) }",
    "reshape([-1, 4, x.features])": "block B x { return x -> tanh -> reshape([-1, 4, x.features])"
    " -> a: linear(5) }\n"
    "net A { input x: [12, 6]\n input y: [12, 1]\n"
    " output p = x -> one: B\n output q = y -> two: B }",
}


@pytest.mark.parametrize("wanted", LAST_SIZES)
def test_a_list_of_sizes_has_one_wildcard(wanted: str, tmp_path: Path) -> None:
    net = netspec.loads(LAST_SIZES[wanted])
    found = import_onnx(written(net, tmp_path / "net.onnx"))
    assert_same(found, net)
    assert wanted in found.text


@pytest.mark.parametrize(
    "name", some_quick(NETS, ("resnet", "zoo/vae", "zoo/regnet_y_400mf", "zoo/gpt2"))
)
def test_a_net_without_notes_is_imported_with_its_layers(name: str, tmp_path: Path) -> None:
    net = netspec.load(NETS[name], **SMALL.get(name, {}))
    found = import_onnx(written(net, tmp_path / "net.onnx", notes=False))
    ours = {n: p.shape for n, p in net.graph.saved().items()}
    assert {n: a.shape for n, a in found.state.items() if n in ours} == {
        n: shape for n, shape in ours.items() if n in found.state
    }
    # Arrays that no layer has belong to the net where no block is found around them, and fixed
    # numbers are parameters: nothing says that they are not learned.
    layered = {f for n in net.graph.nodes if "" not in n.parameters for f in n.parameters.values()}
    assert layered & set(ours) <= set(found.state)


def test_copies_of_a_parameter_are_told(tmp_path: Path) -> None:
    net = netspec.loads(SHARED["a block"])
    path = written(net, tmp_path / "net.onnx", notes=False)
    model = onnx.load(path)
    model.producer_name = ""
    onnx.save(model, path)
    found = import_onnx(path)
    assert "linear(7, weight = head.a.weight)" in found.text
    assert found.notes[0] == "`head.a_2.bias` is a copy of `head.a.bias`"
    assert (found.state["head.a_2.bias"] == found.state["head.a.bias"]).all()


def randomised(model: Any) -> Any:
    """Return a light model with random weights in place of its constant ones."""
    rng, graph = np.random.default_rng(0), model.graph
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape"]:
        (name,) = node.output
        graph.node.remove(node)
        graph.initializer.add(name=name, data_type=1, dims=shapes[node.input[0]])
    for tensor in graph.initializer:
        if tensor.data_type != 1:
            continue
        sizes = tuple(tensor.dims)
        array = rng.standard_normal(sizes) / np.sqrt(max(np.prod(sizes[1:]), 1))
        if len(sizes) == 1:  # of a norm or a bias
            array = 0.5 + np.abs(array) / 4
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    return model


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("squeezenet", 1),
        *(
            pytest.param(name, blocks, marks=pytest.mark.heavy)
            for name, blocks in {
                "bvlc_alexnet": 0, "densenet121": 1, "inception_v1": 1, "inception_v2": 1,
                "resnet50": 1, "shufflenet": 1, "vgg19": 0, "zfnet512": 0,
            }.items()
        ),
    ],
)  # fmt: skip
def test_the_light_models_are_written_in_few_lines(name: str, blocks: int, tmp_path: Path) -> None:
    if not (LIGHT / f"light_{name}.onnx").exists():
        pytest.skip("this package onnx comes without its light models")
    onnx.save(randomised(onnx.load(LIGHT / f"light_{name}.onnx")), tmp_path / "net.onnx")
    found = import_onnx(tmp_path / "net.onnx")
    assert found.text.count("block ") >= blocks
    assert len(found.text.splitlines()) <= (110 if name == "inception_v2" else 70)


@pytest.mark.heavy
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg16_bn"])
def test_models_of_both_exporters_of_pytorch(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    module, path = getattr(models, name)().eval(), str(tmp_path / "net.onnx")
    size = 224 if name == "vgg16_bn" else 64  # no exporter writes its pool from 2 to 7
    x = torch.randn(2, 3, size, size)
    options: dict[str, Any] = {"dynamic_axes": {"image": {0: "N"}}, "input_names": ["image"]}
    if dynamo:
        options = {"dynamic_shapes": ({0: torch.export.Dim("N")},), "external_data": False}
    torch.onnx.export(module, (x,), path, dynamo=dynamo, **options)
    found = import_onnx(Path(path))
    assert found.difference <= 1e-4
    assert len(found.text.splitlines()) <= 70
    assert found.text.count("block ") >= (0 if name == "vgg16_bn" else 1)


# -- the command


def net_file(tmp_path: Path) -> Path:
    return written(netspec.load(ROOT / "networks/lenet.net"), tmp_path / "lenet.onnx")


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netspec", "import", "onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_writes_the_net_and_its_weights(tmp_path: Path) -> None:
    source, out, weights = net_file(tmp_path), tmp_path / "a.net", tmp_path / "w.safetensors"
    done = run(source, "-o", out, "--weights-out", weights)
    assert done.returncode == 0, done.stderr
    assert "proved on two batches" in done.stderr
    model = netspec.load(out).compile()
    model.load_state_dict(netspec.load_weights(weights))
    assert model.graph.name == "LeNet"
    out.write_text("net Mine { input x: [3]\n output x -> relu }\n")
    refused = run(source, "-o", out)
    assert refused.returncode == 1
    assert "Mine" in out.read_text()
    assert run(source, "-o", out, "--force").returncode == 0


def test_nothing_is_written_where_something_is_missing(tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, 1, ["N", 4, 4]) for n in "xy")
    nodes = [onnx.helper.make_node("Det", ["x"], ["a"], name="first"),
             onnx.helper.make_node("Own", ["x"], ["b"], name="other", domain="own"),
             onnx.helper.make_node("Mul", ["a", "b"], ["y"])]  # fmt: skip
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]))
    onnx.save(model, tmp_path / "net.onnx")
    done = run(tmp_path / "net.onnx", "-o", tmp_path / "a.net")
    assert done.returncode == 1
    assert "`first`: `Det` cannot be expressed" in done.stderr
    assert "`other`: `own.Own` cannot be expressed" in done.stderr
    assert not (tmp_path / "a.net").exists()


def test_what_is_missing_behind_what_is_missing_is_listed_too(tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, 1, ["N", 4]) for n in "xy")
    nodes = [onnx.helper.make_node("Own", ["x"], ["a"], name="first", domain="own"),
             onnx.helper.make_node("Relu", ["a"], ["b"], name="sound"),
             onnx.helper.make_node("Det", ["b"], ["c"], name="other"),
             onnx.helper.make_node("Own", ["c"], ["y"], name="last", domain="own")]  # fmt: skip
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]))
    onnx.save(model, tmp_path / "net.onnx")
    done = run(tmp_path / "net.onnx")
    assert "`first`: `own.Own` cannot be expressed" in done.stderr
    assert "so in 2 places, also in `last`" in done.stderr
    assert "`other`: `Det` cannot be expressed" in done.stderr
    assert "sound" not in done.stderr


def test_weights_that_were_trained_further_are_not_replaced(tmp_path: Path) -> None:
    source, weights = net_file(tmp_path), tmp_path / "w.safetensors"
    command = (source, "-o", tmp_path / "a.net", "--weights-out", weights)
    assert run(*command).returncode == 0
    assert run(*command).returncode == 0  # the same again
    stored = netspec.load_weights(weights)
    trained = {name: tensor + 1 for name, tensor in stored.tensors.items()}
    netspec.save_weights(weights, trained, stored.normalization, stored.metadata)
    kept = weights.read_bytes()
    refused = run(*command)
    assert refused.returncode == 1
    assert "output/not-generated" in refused.stderr
    assert weights.read_bytes() == kept
    assert run(*command, "--force").returncode == 0
    assert weights.read_bytes() != kept


def test_open_sizes_without_names_are_height_and_width(tmp_path: Path) -> None:
    x = onnx.helper.make_tensor_value_info("input", 1, ["N", 3, None, None])
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    nodes = [onnx.helper.make_node("Relu", ["input"], ["y"])]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]), ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    done = run(tmp_path / "net.onnx")
    assert done.returncode == 0, done.stderr
    assert "input_: [3, H, W]" in done.stdout
    assert "the input `input` of the file is called `input_` here" in done.stderr


def test_what_the_model_says_of_the_data_is_in_the_weights(tmp_path: Path) -> None:
    from netspec.runtime.data.input_normalization import Normalization

    model = netspec.load(ROOT / "networks/threelayer.net").compile()
    kept = Normalization("imagenet", np.ones((3, 1, 1), np.float32), np.ones((3, 1, 1), np.float32))
    about = {"class_names": '["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]'}
    netspec.save_weights(tmp_path / "w", model.state_dict(), kept, metadata=about)
    model.load_state_dict(netspec.load_weights(tmp_path / "w"))
    model.to_onnx(tmp_path / "net.onnx")
    found = import_onnx(tmp_path / "net.onnx")
    assert found.normalization is not None
    assert found.normalization.kind == "imagenet"
    assert found.about == about


def test_a_shape_that_is_not_known_can_be_said(tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, 1, ["N", None]) for n in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), tmp_path / "net.onnx")
    with pytest.raises(NetspecError, match="does not say what shape `x` has"):
        import_onnx(tmp_path / "net.onnx")
    assert "input x: [5]" in import_onnx(tmp_path / "net.onnx", {"x": (5,)}).text
    with pytest.raises(NetspecError, match="no input `z`"):
        import_onnx(tmp_path / "net.onnx", {"z": (5,)})
