"""Layer normalisation."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.per_image_norm import NormalizingOp, Sets, last_axes_sets

AXES = Code.error("shape/axes", "more axes to normalise over than the value has")


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
        if self.axes is not None:
            return self.axes
        return 3 if len(x) == 3 else 1

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

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.LayerNorm`."""
        options = {"eps": self.eps, "elementwise_affine": self.affine, "bias": self.bias}
        defaults = {"eps": 1e-5, "elementwise_affine": True, "bias": True}
        shape = self.parameter_shape(inputs[0])
        return Torch("nn.LayerNorm", (shape,), options, defaults=defaults)

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
