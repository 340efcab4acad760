"""C files that train: the loss, every gradient and the running statistics are the NumPy program's."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import json
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend import calls
from netspec.compiler.c_backend.train_example import example_main
from netspec.compiler.c_backend.train_file import TrainOptions, ordered, train_source
from netspec.runtime.optim.adam import Adam, AdamW
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.optimizers import (
    OPTIMIZERS,
    SGD,
    Lion,
    Momentum,
    Nesterov,
    RMSProp,
)
from netspec.runtime.weights.safetensors_file import save_weights
from netspec.runtime.weights.weights_file import load_weights
from netspec.testing.op_examples import agreement
from netspec.tools.agreement.c_trace import trace_c
from netspec.tools.agreement.case import make_case
from netspec.tools.agreement.numpy_trace import (
    draw_masks,
    plan_unfused,
    trace_program,
)
from tests.c_backend.test_c_files import ARGUMENTS, ZOO, without_comments
from tests.helpers.c_programs import GCC, SANITIZED, Compiler
from tests.helpers.members import weights_first
from tests.helpers.mnist import idx_files, mnist
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
# As many other ops as fit: sequences, attention, norms, pads, pools, choices.
MANY = """
net Many(classes = 3) {
    input image: [4, 6, 6]
    parameter level: [4, 1, 1] = normal(0.5)
    x = (image + level) -> conv_transpose(4, 3, stride = 2, pad = 1) -> group_norm(2) -> silu
    x = x -> pad(1, mode = "reflect") -> local_response_norm(3) -> adaptive_avg_pool(4)
    y = x -> upsample(2, mode = "bilinear") -> adaptive_max_pool(4) -> instance_norm
    z = (x + y) -> conv(4, 3, stride = 2, groups = 4, dilation = 2, pad = 2) -> flatten
    s = (x * y) -> reshape([4, 16]) -> layer_norm -> lstm(3) -> gru(5, bidirectional = true)
    s = s -> rnn(4)
    s = (s, s, s) -> multihead_attention(2) -> linear(4)
    s = (s, s -> permute([2, 1])) -> matmul -> logsumexp(1) -> flatten
    v = (var(x, [2, 3]), max(y, [2, 3]), cumsum(z, 1)) -> concat
    output (s, v, z) -> concat -> linear(classes)
}
"""
DROPS = """
net Drops(classes = 3) {
    input image: [2, 5, 5]
    x = image -> conv(4, 3) -> dropout(0.3) -> relu -> drop_path(0.2)
    output x -> flatten -> dropout(0.5) -> linear(classes)
}
"""
NETS = {
    "small": lambda: netspec.loads(NET),
    "more": lambda: netspec.loads(MORE),
    "many": lambda: netspec.loads(MANY),
    "drops": lambda: netspec.loads(DROPS),
    "threelayer": lambda: netspec.load(NETWORKS / "threelayer.net"),
    "lenet": lambda: netspec.load(NETWORKS / "lenet.net"),
    "resnet": lambda: netspec.load(NETWORKS / "resnet.net", depth=8),
}


# Smaller still, where no small number of channels is lost.
REDUCED = {
    "mlp_mixer_b_16": {"blocks": 2, "width": 64},
    "swin_t": {"blocks": [2, 1, 1, 1]},
    "unet": {"width": 8},
    "vit_b_16": {"layers": 2, "width": 96, "heads": 4},
}


def pointer(array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Trained:
    """The functions of a C file that trains, in double precision, over the model's numbers."""

    def __init__(self, net, folder: Path, flags: tuple[str, ...] = (), **options) -> None:
        self.model = net.compile(dtype="float64", seed=1)
        self.order = ordered(net.graph)
        source = train_source(
            net.graph, self.model.parameters, TrainOptions(5, None, True, seed=1, **options)
        )
        (folder / "net.c").write_text(source.text, "ascii")
        compiler = Compiler(LIBRARY.command, (*LIBRARY.flags, *flags))
        self.library = ctypes.CDLL(str(compiler.build(folder, [folder / "net.c"], "net.so")))
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
    [*list(NETS)[:4], *(pytest.param(n, marks=pytest.mark.heavy) for n in list(NETS)[4:])],
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


