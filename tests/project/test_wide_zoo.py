"""More networks, most of them torchvision's: names, sizes and values are equal.

`test_zoo.py` has the older ones, with arguments for their width. These are tested at full width, so
that all but sizes and names is heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.initializers import draw
from netspec.testing.op_examples import agreement, run_program
from tests.helpers.heavy import some_quick
from tests.helpers.zoo import WIDE

ZOO = Path(__file__).parents[2] / "networks/zoo"

# Their tests are fast enough to run always.
QUICK = ("m5", "mobilenet_v3_small", "shufflenet_v2_x1_0", "vae")
# A PyTorch module has its parts in the order of `__init__`, a net as values go through them.
OTHER_ORDER = ("swin_t", "unet")
# For finite differences.
REDUCED: dict[str, dict[str, Any]] = {
    "deeplabv3_resnet50": {"blocks": [1, 1, 1, 1], "size": 33},
    "mlp_mixer_b_16": {"blocks": 2, "width": 64},
    "swin_t": {"size": 64, "side": 2, "blocks": [2, 1, 1, 1]},
    "unet": {"width": 8},
    "vit_b_16": {"layers": 2, "width": 96, "heads": 4},
}
# Seeds of gradcheck other than 0: there a difference of the loss of this net is not exact enough.
SEEDS = {"resnext50_32x4d": 1}
every_net = pytest.mark.parametrize("name", WIDE)
some_nets = pytest.mark.parametrize("name", some_quick(WIDE, QUICK))


def theirs(name: str, **options: Any) -> Any:
    """Return torchvision's model, or the one of `plain_nets`, with its auxiliary heads."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.helpers import plain_nets

    if name in plain_nets.NETS:
        return plain_nets.NETS[name](**options)
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "transform_input": False}
    if name.startswith("deeplab"):
        options |= {"weights_backbone": None, "aux_loss": True}
    return models.get_model(name, weights=None, **options)


def ours(name: str, **arguments: Any) -> netspec.Net:
    return netspec.load(ZOO / f"{name}.net", **arguments)


def classes(name: str, word: str) -> dict[str, Any]:
    """Return the argument for 10 classes, for a net that has classes."""
    return {} if name.startswith("dcgan") or name == "vae" else {word: 10}


def small(name: str, **arguments: Any) -> netspec.Net:
    return ours(name, **{**classes(name, "classes"), **WIDE[name], **arguments})


@every_net
def test_names_shapes_and_multiply_adds(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    # RegNet computes its widths with tensors, which need values.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = theirs(name).to("meta")
    order = sorted if name in OTHER_ORDER else list
    net = ours(name, **{size: WIDE[name][size] for size in ("H", "W") if size in WIDE[name]})
    shapes = [(key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()]
    assert order((p.name, p.shape) for p in net.graph.saved().values()) == order(shapes)
    (shape,) = net.graph.inputs.values()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(2, *shape, device="meta"))  # in training mode, with auxiliary heads
    assert net.summary().macs == counter.get_total_flops() // 4


@every_net
def test_there_are_no_warnings(name):
    assert ours(name).warnings == ()


def pair(torch: Any, name: str) -> tuple[Any, Any]:
    """Return torchvision's model without noise, and ours with its values, in double precision."""
    torch.manual_seed(0)
    word = {"vit_b_16": "image_size", "mlp_mixer_b_16": "size"}.get(name)
    sized = {} if word is None else {word: WIDE[name]["size"]}
    model = theirs(name, **classes(name, "num_classes"), **sized).double()
    for parameter in model.parameters():
        if not parameter.detach().any():  # a head that starts with zeros would hide what is below
            torch.nn.init.normal_(parameter, std=0.02)
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    return model, {key: t.detach().numpy().copy() for key, t in model.state_dict().items()}


OURS = {
    "logits": "output",
    "out": "output",
    "aux_logits1": "aux1",
    "aux_logits2": "aux2",
    "aux_logits": "aux",
}


def outputs_of(result: Any) -> dict[str, Any]:
    """Return the outputs of a PyTorch module under our names."""
    if hasattr(result, "_asdict"):
        result = result._asdict()
    if not isinstance(result, dict):
        return {"output": result}
    return {OURS.get(key, key): value for key, value in result.items()}


@some_nets
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_values_and_gradients_are_torchvisions(torch, name, training):
    """In training mode every dropout and drop path has rate 0."""
    model, parameters = pair(torch, name)
    graph = small(name).graph
    constants = (p for p in graph.parameters.values() if not p.is_saved)
    parameters |= {p.name: draw(p.name, p.shape, p.initializer, 0) for p in constants}
    rng = np.random.default_rng(0)
    ((given, shape),) = graph.inputs.items()
    images = rng.standard_normal((2, *shape))
    dy = {n: rng.standard_normal((2, *graph.shape_of(v))) for n, v in graph.outputs.items()}
    run = run_program(graph, parameters, {given: images}, dy, training=training)
    if name == "vae" and training:
        (noise,) = run.masks.values()
        model.noise = torch.tensor(noise)
    x = torch.tensor(images, requires_grad=True)
    found = outputs_of(model.train(training)(x))
    for key, value in found.items():
        assert agreement(run.outputs[key], value.detach().numpy()) <= 1e-10, key
    if not training:
        return  # torchvision's auxiliary heads are off
    torch.autograd.backward(list(found.values()), [torch.tensor(dy[key]) for key in found])
    # PyTorch rounds the derivative of hardsigmoid to single precision.
    tol = 1e-7 if name == "mobilenet_v3_small" else 1e-9
    assert agreement(run.input_gradients[given], x.grad.numpy()) <= tol
    for key, parameter in model.named_parameters():
        assert agreement(run.gradients[key], parameter.grad.numpy()) <= tol, key
    for key, buffer in model.named_buffers():
        assert agreement(run.parameters[key], buffer.numpy()) <= 1e-10, key


@pytest.mark.heavy
@every_net
def test_the_generated_module(torch, name):
    """It has torchvision's values, and PyTorch compiles and exports it."""
    model, parameters = pair(torch, name)
    net = small(name)
    module = net.compile("torch", dtype="float64").module
    module.load_state_dict({key: torch.tensor(value) for key, value in parameters.items()})
    (shape,) = net.graph.inputs.values()
    images = torch.randn(2, *shape, dtype=torch.float64)

    def by_name(result: Any) -> dict[str, Any]:
        values = result if isinstance(result, tuple) else (result,)
        return dict(zip(net.graph.outputs, values, strict=True))

    with torch.no_grad():
        mine = by_name(module.eval()(images))
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="eager")(images)
        exported = torch.export.export(module, (images,)).module()(images)
        wanted = outputs_of(model.eval()(images))
    for found in (mine, by_name(compiled), by_name(exported)):
        for key, value in wanted.items():
            assert agreement(found[key].numpy(), value.numpy()) <= 1e-10, key


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in WIDE if name != "inception_v3"])
def test_gradients_are_slopes(name):
    report = netspec.gradcheck(
        small(name, **REDUCED.get(name, {})),
        directions=1,
        whole=True,
        batch=3,
        seed=SEEDS.get(name, 0),
    )
    assert report.ok, str(report)
    for row in report.rows:
        assert all(score.error <= 1e-7 for score in row.scores.values()), row.name
