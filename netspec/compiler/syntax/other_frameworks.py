"""Habits from PyTorch, Keras and Python: what is meant, and how it is written here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import suggest

# Words for an attribute of ours.
ATTRIBUTES = {
    "padding": "pad", "kernel_size": "kernel", "filters": "channels", "out_channels": "channels",
    "units": "features", "out_features": "features", "strides": "stride", "pool_size": "kernel",
    "use_bias": "bias", "dilation_rate": "dilation", "rate": "p", "epsilon": "eps", "size": "kernel",
    "num_groups": "groups", "kernel_initializer": "weight", "gamma": "weight", "beta": "bias",
}  # fmt: skip

# Words for the size of a layer's input, which no layer of ours is told.
INPUT_SIZES = frozenset(
    "in_channels in_features num_features num_channels input_channels input_dim input_shape"
    " input_size".split()
)

# Words for an activation behind a layer.
ACTIVATIONS = frozenset(
    "activation act act_layer activation_fn activation_layer nonlinearity".split()
)

# What other frameworks and papers call our layers, in lower case and without underscores.
LAYERS = {
    "conv2d": "conv", "convolution": "conv", "convolution2d": "conv", "dense": "linear",
    "fc": "linear", "affine": "linear", "fullyconnected": "linear", "maxpool2d": "max_pool",
    "maxpooling2d": "max_pool", "avgpool2d": "avg_pool", "averagepool": "avg_pool",
    "averagepooling2d": "avg_pool", "bn": "batch_norm", "batchnorm2d": "batch_norm",
    "batchnormalization": "batch_norm", "gap": "global_avg_pool", "rectify": "relu",
    "deconv": "conv_transpose", "deconvolution": "conv_transpose", "swish": "silu",
    "hswish": "hardswish", "lrn": "local_response_norm", "cat": "concat", "concatenate": "concat",
    "view": "reshape", "mean": "global_avg_pool", "bmm": "matmul", "transpose": "permute",
    "interpolate": "upsample", "zeropad2d": "pad", "droppath": "drop_path",
    "stochasticdepth": "drop_path", "chunk": "split",
}  # fmt: skip

# What is no layer here, and why.
ABSENT = {
    "sequential": "layers are joined by arrows: `x -> conv(8, 3) -> relu`",
    "identity": "what changes nothing is left out",
}
_LOSS = "the loss is chosen in training, and is no part of a net"

PYTHON_WORDS: Mapping[str, tuple[str, bool | None]] = {
    "True": ("true", True), "False": ("false", False), "None": ("none", None),
}  # fmt: skip


def layer_meant(name: str, known: Collection[str]) -> str | None:
    """The layer or block that was probably meant by a name."""
    if name in known:
        return name
    meant = LAYERS.get(name.lower().replace("_", "")) or suggest(name, known)
    return meant if meant in known else None


def why_absent(name: str) -> str | None:
    """Advice about a name that stands for no layer."""
    plain = name.lower().replace("_", "")
    return _LOSS if plain.endswith("loss") else ABSENT.get(plain)


def activation_meant(value: syntax.Expr, known: Collection[str]) -> str | None:
    """The layer, as a pipeline would write it, that `activation = relu` asks for."""
    if isinstance(value, syntax.Literal) and isinstance(value.value, str):
        return layer_meant(value.value, known)
    if isinstance(value, syntax.Name):
        return layer_meant(value.id, known)
    if isinstance(value, syntax.Call):
        meant = layer_meant(value.callee.id, known)
        return meant and meant + value.span.text[len(value.callee.id) :]
    return None
