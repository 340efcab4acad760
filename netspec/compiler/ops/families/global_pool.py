"""The base class of pools over the whole picture: (C, H, W) becomes (C,)."""

from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import require_picture


class GlobalPoolOp(Op):
    """A pool over each channel's picture. `adaptive` is PyTorch's pool to a given size."""

    adaptive: ClassVar[str]

    def shape(self, *inputs: Shape) -> Shape:
        """(C,)."""
        require_picture(self.name, inputs[0])
        return inputs[0][:1]

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], tuple[int, float]] | None:
        """None: each number depends on the whole picture."""
        return None

    def torch(self, *inputs: Shape) -> Torch:
        """The pool to one pixel, as torchvision's networks do it."""
        return Torch("torch.flatten", (Torch(self.adaptive, (X(0), (1, 1)), pairs=True), 1))
