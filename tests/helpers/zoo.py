"""The nets of `networks/zoo` that `tests/project/test_wide_zoo.py` tests, apart from the others."""

from __future__ import annotations

WIDE = (
    "convnext_tiny",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet1_0",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "vgg16_bn",
    "wide_resnet50_2",
)
FILES = frozenset(f"zoo/{name}" for name in WIDE)
