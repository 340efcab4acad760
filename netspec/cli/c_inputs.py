"""What a C file does to its only input, as weights say it, or as those of a net to be trained may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netspec.cli.trained_net import stored_scale

if TYPE_CHECKING:
    from netspec.compiler.ir.input_scale import InputScale
    from netspec.runtime.weights.safetensors_file import Weights

_HELP = "leave out --normalize, and normalise them"


class CInput(NamedTuple):
    """What a C file does to its only input.

    Attributes:
        by: how the file normalises the caller's numbers; None if it does not.
        pixels: how a file in whole numbers normalises bytes; None if it takes none.
    """

    by: InputScale | None
    pixels: InputScale | None


def stored_input(
    weights: Weights, path: Path, shapes: Mapping[str, Sequence[Any]], *, normalizes: bool
) -> CInput:
    """Return what a file with these weights does.

    Args:
        weights: those of the training, which say how images were normalised.
        path: their file.
        shapes: that of the only input, by its name.
        normalizes: whether the file takes numbers as the data have them.

    Raises:
        NetspecError: `weights/no-normalization` if it should and the weights do not say how.
    """
    by = stored_scale(weights, path, shapes, _HELP) if normalizes else None
    return CInput(by, _of_bytes(weights, path, shapes))


def normalized_inputs(
    weights: Weights, shapes: Mapping[str, Sequence[Any]]
) -> dict[str, InputScale]:
    """Return how each input was normalised in training, as far as the weights say."""
    from netspec.runtime.data.input_scales import input_scales

    by = weights.normalization
    return {} if by is None else input_scales(by, shapes)


def _of_bytes(
    weights: Weights, path: Path, shapes: Mapping[str, Sequence[Any]]
) -> InputScale | None:
    """Return how bytes are normalised; None if the weights do not say, or it takes large tables."""
    from netspec.compiler.c_backend.int8.int8_file import takes_bytes
    from netspec.runtime.data.input_normalization import Normalization
    from netspec.runtime.weights.data_facts import image_type

    known = isinstance(weights.normalization, Normalization)
    if not known or image_type(weights.metadata) != "uint8":
        return None
    by = stored_scale(weights, path, shapes, _HELP)
    return by if takes_bytes(by) else None


def possible_inputs(shape: tuple[int, ...], *, normalizes: bool) -> list[CInput]:
    """Return what files of a net that is not trained yet may do: after training on bytes, and on others.

    Args:
        shape: that of the only input for one image.
        normalizes: whether the file takes numbers as the data have them.
    """
    import numpy as np

    from netspec.compiler.c_backend.int8.int8_file import takes_bytes
    from netspec.compiler.ir.input_scale import InputScale
    from netspec.runtime.data.input_normalization import Normalization

    found = []
    for dtype in (np.uint8, np.float32):
        fitted = Normalization.fit("channel", np.zeros((1, *shape), dtype))
        by = InputScale(np.ones_like(fitted.mean), np.full_like(fitted.scale, 2))
        pixels = by if dtype == np.uint8 and takes_bytes(by) else None
        found.append(CInput(by if normalizes else None, pixels))
    return found
