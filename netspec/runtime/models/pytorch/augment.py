"""Random crop, flip and cutout of a batch on its device, different for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from netspec.runtime.data.augment_draws import (
    CUT_COLUMN,
    CUT_ROW,
    FLIPPED,
    LEFT,
    TOP,
    Augmentation,
)


def shift_and_flip(x: Tensor, drawn: Tensor, changes: Augmentation) -> Tensor:
    """Do `crop` and `flip`, in one gather operation.

    Args:
        x: (N, C, H, W) raw pixels; `crop` pads them with zeros, black, as torchvision's RandomCrop
            before Normalize does, or mirrors them at the edge.
        drawn: (N, 5), the result of `netspec.runtime.data.augment_draws.draw`.
        changes: which to do.

    Returns:
        (N, C, H, W), stored with the channels last.
    """
    if not changes.moves:
        return x
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device) + drawn[:, TOP, None]
    columns = torch.arange(width, device=x.device).expand(len(x), -1)
    columns = torch.where(drawn[:, FLIPPED, None] > 0, width - 1 - columns, columns)
    columns = columns + drawn[:, LEFT, None]
    if "crop" in changes and changes.edges == "mirror":
        rows, columns = (
            mirrored(at - changes.pad, size) for at, size in ((rows, height), (columns, width))
        )
    elif "crop" in changes:
        x = functional.pad(x, (changes.pad,) * 4)
    images = torch.arange(len(x), device=x.device)[:, None, None]
    # Index arrays on both sides of a slice move their axes to the front: (N, H, W, C).
    return x[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirrored(places: Tensor, size: int) -> Tensor:
    """Return places beyond the edges, at most size - 1 of them, as those that a mirror there shows."""
    return size - 1 - (size - 1 - places.abs()).abs()


def cut_out(x: Tensor, drawn: Tensor, changes: Augmentation) -> Tensor:
    """`cutout`: set a square to 0, the mean of normalized images.

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with
    Cutout (2017): 16 of 32 pixels for CIFAR-10, the centre anywhere, the square cut at the edges.

    Args:
        x: (N, C, H, W), normalized.
        drawn: (N, 5).
        changes: which to do.
    """
    if "cutout" not in changes:
        return x
    height, width = x.shape[2:]
    side = changes.side((height, width))
    inside = []
    for extent, column in ((height, CUT_ROW), (width, CUT_COLUMN)):
        first = drawn[:, column, None] - side // 2
        at = torch.arange(extent, device=x.device)
        inside.append((at >= first) & (at < first + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return x.masked_fill(square[:, None], 0)
