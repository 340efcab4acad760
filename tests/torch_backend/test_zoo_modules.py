"""The generated module of every network that comes with netspec is right, and works with PyTorch's
tools.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.torch_build import build_module, module_class  # noqa: E402
from netspec.testing.op_examples import random_inputs  # noqa: E402
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.heavy import some_heavy  # noqa: E402
from tests.helpers.torch_support import (  # noqa: E402
    check_against,
    check_imports,
    classes,
    same,
    source_of,
)
from tests.helpers.zoo import FILES as WIDE_FILES  # noqa: E402
from tests.project.test_zoo import KNOWN  # noqa: E402

NETWORKS = Path(__file__).parents[2] / "networks"

# Arguments that make each net small, but keep its structure.
SMALL: dict[str, dict[str, Any]] = {
    "lenet": {},
    "threelayer": {"filters": 6, "hidden": 20},
    "resnet": {"width": 6},
    "airbench": {"widths": [4, 6, 8]},
    "zoo/alexnet": {"classes": 10, "width": 0.125, "size": 64},
    "zoo/densenet121": {"classes": 10, "size": 32, "width": 0.25, "layers": [2, 3, 2, 1]},
    "zoo/fully_connected": {"hidden": [20, 10, 10], "norm": True, "drop": 0.5, "size": 6},
    "zoo/mobilenet_v2": {"classes": 10, "size": 32, "width": 0.25},
    "zoo/resnet18": {"classes": 10, "size": 32, "width": 0.125},
    "zoo/resnet50": {"classes": 10, "size": 32, "width": 0.125, "blocks": [2, 1, 3, 1]},
    "zoo/squeezenet1_0": {"classes": 10, "size": 48, "width": 0.25},
    "zoo/vgg16": {"classes": 10, "size": 32, "width": 0.0625},
}
# The nets that take longest; `test_structured_nets` has them too.
SLOWEST = ("zoo/mobilenet_v2", "zoo/densenet121", "zoo/resnet50", "zoo/vgg16")
every_network = pytest.mark.parametrize("name", some_heavy(SMALL, SLOWEST))


@functools.cache
def net(name: str, **arguments: Any) -> netspec.Net:
    return netspec.load(NETWORKS / f"{name}.net", **arguments)


@functools.cache
def small(name: str) -> netspec.Net:
    return netspec.load(NETWORKS / f"{name}.net", **SMALL[name])


@functools.cache
def _built(name: str) -> torch.nn.Module:
    return build_module(small(name))


def built(name: str) -> torch.nn.Module:
    """Return the module of a small net in training mode, as a copy: compiling takes longer."""
    return copy.deepcopy(_built(name))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_every_file_is_tested():
    names = {str(path.relative_to(NETWORKS))[:-4] for path in NETWORKS.rglob("*.net")}
    assert names == set(SMALL) | WIDE_FILES


# ------------------------------------------------------------------------------------ it is right


@every_network
def test_it_equals_the_program_and_the_reference(name):
    """Outputs, gradients and buffers are compared in double precision, in training and in
    evaluation.
    """
    check_against(built(name).double(), small(name).graph, batch=2)


@every_network
def test_names_and_shapes_are_the_graphs_in_order(name):
    with torch.device("meta"):
        module = classes(source_of(net(name)))[net(name).name]()
    ours = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    assert list(ours.items()) == [(p.name, p.shape) for p in net(name).graph.saved().values()]
    trained = {p.name for p in net(name).graph.trainable()}
    assert {key for key, _ in module.named_parameters()} == trained


def randomised(module):
    """Give a module values of the size of a trained net's, drawn fast."""
    for key, tensor in module.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif not key.endswith("num_batches_tracked"):
            positive = key.endswith(("running_var", "weight"))
            tensor.uniform_(0.5, 1.5) if positive else tensor.normal_(0, 0.1)
    return module


@pytest.mark.parametrize("name", some_heavy(KNOWN, ("vgg16", "mobilenet_v2")))
def test_it_is_torchvisions(name):
    """Its weights have torchvision's names.

    Outputs, gradients of inputs and statistics agree in single precision.
    """
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    options: dict[str, Any] = {"classes": 10, "size": 32 if name == "squeezenet1_0" else 64}
    theirs_too: dict[str, Any] = {"num_classes": 10}
    if not name.startswith(("resnet", "densenet")):
        options["drop"] = theirs_too["dropout"] = 0.0
    with torch.device("meta"):
        theirs = getattr(models, name)(weights=None, **theirs_too)
        ours = module_class(net(f"zoo/{name}", **options))()
    theirs = randomised(theirs.to_empty(device="cpu")).requires_grad_(False)
    for training in (False, True):
        # Weights share their memory; statistics, which both update, do not.
        buffers = dict(theirs.named_buffers())
        state = {k: t.clone() if k in buffers else t for k, t in theirs.state_dict().items()}
        ours.load_state_dict(state, strict=True, assign=True)
        runs = []
        for module in (theirs, ours):
            module.train(training)
            generator = torch.Generator().manual_seed(1)
            size = options["size"]
            x = torch.randn(2, 3, size, size, generator=generator).requires_grad_()
            y = module(x)
            y.backward(torch.randn(y.shape, generator=generator))
            runs.append((y, x.grad))
        for a, b in zip(*runs, strict=True):
            same(a, b, 1e-5)
        for key, buffer in ours.named_buffers():
            same(buffers[key], buffer, 1e-5)


