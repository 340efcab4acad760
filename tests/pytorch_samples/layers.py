"""Layers: convolutions, pools, norms, padding, interpolation, dropout."""

from __future__ import annotations

import math
from typing import Any

from tests.pytorch_samples.functions import WRITERS, Sample, Writer, arguments, writes
from tests.pytorch_samples.written import InexpressibleError, Written, number


def sizes(value: Any, count: int) -> Any:
    """A number for all axes, or a list with one for each."""
    given = list(value) if isinstance(value, (tuple, list)) else [value]
    return given * count if len(given) == 1 else given


@writes("nn.functional.linear")
def _linear(to: Written, s: Sample) -> str:
    weight, bias = arguments(s, "weight", "bias")
    to.parameter(
        "fc.weight", weight, (weight.shape[-2] if weight.ndim > 1 else 1, weight.shape[-1])
    )
    to.parameter("fc.bias", bias, (weight.shape[0] if weight.ndim > 1 else 1,))
    value = to.batch(s.input, 1)
    return f"({value} -> fc: linear({max(1, weight.shape[0])}, bias = {number(bias is not None)}))"


def _conv(rank: int, transposed: bool) -> Writer:
    def write(to: Written, s: Sample) -> str:
        weight, bias, stride, padding, extra, groups, dilation = arguments(
            s, "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation",
            stride=1, padding=0, output_padding=0, groups=1, dilation=1,
        )  # fmt: skip
        if not transposed:
            names = ("weight", "bias", "stride", "padding", "dilation", "groups")
            defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
            weight, bias, stride, padding, dilation, groups = arguments(s, *names, **defaults)
        to.parameter("layer.weight", weight)
        to.parameter("layer.bias", bias)
        value = to.batch(s.input, rank + 1)
        channels = weight.shape[1] * groups if transposed else weight.shape[0]
        pad = 0 if padding == "valid" else padding if padding == "same" else sizes(padding, rank)
        more = f", output_pad = {sizes(extra, rank)}" if transposed else ""
        return (
            f"({value} -> layer: conv{'_transpose' if transposed else ''}({channels},"
            f" {list(weight.shape[2:])}, stride = {sizes(stride, rank)}, pad = {pad}{more},"
            f" dilation = {sizes(dilation, rank)}, groups = {groups},"
            f" bias = {number(bias is not None)}))"
        )

    return write


def _max_pool(rank: int) -> Writer:
    def write(to: Written, s: Sample) -> str:
        kernel, stride, padding, dilation, ceil, indices = arguments(
            s, "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices",
            padding=0, dilation=1, ceil_mode=False,
        )  # fmt: skip
        if indices:
            raise InexpressibleError("the indices of a max pool")
        step = "" if not stride else f", stride = {sizes(stride, rank)}"
        return (
            f"max_pool({to.batch(s.input, rank + 1)}, {sizes(kernel, rank)}{step},"
            f" pad = {sizes(padding, rank)}, ceil_mode = {number(ceil)},"
            f" dilation = {sizes(dilation, rank)})"
        )

    return write


def _avg_pool(rank: int) -> Writer:
    def write(to: Written, s: Sample) -> str:
        kernel, stride, padding, ceil, counted, divisor = arguments(
            s, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
            "divisor_override", padding=0, ceil_mode=False, count_include_pad=True,
        )  # fmt: skip
        step = "" if not stride else f", stride = {sizes(stride, rank)}"
        more = "" if divisor is None else f", divisor = {divisor}"
        return (
            f"avg_pool({to.batch(s.input, rank + 1)}, {sizes(kernel, rank)}{step},"
            f" pad = {sizes(padding, rank)}, ceil_mode = {number(ceil)},"
            f" count_include_pad = {number(counted)}{more})"
        )

    return write


def _adaptive(rank: int, kind: str) -> Writer:
    def write(to: Written, s: Sample) -> str:
        size, indices = arguments(s, "output_size", "return_indices")
        if indices:
            raise InexpressibleError("the indices of a max pool")
        wanted = [
            own if n is None else n
            for n, own in zip(sizes(size, rank), s.input.shape[-rank:], strict=True)
        ]
        return f"adaptive_{kind}_pool({to.batch(s.input, rank + 1)}, {wanted})"

    return write


