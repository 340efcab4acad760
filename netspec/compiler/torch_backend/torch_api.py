"""What is particular to PyTorch's functions and modules: defaults, operators, which has which form.

A function that is not listed here is written with all its arguments, and called as it is.
"""

from __future__ import annotations

from typing import Any

_WINDOW: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
_POOL: dict[str, Any] = {"stride": "kernel", "padding": 0, "ceil_mode": False}

# Options that need not be written, by function. A pool's stride is its kernel unless it is given.
DEFAULTS: dict[str, dict[str, Any]] = {
    "nn.Conv2d": _WINDOW,
    "nn.ConvTranspose2d": {**_WINDOW, "output_padding": 0},
    "nn.Linear": {"bias": True},
    "nn.BatchNorm1d": {"eps": 1e-5, "momentum": 0.1, "affine": True},
    "nn.BatchNorm2d": {"eps": 1e-5, "momentum": 0.1, "affine": True},
    "nn.GroupNorm": {"eps": 1e-5, "affine": True},
    "nn.InstanceNorm1d": {"eps": 1e-5, "affine": False},
    "nn.InstanceNorm2d": {"eps": 1e-5, "affine": False},
    "nn.LayerNorm": {"eps": 1e-5, "elementwise_affine": True, "bias": True},
    "F.max_pool2d": {**_POOL, "dilation": 1},
    "F.avg_pool2d": {**_POOL, "count_include_pad": True},
    "F.pad": {"mode": "constant", "value": 0.0},
    "F.gelu": {"approximate": "none"},
    "F.scaled_dot_product_attention": {"is_causal": False},
    "F.interpolate": {"mode": "nearest"},
}

# Where one number stands for a pair of equal ones.
PAIRED = frozenset(
    "nn.Conv2d nn.ConvTranspose2d F.max_pool2d F.avg_pool2d F.adaptive_avg_pool2d"
    " F.adaptive_max_pool2d".split()
)

OPERATORS = {"torch.add": "+", "torch.mul": "*", "torch.div": "/", "torch.matmul": "@"}

# Functions of one value that a `nn.Sequential` can hold as modules with the same arguments.
MODULES = {
    "F.relu": "nn.ReLU",
    "F.relu6": "nn.ReLU6",
    "F.elu": "nn.ELU",
    "F.selu": "nn.SELU",
    "F.gelu": "nn.GELU",
    "F.silu": "nn.SiLU",
    "F.hardswish": "nn.Hardswish",
    "F.leaky_relu": "nn.LeakyReLU",
    "torch.sigmoid": "nn.Sigmoid",
    "torch.tanh": "nn.Tanh",
    "F.max_pool2d": "nn.MaxPool2d",
    "F.avg_pool2d": "nn.AvgPool2d",
}

# Attributes of `nn.ModuleDict` that a key must not have.
DICT_ATTRIBUTES = frozenset("clear items keys pop update values".split())

# Attributes of `nn.Sequential` that a child must not have.
SEQUENTIAL_ATTRIBUTES = frozenset("append extend insert pop".split())
