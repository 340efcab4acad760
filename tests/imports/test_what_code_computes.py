"""Sizes, names and numbers that a model's Python computes: how they read in the file that is imported."""

from __future__ import annotations

from typing import Any

import pytest

import netspec
from tests.conftest import Run

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


def text_of(module: Any, *sizes: int) -> str:
    net = netspec.from_torch(module, torch.randn(2, *sizes))
    return net.written.module.source.text


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.AvgPool2d(4)

    def forward(self, x: Any) -> Any:
        a = F.avg_pool2d(x, (x.size(-2), x.size(-1)))
        b = F.max_pool2d(x, kernel_size=x.shape[2:])
        c = F.avg_pool2d(x, 4)
        return a + b - c * self.layer(x)


def test_a_window_that_code_computes_is_the_whole_picture() -> None:
    text = text_of(Pools(), 3, 4, 4)
    assert text.count("adaptive_avg_pool(1)") == text.count("adaptive_max_pool(1)") == 1
    assert text.count("-> avg_pool(4)") == 2  # what is written stays


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Any) -> Any:
        w = torch.sigmoid(self.fc(x.mean((2, 3)))).view(*x.shape[:2], 1, 1)
        return self.conv(x) * w.expand_as(x)


def test_height_and_width_of_a_square_are_two_sizes() -> None:
    module = nn.Sequential(Gate(4), nn.Conv2d(4, 6, 3), Gate(6))
    text = text_of(module, 4, 8, 8)
    assert "expand([x.shape[0], x.shape[1], x.features])" in text
    wider = netspec.loads(text.replace("[4, 8, 8]", "[4, 8, 12]"))
    assert wider.graph.shape_of(wider.graph.outputs["output"]) == (6, 6, 10)


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456]).view(1, 2))
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        x = x - self.mean
        o, side = self.a(x), self.b(x)
        return (o, side) if self.training else o


class Two(nn.Module):
    def forward(self, x: Any) -> Any:
        mean, spread = x.relu(), x.sigmoid()
        return mean, spread


def test_outputs_have_the_names_of_variables() -> None:
    text = text_of(Auxiliary(), 2)
    assert "output side = " in text
    assert "output1" not in text
    assert list(netspec.loads(text).graph.outputs) == ["output", "side"]
    assert list(netspec.loads(text_of(Two(), 4)).graph.outputs) == ["mean", "spread"]


def test_buffers_are_written_with_the_digits_that_they_have() -> None:
    assert "buffer mean: [1, 2] = [[0.485, 0.456]]" in text_of(Auxiliary(), 2)


def test_a_dict_for_a_class_is_told_what_to_write(run: Run) -> None:
    told = run("import", "torch", "model.py:Net", "--set", 'cfg={"width": 8}', "--input", "x=3")
    assert "`cfg` is a dict" in told.err
    assert "FILE.py:build" in told.err
