"""Habits from PyTorch, Keras and Python: what is meant, and how it is written here."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any

from netspec.compiler import syntax
from netspec.compiler.attributes import Int, WrongValueError
from netspec.compiler.initializers import Initializer
from netspec.compiler.op import Op, registry
from netspec.compiler.scope import UNKNOWN, SharedLayer, Tensor, Tensors
from netspec.compiler.suggestions import removal
from netspec.diagnostics import Edit, suggest

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


# --------------------------------------------------------------------------- sizes that are inferred


def attribute_order(op: type[Op], values: Sequence[Any], named: Set[str]) -> tuple[str, ...]:
    """The attributes that positional arguments are for.

    That is our order, unless the arguments fit PyTorch's alone, where "" is an inferred size.
    """
    ours = tuple(op.attributes())
    if _fits(op, ours, values, named) or input_size(op, values, named) is None:
        return ours
    # One name too many is more likely the slip than one size, as long as a size would be needed.
    is_twice = named & set(ours[: len(values)]) and len(values) <= len(_needed(op))
    return ours if is_twice else op.torch_order


def _needed(op: type[Op]) -> set[str]:
    return {name for name, f in op.attributes().items() if f.default is dataclasses.MISSING}


def input_size(op: type[Op], values: Sequence[Any], named: Set[str]) -> int | None:
    """Which positional argument says the size of the input, if they are in PyTorch's order."""
    order = op.torch_order[: len(values)]
    return order.index("") if "" in order and _fits(op, op.torch_order, values, named) else None


def _fits(op: type[Op], order: Sequence[str], values: Sequence[Any], named: Set[str]) -> bool:
    """Whether positional arguments can be meant for these attributes, in this order."""
    given = {*order[: len(values)], *named}
    return (
        len(values) <= len(order)
        and _needed(op) <= given
        and not set(order[: len(values)]).intersection(named)
        and all(_takes(op, *pair) for pair in zip(order, values, strict=False))
    )


def _takes(op: type[Op], name: str, value: Any) -> bool:
    if value is UNKNOWN:
        return True
    if isinstance(value, (Tensor, Tensors, SharedLayer)):
        return False
    if name and value is None and op.attributes()[name].default is None:
        return True
    if name in op.parameter_names() and isinstance(value, (Initializer, tuple)):
        return True
    try:
        (op.kind(name) if name else Int(1)).convert(value)
    except WrongValueError:
        return False
    return True


def input_sizes(statements: Any) -> Iterator[Edit]:
    """The edits that take the input sizes out of all calls of a body that look like PyTorch's."""
    for item in syntax.parts(statements):
        if isinstance(item, syntax.Call) and (size := _literal_input_size(item)) is not None:
            yield removal(item, size)


def _literal_input_size(call: syntax.Call) -> syntax.Argument | None:
    """The argument that looks like an input's size, of a call with plain numbers."""
    op = registry().get(call.callee.id)
    numbers = [a for a in call.arguments if a.name is None and isinstance(a.value, syntax.Literal)]
    values = [a.value.value for a in numbers if isinstance(a.value, syntax.Literal)]
    named = {a.name.id for a in call.arguments if a.name is not None}
    where = None if op is None else input_size(op, values, named)
    if op is None or where is None:
        return None
    order = attribute_order(op, values, named)
    if order != op.torch_order:
        given = {n: op.kind(n).convert(v) for n, v in zip(order, values, strict=False)}
        try:
            likely = not op(**given).is_unlikely()
        except TypeError:  # what is needed is given by name
            likely = True
        if likely:
            return None
    return numbers[where]
