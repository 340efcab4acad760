"""Names and habits from PyTorch, Keras and Python, with what is written here instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import suggest

# Other frameworks' names for our attributes: of several, the one that the layer has is meant.
ATTRIBUTES = {
    "padding": "pad", "kernel_size": "kernel", "filters": "channels", "out_channels": "channels",
    "units": "features", "out_features": "features", "strides": "stride", "pool_size": "kernel",
    "use_bias": "bias", "dilation_rate": "dilation", "rate": "p", "epsilon": "eps", "size": "kernel",
    "num_groups": "groups", "hidden_size": "features", "num_layers": "layers",
    "kernel_initializer": "weight", "gamma": "weight", "beta": "bias",
    "k": "kernel", "ks": "kernel", "s": "stride", "p": "pad", "d": "dilation", "g": "groups",
    "b": "bias", "out": "channels features", "ch": "channels", "out_chs": "channels",
    "dim": "axis axes", "dims": "axes", "axis": "axes", "perm": "axes", "keepdim": "keep",
    "keepdims": "keep", "scale_factor": "scale", "upscale_factor": "factor",
    "downscale_factor": "factor", "output_size": "size", "output_padding": "output_pad",
    "divisor_override": "divisor", "negative_slope": "slope", "elementwise_affine": "affine",
    "num_heads": "heads", "n_heads": "heads", "nhead": "heads", "is_causal": "causal",
    "dropout_p": "dropout", "num_embeddings": "vocabulary", "input_dim": "vocabulary",
    "embedding_dim": "width", "output_dim": "width", "padding_idx": "padding",
    "num_classes": "classes", "shape": "sizes", "min": "low", "max": "high",
}  # fmt: skip

# Other frameworks' names for the size of a layer's input, which is never written here: it is
# inferred.
INPUT_SIZES = frozenset(
    "in_channels in_features num_features num_channels input_channels input_dim input_shape"
    " input_size".split()
)

# Other frameworks' names for an argument that adds an activation behind a layer.
ACTIVATIONS = frozenset(
    "activation act act_layer activation_fn activation_layer nonlinearity".split()
)

# Activations that the loss of a classifier has, so that the last layer has none.
IN_THE_LOSS = frozenset(("softmax", "log_softmax"))

# How layers are called whose number other frameworks have a default for, or the net decides.
USUAL_CALLS = {
    "max_pool": "max_pool(2)", "avg_pool": "avg_pool(2)", "linear": "linear(10)", "conv": "conv(8, 3)",
    "embedding": "embedding(1000, 64)",
}  # fmt: skip

# Arguments of blocks that mostly have the same value, where it is not said.
USUAL_ARGUMENTS = {"stride": "1", "dilation": "1", "groups": "1", "kernel": "3"}

# What other frameworks and papers call our layers, in lower case and without underscores. The number of
# axes at the end of a name, as in `conv2d`, is left out: a layer here takes values of each.
LAYERS = {
    "convolution": "conv", "dense": "linear", "fc": "linear", "affine": "linear",
    "fullyconnected": "linear", "maxpooling": "max_pool", "averagepool": "avg_pool",
    "averagepooling": "avg_pool", "bn": "batch_norm", "batchnormalization": "batch_norm",
    "gap": "global_avg_pool", "rectify": "relu",
    "deconv": "conv_transpose", "deconvolution": "conv_transpose", "swish": "silu",
    "hswish": "hardswish", "lrn": "local_response_norm", "cat": "concat", "concatenate": "concat",
    "view": "reshape", "amax": "max", "amin": "min", "variance": "var", "bmm": "matmul",
    "transpose": "permute",
    "interpolate": "upsample", "zeropad": "pad", "droppath": "drop_path",
    "stochasticdepth": "drop_path", "chunk": "split", "simplernn": "rnn",
    "clamp": "clip", "subtract": "sub", "divide": "div", "multiply": "mul", "power": "pow",
    "negative": "neg", "absolute": "abs", "randnlike": "noise", "gaussiannoise": "noise",
}  # fmt: skip

# Layers that do not exist here, in lower case and without underscores, with what to use instead.
# The list includes names that look like one of ours but mean something else: no guess is made for
# them.
_NO_ACTIVATION = (
    "there is no such activation; `relu`, `leaky_relu`, `elu`, `gelu` and `silu` are some"
)
_CHANNEL_DROPOUT = "whole channels are dropped by `dropout(p, by_channel = true)`"
_AS_THEY_ARE = "parameters are used as they are"
ABSENT = {
    "sequential": "layers are joined by arrows: `x -> conv(8, 3) -> relu`",
    "identity": "what changes nothing is left out",
    "depthtospace": "channels become pixels by `pixel_shuffle`, in another order of the channels",
    **dict.fromkeys(
        "dropout1d dropout2d dropout3d spatialdropout1d spatialdropout2d spatialdropout3d"
        " featuredropout".split(),
        _CHANNEL_DROPOUT,
    ),
    "lppool2d": "pools are `max_pool` and `avg_pool`",
    **dict.fromkeys("lstmcell grucell rnncell".split(),
                    "a cell is one step: `lstm`, `gru` and `rnn` go over all steps of a sequence"),
    "embeddingbag": "the mean of several vectors is `embedding(100, 16) -> mean(-2)`",
    "hardtanh": "numbers are limited to a range by `clip(-1, 1)`",
    **dict.fromkeys("celu logsigmoid threshold".split(), _NO_ACTIVATION),
    "weightnorm": _AS_THEY_ARE, "spectralnorm": _AS_THEY_ARE,
}  # fmt: skip
# Python functions of several numbers, and the layers that do the same for several values.
OF_SEVERAL_VALUES = {"max": "maximum(a, b)", "min": "minimum(a, b)", "sum": "add(a, b)"}
# What is written in place of comparing the numbers of a value.
COMPARISONS = (
    "numbers of a value are compared by layers: `maximum(x, 0)` is `x if x > 0 else 0`,"
    " and `where(x, a, b)` is a where x > 0, else b"
)
# Functions of numbers, by the layers that do the same with values.
OF_NUMBERS = {"maximum": "max", "minimum": "min"}
# Layers that are written here as several layers.
SEVERAL = {"layernorm2d": "permute([2, 3, 1]) -> layer_norm(axes = 1) -> permute([3, 1, 2])"}
_LOSSES = frozenset(
    "crossentropy softmaxcrossentropy binarycrossentropy bce bcewithlogits mse mae nll nllloss hinge"
    " sparsecategoricalcrossentropy categoricalcrossentropy kldiv".split()
)
_LOSS = "the loss is chosen in training, and is no part of a net: its outputs are scores"

PYTHON_WORDS: Mapping[str, tuple[str, bool | None]] = {
    "True": ("true", True), "False": ("false", False), "None": ("none", None),
}  # fmt: skip


def attribute_meant(name: str, free: Collection[str]) -> str | None:
    """Return the argument, of those that are free, that another framework calls by a name, or None."""
    return next((own for own in ATTRIBUTES.get(name, "").split() if own in free), None)


def layer_meant(name: str, known: Collection[str]) -> str | None:
    """Return the layer or block that was probably meant by a name, or None."""
    meant = layer_named(name, known)
    if meant is None and (close := suggest(name, known)) is not None and _may_mean(name, close):
        meant = close
    return meant


def layer_named(name: str, known: Collection[str]) -> str | None:
    """Return the layer that a name stands for, however it is spelt (`MaxPool2d`, `ReLU`,
    `max_pool`), or None.
    """
    if name in known:
        return name
    plain = re.sub("[123]d$", "", name.lower().replace("_", ""))
    meant = LAYERS.get(plain) or next(
        (k for k in known if k.lower().replace("_", "") == plain), None
    )
    return meant if meant in known else None


def _may_mean(name: str, close: str) -> bool:
    """Whether a name may be a misspelling of a similar one, rather than the name of something else.

    `pixel_shuffle` shares a word with `channel_shuffle` but means something else.
    """
    words, others = ([*filter(None, each.lower().split("_"))] for each in (name, close))
    if len(words) == len(others):
        pairs = zip(words, others, strict=True)
        return len(words) == 1 or all(_are_close(*pair) for pair in pairs)
    shared = set(words) & set(others)
    apart = [word for word in (*words, *others) if word not in shared]
    return not shared or sum(map(len, apart)) <= 3


def _are_close(word: str, other: str) -> bool:
    """Whether two words differ by a typing error, or one abbreviates the other, as `avg` does
    `average`.
    """
    if word == other or suggest(word, [other]) is not None:
        return True
    short, long = sorted((word, other), key=len)
    letters = iter(long)
    return short[:1] == long[:1] and all(letter in letters for letter in short)


def is_torch_class(name: str) -> bool:
    """Whether a name is spelt as PyTorch spells its layers: `Conv2d`, where Keras has `Conv2D`."""
    return name[:1].isupper() and not name.endswith("2D") and name != "Dense"


def why_absent(name: str) -> str | None:
    """Return advice about a name that stands for no layer here, or None."""
    plain = name.lower().replace("_", "")
    return _LOSS if plain.endswith("loss") or plain in _LOSSES else ABSENT.get(plain)


def activation_meant(value: syntax.Expr, known: Collection[str]) -> str | None:
    """Return the layer that `activation = relu` asks for, as a pipeline would write it."""
    if isinstance(value, syntax.Literal) and isinstance(value.value, str):
        return layer_meant(value.value, known)
    if isinstance(value, syntax.Name):
        return layer_meant(value.id, known)
    if isinstance(value, syntax.Call):
        meant = layer_meant(value.callee.id, known)
        return meant and meant + value.span.text[len(value.callee.id) :]
    return None
