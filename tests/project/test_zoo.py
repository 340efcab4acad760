"""The networks everyone knows: sizes, names and values equal torchvision's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.models.numpy_model import draw_parameter
from netspec.testing.op_examples import agreement, random_inputs, random_output_gradients
from tests.helpers.heavy import some_heavy
from tests.helpers.zoo import SEQUENCES, WIDE

ZOO = Path(__file__).parents[2] / "networks" / "zoo"

# Parameters of torchvision's models, and multiply-adds of their convolutions and linear layers at
# batch 1, 3x224x224: half of what torch.utils.flop_counter.FlopCounterMode counts.
KNOWN = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg16": (138_357_544, 15_470_264_320),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet50": (25_557_032, 4_089_184_256),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "squeezenet1_0": (1_248_424, 818_924_576),
    "densenet121": (7_978_856, 2_834_161_664),
}
BATCH = 2

every_net = pytest.mark.parametrize("name", KNOWN)


def zoo(name: str, **arguments) -> netspec.Net:
    return netspec.load(ZOO / f"{name}.net", **arguments)


def test_every_file_is_tested():
    assert {path.stem for path in ZOO.glob("*.net")} == {
        *KNOWN,
        "fully_connected",
        *WIDE,
        *SEQUENCES,
    }


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.net")), ids=lambda path: path.stem)
def test_no_warnings(path):
    assert netspec.load(path).warnings == ()


@every_net
def test_parameters_and_multiply_adds_are_the_known_ones(name):
    summary = zoo(name).summary()
    assert (summary.parameters, summary.macs) == KNOWN[name]


def torchvision_model(name: str, **options):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    if not name.startswith(("resnet", "densenet")):  # these have none
        options["dropout"] = 0.0
    return getattr(models, name)(weights=None, **options)


@every_net
def test_names_and_shapes_are_torchvisions(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.device("meta"):
        theirs = torchvision_model(name).state_dict()
    ours = zoo(name).graph.parameters
    assert [(p.name, p.shape) for p in ours.values()] == [
        (key, tuple(tensor.shape)) for key, tensor in theirs.items()
    ]


@every_net
@pytest.mark.parametrize("width", [0.25, 0.5])
def test_a_narrow_net_is_narrow(name, width):
    parameters, macs = KNOWN[name]
    summary = zoo(name, width=width).summary()
    assert summary.parameters < parameters
    assert summary.macs < macs * 2 * width


@pytest.mark.parametrize("width", [0.35, 0.75, 1.4])
def test_channels_are_rounded_as_torchvision_rounds_them(width):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.device("meta"):
        theirs = torchvision_model("mobilenet_v2", width_mult=width).state_dict()
    ours = zoo("mobilenet_v2", width=width).graph.parameters
    assert {n: p.shape for n, p in ours.items()} == {n: tuple(t.shape) for n, t in theirs.items()}


def torchvision_pair(torch, name, training, dtype):
    """Return torchvision's model with 10 classes, and our graph with its parameters."""
    model = torchvision_model(name, num_classes=10).to(getattr(torch, dtype)).train(training)
    for key, buffer in model.named_buffers():  # as if it had been trained
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    options = {"classes": 10, "size": 32 if name == "squeezenet1_0" else 64}
    if not name.startswith(("resnet", "densenet")):
        options["drop"] = 0
    # Weights share their memory; buffers, which both update in training, do not.
    buffers = dict(model.named_buffers())
    p = {
        key: t.numpy().copy() if key in buffers else t.detach().numpy()
        for key, t in model.state_dict().items()
    }
    return model, zoo(name, **options).graph, p


def started(graph, p, inputs, dtype, **options):
    """Return a program after its forward pass, and its buffers."""
    program = Program(graph, make_plan(graph, **options), np.dtype(dtype))
    b = program.bind(BATCH)
    for key, array in inputs.items():
        b[program.plan.inputs[key].name][...] = array
    program.sample(b, np.random.default_rng(0))  # nothing is dropped
    program.forward(b, p)
    return program, b


