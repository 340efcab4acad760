"""Group normalisation."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.per_image_norm import NormalizingOp, Sets, channel_sets


@register
class GroupNorm(NormalizingOp):
    """Group normalisation (Wu and He 2018): over the pixels of a group of channels, image by image.

    xhat = (x - mean) / sqrt(var + eps), y = weight xhat + bias, with the mean and the biased variance
    of the group, and a weight and a bias for each channel.

    With g = dL/dy, h = weight g, means over the R values of a group, and s = 1 / sqrt(var + eps):
        dL/dbias = sum g, dL/dweight = sum g xhat, over the images and pixels of a channel
        dL/dx = s (h - mean(h) - xhat mean(h xhat))
    Mean and variance depend on x too: they take away the mean of h and what of it lies along xhat.
    """

    groups: int = attribute(Int(1), "groups of channels that are normalised together")
    eps: float = attribute(Real(0, 1, low_open=True), "added to the variance", 1e-5)
    affine: bool = attribute(Bool(), "learn a weight and a bias for each channel", True)

    name = "group_norm"
    onnx_ends = ("GroupNormalization", "Reshape", "Mul", "Add")
    torch_order = ("groups", "", "eps", "affine")
    aten = (
        AtenForm(
            ("group_norm",),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {"groups": "num_groups", "eps": "eps", "affine": lambda call: call.has("weight")},
        ),
    )
    examples = (
        Example("group_norm(2)", ((6, 3, 4),)),
        Example("group_norm(1)", ((3, 4, 5),)),
        Example("group_norm(4, eps = 0.01)", ((4, 2, 3),)),
        Example("group_norm(3, affine = false)", ((6, 2, 2),)),
        Example("group_norm(2)", ((6,),)),
        Example("group_norm(2)", ((4, 5),)),
    )
    bad_examples = (
        BadExample("group_norm(4)", ((6, 3, 3),), codes.SHAPE_GROUPS),
        BadExample("group_norm(0)", ((6, 3, 3),), codes.CALL_VALUE),
        BadExample("group_norm", ((6, 3, 3),), codes.CALL_MISSING),
        BadExample("group_norm(2, 4)", ((4, 3, 3),), codes.CALL_INFERRED_SIZE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        (x,) = inputs
        if x[0] % self.groups:
            common = math.gcd(x[0], self.groups)
            raise ShapeError(
                codes.SHAPE_GROUPS,
                f"{x[0]} channels cannot be split into {self.groups} groups",
                blame="groups",
                notes=(f"{x[0]} / {self.groups} = {x[0] / self.groups:g}",),
                fixes=(Fix("groups", str(common), f"`groups = {common}` divides {x[0]}"),),
            )
        return x

    def least_training_batch(self, *inputs: Shape) -> int:
        """Two if a batch of one image would have a single number in all: PyTorch refuses to train
        on that.
        """
        (x,) = inputs
        return 2 if math.prod(x) // self.groups == 1 else 1

    def sets(self, x: Shape) -> Sets:
        """One set for each group of channels."""
        return channel_sets(x, self.groups)

    def parameter_shape(self, x: Shape) -> Shape:
        """One number per channel."""
        return x[:1]

    def learns(self) -> tuple[bool, bool]:
        """Weight and bias, or neither."""
        return self.affine, self.affine

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.GroupNorm`."""
        options = {"eps": self.eps, "affine": self.affine}
        defaults = {"eps": 1e-5, "affine": True}
        return Torch("nn.GroupNorm", (self.groups, inputs[0][0]), options, defaults=defaults)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`GroupNormalization`, or instance norm of the groups."""
        if read.root.operator == "GroupNormalization":
            yield cls._from_operator(read)
            return
        inner = "Reshape(InstanceNormalization(Reshape(x, s), c_one, c_zero), t)"
        for text in (f"Add(Mul({inner}, c_weight), c_bias)", inner):
            found = read.pattern(text)
            if found is not None and found.values["x"].shape is not None:
                yield cls._from_groups(read, found)

    @classmethod
    def _from_operator(cls, read: OnnxReader) -> OnnxLayer | None:
        groups, x, held = read.attributes.whole("num_groups"), read.shape(), {}
        for name, value in (("weight", read.given(1)), ("bias", read.given(2))):
            array = read.array(value)
            if array is None or x is None:
                return None
            if len(array) == groups < x[0]:  # before opset 21 there was one for each group
                array = np.repeat(array, x[0] // groups)
            held[name] = read.held(value, array)
        return read.layer(
            cls(groups, read.attributes.real("epsilon")), read.given(0), parameters=held
        )

    @classmethod
    def _from_groups(cls, read: OnnxReader, found: Found) -> OnnxLayer | None:
        named = found.values
        sizes = read.sizes(named["s"])
        ones, zeros = read.array(named["c_one"]), read.array(named["c_zero"])
        if sizes is None or len(sizes) != 3 or not isinstance(sizes[1], int):
            return None
        if ones is None or zeros is None or np.any(ones != 1) or np.any(zeros != 0):
            return None
        held = {}
        for name in ("weight", "bias"):
            value = named.get(f"c_{name}")
            array = read.array(value)
            if value is not None and array is not None:
                held[name] = Held(value, array.reshape(-1))
        (norm,) = (op for op in found.covers if op.operator == "InstanceNormalization")
        op = cls(sizes[1], norm.attributes.real("epsilon"), affine=bool(held))
        return read.layer(op, named["x"], found=found, parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`GroupNormalization`, or instance norm of the groups.

        Before opset 21 it has one weight for a group, not for a channel.
        """
        pixels = to.shape[1:]
        weight, bias = to.parameter("weight"), to.parameter("bias")
        if to.opset >= 21 and pixels and weight is not None:
            return to(
                "GroupNormalization",
                to.x[0],
                weight,
                bias,
                num_groups=self.groups,
                epsilon=self.eps,
            )
        groups = to("Reshape", to.x[0], to.ints(0, self.groups, -1))
        ones = to.floats([1] * self.groups, (self.groups,))
        zeros = to.floats([0] * self.groups, (self.groups,))
        value = to("InstanceNormalization", groups, ones, zeros, epsilon=self.eps)
        value = to.reshaped(value, to.shape)
        if weight is not None:
            value = to("Mul", value, to.beside(weight, len(pixels)))
        return value if bias is None else to("Add", value, to.beside(bias, len(pixels)))
