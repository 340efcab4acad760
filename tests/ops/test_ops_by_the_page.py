"""Ops written as `docs/add-an-op.md` says: one short file each, which nothing else knows of."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.plan import ParameterRef, ViewStep
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.runtime.models.numpy_model import Model
from netspec.testing.op_examples import graph_of
from tests.conftest import ROOT

OPS = ROOT / "netspec/compiler/ops"
MOST_LINES = {"mish": 30, "prelu": 90}


@pytest.mark.parametrize(("name", "most"), MOST_LINES.items())
def test_a_new_op_is_one_short_file(name: str, most: int):
    text = (OPS / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) <= most
    assert "fmt:" not in text
    assert "noqa" not in text


@pytest.mark.parametrize("name", MOST_LINES)
def test_no_other_file_of_the_package_mentions_a_new_op(name: str):
    mentions = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "netspec").rglob("*"))
        if path.suffix in (".py", ".md", ".lark")
        and re.search(rf"\b{name}\b", path.read_text("utf-8"), re.IGNORECASE)
    ]
    assert mentions == [f"netspec/compiler/ops/{name}.py"]


BLOCKS = """net Blocks(classes = 10) {
    input image: [3, 16, 16]
    image -> features.0: conv(8, 3, pad = 1) -> features.1: prelu
        -> features.2: conv(8, 3) -> mish
        -> features.4: conv(4, 3) -> features.5: prelu(per_channel = true)
        -> features.6: conv(4, 3) -> features.7: prelu(start = 0.1) -> mish -> flatten
        -> classifier: linear(classes)
}
"""


def test_new_ops_in_numbered_blocks_are_modules_of_a_plain_sequential():
    net = netspec.loads(BLOCKS.replace("    image ->", "    output image ->"))
    source = net.source("torch")
    listed = source[source.index("self.features") :]
    listed = re.sub(r" *#.*", "", listed[: listed.index("self.classifier")]).rstrip()
    lines = [line.strip() for line in listed.splitlines()]
    assert lines == [
        "self.features = nn.Sequential(",
        "nn.Conv2d(3, 8, kernel_size=3, padding=1),",
        "nn.PReLU(),",
        "nn.Conv2d(8, 8, kernel_size=3),",
        "nn.Mish(),",
        "nn.Conv2d(8, 4, kernel_size=3),",
        "nn.PReLU(4),",
        "nn.Conv2d(4, 4, kernel_size=3),",
        "nn.PReLU(init=0.1),",
        ")",
    ]
    assert "x = F.mish(x)" in source  # no label puts it into the blocks


def test_slopes_start_where_pytorch_starts_them():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads("net N {\n input x: [4]\n output x -> prelu(per_channel = true)\n}")
    weight = Model(net.graph).parameters["prelu1.weight"]
    np.testing.assert_array_equal(weight, torch.nn.PReLU(4).weight.detach().numpy())


# ------------------------------------------------------------------ parameters in another shape


def test_a_plan_can_view_a_parameter_in_another_shape():
    """On a sequence (C, L) the slopes are viewed as (C, 1), without new memory."""
    plan = make_plan(graph_of("prelu(per_channel = true)", ((3, 5),)), training=True)
    (view,) = [step for step in plan.steps if isinstance(step, ViewStep)]
    assert view.source == ParameterRef("prelu1.weight")
    assert str(view) == "%prelu1.weight[3, 1] = view of @prelu1.weight"
    memory = plan_memory(plan)
    assert view.output not in memory.home
    assert view.output not in memory.external
    assert all(view.output not in storage.buffers for storage in memory.storages)


VIEWED = """net Viewed {
    input x: [6]
    output x -> linear(12) -> reshape([3, 4]) -> prelu(per_channel = true) -> mish
        -> scale -> flatten -> linear(5)
}
"""


def test_a_view_sees_what_becomes_of_the_parameter():
    """This holds in training, recorded and not, and in predictors, whose constants are made again."""
    net = netspec.loads(VIEWED)
    model, rng = net.compile("numpy", seed=1), np.random.default_rng(2)
    x = rng.standard_normal((3, 6)).astype(np.float32)
    y = rng.integers(0, 5, 3)
    for _ in range(4):
        _, gradients = model.loss_and_grads(x, y)
        state = {name: array.copy() for name, array in model.state_dict().items()}
        for name, gradient in gradients.items():
            state[name] -= np.float32(0.5) * gradient
        model.load_state_dict(state)
        fresh = net.compile("numpy", seed=7)
        fresh.load_state_dict(state)
        for _ in range(3):
            np.testing.assert_array_equal(model.forward(x), fresh.forward(x))
            predicted = [made.predictor()(x) for made in (model, fresh)]
            np.testing.assert_array_equal(*predicted)
            np.testing.assert_allclose(predicted[0], model.forward(x), rtol=1e-5, atol=1e-6)
        ours, theirs = model.loss_and_grads(x, y), fresh.loss_and_grads(x, y)
        assert ours[0] == theirs[0]
        for name in theirs[1]:
            np.testing.assert_array_equal(ours[1][name], theirs[1][name])
