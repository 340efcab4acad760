"""C files that train: the loss, every gradient and the running statistics are the NumPy program's."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.train_example import example_main
from netspec.compiler.c_backend.train_file import TrainOptions, ordered, train_source
from netspec.runtime.optim.optimizers import Adam, Momentum
from netspec.runtime.weights.weights_file import load_weights
from netspec.testing.op_examples import agreement
from tests.c_backend.test_c_files import without_comments
from tests.helpers.c_programs import GCC, Compiler
from tests.torch_backend.test_names import in_a_comment, in_a_string

NETWORKS = Path(__file__).parents[2] / "networks"
LIBRARY = Compiler("gcc", ("-O1", "-shared", "-fPIC"))

NET = """
net Small(classes = 3) {
    input image: [2, 6, 6]
    x = image -> conv(4, 3, pad = 1, bias = false) -> batch_norm -> relu
    y = x -> conv(4, 3, pad = 1, groups = 2) -> batch_norm
    x = relu(x + y) -> max_pool(3, stride = 2, pad = 1)
    z = x -> conv(3, 1, stride = 2) -> gelu
    output (z -> global_avg_pool, x -> flatten -> linear(5) -> tanh) -> concat -> linear(classes)
}
"""
MORE = """
net More(classes = 3) {
    input image: [2, 6, 6]
    parameter level: [2, 1, 1] = normal(0.5)
    x = image + level
    x = x -> conv(3, 3, pad = 1) -> prelu(per_channel = true) -> avg_pool(3, stride = 2, pad = 1)
    y = x -> softmax(1) -> scale
    z = (x * mean(x, [2, 3], keep = true)) -> log_softmax(1)
    w = (sum(y + z, [2, 3]), mean(x, 1) -> flatten) -> concat
    output w -> linear(classes)
}
"""
NETS = {
    "small": lambda: netspec.loads(NET),
    "more": lambda: netspec.loads(MORE),
    "threelayer": lambda: netspec.load(NETWORKS / "threelayer.net"),
    "lenet": lambda: netspec.load(NETWORKS / "lenet.net"),
    "resnet": lambda: netspec.load(NETWORKS / "resnet.net", depth=8),
}


def pointer(array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Trained:
    """The functions of a C file that trains, in double precision, over the model's numbers."""

    def __init__(self, net, folder: Path) -> None:
        self.model = net.compile(dtype="float64", seed=1)
        self.order = ordered(net.graph)
        source = train_source(net.graph, self.model.parameters, TrainOptions(batch=5, double=True))
        (folder / "net.c").write_text(source.text, "ascii")
        self.library = ctypes.CDLL(str(LIBRARY.build(folder, [folder / "net.c"], "net.so")))
        self.name = source.name
        self.parameters = self.flat(self.model.parameters)
        self.gradients = np.full_like(self.parameters, np.nan)

    def flat(self, arrays):
        return np.concatenate([np.asarray(arrays[p.name], float).ravel() for p in self.order])

    def of(self, vector, parameter):
        at = 0
        for p in self.order:
            if p.name == parameter.name:
                return vector[at : at + p.size].reshape(p.shape)
            at += p.size
        raise AssertionError(parameter.name)

    def call(self, function, *arguments, result=None):
        found = getattr(self.library, f"{self.name}_{function}")
        found.restype = result
        return found(*arguments)

    def loss_and_grads(self, images, labels):
        return self.call(
            "loss_and_grads", pointer(self.parameters), pointer(images), pointer(labels),
            len(images), pointer(self.gradients), result=ctypes.c_double,
        )  # fmt: skip


def batch(net, count, seed=0):
    rng = np.random.default_rng(seed)
    (shape,) = net.graph.inputs.values()
    (classes,) = net.graph.shape_of(next(iter(net.graph.outputs.values())))
    labels = rng.integers(0, classes, count).astype(np.int32)
    return rng.standard_normal((count, *shape)), labels


