"""ONNX's nodes as expressions of the language."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from tests.helpers.registrar import registrar
from tests.pytorch_samples.losses import of_classes
from tests.pytorch_samples.written import InexpressibleError, Written, number


class Node:
    """A node of ONNX with its inputs as tensors (None where one is left out) and its attributes."""

    def __init__(
        self, inputs: Sequence[torch.Tensor | None], attributes: dict[str, Any], outputs: int
    ) -> None:
        self.inputs = list(inputs)
        self.attributes = attributes
        self.outputs = outputs

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def at(self, index: int) -> torch.Tensor | None:
        """An input, or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def first(self) -> torch.Tensor:
        """The first input."""
        tensor = self.inputs[0]
        assert tensor is not None
        return tensor

    def constant(self, index: int) -> list[Any] | None:
        """An input that says how to compute, such as a shape or axes, as a list."""
        tensor = self.at(index)
        return None if tensor is None else np.ravel(tensor.numpy()).tolist()


Writer = Callable[[Written, Node], str]
WRITERS: dict[str, Writer] = {}

writes = registrar(WRITERS)


def elementwise(formula: str, **defaults: float) -> Writer:
    """A formula of one value."""

    def write(to: Written, node: Node) -> str:
        given = {name: number(node.get(name, value)) for name, value in defaults.items()}
        return formula.format(x=to.flat(node.first()), **given)

    return write


for _name in "Abs Neg Exp Log Sqrt Sin Cos Erf Sigmoid Tanh Relu Mish Softplus Softsign".split():
    WRITERS[_name] = elementwise(f"{_name.lower()}({{x}})")
WRITERS |= {
    "Reciprocal": elementwise("1 / {x}"),
    "LeakyRelu": elementwise("leaky_relu({x}, {alpha})", alpha=0.01),
    "Elu": elementwise("elu({x}, {alpha})", alpha=1.0),
    "Celu": elementwise(
        "maximum({x}, 0) + minimum({alpha} * (exp({x} / {alpha}) - 1), 0)", alpha=1.0
    ),
    "Selu": elementwise(
        "{gamma} * (maximum({x}, 0) + minimum({alpha} * (exp({x}) - 1), 0))",
        alpha=1.67326319217681884765625, gamma=1.05070102214813232421875,
    ),
    "HardSigmoid": elementwise("clip({alpha} * {x} + {beta}, 0, 1)", alpha=0.2, beta=0.5),
    "HardSwish": elementwise("hardswish({x})"),
    "ThresholdedRelu": elementwise("where({x} - {alpha}, {x}, 0)", alpha=1.0),
    "Swish": elementwise("{x} * sigmoid({alpha} * {x})", alpha=1.0),
    "Tan": elementwise("sin({x}) / cos({x})"),
    "Sinh": elementwise("(exp({x}) - exp(-{x})) / 2"),
    "Cosh": elementwise("(exp({x}) + exp(-{x})) / 2"),
    "Identity": elementwise("1 * {x}"),
}  # fmt: skip


@writes("Gelu")
def _gelu(to: Written, node: Node) -> str:
    return f"gelu({to.flat(node.first())}, approximate = {node.get('approximate', 'none')})"


def arithmetic(operator: str) -> Writer:
    """An operator, or a function, of two or more values."""

    def write(to: Written, node: Node) -> str:
        if not all(t is not None and t.is_floating_point() for t in node.inputs):
            raise InexpressibleError("arithmetic on whole numbers")
        values = to.aligned([t for t in node.inputs if t is not None])
        if operator.isalpha():
            text = values[0]
            for value in values[1:]:
                text = f"{operator}({text}, {value})"
            return text if values[1:] else f"1 * {text}"
        return f" {operator} ".join(values) if values[1:] else f"1 * {values[0]}"

    return write


WRITERS |= {
    "Add": arithmetic("+"), "Sub": arithmetic("-"), "Mul": arithmetic("*"), "Div": arithmetic("/"),
    "Pow": arithmetic("**"), "Sum": arithmetic("+"), "Max": arithmetic("maximum"),
    "Min": arithmetic("minimum"),
}  # fmt: skip


@writes("Mean")
def _mean_of_values(to: Written, node: Node) -> str:
    return f"({arithmetic('+')(to, node)}) / {len(node.inputs)}"