for rank in (1, 2, 3):
    WRITERS |= {
        f"nn.functional.conv{rank}d": _conv(rank, False),
        f"nn.functional.conv_transpose{rank}d": _conv(rank, True),
        f"nn.functional.max_pool{rank}d": _max_pool(rank),
        f"nn.functional.avg_pool{rank}d": _avg_pool(rank),
        f"nn.functional.adaptive_avg_pool{rank}d": _adaptive(rank, "avg"),
        f"nn.functional.adaptive_max_pool{rank}d": _adaptive(rank, "max"),
    }


@writes("nn.functional.unfold")
def _unfold(to: Written, s: Sample) -> str:
    kernel, dilation, padding, stride = arguments(
        s, "kernel_size", "dilation", "padding", "stride", dilation=1, padding=0, stride=1
    )
    return (
        f"unfold({to.batch(s.input, 3)}, {sizes(kernel, 2)}, stride = {sizes(stride, 2)},"
        f" pad = {sizes(padding, 2)}, dilation = {sizes(dilation, 2)})"
    )


# ----------------------------------------------------------------------------------------- norms


def affine_norm(
    to: Written,
    weight: Any,
    bias: Any,
    value: str,
    layer: str,
    eps: float,
    *,
    path: str = "norm",
    rank: int | None = None,
) -> str:
    """A norm with a weight and a bias, or with neither; with one of them by arithmetic.

    These are of the channels, or of the last axes of a value with `rank` axes.
    """
    if not 0 < eps <= 1:
        raise InexpressibleError("an eps that is not above 0")
    if (weight is None) != (bias is None):
        alone, name = (weight if bias is None else bias), f"{path}_alone"
        if rank is None:
            shape = (1, *alone.shape, *(1,) * (len(next(iter(to.inputs.values())).shape) - 2))
        else:
            shape = (1,) * (rank + 1 - alone.ndim) + tuple(alone.shape)
        to.lines.append(f"parameter {name}: {list(shape)} = ones")
        to.parameter(name, alone, shape)
        norm = affine_norm(to, None, None, value, layer, eps, path=path)
        return f"{name} {'*' if bias is None else '+'} {norm}"
    to.parameter(f"{path}.weight", weight)
    to.parameter(f"{path}.bias", bias)
    return f"({value} -> {path}: {layer}eps = {eps}, affine = {number(weight is not None)}))"


@writes("nn.functional.batch_norm")
def _batch_norm(to: Written, s: Sample) -> str:
    mean, var, weight, bias, training, momentum, eps = arguments(
        s, "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
        training=False, momentum=0.1, eps=1e-5,
    )  # fmt: skip
    to.training = bool(training)
    if mean is not None:
        to.parameter("norm.running_mean", mean.detach().clone())
        to.parameter("norm.running_var", var.detach().clone())
        if training:
            to.buffers = {"norm.running_mean": mean, "norm.running_var": var}
    if not 0 <= momentum <= 1:
        if training and mean is not None:
            raise InexpressibleError("a momentum outside [0, 1]")
        momentum = 0.1
    layer = f"batch_norm(momentum = {momentum}, "
    value = to.batch(s.input) if s.input.ndim > 1 else to.whole(s.input)
    return affine_norm(to, weight, bias, value, layer, eps)


@writes("nn.functional.instance_norm")
def _instance_norm(to: Written, s: Sample) -> str:
    _, _, weight, bias, own, _, eps, axes = arguments(
        s, "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps",
        "axes", use_input_stats=True, eps=1e-5,
    )  # fmt: skip
    if not own:
        raise InexpressibleError("running statistics of single images")
    return affine_norm(to, weight, bias, to.batch(s.input, axes), "instance_norm(", eps)


@writes("nn.functional.layer_norm")
def _layer_norm(to: Written, s: Sample) -> str:
    shape, weight, bias, eps = arguments(s, "normalized_shape", "weight", "bias", "eps", eps=1e-5)
    is_whole = len(shape) == s.input.ndim
    value = to.whole(s.input) if is_whole else to.batch(s.input)
    rank = s.input.ndim - (not is_whole)
    layer = f"layer_norm(axes = {len(shape)}, "
    return affine_norm(to, weight, bias, value, layer, eps, rank=rank)


@writes("nn.functional.group_norm")
def _group_norm(to: Written, s: Sample) -> str:
    groups, weight, bias, eps = arguments(s, "num_groups", "weight", "bias", "eps", eps=1e-5)
    return affine_norm(to, weight, bias, to.batch(s.input), f"group_norm({groups}, ", eps)