@pytest.mark.parametrize(
    "name",
    ["small", "more", *(pytest.param(n, marks=pytest.mark.heavy) for n in list(NETS)[2:])],
)
def test_gradients_and_statistics_are_those_of_the_numpy_program(name, tmp_path):
    net = NETS[name]()
    ours = Trained(net, tmp_path)
    for count in (3, 5, 1) if name == "threelayer" else (3, 5, 3):
        images, labels = batch(net, count, count)
        loss = ours.loss_and_grads(images, labels)
        expected, gradients = ours.model.loss_and_grads(images, labels)
        assert loss == pytest.approx(float(expected), rel=1e-12)
        for p in ours.order:
            if p.trainable:
                assert agreement(gradients[p.name], ours.of(ours.gradients, p)) <= 1e-10, p.name
            else:
                now = ours.of(ours.parameters, p)
                assert agreement(ours.model.parameters[p.name], now) <= 1e-10, p.name
    scores = np.zeros(ours.model.forward(images).shape[1])
    ours.call("predict", pointer(ours.parameters), pointer(images), pointer(scores))
    assert agreement(ours.model.forward(images[:1])[0], scores) <= 1e-10


def test_gradients_are_slopes(tmp_path):
    net = NETS["small"]()
    ours = Trained(net, tmp_path)
    images, labels = batch(net, 4)
    trained = sum(p.size for p in ours.order if p.trainable)
    start = ours.parameters.copy()
    ours.loss_and_grads(images, labels)
    gradients = ours.gradients[:trained].copy()
    rng = np.random.default_rng(2)
    for _ in range(3):
        way = rng.standard_normal(trained)
        losses = []
        for step in (1e-5, -1e-5):
            ours.parameters[:] = start
            ours.parameters[:trained] += step * way
            losses.append(ours.loss_and_grads(images, labels))
        slope = (losses[0] - losses[1]) / 2e-5
        assert slope == pytest.approx(float(gradients @ way), rel=1e-5)


def test_steps_are_those_of_the_optimizers(tmp_path):
    net = NETS["small"]()
    ours = Trained(net, tmp_path)
    size = sum(p.size for p in ours.order if p.trainable)
    rng = np.random.default_rng(0)
    first, second = np.zeros(size), np.zeros(size)
    for rule, function in ((Momentum, "sgd_step"), (Adam, "adam_step")):
        expected, gradients = ours.parameters[:size].copy(), np.zeros(size)
        theirs, found = rule(expected, gradients), ours.parameters.copy()
        first[:], second[:] = 0, 0
        for step in (1, 2, 3):
            gradients[:] = rng.standard_normal(size)
            theirs.step(0.1)
            if rule is Momentum:
                numbers = ctypes.c_double(0.1), ctypes.c_double(0.9)
                state = (pointer(first),)
            else:
                numbers = ctypes.c_int(step), ctypes.c_double(0.1)
                state = (pointer(first), pointer(second))
            ours.call(function, pointer(found), pointer(gradients), *state, *numbers)
            assert agreement(expected, found[:size]) <= 1e-12
        assert (found[size:] == ours.parameters[size:]).all()


PICTURES = """
net Bars(classes = 2) {
    input image: [1, 4, 4]
    output image -> conv(4, 3, pad = 1) -> batch_norm -> relu -> flatten -> linear(classes)
}
"""


