"""The net in JAX: pure functions of a dict of parameters, pictures as N, H, W, C, one jit per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from netspec.runtime.optim.targets import class_axis
from netspec.tools.bench.layer_list import TorchCall, calls, padding, pair, plain
from netspec.tools.bench.workload import LEARNING_RATE, Runner, Workload

Parameters = dict[str, Any]

# The layout of XLA's convolutions on a processor.
_LAYOUT = ("NHWC", "OIHW", "NHWC")


def prepare(case: Workload) -> Runner:
    """Return a jitted step, with the batch stored as N, H, W, C."""
    program = calls(case.graph, _FUNCTIONS)
    start = {name: jnp.asarray(value) for name, value in case.parameters().items()}
    batch = {
        name: jnp.asarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
        for name, x in case.inputs().items()
    }
    output = list(case.graph.outputs.values())[case.output]

    def apply(parameters: Parameters, x: Parameters) -> tuple[Any, Parameters]:
        values, updates = dict(x), Parameters()
        for call in program:
            own = {short: parameters[full] for short, full in _held(call, parameters)}
            arguments = [values[name] for name in call.inputs]
            values[call.output], changed = _FUNCTIONS[call.target](call, own, arguments, case.train)
            updates |= {call.parameters[short]: value for short, value in changed.items()}
        return values[output], updates

    if not case.train:
        infer = jax.jit(lambda parameters, x: apply(parameters, x)[0])
        return Runner(
            lambda: infer(start, batch).block_until_ready(),
            lambda y: {"output": np.asarray(y)},
            jax.__version__,
        )
    labels = jnp.asarray(case.labels())
    trained = {p.name: start.pop(p.name) for p in case.graph.trainable()}

    def loss(weights: Parameters, rest: Parameters, x: Parameters, y: Any) -> Any:
        scores, updates = apply(weights | rest, x)
        axis = class_axis(scores.ndim)
        shares = jax.nn.log_softmax(scores, axis=axis)
        chosen = jnp.take_along_axis(shares, jnp.expand_dims(y, axis), axis=axis)
        return -chosen.mean(), updates

    def update(weights: Parameters, rest: Parameters, x: Parameters, y: Any) -> Any:
        (value, updates), gradients = jax.value_and_grad(loss, has_aux=True)(weights, rest, x, y)
        moved = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, weights, gradients)
        return moved, rest | updates, value

    jitted = jax.jit(update, donate_argnums=(0, 1))
    state = [trained, start]

    def step() -> Any:
        state[0], state[1], value = jitted(state[0], state[1], batch, labels)
        jax.block_until_ready((state, value))
        return value

    def result(value: Any) -> dict[str, Any]:
        return {"loss": np.asarray(value), **{n: np.array(p) for n, p in state[0].items()}}

    return Runner(step, result, jax.__version__)


def _held(call: TorchCall, parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Map the short names of a call's parameters to full names; a batch norm's counter is left out."""
    return [(short, full) for short, full in call.parameters.items() if full in parameters]


# -- PyTorch's words: (call, own parameters, inputs, training) -> value, changed buffers


def _conv(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> tuple[Any, Parameters]:
    options = call.options
    y = lax.conv_general_dilated(
        x[0],
        own["weight"],
        pair(options.get("stride", 1)),
        padding(options),
        rhs_dilation=pair(options.get("dilation", 1)),
        dimension_numbers=_LAYOUT,
        feature_group_count=options.get("groups", 1),
    )
    return (y + own["bias"] if "bias" in own else y), {}


def _linear(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> tuple[Any, Parameters]:
    y = x[0] @ own["weight"].T
    return (y + own["bias"] if "bias" in own else y), {}


def _batch_norm(
    call: TorchCall, own: Parameters, x: list[Any], train: bool
) -> tuple[Any, Parameters]:
    axes = tuple(range(x[0].ndim - 1))
    mean, var, changed = own["running_mean"], own["running_var"], Parameters()
    if train:
        mean, var = x[0].mean(axes), x[0].var(axes)
        share, count = call.options["momentum"], x[0].size // x[0].shape[-1]
        unbiased = var * (count / max(count - 1, 1))
        changed["running_mean"] = (1 - share) * own["running_mean"] + share * mean
        changed["running_var"] = (1 - share) * own["running_var"] + share * unbiased
    scale = lax.rsqrt(var + call.options["eps"])
    if "weight" in own:
        scale = scale * own["weight"]
    return (x[0] - mean) * scale + own.get("bias", 0.0), changed


def _max_pool(
    call: TorchCall, own: Parameters, x: list[Any], train: bool
) -> tuple[Any, Parameters]:
    return _pool(call, x[0], -jnp.inf, lax.max), {}


def _avg_pool(
    call: TorchCall, own: Parameters, x: list[Any], train: bool
) -> tuple[Any, Parameters]:
    plain(call, count_include_pad=True)
    height, width = pair(call.arguments[0])
    return _pool(call, x[0], 0.0, lax.add) / (height * width), {}


def _pool(call: TorchCall, x: Any, start: float, combine: Callable[[Any, Any], Any]) -> Any:
    plain(call, dilation=1, ceil_mode=False)
    kernel = pair(call.arguments[0])
    stride = pair(call.options.get("stride", kernel))
    pads = ((0, 0), *padding(call.options), (0, 0))
    return lax.reduce_window(x, start, combine, (1, *kernel, 1), (1, *stride, 1), pads)


def _global_pool(
    call: TorchCall, own: Parameters, x: list[Any], train: bool
) -> tuple[Any, Parameters]:
    plain_size = pair(call.arguments[0])
    assert plain_size == (1, 1), f"has no adaptive_avg_pool2d to {plain_size} here"
    return x[0].mean((1, 2), keepdims=True), {}


def _flatten(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> tuple[Any, Parameters]:
    """Flatten in the order of N, C, H, W, which the following weights expect."""
    first = x[0].transpose(0, 3, 1, 2) if x[0].ndim == 4 else x[0]
    return first.reshape(len(first), -1), {}


def _relu(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> tuple[Any, Parameters]:
    return jax.nn.relu(x[0]), {}


def _add(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> tuple[Any, Parameters]:
    return x[0] + x[1], {}


_FUNCTIONS: dict[str, Callable[..., tuple[Any, Parameters]]] = {
    "nn.Conv2d": _conv,
    "nn.Linear": _linear,
    "nn.BatchNorm1d": _batch_norm,
    "nn.BatchNorm2d": _batch_norm,
    "F.max_pool2d": _max_pool,
    "F.avg_pool2d": _avg_pool,
    "F.adaptive_avg_pool2d": _global_pool,
    "F.relu": _relu,
    "torch.flatten": _flatten,
    "torch.add": _add,
}
