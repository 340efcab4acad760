"""Whole trainings from a net and its recipe alone: both backends have the same curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from tests.conftest import ROOT, Run
from tests.helpers.labelled_pictures import save

pytest.importorskip("torch")

HEADS = """
net Heads {
    input x: [1, 8, 8]
    early = x -> a: conv(4, 3, pad = 1) -> batch_norm -> relu -> max_pool(2)
    output aux = early -> flatten -> aux_head: linear(10)
    output early -> b: conv(8, 3, pad = 1) -> relu -> flatten -> linear(10)
}
"""


def trained(run: Run, net: Path, folder: Path, *more: Any) -> list[dict[str, Any]]:
    """Train with either backend as the recipe says, and require that all numbers agree.

    Returns the lines of the epochs.
    """
    found = []
    for target in ("numpy", "torch"):
        out = folder / target
        done = run("train", target, net, "--threads", 1, "--out", out, *more)
        assert done.code == 0, done.err
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        found.append([line for line in lines if line["kind"] in ("step", "epoch", "result")])
    kept = ("epoch", "step", "loss", "lr", "train", "val", "test")
    for one, other in zip(*found, strict=True):
        assert one["kind"] == other["kind"]
        for name in kept:
            if name in one or name in other:
                assert one[name] == pytest.approx(other[name], rel=1e-6), (name, one, other)
    return [line for line in found[0] if line["kind"] == "epoch"]


def test_a_segmentation_whose_edges_are_ignored(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.zeros((40, 16, 16), np.int64)
    for picture, (top, left) in zip(y, rng.integers(1, 8, (40, 2)), strict=True):
        picture[top - 1 : top + 8, left - 1 : left + 8] = 255  # the edge of an object
        picture[top : top + 7, left : left + 7] = 1
    bright = np.where(y == 1, 150, 80)[:, None] + rng.integers(0, 60, (40, 3, 16, 16))
    x = bright.astype(np.uint8)
    np.savez(tmp_path / "maps.npz", x_train=x[:32], y_train=y[:32], x_test=x[32:], y_test=y[32:])
    net = tmp_path / "unet.net"
    net.write_text((ROOT / "networks/zoo/unet.net").read_text("utf-8"), "utf-8")
    net.with_suffix(".toml").write_text(
        f'data = "{tmp_path / "maps.npz"}"\nignore-index = 255\ndtype = "float64"\nbatch = 8\n'
        'epochs = 4\nlr = 0.01\nclass-weights = "balanced"\nlog-every = 1\n'
        "[set]\nwidth = 4\ndepth = 2\nH = 16\nW = 16\n"
    )
    epochs = trained(run, net, tmp_path)
    assert epochs[-1]["loss"] < 0.7 * epochs[0]["loss"]
    assert epochs[-1]["train"] > 0.8


def test_auxiliary_heads_with_a_weight_each(run: Run, tmp_path: Path) -> None:
    net = tmp_path / "heads.net"
    net.write_text(HEADS)
    net.with_suffix(".toml").write_text(
        'data = "digits"\ntrain-limit = 200\nval = 0.1\nalso = ["aux=focal*0.3"]\ndtype = "float64"\n'
        "epochs = 3\nbatch = 50\nlr = 0.01\nema = 0.9\nlabel-smoothing = 0.1\nlog-every = 1\n"
    )
    epochs = trained(run, net, tmp_path)
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def test_resnet18_is_tuned_on_sixty_pictures(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "newt")):
        for number in range(20):
            pixels = rng.integers(0, 160, (3, 32, 32), np.uint8)
            pixels[label] += 90
            save(tmp_path / "pets" / name / f"{number}.png", pixels)
    ten = netspec.load(ROOT / "networks/zoo/resnet18.net", size=32, classes=10, width=0.25)
    netspec.save_weights(tmp_path / "ten.safetensors", ten.compile().state_dict())
    net = tmp_path / "resnet18.net"
    net.write_text((ROOT / "networks/zoo/resnet18.net").read_text("utf-8"), "utf-8")
    net.with_suffix(".toml").write_text(
        f'data = "{tmp_path / "pets"}"\nval = 0.2\ndtype = "float64"\nepochs = 2\nbatch = 24\n'
        'normalize = "imagenet"\noptimizer = "momentum"\nlr = 0.001\nema = 0.9\nl2 = 1e-4\n'
        'log-every = 1\nfreeze = ["layer1.*"]\n'
        '[set]\nclasses = 3\nsize = 32\nwidth = 0.25\n[rates]\n"fc.*" = 10\n"layer4.*" = 2\n'
    )
    epochs = trained(run, net, tmp_path, "--weights", tmp_path / "ten.safetensors")
    assert epochs[-1]["loss"] < epochs[0]["loss"]
