"""A training script as people write it by hand, with which `benchmarks/gpu.py` compares netspec.

It uses nothing of netspec. ResNet-20 is written out here; ResNet-18 and ResNet-50 are
torchvision's. It uses batches of 128, float32 (with TF32 where the GPU has it), N, C, H, W, and SGD
with momentum. Images go through torchvision's transforms in a DataLoader, or, with
`--data-on-device`, are all on the device and are augmented there. `--switches` has what makes it faster:
bfloat16, channels last, a fused optimizer, and with `--compile MODE` torch.compile.

python benchmarks/plain_pytorch.py --net resnet50 --data build/cifar10-10000.npz --device cuda
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for stage, width in enumerate((16, 32, 64)):
            for block in range(3):
                blocks.append(BasicBlock(channels, width, 2 if stage and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(out.mean(dim=(2, 3)))


NETS = {
    "resnet20": ResNet20,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "resnet50": lambda: torchvision.models.resnet50(num_classes=10),
}


class Pictures(Dataset):
    def __init__(self, x: np.ndarray, y: np.ndarray, transform: transforms.Compose) -> None:
        self.x, self.y, self.transform = x, y, transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture = transforms.functional.to_pil_image(self.x[index].transpose(1, 2, 0))
        return self.transform(picture), int(self.y[index])


def from_loader(
    x: np.ndarray, y: np.ndarray, size: int, batch: int, workers: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    steps = [] if size == x.shape[-1] else [transforms.Resize(size)]
    steps += [transforms.RandomCrop(size, padding=size // 8), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    loader = DataLoader(
        Pictures(x, y, transforms.Compose(steps)), batch, shuffle=True, num_workers=workers,
        pin_memory=device.type == "cuda", drop_last=True, persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def from_device(
    x: np.ndarray, y: np.ndarray, size: int, batch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    images, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(STD, device=device).view(3, 1, 1)
    pad = size // 8
    while True:
        for chosen in torch.randperm(len(images), device=device).split(batch):
            if len(chosen) < batch:
                break
            some = images[chosen].float().div_(255)
            if size != some.shape[-1]:
                some = F.interpolate(some, (size, size), mode="bilinear")
            some = F.pad(some, (pad,) * 4)
            top, left = torch.randint(0, 2 * pad + 1, (2,)).tolist()
            some = some[:, :, top : top + size, left : left + size]
            flip = torch.rand(batch, 1, 1, 1, device=device) < 0.5
            some = torch.where(flip, some.flip(3), some)
            yield (some - mean) / std, labels[chosen]


def measure(options: argparse.Namespace) -> dict[str, object]:
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    with np.load(options.data) as data:
        x, y = data["x_train"], data["y_train"].astype(np.int64)
    model = NETS[options.net]().to(device)
    if options.switches:
        model = model.to(memory_format=torch.channels_last)
    called = torch.compile(model, mode=options.compile) if options.compile else model
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True,
        fused=options.switches,
    )  # fmt: skip
    batches = (
        from_device(x, y, options.size, options.batch, device)
        if options.data_on_device
        else from_loader(x, y, options.size, options.batch, options.workers, device)
    )

    def step() -> torch.Tensor:
        images, labels = next(batches)
        if options.switches:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.switches):
            scores = called(images)
        loss = F.cross_entropy(scores.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(options.warmup):
        step()
    wait()
    start, steps = time.perf_counter(), 0
    while steps < options.least or time.perf_counter() - start < options.seconds:
        for _ in range(options.least):
            loss = step()
        steps += options.least
        wait()
    seconds = time.perf_counter() - start
    return {
        "net": options.net, "size": options.size, "batch": options.batch,
        "data": "device" if options.data_on_device else f"DataLoader, {options.workers} workers",
        "images_per_second": steps * options.batch / seconds, "steps": steps, "loss": loss.item(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--data", required=True, help="an .npz with x_train, y_train")
    parser.add_argument("--size", type=int, default=32, help="pixels that pictures are resized to")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--data-on-device", action="store_true")
    parser.add_argument("--switches", action="store_true")
    parser.add_argument("--compile", help="the mode of torch.compile; none without")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--warmup", type=int, default=10, help="steps before the clock starts")
    parser.add_argument("--least", type=int, default=10, help="steps between looks at the clock")
    parser.add_argument("--seconds", type=float, default=6.0)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
