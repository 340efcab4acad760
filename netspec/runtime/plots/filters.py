"""Draws the first filters of a trained net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.runtime.plots.png import grid, save_png

# The minimum height of a drawn filter, and the maximum number of filters.
_PIXELS = 48
MOST = 1024


def draw_filters(tensors: Mapping[str, NDArray[Any]], path: Path, layer: str | None = None) -> str:
    """Write a PNG with the filters of a layer side by side, each scaled to its own range.

    Args:
        tensors: weights by name.
        path: PNG.
        layer: the name of the layer or of its weight; None finds the layer that reads pictures.

    Returns:
        A description of what was drawn.

    Raises:
        NetspecError: `plot/filters`, `output/unwritable`.
    """
    name = _first(tensors) if layer is None else _named(tensors, layer)
    filters = np.asarray(tensors[name], np.float64)
    count, channels, height, width = filters.shape
    if not np.isfinite(filters).all():
        raise NetspecError.simple(codes.PLOT_FILTERS, f"`{name}` holds NaN or infinite values")
    if channels != 3:  # each channel is drawn as a separate picture
        filters = filters.reshape(-1, 1, height, width)
    shown = filters[:MOST]
    try:
        save_png(path, grid(shown), scale=max(1, -(-_PIXELS // max(height, width))))
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message) from None
    part = f", the first {len(shown)}" if len(shown) < len(filters) else ""
    return f"{name}: {count} filters of {channels} x {height} x {width}{part}"


def _first(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the filters that read the picture itself: with one or three channels, larger than 1 x 1.

    Weights files are sorted by name, so the first layer must be recognized by its shape. If there
    are filters with three channels, those with one belong to depthwise convolutions.
    """
    names = _filters(tensors)
    for channels in (3, 1):
        found = [n for n in names if tensors[n].shape[1] == channels and tensors[n].shape[2] > 1]
        if len(found) == 1:
            return found[0]
        if found:
            raise _choose("several layers have filters of 1 or 3 channels", found)
    raise _choose("no filters have 1 or 3 channels", names)


def _named(tensors: Mapping[str, NDArray[Any]], layer: str) -> str:
    name = layer if layer in tensors else f"{layer}.weight"
    names = _filters(tensors)
    if name in names:
        return name
    if name in tensors:
        shape = list(tensors[name].shape)
        raise _choose(f"`{name}` is of shape {shape}; filters are (N, C, H, W)", names)
    meant = suggest(layer, [*names, *(n.removesuffix(".weight") for n in names)])
    raise _choose(f"there is no layer `{layer}`" + (f"; `{meant}`?" if meant else ""), names)


def _filters(tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    return [n for n, t in tensors.items() if t.ndim == 4 and t.size and t.dtype.kind == "f"]


def _choose(message: str, names: Sequence[str]) -> NetspecError:
    shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    help = f"choose one with --layer: {shown}" if names else "these weights have no filters"
    return NetspecError.simple(codes.PLOT_FILTERS, message, help)
