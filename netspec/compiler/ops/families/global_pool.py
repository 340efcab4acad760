"""The base class of pools over the whole picture: (C, H, W) becomes (C,)."""

from collections.abc import Iterable
from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.adaptive_pool import torch_pool
from netspec.compiler.ops.families.windows import require_axes


class GlobalPoolOp(Op):
    """A pool over each channel's picture.

    Attributes:
        adaptive: the kind of pool, `avg` or `max`.
        onnx_reduction: ONNX's operator over axes.
    """

    storage = Storage.CHANNELS_LAST

    adaptive: ClassVar[str]
    onnx_reduction: ClassVar[str]

    def shape(self, *inputs: Shape) -> Shape:
        """(C,)."""
        require_axes(self, inputs[0])
        return inputs[0][:1]

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: each number depends on the whole picture."""
        return None

    def torch(self, *inputs: Shape) -> Torch:
        """The pool to one pixel, as torchvision's networks do it."""
        count = len(inputs[0]) - 1
        pooled = torch_pool(self.adaptive, (1,) * count)
        return Torch("torch.flatten", (pooled, 1), as_module="nn.Flatten")

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The global pool, with what leaves out the axes of size 1."""
        for pool in (f"{cls.onnx_operator}(x)", f"{cls.onnx_reduction}(x, c_axes, keepdims=1)"):
            for text in (f"Flatten({pool}, axis=1)", f"Reshape({pool}, s)", f"Squeeze({pool}, s)"):
                found = read.pattern(text)
                x = None if found is None else found.values["x"].shape
                if found is not None and x is not None and cls._is_global(read, found, x):
                    yield read.layer(cls(), found.values["x"], found=found)

    @staticmethod
    def _is_global(read: OnnxReader, found: Found, x: Shape) -> bool:
        """Whether the pool is over the whole picture, and all of its axes are gone behind it."""
        picture = set(range(2, len(x) + 1))
        axes, sizes = read.whole(found.values.get("c_axes")), read.sizes(found.values.get("s"))
        if axes is not None and {axis % (len(x) + 1) for axis in axes} != picture:
            return False
        if len(x) < 2 or (axes is None and "c_axes" in found.values):
            return False
        if read.root.operator == "Reshape":
            return sizes is not None and read.image_sizes(sizes, x[:1]) in ((-1,), x[:1])
        return sizes is None or {s % (len(x) + 1) for s in sizes} == picture

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """The global pool, without the axes that it leaves."""
        return to("Flatten", to(self.onnx_operator, to.x[0]), axis=1)