@pytest.mark.parametrize(
    "name", ["alexnet", "resnet18", "mobilenet_v2", "squeezenet1_0", "densenet121"]
)
def test_initial_values_are_spread_as_torchvisions(torch, name):
    theirs = torchvision_model(name).state_dict()
    for key, parameter in zoo(name).graph.parameters.items():
        tensor = theirs[key].double().numpy()
        if parameter.role == "counter" or 1 < tensor.size < 500 or tensor.size > 1_000_000:
            continue  # too few numbers to tell, or more than needed
        ours = draw_parameter(parameter, seed=0)
        assert ours.mean() == pytest.approx(tensor.mean(), abs=0.2 * float(tensor.std())), key
        assert ours.std() == pytest.approx(tensor.std(), rel=0.1), key
        if tensor.std() > 0:  # the extent tells a uniform from a normal distribution
            uniform = [np.abs(a).max() < 1.8 * a.std() for a in (ours, tensor)]
            assert uniform[0] == uniform[1], key


def test_initial_values_of_vgg():
    rules = {
        (name.split(".")[0], p.role): str(p.initializer)
        for name, p in zoo("vgg16").graph.parameters.items()
    }
    assert set(rules) == {(a, b) for a in ("features", "classifier") for b in ("weight", "bias")}
    assert rules["features", "bias"] == rules["classifier", "bias"] == "zeros"
    assert rules["features", "weight"].startswith("kaiming_fan_out")
    assert rules["classifier", "weight"].startswith("normal(0.01")


@pytest.mark.parametrize("name", some_heavy(KNOWN, ["vgg16"]))
def test_values_are_torchvisions_in_single_precision(torch, name):
    """They are compared in evaluation.

    Gradients would not agree as well: rounding decides which side of a kink, or which of two equal
    pixels in a pool, gets one.
    """
    model, graph, p = torchvision_pair(torch, name, False, "float32")
    inputs = random_inputs(graph, BATCH)
    program, b = started(graph, p, inputs, "float32", training=False, backward=False)
    with torch.no_grad():
        y = model(torch.tensor(inputs["image"], dtype=torch.float32))
    assert agreement(b[program.plan.outputs["output"].name], y.numpy()) <= 1e-5


@pytest.mark.parametrize("name", some_heavy(KNOWN, ["vgg16", "alexnet", "resnet50"]))
def test_training_is_torchvisions_in_double_precision(torch, name):
    """Values, gradients and running statistics are compared."""
    model, graph, p = torchvision_pair(torch, name, True, "float64")
    # The gradients of 100 million weights take too long for what they show.
    model.requires_grad_(KNOWN[name][0] < 50_000_000)
    inputs, dy = random_inputs(graph, BATCH), random_output_gradients(graph, BATCH)
    program, b = started(graph, p, inputs, "float64", training=True, input_gradients=True)
    b[program.plan.output_gradients["output"].name][...] = dy["output"]
    g = {q.name: np.empty(q.shape) for q in graph.trainable()}
    program.backward(b, p, g)
    x = torch.tensor(inputs["image"], requires_grad=True)
    y = model(x)
    y.backward(torch.tensor(dy["output"]))
    assert agreement(b[program.plan.outputs["output"].name], y.detach().numpy()) <= 1e-10
    assert agreement(b[program.plan.input_gradients["image"].name], x.grad.numpy()) <= 1e-10
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert agreement(g[key], parameter.grad.numpy()) <= 1e-10, key
    for key, buffer in model.named_buffers():
        assert agreement(p[key], buffer.numpy()) <= 1e-10, key


@pytest.mark.parametrize("hidden", [(), (64,), (48, 32, 16)])
def test_fully_connected_nets_of_any_depth(hidden):
    net = zoo("fully_connected", hidden=hidden, norm=True, drop=0.5, size=8)
    linears = [n for n, p in net.graph.parameters.items() if p.role == "weight"]
    assert linears == [f"fc{i + 1}.weight" for i in range(len(hidden) + 1)]
    kinds = [node.op.name for node in net.graph.nodes]
    assert kinds.count("batch_norm") == kinds.count("dropout") == len(hidden)
    assert net.compile("numpy").forward(np.zeros((2, 3, 8, 8))).shape == (2, 10)
