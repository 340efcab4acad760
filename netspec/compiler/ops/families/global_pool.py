"""The base class of pools over the whole picture: (C, H, W) becomes (C,)."""

from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import require_axes


class GlobalPoolOp(Op):
    """A pool over each channel's picture. `adaptive` is PyTorch's pool to a size, without the 2d."""

    storage = Storage.CHANNELS_LAST

    adaptive: ClassVar[str]

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
        pooled = Torch(f"{self.adaptive}{count}d", (X(0), (1,) * count), pairs=True)
        return Torch("torch.flatten", (pooled, 1))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """The global pool, without the axes that it leaves."""
        return to("Flatten", to(self.onnx_operator, to.x[0]), axis=1)