@writes("PRelu")
def _prelu(to: Written, node: Node) -> str:
    x, slope = to.aligned([t for t in node.inputs if t is not None])
    return f"maximum({x}, 0) + {slope} * minimum({x}, 0)"


@writes("Clip")
def _clip(to: Written, node: Node) -> str:
    x = node.first()
    if not x.is_floating_point():
        raise InexpressibleError("arithmetic on whole numbers")
    value = to.flat(x)
    for index, function in ((1, "maximum"), (2, "minimum")):
        bound = node.constant(index)
        if bound is not None:
            value = f"{function}({value}, {bound[0]!r})"
    return value if "(" in value else f"1 * {value}"


@writes("Where")
def _where(to: Written, node: Node) -> str:
    c, a, b = to.aligned([t for t in node.inputs if t is not None])
    if not all(t is not None and t.is_floating_point() for t in node.inputs[1:]):
        raise InexpressibleError("arithmetic on whole numbers")
    return f"where({c}, {a}, {b})"


# ------------------------------------------------------------------------------------ reductions


def reduction(formula: str) -> Writer:
    """A reduction, whose formula has the value, the axes and `keep`."""

    def write(to: Written, node: Node) -> str:
        x = node.first()
        given = node.constant(1) or node.get("axes")
        rank = max(1, x.ndim)
        if not given and node.get("noop_with_empty_axes"):
            raise InexpressibleError("a reduction over no axis")
        axes = sorted({a % rank + 1 for a in given or range(rank)})
        keep = number(bool(node.get("keepdims", 1)) or len(axes) == rank)
        return formula.format(x=to.whole(x), r=f"{axes}, keep = {keep}")

    return write


WRITERS |= {
    "ReduceMean": reduction("mean({x}, {r})"), "ReduceSum": reduction("sum({x}, {r})"),
    "ReduceMax": reduction("max({x}, {r})"), "ReduceMin": reduction("min({x}, {r})"),
    "ReduceLogSumExp": reduction("logsumexp({x}, {r})"),
    "ReduceLogSum": reduction("log(sum({x}, {r}))"),
    "ReduceSumSquare": reduction("sum(square({x}), {r})"),
    "ReduceL1": reduction("sum(abs({x}), {r})"), "ReduceL2": reduction("sqrt(sum(square({x}), {r}))"),
}  # fmt: skip


def _arg(sign: str) -> Writer:
    def write(to: Written, node: Node) -> str:
        if node.get("select_last_index", 0) and _has_ties(node):
            raise InexpressibleError("the last of equal places")
        x, axis = node.first(), node.get("axis", 0)
        return f"argmax({sign}{to.whole(x)}, {axis % x.ndim + 1}, keep = true)"

    return write


def _has_ties(node: Node) -> bool:
    x = node.first()
    return x.unique().numel() < x.numel()


WRITERS |= {"ArgMax": _arg(""), "ArgMin": _arg("-")}


@writes("CumSum")
def _cumsum(to: Written, node: Node) -> str:
    (axis,) = node.constant(1) or [0]
    x = node.first()
    axis = axis % x.ndim + 1
    value = to.whole(x)
    if node.get("reverse", 0):
        total = f"sum({value}, {axis}, keep = true)"
        ahead = f"{total} - cumsum({value}, {axis})"
        return ahead if node.get("exclusive", 0) else f"{ahead} + {value}"
    text = f"cumsum({value}, {axis})"
    return f"{text} - {value}" if node.get("exclusive", 0) else text


@writes("GatherElements")
def _gather_elements(to: Written, node: Node) -> str:
    x, places = node.inputs
    assert x is not None
    assert places is not None
    axis = node.get("axis", 0) % x.ndim
    places = torch.where(places < 0, places + x.shape[axis], places)
    return f"gather({to.whole(x)}, {to.whole(places)}, {axis + 1})"


@writes("OneHot")
def _one_hot(to: Written, node: Node) -> str:
    places, (depth,), (off, on) = node.first(), node.constant(1) or [0], node.constant(2) or [0, 1]
    depth, axis = int(depth), node.get("axis", -1)
    if bool(((places < -depth) | (places >= depth)).any()):
        raise InexpressibleError("a place outside, which is nowhere")
    places = torch.where(places < 0, places + depth, places)
    rank = places.ndim
    hot = f"one_hot({to.whole(places)}, {depth})"
    order = list(range(1, rank + 1))
    order.insert(axis % (rank + 1), rank + 1)
    return f"{off!r} + {on - off!r} * permute({hot}, {order})"


