"""Convolution."""

import math
from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.attributes import flat, sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import (
    TORCH_DEFAULTS,
    Axis,
    axes,
    is_even,
    is_unlikely,
    onnx_biased,
    onnx_read_window,
    onnx_sides,
    places,
    require_axes,
    require_fit,
    same_padding,
    sees,
    spatial,
    torch_sides,
    unread_rows,
)

SAME_STRIDE = Code.error("shape/same-stride", "`pad = same` with a stride above 1")


@register
class Conv(Op):
    """Cross-correlation with `channels` filters, of a signal, a picture or a volume.

    y[n, o, i, j] = b[o] + sum_{c, k, l} w[o, c, k, l] x[n, c, s i + d k - p, s j + d l - p]

    With g = dL/dy:
        dL/db[o] = sum_{n, i, j} g[n, o, i, j]
        dL/dw[o, c, k, l] = sum_{n, i, j} g[n, o, i, j] x[n, c, s i + d k - p, s j + d l - p]
        dL/dx[n, c, h, w] = sum_{o, k, l} g[n, o, i, j] w[o, c, k, l] over the i, j that read the pixel:
        s i + d k - p = h and s j + d l - p = w

    Outside the picture x = 0. With groups, c and o run over one group. A signal has one axis in place of
    (i, j), a volume three. Source: LeCun et al. 1998.
    """

    channels: int = attribute(Int(1), "number of filters, the channels of the output")
    kernel: Sizes = attribute(SizesOf(1), "size of the filters")
    stride: Sizes = attribute(SizesOf(1), "step of the filters", 1)
    pad: Padding | str = attribute(PaddingOf(), "zeros around the picture", 0)
    dilation: Sizes = attribute(SizesOf(1), "distance between the taps of a filter", 1)
    groups: int = attribute(Int(1), "groups of channels that do not mix", 1)
    bias: bool = attribute(Bool(), "add a number to each output channel", True)

    name = "conv"
    onnx_ends = ("Conv", "Add")
    storage = Storage.CHANNELS_LAST
    offers = ("padding",)
    parameter_names = ("weight", "bias")
    torch_order = ("", "channels", "kernel", "stride", "pad", "dilation", "groups", "bias")
    aten = (
        AtenForm(
            ("conv1d", "conv2d", "conv3d"),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {
                "channels": lambda call: call.tensor("weight").shape[0],
                "kernel": lambda call: call.tensor("weight").shape[2:],
                "stride": "stride",
                "pad": "padding",
                "dilation": "dilation",
                "groups": "groups",
                "bias": lambda call: call.has("bias"),
            },
            unless=lambda call: call.require(
                call["padding"] != "valid", "`padding = 'valid'` is `pad = 0` here"
            ),
        ),
    )
    examples = (
        Example("conv(4, 3)", ((3, 6, 7),)),
        Example("conv(4, 3, stride = 2, pad = 1)", ((3, 7, 8),)),
        Example("conv(4, [3, 2], pad = [1, 0], stride = [1, 2])", ((2, 6, 6),)),
        Example("conv(3, 3, pad = same, bias = false)", ((2, 5, 4),)),
        Example("conv(3, 4, pad = same, dilation = 2)", ((2, 9, 8),)),
        Example("conv(4, 3, dilation = [1, 2], pad = 2)", ((2, 6, 7),)),
        Example("conv(6, 3, groups = 2, pad = 1)", ((4, 5, 5),)),
        Example("conv(4, 3, groups = 4, pad = 1, stride = 2)", ((4, 6, 6),)),
        Example("conv(5, 1)", ((3, 4, 4),)),
        Example("conv(5, 1, stride = 2)", ((3, 5, 5),)),
        Example("conv(2, 3, pad = [[0, 2], [1, 0]])", ((2, 5, 6),)),
        Example("conv(2, 5, pad = 3)", ((1, 3, 3),)),
        Example("conv(4, 3, stride = 2, pad = 1)", ((3, 9),)),
        Example("conv(3, 4, pad = same, dilation = 2)", ((2, 9),)),
        Example("conv(6, [3], groups = 2, pad = [[2, 0]], bias = false)", ((4, 7),)),
        Example("conv(4, 3, groups = 4, pad = 1)", ((4, 6),)),
        Example("conv(5, 1)", ((3, 4),)),
        Example("conv(4, 3, pad = 1)", ((3, 4, 5, 4),)),
        Example("conv(2, [3, 1, 2], stride = [2, 1, 3])", ((3, 5, 2, 5),)),
        Example("conv(4, [2, 3, 3], groups = 2, pad = same)", ((4, 3, 3, 4),)),
        Example("conv(3, [1, 3, 3], pad = [[0, 0], [1, 0], [1, 2]])", ((3, 2, 3, 3),)),
        Example("conv(2, 2, groups = 2, dilation = [1, 2, 1], bias = false)", ((2, 3, 4, 3),)),
    )
    bad_examples = (
        BadExample("conv(4, 3)", ((10,),), codes.SHAPE_RANK),
        BadExample("conv(4, [3, 3])", ((3, 10),), codes.SHAPE_RANK),
        BadExample("conv(4, [3, 3])", ((3, 4, 4, 4),), codes.SHAPE_RANK),
        BadExample("conv(4, 7)", ((3, 5, 5),), codes.SHAPE_KERNEL_TOO_LARGE),
        BadExample("conv(4, 3, groups = 2)", ((3, 5, 5),), codes.SHAPE_GROUPS),
        BadExample("conv(3, 3, groups = 2)", ((4, 5, 5),), codes.SHAPE_GROUPS),
        BadExample("conv(4, 3, pad = same, stride = 2)", ((3, 6, 6),), SAME_STRIDE),
        BadExample("conv(0, 3)", ((3, 6, 6),), codes.CALL_VALUE),
        BadExample("conv(4)", ((3, 6, 6),), codes.CALL_MISSING),
    )

    def padding(self, count: int) -> Padding:
        """The padding of a value with `count` axes, where `same` is replaced by numbers."""
        if isinstance(self.pad, str):
            return same_padding(self.kernel, self.dilation, count)
        return self.pad

    def resolved(self, *inputs: Shape) -> dict[str, object]:
        """`same` is the padding that it stands for."""
        count = len(inputs[0]) - 1
        return {**super().resolved(*inputs), "pad": flat(self.padding(count), count)}

    def _window(self, x: Shape) -> tuple[Axis, ...]:
        return axes(x, self.kernel, self.stride, self.padding(len(x) - 1), self.dilation)

    def shape(self, *inputs: Shape) -> Shape:
        """(channels, H', W') for a picture, with H' = floor((H + 2p - d (k - 1) - 1) / s) + 1."""
        (x,) = inputs
        require_axes(self, x)
        if self.pad == "same" and max(spread(self.stride, 1)) > 1:
            half = sides(self.padding(len(x) - 1), len(x) - 1)[0][0]
            raise ShapeError(
                SAME_STRIDE,
                "`pad = same` keeps the size, which is impossible with a stride above 1",
                blame="pad",
                fixes=(Fix("pad", str(half), f"`pad = {half}` pads as much"),),
            )
        for what, count, blame in (
            ("input", x[0], "groups"),
            ("output", self.channels, "channels"),
        ):
            if count % self.groups:
                common = math.gcd(x[0], self.channels, self.groups)
                up = -(-self.channels // self.groups) * self.groups
                raise ShapeError(
                    codes.SHAPE_GROUPS,
                    f"{count} {what} channels cannot be split into {self.groups} groups",
                    blame=blame,
                    notes=(f"{count} / {self.groups} = {count / self.groups:g}",),
                    fixes=(
                        Fix(
                            "channels",
                            str(up),
                            f"`channels = {up}` can be split into {self.groups} groups",
                        ),
                        Fix(
                            "groups", str(common), f"`groups = {common}` divides inputs and outputs"
                        ),
                    ),
                )
        window = self._window(x)
        require_fit(self.name, window)
        return (self.channels, *(axis.output for axis in window))

    def is_unlikely(self) -> bool:
        """Whether the kernel or its stride is unusually large, without cutting the picture into
        patches.
        """
        return is_unlikely(self.kernel, self.stride)

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight` (O, I/groups, kh, kw) and `bias` (O,), with PyTorch's initial distributions."""
        kernel = spread(self.kernel, len(inputs[0]) - 1)
        fan_in = inputs[0][0] // self.groups * math.prod(kernel)
        bound = 1 / math.sqrt(fan_in)
        shape = (self.channels, inputs[0][0] // self.groups, *kernel)
        weight = ParameterSpec("weight", shape, KaimingUniform(math.sqrt(1 / 3)), "weight")
        bias = ParameterSpec("bias", (self.channels,), Uniform(-bound, bound), "bias")
        return (weight, bias) if self.bias else (weight,)

    def macs(self, *inputs: Shape) -> int:
        """O H' W' I/groups kh kw."""
        outputs = math.prod(self.shape(*inputs))
        kernel = spread(self.kernel, len(inputs[0]) - 1)
        return outputs * (inputs[0][0] // self.groups) * math.prod(kernel)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """The window."""
        return sees(self._window(inputs[0]))

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """Warnings about rows and columns that are never read."""
        (x,) = graph.shapes_into(node)
        return unread_rows(node, graph, self._window(x))

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each output from its window."""
        weight = run.parameters["weight"]
        window, padded = self._padded(x[0])
        n = len(padded)
        y = np.zeros((n, *self.shape(x[0].shape[1:])), padded.dtype)
        for ins, outs in self._groups(padded.shape[1]):
            filters = weight[outs].reshape(outs.stop - outs.start, -1)
            for (every, _, *at), (_, _, *taps) in places(window):
                seen = padded[(every, ins, *taps)].reshape(n, -1)
                y[(every, outs, *at)] = np.einsum("nk,ok->no", seen, filters)
        if self.bias:
            y += run.parameters["bias"].reshape(-1, *(1 for _ in window))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each output sends its gradient back to its window and to the filters."""
        weight = run.parameters["weight"]
        window, padded = self._padded(x[0])
        n = len(padded)
        dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
        for ins, outs in self._groups(padded.shape[1]):
            filters = weight[outs].reshape(outs.stop - outs.start, -1)
            for (every, _, *at), (_, _, *taps) in places(window):
                g, read = dy[(every, outs, *at)], (every, ins, *taps)
                seen = padded[read].reshape(n, -1)
                dweight[outs] += np.einsum("no,nk->ok", g, seen).reshape(dweight[outs].shape)
                dpadded[read] += np.einsum("no,ok->nk", g, filters).reshape(padded[read].shape)
        run.gradients["weight"] = dweight
        if self.bias:
            run.gradients["bias"] = dy.sum(axis=(0, *spatial(dy)))
        inside = (
            slice(before, before + size)
            for (before, _), size in zip(self._sides(x[0]), x[0].shape[2:], strict=True)
        )
        return (dpadded[(slice(None), slice(None), *inside)],)

    def _sides(self, x: Array) -> tuple[tuple[int, int], ...]:
        return sides(self.padding(x.ndim - 2), x.ndim - 2)

    def _padded(self, x: Array) -> tuple[tuple[Axis, ...], Array]:
        """The picture with its zeros, and the window over it."""
        padded = np.pad(x, ((0, 0), (0, 0), *self._sides(x)))
        return axes(padded.shape[1:], self.kernel, self.stride, 0, self.dilation), padded

    def _groups(self, channels: int) -> Iterable[tuple[slice, slice]]:
        ins, outs = channels // self.groups, self.channels // self.groups
        for g in range(self.groups):
            yield slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)

    # -- lowering

    def _options(self, to: Lowering) -> dict[str, Any]:
        count = len(to.node.shape) - 1
        return {
            "stride": spread(self.stride, count),
            "pad": flat(self.padding(count), count),
            "dilation": spread(self.dilation, count),
            "groups": self.groups,
        }

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs(
            "conv.scratch_size",
            (to.x[0].shape, to.out.shape),
            kernel=spread(self.kernel, len(to.node.shape) - 1),
            **self._options(to),
        )

    def lower(self, to: Lowering) -> None:
        """im2col and one matrix product, tile by tile."""
        to.call(
            "conv.forward",
            to.x[0], to.parameter("weight"), to.parameter("bias"), to.out, to.scratch,
            writes=[to.out], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The gradients of weight and bias, and that of the input if it is wanted."""
        dweight = to.parameter_gradient("weight")
        to.call(
            "conv.backward_weight", to.x[0], to.dy, dweight, to.scratch,
            writes=[dweight], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip
        if self.bias:
            dbias = to.parameter_gradient("bias")
            to.call("conv.backward_bias", to.dy, dbias, writes=[dbias])
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "conv.backward_input", to.dy, to.parameter("weight"), dx, to.scratch,
                writes=[dx], scratch=self._scratch(to), **self._options(to),
            )  # fmt: skip
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Conv2d` for pictures. Padding that differs between opposite sides goes through
        `F.pad`.
        """
        count = len(inputs[0]) - 1
        options: dict[str, Any] = {
            "kernel_size": spread(self.kernel, count), "stride": spread(self.stride, count),
        }  # fmt: skip
        source: Any = X(0)
        padding = self.padding(count)
        if self.pad == "same":
            options["padding"] = "same"
        elif is_even(padding):
            options["padding"] = flat(padding, count)[::2]
        else:
            source = Torch("F.pad", (X(0), torch_sides(padding, count)))
        options |= {
            "dilation": spread(self.dilation, count), "groups": self.groups, "bias": self.bias,
        }  # fmt: skip
        arguments = (inputs[0][0], self.channels)
        return Torch(
            f"nn.Conv{count}d", arguments, options, (source,),
            defaults=TORCH_DEFAULTS, pairs=True,
        )  # fmt: skip

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Conv`, with or without its bias behind it."""
        for inner, found, bias in onnx_biased(read, "Conv"):
            weight, x = inner.array(inner.given(1)), inner.shape()
            if weight is None or x is None or weight.ndim != len(x) + 1 or weight.ndim < 3:
                continue
            window = onnx_read_window(inner.attributes, x, weight.shape[2:])
            if window is not None:
                groups = inner.attributes.whole("group")
                op = cls(len(weight), groups=groups, bias=bias is not None, **window)
                held = {"weight": inner.given(1), "bias": bias}
                yield inner.layer(op, inner.given(0), found=found, parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Conv`."""
        count = len(to.shape) - 1
        ends = sides(self.padding(count), count)
        return to(
            "Conv", to.x[0], to.parameter("weight"), to.parameter("bias"),
            kernel_shape=spread(self.kernel, count), strides=spread(self.stride, count),
            pads=onnx_sides(ends), dilations=spread(self.dilation, count), group=self.groups,
        )  # fmt: skip