@pytest.mark.parametrize(
    "name",
    ["small", "many", *(pytest.param(n, marks=pytest.mark.heavy) for n in ("lenet", "resnet"))],
)
def test_gradients_are_slopes(name, tmp_path):
    """Along random directions in the space of all parameters, by central differences."""
    net = NETS[name]()
    ours = Trained(net, tmp_path)
    images, labels = batch(net, 4)
    trained = sum(p.size for p in ours.order if p.trainable)
    start = ours.parameters.copy()
    ours.loss_and_grads(images, labels)
    gradients = ours.gradients[:trained].copy()
    rng = np.random.default_rng(2)
    for _ in range(3):
        way = rng.standard_normal(trained)
        # Of length 1, so that few numbers pass the kinks of `relu` and pools, and not across the slope.
        way = gradients / np.linalg.norm(gradients) + way / np.linalg.norm(way)
        losses = []
        for step in (1e-6, -1e-6):
            ours.parameters[:] = start
            ours.parameters[:trained] += step * way
            losses.append(ours.loss_and_grads(images, labels))
        slope = (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx(float(gradients @ way), rel=1e-6)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ZOO)
def test_gradients_of_the_zoo_are_those_of_the_numpy_program(name):
    """Which is held against the reference elsewhere; that one is too slow for whole nets."""
    GCC.require()
    arguments = ARGUMENTS.get(name, {}) | REDUCED.get(name, {})
    graph = netspec.load(NETWORKS / f"zoo/{name}.net", **arguments).graph
    drawn = make_case(graph, batch=2, seed=7, training=True)
    masks = draw_masks(graph, plan_unfused(graph, True), 2, 7)
    case = dataclasses.replace(drawn, masks=masks)
    expected = trace_program(graph, plan_unfused(graph, True), case, "float64")
    found = trace_c(graph, case, "float64")
    trained = {item.name for item in found if item.kind == "parameter"}
    assert trained == {p.name for p in graph.trainable()}
    for item, array in found.items():
        assert agreement(expected[item], array) <= 1e-8, item


# Each step in C: the rule, its vectors, and numbers behind the learning rate.
STEPS = {
    "sgd_step": (SGD, 0, ()),
    "momentum_step": (Momentum, 1, (0.9,)),
    "nesterov_step": (Nesterov, 1, (0.9,)),
    "rmsprop_step": (RMSProp, 1, ()),
    "adam_step": (Adam, 2, ()),
    "adamw_step": (lambda p, g, n: AdamW(p, g, n, weight_decay=0.1), 2, (0.1,)),
    "lion_step": (lambda p, g, n: Lion(p, g, n, weight_decay=0.1), 1, (0.1,)),
}


def test_steps_are_those_of_the_optimizers(tmp_path):
    ours = Trained(NETS["small"](), tmp_path)
    size = sum(p.size for p in ours.order if p.trainable)
    decayed = sum(p.size for p in ours.order if p.role == "weight")
    rng = np.random.default_rng(0)
    for function, (rule, count, last) in STEPS.items():
        expected, gradients = ours.parameters[:size].copy(), np.zeros(size)
        theirs, found = (
            rule(expected, gradients, weights_first(decayed, size)),
            ours.parameters.copy(),
        )
        state = [np.zeros(size) for _ in range(count)]
        for step in (1, 2, 3):
            gradients[:] = rng.standard_normal(size)
            theirs.step(0.1)
            numbers = [ctypes.c_double(x) for x in (0.1, *last)]
            counted = [ctypes.c_int(step)] if function.startswith("adam") else []
            vectors = map(pointer, (found, gradients, *state))
            ours.call(function, *vectors, *counted, *numbers)
            assert agreement(expected, found[:size]) <= 1e-12, function
        assert (found[size:] == ours.parameters[size:]).all()
    # The others need the shape of each parameter.
    assert set(STEPS) == {f"{name}_step" for name in OPTIMIZERS} - {"lamb_step", "muon_step"}


def test_decay_is_the_gradient_of_an_l2_term(tmp_path):
    ours = Trained(NETS["small"](), tmp_path)
    weights = sum(p.size for p in ours.order if p.role == "weight")
    gradients = np.ones_like(ours.parameters)
    ours.call("add_decay", pointer(ours.parameters), pointer(gradients), ctypes.c_double(0.3))
    assert agreement(1 + 0.3 * ours.parameters[:weights], gradients[:weights]) <= 1e-15
    assert (gradients[weights:] == 1).all()


