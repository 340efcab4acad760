"""A student's implementation: layers with a forward and a backward pass, im2col by index arrays.

N, C, H, W throughout, plain NumPy, BLAS with all threads. It uses no technique that an assignment
does not teach: it shows what the compiler gains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from netspec.runtime.optim.targets import over_places
from netspec.tools.bench.layer_list import TorchCall, calls, padding, pair, plain
from netspec.tools.bench.workload import LEARNING_RATE, Array, Runner, Workload

Arrays = dict[str, Array]
# Maps the gradient of a layer's output to those of its inputs, and of its parameters by their own
# names.
Backward = Callable[[Array], tuple[tuple[Array, ...], Arrays]]


def prepare(case: Workload) -> Runner:
    """Return a runner whose steps go through the layers and back."""
    threadpool_limits(case.threads, user_api="blas")
    program = calls(case.graph, _LAYERS)
    parameters = case.parameters()
    batch = case.inputs()
    output = list(case.graph.outputs.values())[case.output]

    def forward() -> tuple[Array, list[tuple[TorchCall, Backward]]]:
        values, tape = dict(batch), []
        for call in program:
            own = {s: parameters[full] for s, full in call.parameters.items() if full in parameters}
            inputs = [values[name] for name in call.inputs]
            values[call.output], backward = _LAYERS[call.target](call, own, inputs, case.train)
            tape.append((call, backward))
        return values[output], tape

    if not case.train:
        return Runner(lambda: forward()[0], lambda y: {"output": y}, np.__version__)
    labels = case.labels()

    def step() -> float:
        scores, tape = forward()
        dscores = np.empty_like(scores)
        loss = over_places(_cross_entropy, scores, labels, dscores)
        for name, d in _parameter_gradients(tape, {output: dscores}).items():
            parameters[name] -= LEARNING_RATE * d
        return loss

    def result(loss: Any) -> Arrays:
        return {"loss": np.asarray(loss), **{n: p.copy() for n, p in parameters.items()}}

    return Runner(step, result, np.__version__)


def _parameter_gradients(tape: Sequence[tuple[TorchCall, Backward]], gradients: Arrays) -> Arrays:
    """Go backward through the layers from the gradients of the net's outputs, which are modified."""
    dparameters: Arrays = {}
    for call, backward in reversed(tape):
        if call.output not in gradients:
            continue  # leads to another output
        dinputs, downs = backward(gradients.pop(call.output))
        for name, dx in zip(call.inputs, dinputs, strict=True):
            gradients[name] = gradients[name] + dx if name in gradients else dx
        for short, d in downs.items():
            full = call.parameters[short]
            dparameters[full] = dparameters[full] + d if full in dparameters else d
    return dparameters


def _cross_entropy(scores: Array, labels: Array, dscores: Array) -> float:
    count = len(scores)
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    loss = float(-np.log(p[np.arange(count), labels]).mean())
    p[np.arange(count), labels] -= 1
    dscores[...] = p / np.float32(count)
    return loss


# -- im2col


def _indices(shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]) -> Any:
    """Return index arrays (C kh kw, H' W') of channel, row and column: each column is a window."""
    _, channels, height, width = shape
    (kh, kw), (sh, sw) = kernel, stride
    out_h, out_w = (height - kh) // sh + 1, (width - kw) // sw + 1
    rows = np.tile(np.repeat(np.arange(kh), kw), channels)[:, None]
    columns = np.tile(np.arange(kw), kh * channels)[:, None]
    k = np.repeat(np.arange(channels), kh * kw)[:, None]
    i = rows + sh * np.repeat(np.arange(out_h), out_w)
    j = columns + sw * np.tile(np.arange(out_w), out_h)
    return (k, i, j), (out_h, out_w)


def _pad(x: Array, pads: Any, value: float = 0.0) -> Array:
    if pads == ((0, 0), (0, 0)):
        return x
    return np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)


def _unpad(x: Array, pads: Any) -> Array:
    (top, bottom), (left, right) = pads
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _add_back(columns: Array, indices: Any, shape: tuple[int, ...]) -> Array:
    """col2im: add up the columns (C kh kw, H' W', N) at the pixels that they were read from."""
    dx = np.zeros(shape, columns.dtype)
    where: Any = (slice(None), *indices)
    np.add.at(dx, where, columns.transpose(2, 0, 1))
    return dx


