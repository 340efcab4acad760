"""Modules of PyTorch as the functions that they call, with their own tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from tests.pytorch_samples import flags_left_open
from tests.pytorch_samples.written import InexpressibleError


class Called(NamedTuple):
    """A call of a function: what a writer gets for a sample."""

    input: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Form(NamedTuple):
    """The function that a module calls, and the attributes that it calls it with, by argument."""

    function: str
    attributes: str = ""


_CONV = "weight bias stride padding groups dilation"
_NORM = "weight bias eps"
_LOSS = "reduction"
FORMS = {
    **{f"Conv{n}d": Form(f"conv{n}d", _CONV) for n in (1, 2, 3)},
    **{
        f"ConvTranspose{n}d": Form(f"conv_transpose{n}d", f"{_CONV} output_padding")
        for n in (1, 2, 3)
    },
    **{
        f"MaxPool{n}d": Form(
            f"max_pool{n}d", "kernel_size stride padding dilation ceil_mode return_indices"
        )
        for n in (1, 2, 3)
    },
    "AvgPool1d": Form("avg_pool1d", "kernel_size stride padding ceil_mode count_include_pad"),
    **{
        f"AvgPool{n}d": Form(
            f"avg_pool{n}d",
            "kernel_size stride padding ceil_mode count_include_pad divisor_override",
        )
        for n in (2, 3)
    },
    **{f"AdaptiveAvgPool{n}d": Form(f"adaptive_avg_pool{n}d", "output_size") for n in (1, 2, 3)},
    **{
        f"AdaptiveMaxPool{n}d": Form(f"adaptive_max_pool{n}d", "output_size return_indices")
        for n in (1, 2, 3)
    },
    **{
        f"BatchNorm{n}d": Form("batch_norm", f"running_mean running_var {_NORM} momentum")
        for n in (1, 2, 3)
    },
    **{f"InstanceNorm{n}d": Form("instance_norm", _NORM) for n in (1, 2, 3)},
    "GroupNorm": Form("group_norm", f"num_groups {_NORM}"),
    "LayerNorm": Form("layer_norm", f"normalized_shape {_NORM}"),
    "LocalResponseNorm": Form("local_response_norm", "size alpha beta k"),
    "Linear": Form("linear", "weight bias"),
    "PReLU": Form("prelu", "weight"),
    "ELU": Form("elu", "alpha"), "LeakyReLU": Form("leaky_relu", "negative_slope"),
    "GELU": Form("gelu", "approximate"), "GLU": Form("glu", "dim"),
    "Hardtanh": Form("hardtanh", "min_val max_val"),
    "Softplus": Form("softplus", "beta threshold"),
    "Hardswish": Form("hardswish"), "ReLU": Form("relu"), "ReLU6": Form("relu6"),
    "SELU": Form("selu"), "SiLU": Form("silu"), "Mish": Form("mish"), "Softsign": Form("softsign"),
    "LogSigmoid": Form("logsigmoid"), "Sigmoid": Form("sigmoid"), "Tanh": Form("tanh"),
    "Softmax": Form("softmax", "dim"), "LogSoftmax": Form("log_softmax", "dim"),
    "Softmax2d": Form("softmax"),
    **{f"{kind}Pad{n}d": Form("pad", "padding value")
       for kind in ("Reflection", "Replication", "Zero", "Circular", "Constant") for n in (1, 2, 3)},
    "L1Loss": Form("l1_loss", _LOSS), "MSELoss": Form("mse_loss", _LOSS),
    "SmoothL1Loss": Form("smooth_l1_loss", "reduction beta"),
    "HuberLoss": Form("huber_loss", "reduction delta"),
    "KLDivLoss": Form("kl_div", "reduction log_target"),
    "SoftMarginLoss": Form("soft_margin_loss", _LOSS),
    "MultiMarginLoss": Form("multi_margin_loss", "reduction p margin weight"),
    "NLLLoss": Form("nll_loss", "reduction weight ignore_index"),
    "BCELoss": Form("binary_cross_entropy", "reduction weight"),
    "BCEWithLogitsLoss": Form("binary_cross_entropy_with_logits", "reduction weight pos_weight"),
    "CrossEntropyLoss": Form(
        "cross_entropy", "reduction weight ignore_index label_smoothing"
    ),
}  # fmt: skip
# Modules whose writers take the module itself.
WHOLE = frozenset(
    ("Embedding", "MultiheadAttention", "TransformerEncoderLayer", "TransformerEncoder",
     "TransformerDecoderLayer", "Transformer",
     *(f"{kind}{end}" for kind in ("RNN", "GRU", "LSTM") for end in ("", "Cell")))
)  # fmt: skip
_MODES = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
_PLAIN = frozenset(("sigmoid", "tanh", "softmax", "log_softmax"))


class ModuleSample(NamedTuple):
    """A module with an input for it.

    Attributes:
        function: the name of the function that it calls.
        call: calls the module.
        sample: raises InexpressibleError, or returns the call of the function.
    """

    function: str
    call: Callable[..., Any]
    sample: Callable[[], Called]


@functools.cache
def module_samples() -> dict[str, list[ModuleSample]]:
    """The samples of PyTorch's modules that an op stands for, in training and in evaluation."""
    found: dict[str, list[ModuleSample]] = {}
    for name, sample in _samples():
        found.setdefault(name, []).append(sample)
    return found


