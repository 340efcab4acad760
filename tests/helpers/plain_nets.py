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


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class _MixerBlock(nn.Module):
    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.mlp_tokens = _Mlp(length, width // 2)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp_channels = _Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class MlpMixer(nn.Module):
    """Under the names of timm's `mixer_b16_224`."""

    def __init__(self, num_classes: int = 1000, size: int = 224, width: int = 768) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"proj": nn.Conv2d(3, width, 16, stride=16)})
        self.blocks = nn.Sequential(*(_MixerBlock((size // 16) ** 2, width) for _ in range(12)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (N, classes), of pictures (N, 3, size, size)."""
        x = self.stem["proj"](x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


class DcganGenerator(nn.Module):
    """Of PyTorch's tutorial."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        before, stride, pad = 100, 1, 0
        for channels in (8 * width, 4 * width, 2 * width, width):
            conv = nn.ConvTranspose2d(before, channels, 4, stride, pad, bias=False)
            parts += _rectified(conv, channels, nn.BatchNorm2d)
            before, stride, pad = channels, 2, 1
        parts += [nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*parts)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures (N, 3, 64, 64) of noise (N, 100, 1, 1)."""
        return self.main(z)


class DcganDiscriminator(nn.Module):
    """Of PyTorch's tutorial, without the sigmoid behind it."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for channels in (width, 2 * width, 4 * width):
            conv = nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False)
            parts += [conv, nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*parts, nn.Conv2d(8 * width, 1, 4, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N, 1) of pictures (N, 3, 64, 64)."""
        return self.main(x).flatten(1)


class Vae(nn.Module):
    """Of PyTorch's examples, with its loss for each picture as an output.

    `noise` is what `mean` and the deviation are mixed with in training.
    """

    def __init__(self, size: int = 28, hidden: int = 400, latent: int = 20) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size**2, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, size**2)
        self.noise: Tensor | None = None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the loss (N, 1) and the pictures (N, 1, size, size) of pictures."""
        pixels = x.flatten(1)
        h = self.fc1(pixels).relu()
        mean, log_var = self.fc21(h), self.fc22(h)
        z = mean
        if self.training and self.noise is not None:
            z = mean + (0.5 * log_var).exp() * self.noise
        scores = self.fc4(self.fc3(z).relu())
        entropy = nn.functional.binary_cross_entropy_with_logits(scores, pixels, reduction="none")
        divergence = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp())
        loss = entropy.sum(1, keepdim=True) + divergence.sum(1, keepdim=True)
        return {"picture": scores.sigmoid().view_as(x), "output": loss}


NETS: dict[str, Callable[..., nn.Module]] = {
    "dcgan_discriminator": DcganDiscriminator,
    "dcgan_generator": DcganGenerator,
    "m5": M5,
    "mlp_mixer_b_16": MlpMixer,
    "unet": UNet,
    "vae": Vae,
}
