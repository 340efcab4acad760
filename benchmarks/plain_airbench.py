"""airbench94 as plain PyTorch, which netspec's recipe is timed against where the original is not there.

It uses nothing of netspec. The net, the numbers and the steps are those of Jordan's airbench94_muon.py,
which `benchmarks/gpu.py --peer FILE` times in its place.

python benchmarks/plain_airbench.py --data build/cifar10.npz --device cuda --seeds 3
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(made.weight.data[:inputs])
    return made


def norm(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    made.weight.requires_grad_(False)
    return made


class Net(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        layers: list[nn.Module] = [nn.GELU()]
        for inputs, outputs in zip([24, *widths], widths, strict=False):
            layers += [conv(inputs, outputs), nn.MaxPool2d(2), norm(outputs), nn.GELU()]
            layers += [conv(outputs, outputs), norm(outputs), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(widths[-1], 10, bias=False)
        nn.init.uniform_(self.head.weight, -(3**0.5), 3**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.whiten(x))) / 256


@torch.no_grad()
def whiten(net: Net, images: Tensor) -> None:
    patches = (
        images.float().unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    )
    variances, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / torch.sqrt(variances + 5e-4)).T.reshape(12, 3, 2, 2)
    net.whiten.weight.copy_(torch.cat([filters, -filters]))


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters: list[nn.Parameter], lr: float, half: torch.dtype) -> None:
        super().__init__(parameters, {"lr": lr})
        self.half = half

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                v = state.setdefault("v", torch.zeros_like(p))
                v.mul_(0.6).add_(p.grad)
                x = (p.grad + 0.6 * v).reshape(len(p), -1).to(self.half)
                p.mul_(len(p) ** 0.5 / p.norm())
                is_tall = x.shape[0] > x.shape[1]
                x = x.T if is_tall else x
                x = x / (x.norm() + 1e-7)
                for _ in range(3):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                p.add_((x.T if is_tall else x).reshape(p.shape).to(p.dtype), alpha=-group["lr"])


def steps(
    images: Tensor, labels: Tensor, first_flips: Tensor, epoch: int, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch; images are padded by two pixels on each side."""
    device, size = images.device, images.shape[-1] - 4
    order = torch.randperm(len(images), device=device)
    at = torch.arange(size, device=device)
    for chosen in order.split(batch):
        rows, columns = (
            at + torch.randint(0, 5, (len(chosen), 1), device=device) for _ in range(2)
        )
        flips = (first_flips[chosen] + epoch) % 2 == 1
        columns = torch.where(flips[:, None], columns.flip(1), columns)
        x = images[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        yield x.permute(0, 3, 1, 2), labels[chosen]


def views(net: nn.Module, x: Tensor) -> Tensor:
    def both(x: Tensor) -> Tensor:
        return net(x).float().clone() / 2 + net(x.flip(-1)).float().clone() / 2

    padded = F.pad(x, (1,) * 4, "reflect")
    return both(x) / 2 + both(padded[..., :-2, :-2]) / 4 + both(padded[..., 2:, 2:]) / 4


def run(
    net: Net, called: nn.Module, options: argparse.Namespace, data: dict[str, np.ndarray]
) -> dict[str, float]:
    """Train from new values; returns the seconds that it took, and the test accuracy."""
    device = torch.device(options.device)
    half = torch.bfloat16 if device.type == "cuda" else torch.float32

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    fresh = Net(options.widths)
    net.load_state_dict(fresh.state_dict())
    net.to(device, memory_format=torch.channels_last)
    arrays = {name: torch.from_numpy(each).to(device) for name, each in data.items()}
    wait()
    start = time.perf_counter()
    mean = torch.tensor((0.4914, 0.4822, 0.4465), device=device).view(3, 1, 1)
    std = torch.tensor((0.2470, 0.2435, 0.2616), device=device).view(3, 1, 1)
    x, test = (((arrays[f"x_{part}"].float() / 255 - mean) / std) for part in ("train", "test"))
    labels = arrays["y_train"].long()
    whiten(net, x[:5000])
    padded = F.pad(x, (2,) * 4, "reflect")
    first_flips = torch.randint(0, 2, (len(x),), device=device)
    filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
    biases = [p for n, p in net.named_parameters() if n.endswith("bias")]
    decay = 2e-6 * options.batch
    groups = [
        {"params": biases, "lr": 0.053, "weight_decay": decay / 0.053},
        {"params": [net.head.weight], "lr": 0.67, "weight_decay": decay / 0.67},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(groups, momentum=0.85, nesterov=True, fused=device.type == "cuda"),
        Muon(filters, 0.24, half),
    ]
    rates = [[group["lr"] for group in each.param_groups] for each in optimizers]
    total = options.epochs * -(-len(x) // options.batch)
    done = 0
    net.train()
    for epoch in range(options.epochs):
        for images, targets in steps(padded, labels, first_flips, epoch, options.batch):
            for each, first in zip(optimizers, rates, strict=True):
                for group, rate in zip(each.param_groups, first, strict=True):
                    group["lr"] = rate * (1 - done / total)
            with torch.autocast(device.type, half, enabled=half is torch.bfloat16):
                scores = called(images.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(scores.float(), targets, label_smoothing=0.2, reduction="sum")
            net.zero_grad(set_to_none=True)
            loss.backward()
            for each in optimizers:
                each.step()
            done += 1
    net.eval()
    right = torch.zeros((), device=device)
    with torch.no_grad(), torch.autocast(device.type, half, enabled=half is torch.bfloat16):
        for some, truth in zip(test.split(2000), arrays["y_test"].split(2000), strict=True):
            some = some.contiguous(memory_format=torch.channels_last)
            right += (views(called, some).argmax(1) == truth).sum()
    accuracy = right.item() / len(test)
    return {"seconds": time.perf_counter() - start, "accuracy": accuracy, "loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="an .npz with CIFAR-10")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", type=int, default=1, help="runs, beside one that warms up")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--widths", type=int, nargs=3, default=[64, 256, 256])
    parser.add_argument("--compile", help="the mode of torch.compile; none without")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with np.load(options.data) as arrays:
        data = {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    net = Net(options.widths).to(options.device)
    called = torch.compile(net, mode=options.compile) if options.compile else net
    for seed in range(-1, options.seeds):  # the first compiles, and is not shown
        torch.manual_seed(seed + 1)
        found = run(net, called, options, data)
        if seed >= 0:
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
