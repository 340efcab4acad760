"""Pictures as rows of pixels, for PyTorch modules that compute wrong results for some pictures."""

from dataclasses import replace

from netspec.compiler.ir.contract import *


def over_rows(module: Torch, picture: Shape) -> Torch:
    """Return a norm of pictures (N, C, H, W), such as `nn.BatchNorm2d`, or of volumes, as that of
    rows (N, C, H W).
    """
    rows = Torch("torch.flatten", (X(0), 2))
    normalized = replace(module, target=module.target[: -len("2d")] + "1d", inputs=(rows,))
    return Torch("torch.unflatten", (normalized, 2, picture[1:]))