OUTPUTS = {
    "[5]": "x -> flatten -> linear(5)",
    "[4, 3]": "x -> reshape([2, 16]) -> linear(4) -> permute([2, 1]) -> linear(3)",
    "[3, 4, 4]": "x -> conv(3, 1)",
}


@pytest.mark.parametrize("shape", OUTPUTS)
def test_losses_are_those_of_training(shape, tmp_path):
    net = netspec.loads(f"net A {{ input x: [2, 4, 4]\n output y = {OUTPUTS[shape]} }}")
    rng = np.random.default_rng(1)
    images = rng.standard_normal((3, 2, 4, 4))
    for name in ("softmax", "svm", "mse", "smooth-l1", "bce", "value"):
        (tmp_path / name).mkdir()
        ours = Trained(net, tmp_path / name, loss=name)
        loss, scores = make_loss(name), ours.model.forward(images)
        wanted = loss.targets.shape(scores.shape[1:]) if loss.targets else (1,)
        below = loss.targets.classes(scores.shape[1:]) if loss.targets else 1
        labels = rng.integers(0, below, (3, *wanted)).astype(np.int32)
        if name in ("softmax", "bce") and labels.size > 3:
            labels.flat[1] = -100
        expected, gradients = ours.model.loss_and_grads(images, labels, loss=loss)
        given = [pointer(labels)] if name != "value" else []
        found = ours.call(
            "loss_and_grads", pointer(ours.parameters), pointer(images), *given, 3,
            pointer(ours.gradients), result=ctypes.c_double,
        )  # fmt: skip
        assert found == pytest.approx(float(expected), rel=1e-12), name
        for p in ours.order:
            assert agreement(gradients[p.name], ours.of(ours.gradients, p)) <= 1e-12, name


def test_weights_are_saved_and_loaded(tmp_path):
    """Files of netspec's in either precision; what does not fit is refused."""
    ours = Trained(NETS["small"](), tmp_path)
    path = tmp_path / "w.safetensors"

    def load() -> int:
        return ours.call("load", pointer(found), str(path).encode(), result=ctypes.c_int)

    assert ours.call("save", pointer(ours.parameters), str(path).encode(), result=ctypes.c_int) == 0
    held = load_weights(path).tensors
    assert set(held) == set(ours.model.state_dict())
    for p in ours.order:
        assert (held[p.name] == ours.of(ours.parameters, p)).all()
    found = np.zeros_like(ours.parameters)
    assert load() == 0
    assert (found == ours.parameters).all()
    for dtype in ("float32", "float64"):
        model = netspec.loads(NET).compile(dtype=dtype, seed=7)
        save_weights(path, model.state_dict(), None, {"text": 'a "}{,\\'})
        assert load() == 0
        assert (found == ours.flat(model.parameters)).all()
    whole = path.read_bytes()
    for at in (0, 7, 8, 9, 40, 200, len(whole) - 1):
        path.write_bytes(whole[:at])
        assert load() == 1, at
    state = dict(model.state_dict())
    name = ours.order[0].name
    for wrong in (state[name][:1], state[name].T, state[name].astype("float16")):
        save_weights(path, {**state, name: np.ascontiguousarray(wrong)})
        assert load() == 1
    save_weights(path, {k: v for k, v in state.items() if k != name})
    assert load() == 1
    path.unlink()
    assert load() == 1
    assert ours.call("save", pointer(found), str(tmp_path).encode(), result=ctypes.c_int) == 1