# ---------------------------------------------------------------------------------- other shapes


@writes("Concat")
def _concat(to: Written, node: Node) -> str:
    x = node.first()
    values = ", ".join(to.whole(t) for t in node.inputs if t is not None)
    return f"concat({values}, axis = {node.get('axis') % x.ndim + 1})"


@writes("Reshape")
def _reshape(to: Written, node: Node) -> str:
    x, sizes = node.first(), node.constant(1) or []
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return f"reshape({to.whole(x)}, {sizes or [1]})"


@writes("Flatten")
def _flatten(to: Written, node: Node) -> str:
    x, axis = node.first(), node.get("axis", 1)
    axis = axis % x.ndim if axis < 0 else axis
    return f"reshape({to.whole(x)}, {[math.prod(x.shape[:axis]), math.prod(x.shape[axis:])]})"


@writes("Transpose")
def _transpose(to: Written, node: Node) -> str:
    x = node.first()
    order = node.get("perm") or list(range(x.ndim))[::-1]
    return f"permute({to.whole(x)}, {[a + 1 for a in order]})"


@writes("Squeeze")
def _squeeze(to: Written, node: Node) -> str:
    x, axes = node.first(), node.constant(1)
    axes = axes or [i for i, n in enumerate(x.shape) if n == 1]
    return f"squeeze({to.whole(x)}, {[a % x.ndim + 1 for a in axes]})"


@writes("Unsqueeze")
def _unsqueeze(to: Written, node: Node) -> str:
    x, axes = node.first(), node.constant(1) or []
    rank = x.ndim + len(axes)
    text = to.whole(x)
    for axis in sorted(a % rank for a in axes):
        text = f"unsqueeze({text}, {axis + 1})"
    return text


@writes("Expand")
def _expand(to: Written, node: Node) -> str:
    x, sizes = node.first(), node.constant(1) or []
    whole = torch.broadcast_shapes(x.shape, tuple(sizes))
    return f"expand({to.whole(x, (1,) * (len(whole) - x.ndim) + tuple(x.shape))}, {list(whole)})"