def _conv(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    plain(call, dilation=1, groups=1)
    pads, weight = padding(call.options), own["weight"]
    padded = _pad(x[0], pads)
    filters, kernel = len(weight), (weight.shape[2], weight.shape[3])
    indices, size = _indices(padded.shape, kernel, pair(call.options.get("stride", 1)))
    k, i, j = indices
    columns = padded[:, k, i, j].transpose(1, 2, 0).reshape(weight[0].size, -1)
    y = weight.reshape(filters, -1) @ columns
    if "bias" in own:
        y += own["bias"][:, None]

    def backward(dy: Array) -> tuple[tuple[Array, ...], Arrays]:
        rows = dy.transpose(1, 2, 3, 0).reshape(filters, -1)
        own_gradients = {"weight": (rows @ columns.T).reshape(weight.shape)}
        if "bias" in own:
            own_gradients["bias"] = rows.sum(axis=1)
        dcolumns = weight.reshape(filters, -1).T @ rows
        shaped = dcolumns.reshape(weight[0].size, size[0] * size[1], len(dy))
        dx = _unpad(_add_back(shaped, indices, padded.shape), pads)
        return (dx,), own_gradients

    return y.reshape(filters, *size, len(padded)).transpose(3, 0, 1, 2), backward


def _max_pool(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    """Pool each channel of each picture separately, with its windows as columns."""
    plain(call, dilation=1, ceil_mode=False)
    kernel = pair(call.arguments[0])
    pads = padding(call.options)
    padded = _pad(x[0], pads, -np.inf)
    n, channels, height, width = padded.shape
    alone = padded.reshape(n * channels, 1, height, width)
    indices, size = _indices(alone.shape, kernel, pair(call.options.get("stride", kernel)))
    k, i, j = indices
    columns = alone[:, k, i, j].transpose(1, 2, 0).reshape(kernel[0] * kernel[1], -1)
    best = columns.argmax(axis=0)
    y = columns[best, np.arange(best.size)]

    def backward(dy: Array) -> tuple[tuple[Array, ...], Arrays]:
        dcolumns = np.zeros_like(columns)
        dcolumns[best, np.arange(best.size)] = dy.transpose(2, 3, 0, 1).ravel()
        shaped = dcolumns.reshape(len(columns), size[0] * size[1], n * channels)
        dx = _add_back(shaped, indices, alone.shape).reshape(padded.shape)
        return (_unpad(dx, pads),), {}

    return y.reshape(*size, n, channels).transpose(2, 3, 0, 1), backward


def _linear(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    y = x[0] @ own["weight"].T
    if "bias" in own:
        y = y + own["bias"]

    def backward(dy: Array) -> tuple[tuple[Array, ...], Arrays]:
        rows = dy.reshape(-1, dy.shape[-1])
        gradients = {"weight": rows.T @ x[0].reshape(-1, x[0].shape[-1])}
        if "bias" in own:
            gradients["bias"] = rows.sum(axis=0)
        return (dy @ own["weight"],), gradients

    return y, backward


def _batch_norm(
    call: TorchCall, own: Arrays, x: list[Array], train: bool
) -> tuple[Array, Backward]:
    axes = (0, *range(2, x[0].ndim))
    wide = (1, -1, *(1,) * (x[0].ndim - 2))
    eps, share = np.float32(call.options["eps"]), np.float32(call.options["momentum"])
    mean, var = own["running_mean"], own["running_var"]
    count = x[0].size // x[0].shape[1]
    if train:
        mean, var = x[0].mean(axis=axes), x[0].var(axis=axes)
        unbiased = var * np.float32(count / max(count - 1, 1))
        own["running_mean"][...] = (1 - share) * own["running_mean"] + share * mean
        own["running_var"][...] = (1 - share) * own["running_var"] + share * unbiased
    s = (1 / np.sqrt(var + eps)).reshape(wide)
    normal = (x[0] - mean.reshape(wide)) * s
    affine = "weight" in own
    y = normal * own["weight"].reshape(wide) + own["bias"].reshape(wide) if affine else normal

    def backward(dy: Array) -> tuple[tuple[Array, ...], Arrays]:
        dbias, dweight = dy.sum(axis=axes), (dy * normal).sum(axis=axes)
        inner = dy - (dbias.reshape(wide) + normal * dweight.reshape(wide)) / np.float32(count)
        scale = s * own["weight"].reshape(wide) if affine else s
        return (scale * inner,), {"weight": dweight, "bias": dbias} if affine else {}

    return y, backward


def _global_pool(
    call: TorchCall, own: Arrays, x: list[Array], train: bool
) -> tuple[Array, Backward]:
    size = pair(call.arguments[0])
    assert size == (1, 1), f"has no adaptive_avg_pool2d to {size} here"
    shape = x[0].shape
    pixels = np.float32(shape[2] * shape[3])
    y = x[0].mean(axis=(2, 3), keepdims=True)
    return y, lambda dy: ((np.ones(shape, dy.dtype) * (dy / pixels),), {})


def _relu(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    return np.maximum(x[0], 0), lambda dy: ((dy * (x[0] > 0),), {})


def _flatten(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    return x[0].reshape(len(x[0]), -1), lambda dy: ((dy.reshape(x[0].shape),), {})


def _add(call: TorchCall, own: Arrays, x: list[Array], train: bool) -> tuple[Array, Backward]:
    return x[0] + x[1], lambda dy: ((dy, dy), {})


_LAYERS: dict[str, Callable[..., tuple[Array, Backward]]] = {
    "nn.Conv2d": _conv,
    "nn.Linear": _linear,
    "nn.BatchNorm1d": _batch_norm,
    "nn.BatchNorm2d": _batch_norm,
    "F.max_pool2d": _max_pool,
    "F.adaptive_avg_pool2d": _global_pool,
    "F.relu": _relu,
    "torch.flatten": _flatten,
    "torch.add": _add,
}
