"""`compile --normalize`: compiled files that normalise their inputs, and what is said of others."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli.common import tell
from netspec.cli.trained_net import stored_normalization
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.cli.trained_net import Stored, Trained
    from netspec.runtime.data.input_normalization import InputNormalization


def add_normalize_option(parser: argparse.ArgumentParser) -> None:
    """Add `--normalize`."""
    parser.add_argument("--normalize", dest="normalize_input", action="store_true",
                        help="c, onnx, torch: take pixels as they were before training normalised"
                        " them, and normalise them as the weights file says")  # fmt: skip


def required_normalization(stored: Stored | Trained | None) -> InputNormalization:
    """Return how the weights say that inputs were normalised.

    Raises:
        NetspecError: `usage/weights` without weights, `weights/no-normalization` if they do not say.
    """
    if stored is None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS, "--normalize needs weights", "give --weights FILE, or a run"
        )
    return stored_normalization(
        stored.weights, stored.path, "leave out --normalize, and normalise inputs before"
    )


def say_inputs(stored: Stored | None, inputs: tuple[str, ...]) -> None:
    """Note on stderr what inputs a file takes that does not normalise them, where that is known."""
    weights = None if stored is None else stored.weights
    if weights is None or weights.normalization is None:
        return
    from netspec.runtime.data.normalization_text import formulas, inputs_text
    from netspec.runtime.weights.data_facts import image_type

    by = weights.normalization
    lines = inputs_text(by, inputs, of_bytes=image_type(weights.metadata) == "uint8")
    for line, made in zip(lines, formulas(by, inputs, "x").values(), strict=True):
        if made != "x":
            tell(f"note: it takes {line}; --normalize puts that into the file")
