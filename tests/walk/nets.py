"""The nets of a walk: small ones, of every kind that matters to models."""

from __future__ import annotations

import random

import netspec
from tests.helpers.random_nets import random_net

_LAYERS = [
    "relu", "tanh", "gelu", "leaky_relu(0.1)", "batch_norm", "group_norm(2)", "layer_norm", "silu",
    "dropout(0.3)", "drop_path(0.2)", "conv(4, 3, pad = 1)", "conv(4, 1, bias = false)",
    "conv(4, 3, pad = same, groups = 2)", "max_pool(3, stride = 1, pad = 1)", "scale",
    "avg_pool(3, stride = 1, pad = 1)", "channel_shuffle(2)", "shared", "shared",
]  # fmt: skip
CLASSES = 3


def classifier_text(rng: random.Random) -> str:
    """Return a net that can be trained: pictures or vectors in, scores out."""
    kind = rng.choice(["picture", "picture", "picture", "open", "vector"])
    if kind == "vector":
        layers = rng.sample(["relu", "batch_norm", "tanh", "dropout(0.2)", "linear(6)"], 3)
        body = " -> ".join(["x", "linear(5)", *layers, f"linear({CLASSES})"])
        return f"net Vector() {{\n    input x: [8]\n    output {body}\n}}\n"
    layers = [rng.choice(_LAYERS) for _ in range(rng.randint(1, 4))]
    shared = "    layer shared = conv(4, 3, pad = 1)\n" if "shared" in layers else ""
    size, end = ("6, 6", "flatten -> ") if kind == "picture" else ("H, W", "global_avg_pool -> ")
    if kind == "open":
        layers = ["group_norm(2)" if each == "layer_norm" else each for each in layers]
    body = " -> ".join(["x", "conv(4, 3, pad = 1)", *layers])
    return (
        f"net Picture() {{\n    input x: [2, {size}]\n{shared}"
        f"    output {body}\n        -> {end}linear({CLASSES})\n}}\n"
    )


def any_text(rng: random.Random) -> str:
    """Return a net of any kind that passes `check`: several inputs and outputs, blocks, decisions."""
    if rng.random() < 0.6:
        return classifier_text(rng)
    while True:
        text = random_net(rng.getrandbits(20))
        try:
            netspec.loads(text)
        except netspec.NetspecError:
            continue
        return text
