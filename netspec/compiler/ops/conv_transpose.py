"""Transposed convolution."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from netspec.compiler.ir.attributes import flat, sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import joined
from netspec.compiler.ops.families.windows import (
    AXES,
    TORCH_DEFAULTS,
    Axis,
    axes,
    is_unlikely,
    onnx_biased,
    onnx_padded,
    onnx_read_window,
    places,
    require_axes,
    spatial,
)

CUT_AWAY = Code.error("shape/cut-away", "padding that leaves nothing of the result")
OUTPUT_PAD = Code.error(
    "shape/output-pad", "an `output_pad` that is not less than the stride or the dilation"
)


@register
class ConvTranspose(Op):
    """Transposed convolution (`deconvolution`): the gradient of a `conv` by its input, run forward.

    y[n, o, h, w] = b[o] + sum of x[n, c, i, j] w[c, o, k, l] over the c, i, j, k, l with
    s i + d k - p = h and s j + d l - p = w, for w of shape (in, out / groups, kh, kw).

    With g = dL/dy, and outside the picture g = 0:
        dL/db[o] = sum_{n, i, j} g[n, o, i, j]
        dL/dw[c, o, k, l] = sum_{n, i, j} x[n, c, i, j] g[n, o, s i + d k - p, s j + d l - p]
        dL/dx[n, c, i, j] = sum_{o, k, l} g[n, o, s i + d k - p, s j + d l - p] w[c, o, k, l]

    Sources: Zeiler et al. 2010; Dumoulin and Visin 2016.
    """

    channels: int = attribute(Int(1), "channels of the output")
    kernel: Sizes = attribute(SizesOf(1), "size of the filters")
    stride: Sizes = attribute(
        SizesOf(1), "distance in the output between neighbours in the input", 1
    )
    pad: Sizes = attribute(SizesOf(0), "rows and columns cut off on each side", 0)
    output_pad: Sizes = attribute(SizesOf(0), "rows and columns added at the end", 0)
    dilation: Sizes = attribute(SizesOf(1), "distance between the taps of a filter", 1)
    groups: int = attribute(Int(1), "groups of channels that do not mix", 1)
    bias: bool = attribute(Bool(), "add a number to each output channel", True)

    name = "conv_transpose"
    onnx_ends = ("ConvTranspose", "Add")
    storage = Storage.CHANNELS_LAST
    parameter_names = ("weight", "bias")
    torch_order = (
        "", "channels", "kernel", "stride", "pad", "output_pad", "groups", "bias", "dilation",
    )  # fmt: skip
    aten = (
        AtenForm(
            ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {
                "channels": lambda call: call.tensor("weight").shape[1] * call.whole("groups"),
                "kernel": lambda call: call.tensor("weight").shape[2:],
                "stride": "stride",
                "pad": "padding",
                "output_pad": "output_padding",
                "dilation": "dilation",
                "groups": "groups",
                "bias": lambda call: call.has("bias"),
            },
        ),
    )
    examples = (
        Example("conv_transpose(4, 3)", ((3, 4, 5),)),
        Example("conv_transpose(2, 2, stride = 2)", ((3, 3, 4),)),
        Example("conv_transpose(4, 3, stride = 2, pad = 1, output_pad = 1)", ((3, 3, 4),)),
        Example("conv_transpose(4, [3, 2], stride = [1, 3], pad = [1, 0])", ((2, 4, 3),)),
        Example("conv_transpose(3, 3, dilation = [2, 1], bias = false)", ((2, 4, 3),)),
        Example("conv_transpose(2, 2, dilation = 3, output_pad = 2)", ((2, 4, 3),)),
        Example("conv_transpose(6, 3, groups = 2, pad = 1)", ((4, 3, 4),)),
        Example("conv_transpose(4, 4, groups = 4, stride = 2, pad = 1)", ((4, 3, 3),)),
        Example("conv_transpose(5, 1)", ((3, 4, 4),)),
        Example("conv_transpose(2, 2, stride = 3)", ((2, 2, 3),)),
        Example("conv_transpose(4, 3, stride = 2, pad = 1, output_pad = 1)", ((3, 4),)),
        Example("conv_transpose(6, 4, groups = 2, dilation = 2, bias = false)", ((4, 3),)),
        Example("conv_transpose(3, 2, stride = 2)", ((2, 2, 3, 2),)),
        Example("conv_transpose(4, [3, 2, 3], groups = 2, pad = [1, 0, 1])", ((2, 3, 2, 3),)),
    )
    bad_examples = (
        BadExample("conv_transpose(4, 3)", ((10,),), codes.SHAPE_RANK),
        BadExample("conv_transpose(4, 3, stride = [1, 2])", ((3, 10),), codes.SHAPE_RANK),
        BadExample("conv_transpose(4, 3, groups = 2)", ((3, 5, 5),), codes.SHAPE_GROUPS),
        BadExample("conv_transpose(3, 3, groups = 2)", ((4, 5, 5),), codes.SHAPE_GROUPS),
        BadExample("conv_transpose(4, 3, output_pad = 1)", ((3, 5, 5),), OUTPUT_PAD),
        BadExample(
            "conv_transpose(4, 3, stride = [3, 2], output_pad = [3, 1])",
            ((3, 5, 5),),
            OUTPUT_PAD,
        ),
        BadExample("conv_transpose(4, 3, pad = 2)", ((3, 2, 2),), CUT_AWAY),
        BadExample("conv_transpose(4, 0)", ((3, 5, 5),), codes.CALL_VALUE),
        BadExample("conv_transpose(4)", ((3, 5, 5),), codes.CALL_MISSING),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(channels, H', W') for a picture, with H' = (H - 1) s - 2 p + d (k - 1) + output_pad + 1."""
        (x,) = inputs
        require_axes(self, x)
        for what, count, blame in (
            ("input", x[0], "groups"),
            ("output", self.channels, "channels"),
        ):
            if count % self.groups:
                common = math.gcd(x[0], self.channels, self.groups)
                up = -(-self.channels // self.groups) * self.groups
                why = f"`channels = {up}` can be split into {self.groups} groups"
                raise ShapeError(
                    codes.SHAPE_GROUPS,
                    f"{count} {what} channels cannot be split into {self.groups} groups",
                    blame=blame,
                    notes=(f"{count} / {self.groups} = {count / self.groups:g}",),
                    fixes=(
                        Fix("channels", str(up), why),
                        Fix(
                            "groups", str(common), f"`groups = {common}` divides inputs and outputs"
                        ),
                    ),
                )
        self._require_output_pad(len(x) - 1)
        return (self.channels, *(self._extent(x, axis) for axis in range(len(x) - 1)))

    def _require_output_pad(self, count: int) -> None:
        """Check that `output_pad` is less than the stride or the dilation along each axis."""
        steps = zip(spread(self.stride, count), spread(self.dilation, count), strict=True)
        most = [max(s, d) - 1 for s, d in steps]
        given = spread(self.output_pad, count)
        held = [min(pair) for pair in zip(given, most, strict=True)]
        if tuple(held) == given:
            return
        one = len(set(most)) == 1
        limit, mended = (most[0], most[0]) if one else (most, held)
        raise ShapeError(
            OUTPUT_PAD,
            f"`output_pad` must be less than the stride or the dilation, so at most {limit}",
            blame="output_pad",
            notes=("it chooses among the input sizes that a conv of this stride maps to one size",),
            fixes=(Fix("output_pad", str(mended), f"`output_pad = {mended}`"),),
        )

    def _extent(self, x: Shape, axis: int) -> int:
        """The size of the output along an axis."""
        size, kernel, stride, pad, extra, dilation = (
            x[axis + 1],
            *(
                spread(sizes, len(x) - 1)[axis]
                for sizes in (self.kernel, self.stride, self.pad, self.output_pad, self.dilation)
            ),
        )
        extent = (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + extra + 1
        if extent < 1:
            name = AXES[len(x) - 1][axis]
            less = max(0, (extent + 2 * pad - 1) // 2)
            raise ShapeError(
                CUT_AWAY,
                f"`pad = {pad}` cuts away all of the {name}",
                blame="pad",
                notes=(
                    f"{name}: ({size} - 1)*{stride} - 2*{pad} + {dilation}*({kernel} - 1)"
                    f" + {extra} + 1 = {extent}",
                ),
                fixes=(Fix("pad", str(less), f"`pad = {less}` leaves some"),),
            )
        return extent

    def is_unlikely(self) -> bool:
        """Whether the kernel or its stride is unusually large, without cutting the picture into
        patches.
        """
        return is_unlikely(self.kernel, self.stride)

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight` (I, O/groups, kh, kw) and `bias` (O,), with PyTorch's initial distributions."""
        shape = (
            inputs[0][0],
            self.channels // self.groups,
            *spread(self.kernel, len(inputs[0]) - 1),
        )
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        weight = ParameterSpec("weight", shape, KaimingUniform(math.sqrt(1 / 3)), "weight")
        bias = ParameterSpec("bias", (self.channels,), Uniform(-bound, bound), "bias")
        return (weight, bias) if self.bias else (weight,)

    def macs(self, *inputs: Shape) -> int:
        """I H W O/groups kh kw: every number of the input is multiplied by its filters."""
        kernel = spread(self.kernel, len(inputs[0]) - 1)
        each = self.channels // self.groups * math.prod(kernel)
        return math.prod(inputs[0]) * each

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """The inputs whose filters overlap in one number of the output."""
        window = axes(inputs[0], self.kernel, self.stride, 0, self.dilation)
        return tuple((-(-axis.reach // axis.stride), 1 / axis.stride) for axis in window)

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each number of the input adds its filters to the output. Then the frame is cut off."""
        weight = run.parameters["weight"]
        full = self._full(x[0])
        for ins, outs in self._groups(x[0].shape[1]):
            filters = weight[ins].reshape(ins.stop - ins.start, -1)
            for (every, _, *at), (_, _, *taps) in places(self._window(x[0])):
                added = np.einsum("nc,ck->nk", x[0][(every, ins, *at)], filters)
                place = (every, outs, *taps)
                full[place] += added.reshape(full[place].shape)
        y = full[self._inside(x[0])]
        return y + run.parameters["bias"].reshape(-1, *(1,) * (y.ndim - 2)) if self.bias else y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each number of the input collects the gradient from where it was added."""
        weight = run.parameters["weight"]
        full = self._full(x[0])
        full[self._inside(x[0])] = dy
        dx, dweight = np.zeros_like(x[0]), np.zeros_like(weight)
        for ins, outs in self._groups(x[0].shape[1]):
            filters = weight[ins].reshape(ins.stop - ins.start, -1)
            for (every, _, *at), (_, _, *taps) in places(self._window(x[0])):
                g = full[(every, outs, *taps)].reshape(len(full), -1)
                place = (every, ins, *at)
                dx[place] = np.einsum("nk,ck->nc", g, filters)
                dweight[ins] += np.einsum("nc,nk->ck", x[0][place], g).reshape(weight[ins].shape)
        run.gradients["weight"] = dweight
        if self.bias:
            run.gradients["bias"] = dy.sum(axis=(0, *spatial(dy)))
        return (dx,)

    def _full(self, x: Array) -> Array:
        """Zeros for the output with its frame, before that is cut off."""
        outputs = self.shape(x.shape[1:])[1:]
        pads = spread(self.pad, len(outputs))
        extents = (e + 2 * p for e, p in zip(outputs, pads, strict=True))
        return np.zeros((len(x), self.channels, *extents), x.dtype)

    def _inside(self, x: Array) -> tuple[slice, ...]:
        """The index of the output inside its frame."""
        outputs = self.shape(x.shape[1:])[1:]
        pads = spread(self.pad, len(outputs))
        inside = (slice(p, p + e) for e, p in zip(outputs, pads, strict=True))
        return (slice(None), slice(None), *inside)

    def _window(self, x: Array) -> tuple[Axis, ...]:
        """The window over the output with its frame, whose outputs are the numbers of the input."""
        count = x.ndim - 2
        extents = (
            (size - 1) * step + apart * (taps - 1) + 1
            for size, step, apart, taps in zip(
                x.shape[2:], spread(self.stride, count), spread(self.dilation, count),
                spread(self.kernel, count), strict=True,
            )
        )  # fmt: skip
        return axes((1, *extents), self.kernel, self.stride, 0, self.dilation)

    def _groups(self, channels: int) -> Iterator[tuple[slice, slice]]:
        ins, outs = channels // self.groups, self.channels // self.groups
        for g in range(self.groups):
            yield slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)

    # -- lowering: a conv from the output to the input

    def _options(self, to: Lowering) -> dict[str, Any]:
        count = len(to.node.shape) - 1
        pads = tuple((pad, pad) for pad in spread(self.pad, count))
        return {
            "stride": spread(self.stride, count),
            "pad": flat(pads, count),
            "dilation": spread(self.dilation, count),
            "groups": self.groups,
        }

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs(
            "conv.scratch_size",
            (to.out.shape, to.x[0].shape),
            kernel=spread(self.kernel, len(to.node.shape) - 1),
            **self._options(to),
        )

    def lower(self, to: Lowering) -> None:
        """The gradient of a convolution by its input."""
        to.call(
            "conv_transpose.forward",
            to.x[0], to.parameter("weight"), to.parameter("bias"), to.out, to.scratch,
            writes=[to.out], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The gradient of a convolution by its weight, and a convolution."""
        dweight = to.parameter_gradient("weight")
        to.call(
            "conv.backward_weight", to.dy, to.x[0], dweight, to.scratch,
            writes=[dweight], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip
        if self.bias:
            dbias = to.parameter_gradient("bias")
            to.call("conv.backward_bias", to.dy, dbias, writes=[dbias])
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "conv.forward", to.dy, to.parameter("weight"), None, dx, to.scratch,
                writes=[dx], scratch=self._scratch(to), **self._options(to),
            )  # fmt: skip
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.ConvTranspose2d` for pictures."""
        count = len(inputs[0]) - 1
        options: dict[str, Any] = {
            "kernel_size": spread(self.kernel, count),
            "stride": spread(self.stride, count),
            "padding": spread(self.pad, count),
            "output_padding": spread(self.output_pad, count),
            "dilation": spread(self.dilation, count),
            "groups": self.groups,
            "bias": self.bias,
        }
        return Torch(
            f"nn.ConvTranspose{count}d", (inputs[0][0], self.channels), options,
            defaults={**TORCH_DEFAULTS, "output_padding": 0}, pairs=True,
        )  # fmt: skip

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`ConvTranspose`, with or without its bias behind it."""
        for inner, found, bias in onnx_biased(read, "ConvTranspose"):
            op = cls._of_window(inner, bias=bias is not None)
            if op is not None:
                held = {"weight": inner.given(1), "bias": bias}
                yield inner.layer(op, inner.given(0), found=found, parameters=held)

    @classmethod
    def _of_window(cls, read: OnnxReader, *, bias: bool) -> "ConvTranspose | None":
        """Return the op of a `ConvTranspose`; None if none is like it."""
        weight, x, given = read.array(read.given(1)), read.shape(), read.attributes
        if weight is None or x is None or weight.ndim != len(x) + 1 or weight.ndim < 3:
            return None
        window = onnx_read_window(given, x, weight.shape[2:])
        if (
            window is None
            or given.ints("output_shape")
            or given.text("auto_pad").startswith("SAME")
            or not isinstance(window["pad"], int | tuple)
        ):
            return None
        count = len(x) - 1
        pads = sides(window.pop("pad"), count)
        if any(before != after for before, after in pads):
            return None
        return cls(
            weight.shape[1] * given.whole("group"),
            groups=given.whole("group"),
            bias=bias,
            pad=joined([before for before, _ in pads]),
            output_pad=joined(given.ints("output_padding") or (0,) * count),
            **window,
        )

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`ConvTranspose`; rows that are added behind the last stride are a frame around it."""
        count = len(to.shape) - 1
        strides = spread(self.stride, count)
        pad, added = spread(self.pad, count), spread(self.output_pad, count)
        bias = to.parameter("bias")
        options: dict[str, Any] = {
            "kernel_shape": spread(self.kernel, count), "strides": strides,
            "dilations": spread(self.dilation, count), "group": self.groups,
        }  # fmt: skip
        inputs = to.x[0], to.parameter("weight")
        if all(a < s for a, s in zip(added, strides, strict=True)):
            options |= {"pads": (*pad, *pad), "output_padding": added}
            return to("ConvTranspose", *inputs, bias, **options)
        # onnxruntime refuses so many rows. What the padding cuts off is given back first.
        cut = tuple(max(p - a, 0) for p, a in zip(pad, added, strict=True))
        value = to("ConvTranspose", *inputs, pads=(*pad, *cut), **options)
        behind = [(0, max(a - p, 0)) for p, a in zip(pad, added, strict=True)]
        value = onnx_padded(to, value, behind, 0.0)
        return value if bias is None else to("Add", value, to.beside(bias, count))