def _samples() -> Iterator[tuple[str, ModuleSample]]:
    with flags_left_open():
        from torch.testing._internal.common_modules import module_db

    for info in module_db:
        name = info.name.removeprefix("nn.")
        form = Form(info.name) if name in WHOLE else FORMS.get(name)
        if form is None:
            continue
        for training in (True, False) if "Norm" in info.name else (True,):
            torch.manual_seed(0)
            given = info.module_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            )
            for one in given:
                built, put = one.constructor_input, one.forward_input
                if put is None:
                    continue
                module = info.module_cls(*built.args, **built.kwargs).double()
                # Transformers drop nothing, but in training they call dropout all the same.
                module.train(training and name not in WHOLE)
                yield info.name, _sample(form, module, put)


def _sample(form: Form, module: nn.Module, put: Any) -> ModuleSample:
    is_named = form.function in _PLAIN or form.function.startswith("nn.")
    name = form.function if is_named else f"nn.functional.{form.function}"

    def call(_: Any, *args: Any, **kwargs: Any) -> Any:
        return module(*put.args, **put.kwargs)

    return ModuleSample(name, call, lambda: _called(form, module, put))


def _called(form: Form, module: nn.Module, put: Any) -> Called:
    kind = type(module).__name__
    if kind in WHOLE:
        return Called(put.args[0], put.args[1:], {**put.kwargs, "module": module})
    kwargs = {
        name: getattr(module, name) for name in form.attributes.split() if hasattr(module, name)
    }
    if getattr(module, "padding_mode", "zeros") != "zeros":
        raise InexpressibleError("a convolution with another frame than zeros")
    if kind.startswith("BatchNorm"):
        if module.momentum is None:
            raise InexpressibleError("running averages of all batches alike")
        kwargs["training"] = module.training or module.running_mean is None
    if kind.startswith("InstanceNorm"):
        kwargs["use_input_stats"] = module.training or not module.track_running_stats
        kwargs["axes"] = int(kind[-2]) + 1
    if "Pad" in kind:
        kwargs = {"pad": module.padding, "mode": _MODES.get(kind.partition("Pad")[0], "constant"),
                  "value": getattr(module, "value", None)}  # fmt: skip
    if kind == "Softmax2d":
        kwargs["dim"] = -3
    if form.function in ("softmax", "log_softmax") and kwargs["dim"] is None:
        raise InexpressibleError("a softmax without an axis")
    first, *rest = (*put.args, *put.kwargs.values())
    if rest:
        kwargs["target"] = rest[0]
    return Called(first, (), kwargs)
