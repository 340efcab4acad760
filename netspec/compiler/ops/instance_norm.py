"""Instance normalisation."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.per_image_norm import NormalizingOp, Sets, channel_sets
from netspec.compiler.ops.families.rows import over_rows
from netspec.compiler.ops.families.windows import require_axes

ONE_VALUE = Code.error("shape/one-value", "a channel with one value, which cannot be normalised")


@register
class InstanceNorm(NormalizingOp):
    """Instance normalisation (Ulyanov et al. 2016): over the pixels of each channel of each image.

    xhat = (x - mean) / sqrt(var + eps), with the mean and the biased variance of the channel, in
    training and in evaluation; y = weight xhat + bias where `affine`.

    With g = dL/dy, h = weight g, means over the R pixels of a channel, and s = 1 / sqrt(var + eps):
        dL/dbias = sum g, dL/dweight = sum g xhat, over the images and pixels of a channel
        dL/dx = s (h - mean(h) - xhat mean(h xhat))
    Mean and variance depend on x too: they take away the mean of h and what of it lies along xhat.
    """

    eps: float = attribute(Real(0, 1, low_open=True), "added to the variance", 1e-5)
    affine: bool = attribute(Bool(), "learn a weight and a bias for each channel", False)

    name = "instance_norm"
    onnx_ends = ("InstanceNormalization",)
    torch_order = ("", "eps")
    aten = (
        AtenForm(
            ("instance_norm",),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {"eps": "eps", "affine": lambda call: call.has("weight")},
            unless=lambda call: call.require(
                not call.has("running_mean"), "`instance_norm` keeps no running statistics"
            ),
        ),
    )
    examples = (
        Example("instance_norm", ((3, 4, 5),)),
        Example("instance_norm(eps = 0.01)", ((2, 3, 3),)),
        Example("instance_norm(affine = true)", ((3, 2, 5),)),
        Example("instance_norm(affine = true)", ((3, 5),)),
        Example("instance_norm", ((2, 3, 2, 2),)),
    )
    bad_examples = (
        BadExample("instance_norm", ((6,),), codes.SHAPE_RANK),
        BadExample("instance_norm", ((6, 1, 1),), ONE_VALUE),
        BadExample("instance_norm(affine = 1)", ((6, 2, 2),), codes.CALL_VALUE),
        BadExample("instance_norm(3)", ((3, 4, 4),), codes.CALL_INFERRED_SIZE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        (x,) = inputs
        require_axes(self, x)
        if math.prod(x[1:]) == 1:
            raise ShapeError(
                ONE_VALUE,
                f"the one value of each channel in {show_shape(x)} would be normalised to 0",
                notes=("xhat = (x - mean) / sqrt(var + eps), and the mean of one value is itself",),
            )
        return x

    def sets(self, x: Shape) -> Sets:
        """One set for each channel."""
        return channel_sets(x, x[0])

    def parameter_shape(self, x: Shape) -> Shape:
        """One number per channel."""
        return x[:1]

    def learns(self) -> tuple[bool, bool]:
        """Weight and bias, or neither."""
        return self.affine, self.affine

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.InstanceNorm2d` for pictures."""
        (x,) = inputs
        options = {"eps": self.eps, "affine": self.affine}
        defaults = {"eps": 1e-5, "affine": False}
        return Torch(f"nn.InstanceNorm{len(x) - 1}d", (x[0],), options, defaults=defaults)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`InstanceNormalization`."""
        weight, bias = read.array(read.given(1)), read.array(read.given(2))
        if weight is None or bias is None:
            return
        given = read.given(1)
        plain = (
            given is not None and given.is_constant and np.all(weight == 1) and np.all(bias == 0)
        )
        held = {} if plain else {"weight": read.given(1), "bias": read.given(2)}
        op = cls(eps=read.attributes.real("epsilon"), affine=not plain)
        yield read.layer(op, read.given(0), parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`InstanceNormalization`."""
        channels = to.shape[:1]
        weight = to.parameter("weight") or to.floats([1] * channels[0], channels)
        bias = to.parameter("bias") or to.floats([0] * channels[0], channels)
        return to("InstanceNormalization", to.x[0], weight, bias, epsilon=self.eps)

    def needs_order(self, *inputs: Shape) -> bool:
        """Whether the input is a picture of several channels.

        For a batch of one image PyTorch reads the value and the gradient in different orders.
        """
        (x,) = inputs
        return len(x) == 3 and x[0] != 1

    def torch_of_views(self, *inputs: Shape) -> Torch:
        """`nn.InstanceNorm1d` over [N, C, H W]."""
        return over_rows(self.torch(*inputs), inputs[0])