@writes("nn.functional.local_response_norm")
def _local_response_norm(to: Written, s: Sample) -> str:
    size, alpha, beta, k = arguments(s, "size", "alpha", "beta", "k", alpha=1e-4, beta=0.75, k=1.0)
    return f"local_response_norm({to.batch(s.input)}, {size}, {alpha}, {beta}, {k})"


@writes("nn.functional.prelu")
def _prelu(to: Written, s: Sample) -> str:
    (weight,) = arguments(s, "weight")
    to.parameter("slopes.weight", weight, (weight.numel(),))
    each = weight.numel() > 1
    value = to.batch(s.input) if each and s.input.ndim > 1 else to.flat(s.input)
    return f"({value} -> slopes: prelu(per_channel = {number(each)}))"


# ----------------------------------------------------------------------- padding, interpolation


@writes("nn.functional.pad")
def _pad(to: Written, s: Sample) -> str:
    pad, mode, fill = arguments(s, "pad", "mode", "value", mode="constant")
    pad = [pad] * 2 * (s.input.ndim - 2) if isinstance(pad, int) else list(pad)
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    inner = s.input.ndim - len(pairs)
    if len(pairs) > 3:
        raise InexpressibleError("a frame around four axes")
    if s.input.ndim == 5:
        value, pairs, inner = to.batch(s.input), [(0, 0)] * (3 - len(pairs)) + pairs, 1
    else:
        # A layer pads what is behind the channels: all axes in front of the frame are such.
        shape = (math.prod(s.input.shape[:inner]), *s.input.shape[inner:])
        value, inner = to.whole(s.input, shape), 1
    shown = f'mode = "{mode}"' + (f", value = {fill}" if fill and mode == "constant" else "")
    frame = [[max(0, before), max(0, after)] for before, after in pairs]
    if any(map(any, frame)):
        value = f"pad({value}, {frame}, {shown})"
    for place, (before, after) in enumerate(pairs, inner + 1):
        if before < 0 or after < 0:  # a negative frame is a cut
            if mode == "circular":
                raise InexpressibleError("a circular frame that is negative")
            stop = after if after < 0 else "none"
            value = f"slice({value}, {place}, {max(0, -before)}, {stop})"
    return value if "(" in value else f"reshape({value}, {list(shape)})"


@writes("nn.functional.interpolate")
def _interpolate(to: Written, s: Sample) -> str:
    size, scale, mode, align, again, smooth = arguments(
        s, "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias",
        mode="nearest",
    )  # fmt: skip
    return _resized(to, s, size, scale, mode, align, again, smooth)


def _resized(
    to: Written, s: Sample, size: Any, scale: Any, mode: str, align: Any, again: Any, smooth: Any
) -> str:
    rank = s.input.ndim - 2
    value = to.batch(s.input)
    if smooth:
        raise InexpressibleError("interpolation that is smoothed")
    if scale is not None and (again or mode == "area"):
        # The factor only gives the size, from which the true factor follows.
        factors = sizes(scale, rank)
        size = [int(n * f) for n, f in zip(s.input.shape[2:], factors, strict=True)]
        scale = None
    if size is not None:
        size = sizes(size, rank)
    if mode == "area":
        return f"adaptive_avg_pool({value}, {size})"
    how = f"size = {size}" if size is not None else f"scale = {sizes(scale, rank)}"
    corners = f", align_corners = {number(bool(align))}" if "nearest" not in mode else ""
    return f'upsample({value}, {how}, mode = "{mode}"{corners})'


@writes("nn.functional.upsample_nearest")
def _upsample_nearest(to: Written, s: Sample) -> str:
    size, scale = arguments(s, "size", "scale_factor")
    return _resized(to, s, size, scale, "nearest", None, None, None)


@writes("nn.functional.upsample_bilinear")
def _upsample_bilinear(to: Written, s: Sample) -> str:
    size, scale = arguments(s, "size", "scale_factor")
    return _resized(to, s, size, scale, "bilinear", True, None, None)


# --------------------------------------------------------------------------------------- dropout


def _dropout(axes: int) -> Writer:
    def write(to: Written, s: Sample) -> str:
        p, training = arguments(s, "p", "training", p=0.5, training=True)
        to.training = training
        if not axes:
            return f"dropout({to.flat(s.input)}, {p})"
        value = to.batch(s.input, axes + 1 if axes == 3 else None)
        return f"dropout({value}, {p}, by_channel = true)"

    return write


WRITERS |= {
    "nn.functional.dropout": _dropout(0),
    "nn.functional.dropout2d": _dropout(2),
    "nn.functional.dropout3d": _dropout(3),
}
