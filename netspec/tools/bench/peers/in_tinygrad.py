"""The net in tinygrad: its own layers' functions, one TinyJit per step."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from tinygrad import Context, Device, Tensor, TinyJit, nn

from netspec.runtime.optim.targets import class_axis
from netspec.tools.bench.layer_list import TorchCall, calls, padding, pair, plain
from netspec.tools.bench.workload import LEARNING_RATE, Runner, Workload

Parameters = dict[str, Any]


def prepare(case: Workload) -> Runner:
    """Return a jitted step. The device is the processor, with as many threads as it reports."""
    program = calls(case.graph, _FUNCTIONS)
    values = case.parameters()
    trained = {p.name for p in case.graph.trainable()}
    parameters = {
        name: Tensor(value).is_param_(name in trained).realize() for name, value in values.items()
    }
    batch = {name: Tensor(x).realize() for name, x in case.inputs().items()}
    output = list(case.graph.outputs.values())[case.output]

    def apply() -> Any:
        found: dict[str, Any] = dict(batch)
        for call in program:
            own = {s: parameters[full] for s, full in call.parameters.items() if full in parameters}
            inputs = [found[name] for name in call.inputs]
            found[call.output] = _FUNCTIONS[call.target](call, own, inputs, case.train)
        return found[output]

    if not case.train:
        infer = TinyJit(lambda: apply().realize())
        return Runner(lambda: _done(infer()), lambda y: {"output": y.numpy()}, version("tinygrad"))
    labels = Tensor(case.labels()).realize()
    optimizer = nn.optim.SGD(list(parameters.values()), lr=LEARNING_RATE)

    def train() -> Any:
        optimizer.zero_grad()
        scores = apply()
        axis = class_axis(scores.ndim)
        rows = scores.permute(*(a for a in range(scores.ndim) if a != axis), axis).flatten(0, -2)
        loss = rows.sparse_categorical_crossentropy(labels.flatten()).backward()
        return loss.realize(*optimizer.schedule_step())

    jitted = TinyJit(train)

    def step() -> Any:
        with Context(TRAINING=1):
            return _done(jitted())

    def result(loss: Any) -> dict[str, Any]:
        return {"loss": loss.numpy(), **{name: parameters[name].numpy() for name in trained}}

    return Runner(step, result, version("tinygrad"))


def _done(tensor: Any) -> Any:
    """Wait for the computation to finish."""
    Device[tensor.device].synchronize()
    return tensor


# -- PyTorch's words: (call, own parameters, inputs, training) -> value


def _conv(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    options = call.options
    (top, bottom), (left, right) = padding(options)
    return x[0].conv2d(
        own["weight"],
        own.get("bias"),
        groups=options.get("groups", 1),
        stride=pair(options.get("stride", 1)),
        dilation=pair(options.get("dilation", 1)),
        padding=(left, right, top, bottom),
    )


def _linear(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    return x[0].linear(own["weight"].T, own.get("bias"))


def _batch_norm(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    """Batch norm as in tinygrad's `nn.BatchNorm`."""
    axes = (0, *range(2, x[0].ndim))
    mean, var = own["running_mean"], own["running_var"]
    if train:
        mean = x[0].mean(axes)
        var = (x[0] - mean.reshape(1, -1, *(1,) * (x[0].ndim - 2))).square().mean(axes)
        share, count = call.options["momentum"], x[0].numel() // x[0].shape[1]
        unbiased = var.detach() * (count / max(count - 1, 1))
        own["running_mean"].assign((1 - share) * own["running_mean"] + share * mean.detach())
        own["running_var"].assign((1 - share) * own["running_var"] + share * unbiased)
    scale = (var + call.options["eps"]).rsqrt()
    return x[0].batchnorm(own.get("weight"), own.get("bias"), mean, scale)


def _max_pool(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    plain(call, ceil_mode=False)
    kernel = pair(call.arguments[0])
    (top, _), (left, _) = padding(call.options)
    stride, dilation = call.options.get("stride", kernel), call.options.get("dilation", 1)
    return x[0].max_pool2d(kernel, stride, dilation=dilation, padding=(top, left))


def _avg_pool(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    plain(call, ceil_mode=False)
    kernel = pair(call.arguments[0])
    (top, _), (left, _) = padding(call.options)
    counts = call.options.get("count_include_pad", True)
    stride = call.options.get("stride", kernel)
    return x[0].avg_pool2d(kernel, stride, padding=(top, left), count_include_pad=counts)


def _global_pool(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    plain_size = pair(call.arguments[0])
    assert plain_size == (1, 1), f"has no adaptive_avg_pool2d to {plain_size} here"
    return x[0].mean((2, 3), keepdim=True)


def _relu(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    return x[0].relu()


def _flatten(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    return x[0].flatten(1)


def _add(call: TorchCall, own: Parameters, x: list[Any], train: bool) -> Any:
    return x[0] + x[1]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
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