@writes("Slice")
def _slice(to: Written, node: Node) -> str:
    x = node.first()
    starts, ends = node.constant(1) or [], node.constant(2) or []
    axes = node.constant(3) or list(range(len(starts)))
    steps = node.constant(4) or [1] * len(starts)
    text = to.whole(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            raise InexpressibleError("a slice backwards")
        begin, stop, _ = slice(start, end).indices(x.shape[axis])
        if begin >= stop:
            raise InexpressibleError("a size of 0")
        text = f"slice({text}, {axis % x.ndim + 1}, {begin}, {stop}, {step})"
    return text


@writes("DepthToSpace")
def _depth_to_space(to: Written, node: Node) -> str:
    x, block = node.first(), node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return f"pixel_shuffle({to.batch(x)}, {block})"
    return f"pixel_shuffle(channel_shuffle({to.batch(x)}, {block * block}), {block})"


@writes("SpaceToDepth")
def _space_to_depth(to: Written, node: Node) -> str:
    x, block = node.first(), node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return f"pixel_unshuffle({to.batch(x)}, {block})"
    return f"channel_shuffle(pixel_unshuffle({to.batch(x)}, {block}), {x.shape[1]})"


# --------------------------------------------------------------------------------------- products


@writes("MatMul")
def _matmul(to: Written, node: Node) -> str:
    a, b = (t for t in node.inputs if t is not None)
    rows = (1, *a.shape) if a.ndim == 1 else tuple(a.shape)
    columns = (*b.shape, 1) if b.ndim == 1 else tuple(b.shape)
    batch = torch.broadcast_shapes(rows[:-2], columns[:-2])
    values = []
    for tensor, shape in ((a, rows), (b, columns)):
        full = (1,) * (len(batch) + 2 - len(shape)) + shape
        value = to.whole(tensor, full)
        spread = tuple(full[:-2]) != tuple(batch)
        values.append(f"expand({value}, {[*batch, -1, -1]})" if spread else value)
    return f"matmul({values[0]}, {values[1]})"


@writes("Gemm")
def _gemm(to: Written, node: Node) -> str:
    a, b, *c = (t for t in node.inputs if t is not None)
    sides = []
    for tensor, turned in ((a, node.get("transA", 0)), (b, node.get("transB", 0))):
        value = to.whole(tensor)
        sides.append(f"permute({value}, [2, 1])" if turned else value)
    text = f"{node.get('alpha', 1.0)!r} * matmul({sides[0]}, {sides[1]})"
    if c:
        shape = (1,) * (2 - c[0].ndim) + tuple(c[0].shape)
        text += f" + {node.get('beta', 1.0)!r} * {to.whole(c[0], shape)}"
    return text


def _softmax(name: str) -> Writer:
    def write(to: Written, node: Node) -> str:
        axis = node.get("axis", -1)
        return f"{name}({to.whole(node.first())}, axis = {axis + 1 if axis >= 0 else axis})"

    return write


WRITERS |= {"Softmax": _softmax("softmax"), "LogSoftmax": _softmax("log_softmax")}


# ------------------------------------------------------------------------- convolutions and pools


def _sides(node: Node, rank: int, kernel: Sequence[int]) -> Any:
    """The padding of a window."""
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = node.get("pads") or [0] * 2 * rank
        return [list(pair) for pair in zip(pads[:rank], pads[rank:], strict=True)]
    strides = node.get("strides") or [1] * rank
    dilations = node.get("dilations") or [1] * rank
    found = []
    for size, k, step, d in zip(node.first().shape[2:], kernel, strides, dilations, strict=True):
        missing = max(0, (math.ceil(size / step) - 1) * step + (k - 1) * d + 1 - size)
        less, more = missing // 2, missing - missing // 2
        found.append([less, more] if auto == "SAME_UPPER" else [more, less])
    return found


@writes("Conv")
def _conv(to: Written, node: Node) -> str:
    x, w, b = node.first(), node.at(1), node.at(2)
    assert w is not None
    rank = x.ndim - 2
    to.parameter("layer.weight", w)
    to.parameter("layer.bias", b)
    return (
        f"({to.batch(x)} -> layer: conv({w.shape[0]}, {list(w.shape[2:])},"
        f" stride = {node.get('strides') or [1] * rank}, pad = {_sides(node, rank, w.shape[2:])},"
        f" dilation = {node.get('dilations') or [1] * rank}, groups = {node.get('group', 1)},"
        f" bias = {number(b is not None)}))"
    )


@writes("ConvTranspose")
def _conv_transpose(to: Written, node: Node) -> str:
    x, w, b = node.first(), node.at(1), node.at(2)
    assert w is not None
    rank, groups = x.ndim - 2, node.get("group", 1)
    if node.get("output_shape") or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise InexpressibleError("a transposed convolution by the size of its output")
    pads = node.get("pads") or [0] * 2 * rank
    if pads[:rank] != pads[rank:]:
        raise InexpressibleError("a transposed convolution with uneven padding")
    to.parameter("layer.weight", w)
    to.parameter("layer.bias", b)
    return (
        f"({to.batch(x)} -> layer: conv_transpose({w.shape[1] * groups}, {list(w.shape[2:])},"
        f" stride = {node.get('strides') or [1] * rank}, pad = {pads[:rank]},"
        f" output_pad = {node.get('output_padding') or [0] * rank},"
        f" dilation = {node.get('dilations') or [1] * rank}, groups = {groups},"
        f" bias = {number(b is not None)}))"
    )


@writes("MaxPool")
def _max_pool(to: Written, node: Node) -> str:
    x, kernel = node.first(), node.get("kernel_shape")
    if node.outputs > 1:
        raise InexpressibleError("the indices of a max pool")
    if not x.is_floating_point():
        raise InexpressibleError("arithmetic on whole numbers")
    rank = x.ndim - 2
    return (
        f"max_pool({to.batch(x)}, {kernel}, stride = {node.get('strides') or [1] * rank},"
        f" pad = {_sides(node, rank, kernel)}, ceil_mode = {number(bool(node.get('ceil_mode', 0)))},"
        f" dilation = {node.get('dilations') or [1] * rank})"
    )


@writes("AveragePool")
def _average_pool(to: Written, node: Node) -> str:
    x, kernel = node.first(), node.get("kernel_shape")
    rank = x.ndim - 2
    if any(d != 1 for d in node.get("dilations") or [1]):
        raise InexpressibleError("an average over pixels with gaps")
    return (
        f"avg_pool({to.batch(x)}, {kernel}, stride = {node.get('strides') or [1] * rank},"
        f" pad = {_sides(node, rank, kernel)}, ceil_mode = {number(bool(node.get('ceil_mode', 0)))},"
        f" count_include_pad = {number(bool(node.get('count_include_pad', 0)))})"
    )


@writes("GlobalAveragePool")
def _global_average_pool(to: Written, node: Node) -> str:
    return f"global_avg_pool({to.batch(node.first())})"


@writes("GlobalMaxPool")
def _global_max_pool(to: Written, node: Node) -> str:
    return f"global_max_pool({to.batch(node.first())})"


# ------------------------------------------------------------------------------------------ norms


@writes("BatchNormalization")
def _batch_norm(to: Written, node: Node) -> str:
    x, weight, bias, mean, var = node.inputs
    assert x is not None
    to.training = bool(node.get("training_mode", 0))
    if to.training:
        raise InexpressibleError("running statistics of the biased variance")
    for name, tensor in (("weight", weight), ("bias", bias)):
        to.parameter(f"norm.{name}", tensor)
    for name, tensor in (("running_mean", mean), ("running_var", var)):
        to.parameter(f"norm.{name}", tensor)
    return f"({to.batch(x)} -> norm: batch_norm(eps = {node.get('epsilon', 1e-5)}))"


@writes("InstanceNormalization")
def _instance_norm(to: Written, node: Node) -> str:
    x, weight, bias = node.inputs
    assert x is not None
    to.parameter("norm.weight", weight)
    to.parameter("norm.bias", bias)
    return (
        f"({to.batch(x)} -> norm: instance_norm(eps = {node.get('epsilon', 1e-5)}, affine = true))"
    )


@writes("GroupNormalization")
def _group_norm(to: Written, node: Node) -> str:
    x, weight, bias = node.inputs
    assert x is not None
    to.parameter("norm.weight", weight)
    to.parameter("norm.bias", bias)
    groups = node.get("num_groups")
    return f"({to.batch(x)} -> norm: group_norm({groups}, eps = {node.get('epsilon', 1e-5)}))"


def _last_axes(to: Written, node: Node) -> tuple[str, list[int], str, str]:
    """The value, the axes that a norm goes over, the scale and the shift."""
    x = node.first()
    axis = node.get("axis", -1) % x.ndim
    given = [t for t in node.inputs[1:] if t is not None]
    names = [to.whole(t, (1,) * (x.ndim - t.ndim) + tuple(t.shape)) for t in given]
    shift = f" + {names[1]}" if names[1:] else ""
    return to.whole(x), list(range(axis + 1, x.ndim + 1)), f" * {names[0]}", shift


@writes("LayerNormalization")
def _layer_norm(to: Written, node: Node) -> str:
    if node.outputs > 1 and node.get("only_first") is None:
        node.outputs = 1  # the first of them is held against
    x, axes, scale, shift = _last_axes(to, node)
    to.lines += [
        f"centred = {x} - mean({x}, {axes}, keep = true)",
        f"spread = mean(square(centred), {axes}, keep = true) + {node.get('epsilon', 1e-5)!r}",
    ]
    return f"centred / sqrt(spread){scale}{shift}"


@writes("RMSNormalization")
def _rms_norm(to: Written, node: Node) -> str:
    x, axes, scale, _ = _last_axes(to, node)
    eps = node.get("epsilon", 1e-5)
    return f"{x} * rsqrt(mean(square({x}), {axes}, keep = true) + {eps!r}){scale}"


@writes("LRN")
def _lrn(to: Written, node: Node) -> str:
    size = node.get("size")
    alpha, beta, k = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return f"local_response_norm({to.batch(node.first())}, {size}, {alpha}, {beta}, {k})"


# ------------------------------------------------------------------ padding, resizing, the losses


@writes("Pad")
def _pad(to: Written, node: Node) -> str:
    x, pads, fill, axes = node.first(), node.constant(1) or [], node.constant(2), node.constant(3)
    axes = [a % x.ndim for a in axes] if axes else list(range(x.ndim))
    count = len(axes)
    frame = [[0, 0] for _ in range(x.ndim)]
    for i, axis in enumerate(axes):
        frame[axis] = [pads[i], pads[count + i]]
    mode = {"edge": "replicate", "wrap": "circular"}.get(node.get("mode"), node.get("mode"))
    mode = mode or "constant"
    outer = next((i for i, pair in enumerate(frame) if any(pair)), x.ndim - 1)
    outer = max(outer, x.ndim - 3)
    if any(any(pair) for pair in frame[:outer]):
        raise InexpressibleError("a frame around four axes")
    value = to.whole(x, (math.prod(x.shape[:outer]), *x.shape[outer:]))
    more = f", value = {float(fill[0])!r}" if fill and mode == "constant" else ""
    return f'pad({value}, {frame[outer:]}, mode = "{mode}"{more})'


@writes("Resize")
def _resize(to: Written, node: Node) -> str:
    x = node.first()
    scales, sizes = node.constant(2), node.constant(3)
    axes = node.get("axes") or list(range(x.ndim))
    mode, place = (
        node.get("mode", "nearest"),
        node.get("coordinate_transformation_mode", "half_pixel"),
    )
    if node.get("antialias") or node.get("exclude_outside"):
        raise InexpressibleError("a resize that is smoothed")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise InexpressibleError("a resize that keeps the proportions")
    wanted = list(x.shape)
    for i, axis in enumerate(axes):
        wanted[axis] = int(sizes[i]) if sizes else math.floor(x.shape[axis] * scales[i])  # type: ignore[index]
    if wanted[:2] != list(x.shape[:2]):
        raise InexpressibleError("a resize of the channels or of the batch")
    rank = x.ndim - 2
    by = dict(zip(axes, scales or [], strict=False))
    how = f"size = {wanted[2:]}" if sizes else f"scale = {[by.get(a, 1) for a in range(2, x.ndim)]}"
    value = to.batch(x)
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        if (place, rounding) != ("asymmetric", "floor"):
            raise InexpressibleError("another rule for the nearest pixel")
        return f"upsample({value}, {how})"
    if place not in ("half_pixel", "align_corners", "pytorch_half_pixel"):
        raise InexpressibleError("another rule for the places of pixels")
    is_whole = all(x.shape[a] * f == wanted[a] for a, f in zip(axes, scales or [], strict=False))
    if place == "align_corners" and not is_whole:
        raise InexpressibleError("corners aligned by a size that is no whole number")
    if place == "pytorch_half_pixel" and 1 in wanted[2:]:
        raise InexpressibleError("another rule for the places of pixels")
    if mode == "cubic" and node.get("cubic_coeff_a", -0.75) != -0.75:
        raise InexpressibleError("another cubic curve")
    word = {"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}.get(rank), "cubic": "bicubic"}[
        mode
    ]
    corners = number(place == "align_corners")
    return f"upsample({value}, {how}, mode = {word}, align_corners = {corners})"


def _loss(scores: str) -> Writer:
    def write(to: Written, node: Node) -> str:
        x, target, weight = node.first(), node.at(1), node.at(2)
        assert target is not None
        if node.outputs > 1:
            node.outputs = 1
        n, classes, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
        logs = scores.format(to.whole(x, (n, classes, places)))
        to.lines.append(f"logs = {logs}")
        rest = [target, weight, node.get("ignore_index"), node.get("reduction", "mean")]
        return of_classes(to, x, "logs", rest)

    return write


WRITERS |= {
    "SoftmaxCrossEntropyLoss": _loss("log_softmax({}, axis = 2)"),
    "NegativeLogLikelihoodLoss": _loss("1 * {}"),
}


@writes("Dropout")
def _dropout(to: Written, node: Node) -> str:
    training = node.constant(2)
    ratio = (node.constant(1) or [node.get("ratio", 0.5)])[0]
    if training and training[0] and ratio:
        raise InexpressibleError("random numbers of ONNX's own")
    if node.outputs > 1:
        node.outputs = 1
    to.training = bool(training and training[0])
    return f"dropout({to.flat(node.first())}, {ratio!r})"


@writes("Einsum")
def _einsum(to: Written, node: Node) -> str:
    equation = node.get("equation").replace(" ", "")
    if "..." in equation or "->" not in equation or len(node.inputs) != 2:
        raise InexpressibleError("an equation of one value, without a result, or with an ellipsis")
    terms, result = equation.split("->")
    if not result or any(len(set(t)) < len(t) for t in terms.split(",")):
        raise InexpressibleError("a diagonal, or a single number")
    batch = next(c for c in "znm" if c not in equation)
    inner = ",".join(batch + term for term in terms.split(","))
    values = ", ".join(to.whole(t) for t in node.inputs if t is not None)
    return f'einsum({values}, "{inner}->{batch}{result}")'
