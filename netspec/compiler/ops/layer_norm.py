"""Layer normalisation."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.per_image_norm import NormalizingOp, Sets, last_axes_sets

AXES = Code.error("shape/axes", "more axes to normalise over than the value has")

_CENTRED = "Sub(x, ReduceMean(x, c_axes, keepdims=1))"
_VARIANCES = (
    f"ReduceMean(Pow({_CENTRED}, 2), c_axes, keepdims=1)",
    f"ReduceMean(Mul({_CENTRED}, {_CENTRED}), c_axes, keepdims=1)",
)
_PLAIN = tuple(f"Div({_CENTRED}, Sqrt(Add({v}, c_eps)))" for v in _VARIANCES)
_FORMULAS = (
    *(f"Add(Mul({plain}, c_weight), c_bias)" for plain in _PLAIN),
    *(f"Mul({plain}, c_weight)" for plain in _PLAIN),
    *_PLAIN,
)


def _usual(x: Shape) -> int:
    """Return over how many of the last axes an image is normalised by default."""
    return 3 if len(x) == 3 else 1


def _unusual(axes: int, x: Shape) -> int | None:
    """Return a number of axes, or None for the default."""
    return None if axes == _usual(x) else axes


@register
class LayerNorm(NormalizingOp):
    """Layer normalisation (Ba et al. 2016) of the last axes of each image, by that image alone.

    xhat = (x - mean) / sqrt(var + eps), y = weight xhat + bias, with the mean and the biased variance
    over the last `axes` axes; weight and bias have a number for each place on them. A vector [N, D]
    and a sequence [N, T, D] are normalised over D, a picture over channels, height and width.

    With g = dL/dy, h = weight g, means over the R values of a set, and s = 1 / sqrt(var + eps):
        dL/dbias = sum g, dL/dweight = sum g xhat, over the images and the axes in front
        dL/dx = s (h - mean(h) - xhat mean(h xhat))
    Mean and variance depend on x too: they take away the mean of h and what of it lies along xhat.
    """

    axes: int | None = attribute(
        Int(1), "how many of the last axes; by default 1, and all 3 of a picture", None
    )
    eps: float = attribute(Real(0, 1, low_open=True), "added to the variance", 1e-5)
    affine: bool = attribute(Bool(), "learn a weight, and a bias unless `bias = false`", True)
    bias: bool = attribute(Bool(), "learn a bias beside the weight", True)

    name = "layer_norm"
    onnx_ends = ("LayerNormalization", "Div", "Mul", "Add")
    aten = (
        AtenForm(
            ("layer_norm",),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {
                "axes": lambda call: _unusual(
                    len(call.numbers("normalized_shape")), call.tensor("input").shape
                ),
                "eps": "eps",
                "affine": lambda call: call.has("weight"),
                "bias": lambda call: call.has("bias") or not call.has("weight"),
            },
        ),
    )
    examples = (
        Example("layer_norm", ((7,),)),
        Example("layer_norm", ((3, 5),)),
        Example("layer_norm", ((3, 4, 5),)),
        Example("layer_norm(axes = 2)", ((3, 5),)),
        Example("layer_norm(axes = 1)", ((2, 3, 4),)),
        Example("layer_norm(axes = 2)", ((2, 3, 4),)),
        Example("layer_norm(2, eps = 0.01)", ((2, 3, 2, 4),)),
        Example("layer_norm(affine = false)", ((6,),)),
        Example("layer_norm(bias = false)", ((4, 2, 2),)),
    )
    bad_examples = (
        BadExample("layer_norm(axes = 2)", ((6,),), AXES),
        BadExample("layer_norm(axes = 0)", ((6,),), codes.CALL_VALUE),
        BadExample("layer_norm(eps = 0)", ((6,),), codes.CALL_VALUE),
    )

    def _axes(self, x: Shape) -> int:
        return _usual(x) if self.axes is None else self.axes

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        (x,) = inputs
        if self._axes(x) > len(x):
            raise ShapeError(
                AXES,
                f"`layer_norm` over the last {self.axes} axes, but {show_shape(x)} has"
                f" {len(x)} after the batch",
                blame="axes",
                fixes=(Fix("axes", str(len(x)), f"over all of them: `axes = {len(x)}`"),),
            )
        return x

    def sets(self, x: Shape) -> Sets:
        """One set over the last axes."""
        return last_axes_sets(x, self._axes(x))

    def parameter_shape(self, x: Shape) -> Shape:
        """The sizes of the last axes."""
        return x[len(x) - self._axes(x) :]

    def learns(self) -> tuple[bool, bool]:
        """As the attributes request."""
        return self.affine, self.affine and self.bias

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along the axes that it goes over."""
        return (over[0] or 0) > len(inputs[0]) - self._axes(inputs[0])

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.LayerNorm`."""
        options = {"eps": self.eps, "elementwise_affine": self.affine, "bias": self.bias}
        defaults = {"eps": 1e-5, "elementwise_affine": True, "bias": True}
        shape = self.parameter_shape(inputs[0])
        return Torch("nn.LayerNorm", (shape,), options, defaults=defaults)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`LayerNormalization`, or the formula that older exporters write."""
        if read.root.operator == "LayerNormalization":
            x, weight = read.shape(), read.array(read.given(1))
            if x is not None and weight is not None:
                axis = read.attributes.whole("axis")
                count = -axis if axis < 0 else len(x) + 1 - axis
                yield cls._of_axes(read, x, count, read.attributes.real("epsilon"), None)
            return
        for text in _FORMULAS:
            found = read.pattern(text)
            x = None if found is None else found.values["x"].shape
            if found is None or x is None:
                continue
            axes, eps = read.whole(found.values["c_axes"]), read.number(found.values["c_eps"])
            if axes is None or eps is None:
                continue
            over = {axis % (len(x) + 1) for axis in axes}
            if over == set(range(len(x) + 1 - len(over), len(x) + 1)) and 0 not in over:
                yield cls._of_axes(read, x, len(over), eps, found)

    @classmethod
    def _of_axes(
        cls, read: OnnxReader, x: Shape, count: int, eps: float, found: Found | None
    ) -> OnnxLayer | None:
        named = {} if found is None else found.values
        weight = named.get("c_weight") if found is not None else read.given(1)
        bias = named.get("c_bias") if found is not None else read.given(2)
        value = named["x"] if found is not None else read.given(0)
        array = read.array(weight)
        learns = weight is not None and array is not None
        if weight is not None and (weight.is_constant or weight.maker is not None):
            learns = bias is not None or not np.all(array == 1)
        shape = x[len(x) - count :]
        usual = count == (3 if len(x) == 3 else 1)
        op = cls(None if usual else count, eps, learns, bias is not None or not learns)
        held = {}
        for name, given in (("weight", weight), ("bias", bias)):
            array = read.array(given)
            if learns and given is not None:
                if array is None or array.size != math.prod(shape):
                    return None
                held[name] = Held(given, array.reshape(shape))
        return read.layer(op, value, found=found, parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`LayerNormalization`, or the formula where it has no weight and open sizes."""
        axes = self._axes(to.x_shapes[0])
        shape = self.parameter_shape(to.x_shapes[0])
        weight = to.parameter("weight")
        if weight is None:
            weight = to("Expand", to.float(1), to.sizes(shape))
        return to(
            "LayerNormalization",
            to.x[0],
            weight,
            to.parameter("bias"),
            axis=-axes,
            epsilon=self.eps,
        )