def test_no_header_of_weights_harms(tmp_path):
    """Bytes changed, put in and left out at random, under the sanitizers."""
    net = netspec.loads("net A { input x: [2]\n output x -> linear(2) -> layer_norm }")
    source = train_source(net.graph, net.compile().parameters, TrainOptions(header="net.h"))
    assert source.header is not None
    (tmp_path / "net.h").write_text(source.header, "ascii")
    (tmp_path / "net.c").write_text(source.text, "ascii")
    (tmp_path / "main.c").write_text(LOADS, "ascii")
    program = SANITIZED.build(tmp_path, [tmp_path / "net.c", tmp_path / "main.c"], "program")
    save_weights(tmp_path / "0", net.compile().state_dict())
    whole, rng = bytearray((tmp_path / "0").read_bytes()), np.random.default_rng(0)
    for i in range(1, 60):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(content)))
            content[at : at + int(rng.integers(3))] = rng.choice(
                list(b'{}[]",:\\9-\xff'), 2
            ).tobytes()
        (tmp_path / str(i)).write_bytes(content)
    (tmp_path / "60").write_bytes(b"")
    (tmp_path / "61").write_bytes(whole[:5])
    (tmp_path / "62").mkdir()
    last = 2**63 - 9  # where the array with the bias of `linear` would begin
    about = {"dtype": "F32", "shape": [2], "data_offsets": [last, last + 8]}
    header = json.dumps({"linear1.bias": about}).encode()
    (tmp_path / "63").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    done = subprocess.run(
        [program, *map(str, range(64))], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
    assert done.stdout[0] == "0"
    assert done.stdout[60:] == "1111"


LOADS = """\
#include <stdio.h>
#include "net.h"
int main(int argc, char **argv)
{
    static float parameters[A_PARAMETERS];
    for (int i = 1; i < argc; i++)
        putchar(a_load(parameters, argv[i]) ? '1' : '0');
    return 0;
}
"""


def test_threads_change_no_bit(tmp_path):
    """OpenMP, with as many threads as it likes."""
    images, labels = batch(NETS["small"](), 5)
    found = []
    for flags in ((), ("-fopenmp",)):
        (folder := tmp_path / "".join(["build", *flags])).mkdir()
        ours = Trained(NETS["small"](), folder, flags)
        loss = ours.loss_and_grads(images, labels)
        found.append((loss, ours.gradients.tobytes(), ours.parameters.tobytes()))
    assert found[0] == found[1]


PICTURES = """
net Bars(classes = 2) {
    input image: [1, 4, 4]
    output image -> conv(4, 3, pad = 1) -> batch_norm -> relu -> flatten -> linear(classes)
}
"""


class NumPyTraining:
    """The NumPy program in the order of the example, batch by batch."""

    def __init__(self, path, pictures, labels, size, dtype="float32") -> None:
        self.model = netspec.load(path).compile(dtype=dtype)
        self.rule = Adam(self.model.flat_parameters, self.model.flat_gradients)
        self.x = pictures[:, None].astype(dtype) / np.dtype(dtype).type(255)
        self.labels, self.size = labels.astype(np.int64), size
        self.state, self.order = 1, list(range(len(labels)))

    def shuffle(self) -> None:
        for i in reversed(range(1, len(self.order))):
            for shift in (13, -17, 5):
                moved = self.state << shift if shift > 0 else self.state >> -shift
                self.state ^= moved & 0xFFFFFFFF
            j = self.state % (i + 1)
            self.order[i], self.order[j] = self.order[j], self.order[i]

    def epoch(self):
        """Yield the loss of each step with its number of pictures."""
        self.shuffle()
        for at in range(0, len(self.order), self.size):
            part = self.order[at : at + self.size]
            loss, _ = self.model.loss_and_grads(self.x[part], self.labels[part])
            yield float(loss), len(part)
            self.rule.step(0.001)

    def losses(self, epochs: int) -> list[float]:
        """Return the mean losses of epochs."""
        return [
            sum(loss * many for loss, many in self.epoch()) / len(self.order) for _ in range(epochs)
        ]


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
        [program, "x", "y", "x", "y", "25"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert len(shown) == 25
    losses = [float(re.findall(r"loss ([\d.]+)", line)[0]) for line in shown]
    assert losses[:5] == pytest.approx(NumPyTraining(path, pictures, labels, 8).losses(5), rel=1e-3)
    right = float(shown[-1].split()[-2])
    assert right > 95
    weights = load_weights(tmp_path / "bars.safetensors").tensors
    model = netspec.load(path).compile()
    model.load_state_dict(weights)
    guessed = model.forward(pictures[:, None].astype("f") / 255).argmax(axis=1)
    assert (guessed == labels).mean() * 100 == pytest.approx(right)
    whole, answers = (tmp_path / "x").read_bytes(), (tmp_path / "y").read_bytes()
    for wrong, other in (
        (b"", answers), (whole, answers[:-1]), (whole[:-1], answers), (whole, answers[:-1] + b"\2"),
        (whole[:8] + struct.pack(">2i", 2, 4) + whole[16:], answers), (answers, answers),
        (whole[:8] + struct.pack(">2i", -1, -1) + whole[16:], answers), (whole[:15], answers),
        (whole[:8] + struct.pack(">2i", 0, 4), answers), (whole[:4] + b"\xff" + whole[5:], answers),
        (whole[:3] + b"\xff" + whole[4:], answers), (whole, answers[:4] + b"\0\0\0\5" + answers[8:]),
    ):  # fmt: skip
        (tmp_path / "u").write_bytes(wrong)
        (tmp_path / "v").write_bytes(other)
        done = subprocess.run([program, "u", "v", "x", "y", "1"], cwd=tmp_path,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(("there are no pictures of 16 bytes", "cannot read a batch"))


# Stands between the example and the function that it calls, and writes each step's loss.
TOLD = """\
static lenet_real told(lenet_real *parameters, const lenet_real *image, const int *labels, int count,
                       lenet_real *gradients)
{
    const lenet_real loss = lenet_loss_and_grads(parameters, image, labels, count, gradients);
    fprintf(stderr, "%.17g\\n", (double)loss);
    return loss;
}
#define lenet_loss_and_grads told

int main("""


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("dtype", "epochs", "steps", "rel", "right"),
    [("float64", 1, 1875, 1e-8, 97.0), ("float32", 3, 50, 1e-3, 98.5)],
)
def test_each_step_on_mnist_is_that_of_the_numpy_program(
    run, tmp_path, dtype, epochs, steps, rel, right
):
    """The example as it is written, loss by loss, and how much it learns."""
    data = mnist()
    GCC.require()
    path = NETWORKS / "lenet.net"
    options = ("--train", "--header", "--example", "--dtype", dtype)
    finished = run("compile", path, "--target", "c", "-o", tmp_path / "lenet.c", *options)
    assert finished.code == 0, finished.err
    main = (tmp_path / "lenet_main.c").read_text("ascii")
    assert 30 < len(main.partition("int main(")[2].splitlines()) <= 40
    (tmp_path / "lenet_main.c").write_text(main.replace("int main(", TOLD), "ascii")
    sources = [tmp_path / "lenet.c", tmp_path / "lenet_main.c"]
    program = Compiler("gcc", ("-O2",)).build(tmp_path, sources, "train")
    command = [program, *idx_files(data, tmp_path), str(epochs)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [float(line) for line in done.stderr.split()]
    assert len(found) == epochs * 1875
    theirs = NumPyTraining(path, data.x_train[:, 0], data.y_train, 32, dtype).epoch()
    expected = [loss for loss, _ in itertools.islice(theirs, steps)]
    assert found[:steps] == pytest.approx(expected, rel=rel)
    assert float(re.findall(r"right ([\d.]+)", done.stdout)[-1]) >= right


def test_layers_that_cannot_be_trained_in_c_are_located(monkeypatch):
    missing = ("per_image_norm.backward", "reductions.logsumexp_backward")
    left = {name: form for name, form in calls.FORMS.items() if name not in missing}
    monkeypatch.setattr(calls, "FORMS", left)
    text = (
        "net A { input x: [2, 3, 3]\n x = x -> conv(2, 1)\n output x -> layer_norm -> logsumexp(1)"
    )
    graph = netspec.loads(f"{text} -> flatten -> linear(2) }}").graph
    values = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
    with pytest.raises(netspec.NetspecError) as error:
        train_source(graph, values, TrainOptions())
    assert [d.code for d in error.value.diagnostics] == ["compile/no-c"] * 2
    assert {d.span.text for d in error.value.diagnostics} == {"layer_norm", "logsumexp(1)"}


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
        ("--batch 4", "--batch, --loss and --example need --train"),
        ("--train --header --example --loss mse", "--example trains with --loss softmax"),
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
    example = example_main(graph, "n", "n", in_file=False)
    return [train_source(graph, values, TrainOptions(example=True)).text, example]


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