# ---------------------------------------------------------------------------------- it is readable


@pytest.mark.heavy
def test_the_sources_are_formatted_and_clean():
    sources = {}
    for name in SMALL:
        stem = name.rpartition("/")[2]
        sources[stem] = source_of(net(name))
        sources[f"{stem}_small"] = source_of(small(name))
    check_formatted(sources)
    for source in sources.values():
        check_imports(source)
        assert source.isascii()
        assert max(map(len, source.splitlines())) <= 88


# ------------------------------------------------------------------------------- PyTorch likes it


def inputs(name: str, batch: int = 2):
    return tuple(
        torch.from_numpy(a.astype(np.float32))
        for a in random_inputs(small(name).graph, batch).values()
    )


@every_network
def test_compile_without_graph_breaks(name):
    module = built(name).eval()
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    same(module(*inputs(name)), compiled(*inputs(name)), 1e-6)


# Strict export is Dynamo's capture, which `test_compile_without_graph_breaks` holds for every net, and
# what export does besides, which the other mode holds: these nets have all kinds of bodies.
STRICT = ("lenet", "resnet", "zoo/densenet121", "zoo/squeezenet1_0")


@pytest.mark.parametrize(
    ("name", "strict"),
    [
        *((name, False) for name in SMALL),
        *(pytest.param(name, True, marks=pytest.mark.heavy) for name in STRICT),
    ],
)
def test_export(name, strict):
    module = built(name).eval()
    exported = torch.export.export(module, inputs(name), strict=strict)
    same(module(*inputs(name)), exported.module()(*inputs(name)), 1e-6)
    assert set(exported.state_dict) <= set(module.state_dict())


@every_network
def test_channels_last(name):
    """Values are the same with channels last, and pictures keep that layout."""
    module, twin = (built(name).double() for _ in range(2))
    twin = twin.to(memory_format=torch.channels_last)
    drops = any(isinstance(m, torch.nn.Dropout) for m in module.modules())
    x = [a.double() for a in inputs(name)]
    layouts = []
    for layer in twin.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, y: layouts.append(y.is_contiguous(memory_format=torch.channels_last))
            )
    y = twin.train(not drops)(*(a.to(memory_format=torch.channels_last) for a in x))
    same(module.train(not drops)(*x), y, 1e-10)
    assert all(layouts)


@every_network
def test_autocast(name):
    module = built(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(*inputs(name))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all(), key


@pytest.fixture(scope="module")
def _one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make a process group with this process alone."""
    if not torch.distributed.is_available():
        pytest.skip("PyTorch was built without torch.distributed")
    store = tmp_path_factory.mktemp("store") / "store"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@every_network
@pytest.mark.usefixtures("_one_process")
def test_distributed_data_parallel(name):
    """DDP finds that every parameter is used, and gives the same gradients."""
    module = built(name)
    twin = built(name)
    parallel = torch.nn.parallel.DistributedDataParallel(module)
    for runs in (parallel, twin):
        torch.manual_seed(1)
        runs(*inputs(name)).square().sum().backward()
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        same(a.grad, b.grad, 1e-5)


# ----------------------------------------------------------------------- it is what one would write


class TextbookLeNet(torch.nn.Module):
    """LeNet as tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        functional = torch.nn.functional
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)


def aten_calls(module, shape) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the operators of an exported module, in order, with the plain numbers in their
    arguments.

    In-place operators are given as those that do not work in place.
    """
    exported = torch.export.export(module.eval(), (torch.randn(*shape),))
    exported = exported.run_decompositions({})
    return [
        (str(node.target), tuple(a for a in node.args if not isinstance(a, torch.fx.Node)))
        for node in exported.graph.nodes
        if node.op == "call_function"
    ]


def test_lenet_is_the_textbooks():
    ours = aten_calls(build_module(net("lenet")), (2, 1, 28, 28))
    assert ours == aten_calls(TextbookLeNet(), (2, 1, 28, 28))
    assert len(ours) == 12


@pytest.mark.heavy
def test_resnet18_is_torchvisions():
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    ours = aten_calls(build_module(net("zoo/resnet18", size=64)), (1, 3, 64, 64))
    assert ours == aten_calls(models.resnet18(weights=None), (1, 3, 64, 64))
