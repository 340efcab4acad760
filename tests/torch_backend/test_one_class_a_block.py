"""Nets whose blocks are called with many sizes: a class for each block, as short as a person's."""

from __future__ import annotations

import functools
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.testing.op_examples import (  # noqa: E402
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
)
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.heavy import some_heavy  # noqa: E402
from tests.helpers.torch_support import (  # noqa: E402
    check_equal,
    classes,
    load,
    same,
    source_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")
NETS = Path(__file__).parent / "nets"
ZOO = Path(__file__).parents[2] / "networks/zoo"

# Settings that are small enough to run.
SMALL: dict[str, dict[str, Any]] = {
    "se_resnet50": {"size": 32, "width": 16, "classes": 3, "blocks": [1, 2]},
    "mobilenet_v3": {"size": 32, "classes": 3},
    "efficientnet": {"size": 32, "width": 0.25, "classes": 3},
    "regnet": {"size": 32, "widths": [8, 16, 24, 32], "depths": [1, 2, 1, 1], "classes": 3},
    "convnext": {"size": 32, "widths": [4, 6, 8, 10], "depths": [1, 1, 2, 1], "classes": 3},
    "swin": {"size": 56, "dim": 8, "depths": [2, 1], "heads": [2, 4], "classes": 3},
}

# What takes longest; the others have the same forms.
HEAVY = ("efficientnet", "mobilenet_v3", "regnet")
every_net = pytest.mark.parametrize("name", some_heavy(SMALL, HEAVY))


@functools.cache
def whole(name: str) -> str:
    """The source that is generated without any arguments."""
    return netspec.load(NETS / f"{name}.net").source("torch")


@every_net
def test_one_file_serves_all_arguments(name: str) -> None:
    """Lists that loops run over stay arguments, also in nets that are no chain."""
    graph = netspec.load(NETS / f"{name}.net", **SMALL[name]).graph
    made = classes(whole(name))[graph.name]
    taken = inspect.signature(made).parameters
    assert set(SMALL[name]) - set(taken) <= {"size"}
    module = made(**{n: v for n, v in SMALL[name].items() if n in taken}).double()
    shapes = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    assert shapes == [(p.name, p.shape) for p in graph.saved().values()]
    parameters, inputs = random_parameters(graph), random_inputs(graph, 2)
    load(module, parameters)
    dy = random_output_gradients(graph, 2)
    run = run_program(graph, parameters, inputs, dy, training=False)
    (image,) = inputs.values()
    (wanted,) = run.outputs.values()
    same(module.eval()(torch.tensor(image)), torch.tensor(wanted), 1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_a_class_for_each_block_and_few_lines(name: str) -> None:
    path = NETS / f"{name}.net"
    text = path.read_text("utf-8")
    source = whole(name)
    blocks = text.count("\nblock ") + text.startswith("block ")
    assert source.count("\nclass ") <= blocks + 1
    assert len(source.splitlines()) <= 6 * len(text.splitlines())
    assert "getattr" not in source
    check_formatted({name: source})


@pytest.mark.heavy
@pytest.mark.parametrize("path", sorted(ZOO.glob("*.net")), ids=lambda path: path.stem)
def test_the_zoo_has_a_class_for_each_block_and_few_lines(path: Path) -> None:
    text = path.read_text("utf-8")
    source = netspec.load(path).source("torch")
    blocks = text.count("\nblock ") + text.startswith("block ")
    classes_ = re.findall(r"^class \w+\(nn\.", source, re.MULTILINE)
    assert len(source.splitlines()) <= 6 * len(text.splitlines())
    assert len(classes_) <= blocks + 1


@every_net
def test_the_classes_compute_what_the_file_says(name: str) -> None:
    net = netspec.load(NETS / f"{name}.net", **SMALL[name])
    source_of(net)
    check_equal(net, batch=2, tol=1e-9)
