"""The nets of `networks/zoo` that torchvision does not have, as one writes them in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def _rectified(conv: nn.Module, channels: int, norm: Callable[[int], nn.Module]) -> list[nn.Module]:
    return [conv, norm(channels), nn.ReLU()]


class M5(nn.Module):
    """Of PyTorch's tutorial on speech commands, without the biases before the batch norms."""

    def __init__(self, num_classes: int = 35, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, 80, stride=16, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, 3, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.conv3 = nn.Conv1d(width, 2 * width, 3, bias=False)
        self.bn3 = nn.BatchNorm1d(2 * width)
        self.conv4 = nn.Conv1d(2 * width, 2 * width, 3, bias=False)
        self.bn4 = nn.BatchNorm1d(2 * width)
        self.pool = nn.MaxPool1d(4)
        self.fc1 = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (N, classes), of waves (N, 1, length)."""
        x = self.pool(self.bn1(self.conv1(x)).relu())
        x = self.pool(self.bn2(self.conv2(x)).relu())
        x = self.pool(self.bn3(self.conv3(x)).relu())
        x = self.pool(self.bn4(self.conv4(x)).relu())
        return self.fc1(x.mean(-1))


def _double_conv(inputs: int, channels: int) -> nn.Sequential:
    first = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
    second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    parts = _rectified(first, channels, nn.BatchNorm2d)
    return nn.Sequential(*parts, *_rectified(second, channels, nn.BatchNorm2d))


class UNet(nn.Module):
    """With padded convolutions, batch norms and transposed convolutions."""

    def __init__(self, num_classes: int = 2, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        before = 3
        for width in widths:
            self.down.append(_double_conv(before, width))
            before = width
        self.bottom = _double_conv(before, 2 * before)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths)
        self.merge = nn.ModuleList(_double_conv(2 * w, w) for w in widths)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of each pixel, (N, classes, H, W), of pictures (N, 3, H, W)."""
        skips = []
        for convs in self.down:
            x = convs(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for level in reversed(range(len(skips))):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], 1))
        return self.head(x)


NETS: dict[str, Callable[..., nn.Module]] = {"m5": M5, "unet": UNet}
