"""Norms, gates and attention to channels as blocks of a few lines, held against plain PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812

import netspec  # noqa: E402
from netspec.export import standalone_source  # noqa: E402
from netspec.testing.op_examples import (  # noqa: E402
    agreement,
    random_inputs,
    random_output_gradients,
    random_parameters,
)
from tests.helpers.torch_support import check_equal, load, module_of, run_module  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

BLOCKS = {
    "SqueezeExcite": """
block SqueezeExcite(reduction = 4) x {
    width = max(1, x.channels // reduction)
    gate = x -> mean([2, 3], keep = true) -> conv(width, 1) -> relu -> conv(x.channels, 1)
    return x * sigmoid(gate)
}
""",
    "RmsNorm": """
block RmsNorm(eps = 1e-6) x {
    return x * (mean(x ** 2, -1, keep = true) + eps) ** -0.5 -> weight: scale
}
""",
    "ResponseNorm": """
block ResponseNorm(eps = 1e-6) x {
    size = sqrt(sum(x ** 2, [2, 3], keep = true))
    return x + (x * (size / (mean(size, 1, keep = true) + eps)) -> gamma: scale)
}
""",
    "SwiGlu": """
block SwiGlu(hidden) x {
    gate, up = x -> gate_up: linear(2 * hidden, bias = false) -> split(2, axis = -1)
    return silu(gate) * up -> down: linear(x.shape[-1], bias = false)
}
""",
    "Film": """
block Film() x, condition {
    factors = condition -> film: linear(2 * x.channels) -> reshape([2 * x.channels, 1, 1])
    factor, shift = factors -> split(2)
    return x * (1 + factor) + shift
}
""",
    "Attend": """
block Attend(heads) x {
    parts = [x.shape[0], heads, x.shape[1] // heads]
    q, k, v = x -> in_proj: linear(3 * x.shape[1]) -> split(3, axis = -1)
    q = q -> reshape(parts)
    k = k -> reshape(parts)
    weights = einsum("bqhd,bkhd->bhqk", q, k) / sqrt(parts[2]) -> softmax(axis = -1)
    return einsum("bhqk,bkhd->bqhd", weights, v -> reshape(parts)) -> reshape(x.shape)
}
""",
    "LayerNormByHand": """
block LayerNormByHand(eps = 1e-5) x {
    centered = x - mean(x, -1, keep = true)
    return centered / sqrt(var(x, -1, keep = true, correction = 0) + eps)
}
""",
}


def squeeze_excite(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    gate = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), p["conv1.weight"], p["conv1.bias"]))
    return x * torch.sigmoid(F.conv2d(gate, p["conv2.weight"], p["conv2.bias"]))


def rms_norm(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, x.shape[-1:], p["weight.weight"], eps=1e-6)


def response_norm(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    size = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
    relative = size / (size.mean(1, keepdim=True) + 1e-6)
    return x + p["gamma.weight"].reshape(-1, 1, 1) * (x * relative)


def swi_glu(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    gate, up = F.linear(x, p["gate_up.weight"]).chunk(2, -1)
    return F.linear(F.silu(gate) * up, p["down.weight"])


def film(p: dict[str, Any], x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    factors = F.linear(condition, p["film.weight"], p["film.bias"])[:, :, None, None]
    factor, shift = factors.chunk(2, 1)
    return x * (1 + factor) + shift


def attend(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    parts = F.linear(x, p["in_proj.weight"], p["in_proj.bias"]).chunk(3, -1)
    q, k, v = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in parts)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def layer_norm(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:])


CASES: dict[str, tuple[str, list[list[int]], Callable[..., torch.Tensor]]] = {
    "SqueezeExcite": ("SqueezeExcite(2)", [[4, 3, 5]], squeeze_excite),
    "RmsNorm": ("RmsNorm", [[3, 6]], rms_norm),
    "ResponseNorm": ("ResponseNorm", [[4, 3, 5]], response_norm),
    "SwiGlu": ("SwiGlu(5)", [[3, 6]], swi_glu),
    "Film": ("Film", [[4, 3, 5], [7]], film),
    "Attend": ("Attend(2)", [[3, 6]], attend),
    "LayerNormByHand": ("LayerNormByHand", [[3, 6]], layer_norm),
}


def net_of(name: str) -> netspec.Net:
    call, shapes, _ = CASES[name]
    inputs = "\n    ".join(f"input x{i}: {shape}" for i, shape in enumerate(shapes))
    group = "x0" if len(shapes) == 1 else "(x0, x1)"
    return netspec.loads(
        f"{BLOCKS[name]}\nnet Written {{\n    {inputs}\n    output {group} -> b: {call}\n}}"
    )


class Plain(torch.nn.Module):
    """A function of parameters and values as a module."""

    def __init__(self, function: Callable[..., torch.Tensor], parameters: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.own = {name: torch.nn.Parameter(value) for name, value in parameters.items()}

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        return iter(self.own.items())

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(self.own, *x)


@pytest.mark.parametrize("name", CASES)
def test_a_block_is_what_plain_pytorch_computes(name: str) -> None:
    """NumPy, the reference and the generated module agree; the module with PyTorch's own functions."""
    net = net_of(name)
    check_equal(net)
    graph, function = net.graph, CASES[name][2]
    parameters = random_parameters(graph)
    inputs, dy = random_inputs(graph, 3), random_output_gradients(graph, 3)
    ours = run_module(load(module_of(net), parameters), graph, inputs, dy, training=True)
    own = {n.removeprefix("b."): torch.tensor(a) for n, a in parameters.items()}
    theirs = run_module(Plain(function, own), graph, inputs, dy, training=True)
    assert agreement(ours.outputs["output"], theirs.outputs["output"]) <= 1e-10
    for n, gradient in theirs.gradients.items():
        assert agreement(ours.gradients[f"b.{n}"], gradient) <= 1e-9, n
    for n, gradient in theirs.input_gradients.items():
        assert agreement(ours.input_gradients[n], gradient) <= 1e-9, n


def test_an_rms_norm_takes_five_lines_at_most() -> None:
    assert len(BLOCKS["RmsNorm"].strip().splitlines()) <= 5


def test_arithmetic_in_a_file_that_needs_numpy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = "".join(BLOCKS[name] for name in ("SqueezeExcite", "ResponseNorm"))
    net = netspec.loads(
        f"{blocks}\nnet Alone {{\n    input x: [3, 6, 6]\n    output x -> conv(4, 3) ->"
        " SqueezeExcite -> ResponseNorm -> flatten -> linear(5) -> clip(-2, 2)\n}"
    )
    (tmp_path / "alone_arithmetic.py").write_text(standalone_source(net.graph), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("alone_arithmetic").Alone
    model, alone = net.compile("numpy", seed=4), made(seed=4)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 3, 6, 6)).astype("f4"), rng.integers(0, 5, 4)
    assert agreement(model.forward(x), alone.forward(x)) <= 1e-5
    ours, theirs = model.loss_and_grads(x, y), alone.loss_and_grads(x, y)
    assert abs(ours[0] - theirs[0]) <= 1e-5
    for name, gradient in ours[1].items():
        assert agreement(gradient, theirs[1][name]) <= 1e-5, name
