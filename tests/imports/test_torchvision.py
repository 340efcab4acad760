"""Torchvision's models come in: same weights, same outputs, same gradients, and they read well."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source
from netspec.imports.imported_text import ImportedText
from netspec.imports.torch_import import import_torch

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision").models


@dataclass(frozen=True)
class Case:
    """A model, with the size of pictures in the quick tests, and what it reads like."""

    small: int = 64
    lines: int = 0
    blocks: int = -1
    arguments: dict[str, Any] = field(default_factory=dict)  # in the quick tests alone


# Pictures so small that the last batch norm sees a few numbers a channel spoil gradients; inception's
# auxiliary head needs the whole one.
LIST = {
    "resnet18": Case(32, lines=40, blocks=2), "resnet34": Case(64), "resnet50": Case(64),
    "resnet101": Case(64), "resnet152": Case(64), "resnext50_32x4d": Case(64),
    "wide_resnet50_2": Case(64), "vgg11": Case(32), "vgg16": Case(32), "vgg19": Case(32),
    "vgg11_bn": Case(128), "vgg16_bn": Case(128), "vgg19_bn": Case(128), "alexnet": Case(64),
    "squeezenet1_0": Case(64), "squeezenet1_1": Case(64), "densenet121": Case(64, lines=60),
    "densenet169": Case(64), "densenet201": Case(64), "googlenet": Case(64),
    "inception_v3": Case(299), "mobilenet_v2": Case(64), "mobilenet_v3_small": Case(64),
    "mobilenet_v3_large": Case(64), "mnasnet1_0": Case(64), "shufflenet_v2_x1_0": Case(64),
    "efficientnet_b0": Case(64), "efficientnet_b4": Case(64), "efficientnet_v2_s": Case(64),
    "regnet_x_400mf": Case(64), "regnet_y_400mf": Case(64), "convnext_tiny": Case(32),
    "vit_b_16": Case(32, arguments={"image_size": 32}), "swin_t": Case(224),
}  # fmt: skip


@functools.cache
def imported(name: str, size: int, full: bool) -> ImportedText:
    """Import a model, which compares outputs and gradients, and check what every import must be."""
    case = LIST[name]
    arguments: dict[str, Any] = {} if full else dict(case.arguments)
    if name in ("googlenet", "inception_v3"):
        arguments["init_weights"] = False
    torch.manual_seed(0)
    module = getattr(models, name)(**arguments)
    found = import_torch(module, {"image": torch.randn(2, 3, size, size)}, prove="full")
    assert found.difference <= 1e-4
    assert found.trained is not None
    assert found.trained.gradients is not None
    assert found.trained.gradients <= (1e-7 if "hardsigmoid" in found.text else 1e-9)
    assert not found.net.warnings, found.net.warnings
    assert format_source(Source("a.net", found.text)) == found.text
    state = module.state_dict()
    assert {n: p.shape for n, p in found.net.graph.saved().items()} == {
        n: tuple(t.shape) for n, t in state.items()
    }
    trained = sum(p.numel() for p in module.parameters())
    assert sum(_count(p.shape) for p in found.net.graph.trainable()) == trained
    assert_readable(found.text)
    if case.lines:
        assert len(found.text.splitlines()) <= case.lines
    if case.blocks >= 0:
        assert blocks(found.text) <= case.blocks
    return found


def _count(shape: tuple[Any, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def blocks(text: str) -> int:
    return len(re.findall(r"^block ", text, re.MULTILINE))


def assert_readable(text: str) -> None:
    """Check that no argument of a block is named by a single letter."""
    for head in re.findall(r"^block \w+\(([^{]*)\) [\w, ]+\{", text, re.MULTILINE):
        names = [part.split("=")[0].strip() for part in head.strip().rstrip(",").split(",")]
        assert all(len(name) > 1 for name in names), head


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_a_small_one_comes_in_with_its_gradients(name: str) -> None:
    imported(name, LIST[name].small, False)


@pytest.mark.heavy
@pytest.mark.parametrize("name", LIST)
def test_each_comes_in_with_its_gradients(name: str) -> None:
    imported(name, LIST[name].small, False)


@pytest.mark.heavy
@pytest.mark.parametrize("name", LIST)
def test_each_comes_in_at_full_size(name: str) -> None:
    imported(name, 299 if name == "inception_v3" else 224, True)
    imported.cache_clear()


@pytest.mark.heavy
def test_a_deeper_one_is_hardly_longer_and_inception_is_one_block() -> None:
    deep, plain = (imported(name, 64, False).text for name in ("resnet152", "resnet50"))
    assert len(deep.splitlines()) <= len(plain.splitlines()) + 4
    text = imported("googlenet", 64, False).text
    assert len(re.findall(r"^block Inception\w*\(", text, re.MULTILINE)) == 1, text


def test_a_window_transformer_comes_in_with_its_masks_and_its_table_of_places() -> None:
    torch.manual_seed(0)
    module = models.SwinTransformer(
        patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4],
        num_classes=5,
    )  # fmt: skip
    found = import_torch(module, {"image": torch.randn(2, 3, 64, 64)}, prove="full")
    assert found.trained is not None
    assert found.trained.gradients is not None
    assert found.trained.gradients <= 1e-9
    assert blocks(found.text) == 3
    assert "range(first, first - 4, -1)" in found.text
    assert max(map(len, found.text.splitlines())) <= 100