@pytest.mark.parametrize("large", [False, True])
def test_the_example_learns_and_its_weights_are_read(run, write, tmp_path, monkeypatch, large):
    """Pictures in MNIST's files, with a bar that stands or lies."""
    GCC.require()
    if large:
        monkeypatch.setattr("netspec.compiler.c_backend.train_file.LARGE", 16)
    path = write(PICTURES, "bars.net")
    options = ("--train", "--header", "--example", "--batch", 8)
    finished = run("compile", path, "--target", "c", "-o", tmp_path / "bars.c", *options)
    assert finished.code == 0, finished.err
    assert (tmp_path / "bars.weights").exists() == large
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100).astype(np.uint8)
    pictures = rng.integers(0, 60, (100, 4, 4)).astype(np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        at = rng.integers(4)
        (picture if label else picture.T)[at] = 255
    (tmp_path / "x").write_bytes(struct.pack(">4i", 2051, 100, 4, 4) + pictures.tobytes())
    (tmp_path / "y").write_bytes(struct.pack(">2i", 2049, 100) + labels.tobytes())
    sources = [tmp_path / "bars.c", tmp_path / "bars_main.c"]
    program = Compiler("gcc", ("-O1", "-fsanitize=address,undefined")).build(
        tmp_path, sources, "train"
    )
    done = subprocess.run(
        [program, "x", "y", "25"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert len(shown) == 25
    right = float(shown[-1].split()[-2])
    assert right > 95
    weights = load_weights(tmp_path / "bars.safetensors").tensors
    model = netspec.load(path).compile()
    model.load_state_dict(weights)
    guessed = model.forward(pictures[:, None].astype("f") / 255).argmax(axis=1)
    assert (guessed == labels).mean() * 100 == pytest.approx(right)


@pytest.mark.parametrize(
    ("body", "located"),
    [
        ("output x -> flatten -> dropout(0.5) -> linear(2)", ["dropout(0.5)"]),
        (
            "output x -> layer_norm -> logsumexp(1) -> flatten -> linear(2)",
            ["layer_norm", "logsumexp(1)"],
        ),
    ],
)
def test_layers_that_cannot_be_trained_in_c_are_located(body, located):
    graph = netspec.loads(f"net A {{ input x: [2, 3, 3]\n x = x -> conv(2, 1)\n {body} }}").graph
    values = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
    with pytest.raises(netspec.NetspecError) as error:
        train_source(graph, values, TrainOptions())
    assert [d.code for d in error.value.diagnostics] == ["compile/no-c"] * len(located)
    assert [d.span.text for d in error.value.diagnostics] == located


@pytest.mark.parametrize("name", ['a".c', "a\\.c", "a?.c", "a\n.c", "\u00e9.c"])
def test_a_name_that_cannot_be_included_is_refused(run, write, tmp_path, name):
    path = write(PICTURES)
    finished = run("compile", path, "--target", "c", "--header", "-o", tmp_path / name)
    assert finished.code == 2
    assert "C cannot include" in finished.err or "output/unwritable" in finished.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--train --fast --classify", "--fast, --classify: for a file that predicts"),
        ("--batch 4", "--batch and --example need --train"),
        ("--train --example", "--example needs --header"),
    ],
)
def test_options_of_training_that_do_not_fit(run, write, options, said):
    finished = run("compile", write(PICTURES), "--target", "c", "-o", "a.c", *options.split())
    assert finished.code == 2
    assert said in finished.err


def hostile(name: str, comment: str) -> list[str]:
    """Return the C file that trains, and its example, with these texts wherever texts can be."""
    text = f"""
        # {in_a_comment(comment)}
        net N(word = "{in_a_string(comment)}") {{
            input x: [3, 4]  # {in_a_comment(comment)}
            output x -> flatten -> "a-{{1}}": linear(2)  # {in_a_comment(comment)}
        }}"""
    graph = netspec.loads(text, name=name).graph
    values = {n: np.ones(p.shape) for n, p in graph.parameters.items()}
    example = example_main(graph, ordered(graph), "n", double=False, in_file=False)
    return [train_source(graph, values, TrainOptions()).text, example]


@pytest.mark.parametrize(
    "text", ["*/ #error /*", "*??/", "*\\", '"', "%s{0}", "\u202e\x1b[2J", "??/"]
)
def test_no_text_becomes_code(text):
    harmless = [without_comments(each) for each in hostile("a.net", "b")]
    found = hostile(text, text)
    assert all(each.isascii() for each in found)
    assert [without_comments(each) for each in found] == harmless


def test_a_net_without_parameters_has_nothing_to_train():
    graph = netspec.loads("net A { input x: [3]\n output x -> relu }").graph
    with pytest.raises(netspec.NetspecError, match="no parameters to train"):
        train_source(graph, {}, TrainOptions())
