"""The nets of `networks/zoo` that `tests/project/test_wide_zoo.py` tests, apart from the others.

Each with the arguments of the small form whose values are compared: small pictures, and nothing
that is random in training.
"""

from __future__ import annotations

from typing import Any

WIDE: dict[str, dict[str, Any]] = {
    "convnext_tiny": {"size": 64, "drop_path": 0},
    "dcgan_discriminator": {},
    "dcgan_generator": {},
    "deeplabv3_resnet50": {"size": 64, "drop": 0, "aux_drop": 0},
    "efficientnet_b0": {"size": 64, "drop": 0, "drop_path": 0},
    "googlenet": {"size": 96, "drop": 0, "aux_drop": 0},
    # The auxiliary head needs a picture of nearly full size.
    "inception_v3": {"size": 299, "drop": 0},
    "m5": {},
    "mlp_mixer_b_16": {"size": 64},
    "mnasnet1_0": {"size": 64, "drop": 0},
    "mobilenet_v3_small": {"size": 64, "drop": 0},
    "r3d_18": {"frames": 8, "size": 48},
    "regnet_y_400mf": {"size": 64},
    "resnext50_32x4d": {"size": 64},
    "shufflenet_v2_x1_0": {"size": 64},
    "swin_t": {"size": 224, "drop_path": 0},
    "unet": {"H": 32, "W": 48},
    "vae": {},
    "vgg16_bn": {"size": 64, "drop": 0},
    "vit_b_16": {"size": 48},
    "wide_resnet50_2": {"size": 64},
}
# Those of `test_sequence_zoo.py` and of `test_writers.py` in `tests/project`.
ENCODERS = ("bert_base", "transformer", "whisper_tiny_encoder")
WRITERS = ("char_lstm", "gpt2", "llama")
SEQUENCES = (*ENCODERS, *WRITERS)
# Language models with fewer layers and words where all are alike.
FEW: dict[str, dict[str, Any]] = {
    "bert_base": {"layers": 1},
    "gpt2": {"vocabulary": 60, "width": 32, "layers": 2, "heads": 4, "positions": 64},
    "llama": {
        "vocabulary": 60,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "shared": 2,
        "hidden": 48,
        "positions": 64,
    },
    "transformer": {
        "source_vocabulary": 50,
        "target_vocabulary": 40,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "hidden": 48,
        "positions": 64,
    },
}
FILES = frozenset(f"zoo/{name}" for name in (*WIDE, *SEQUENCES))
