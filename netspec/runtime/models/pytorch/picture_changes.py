"""Random changes of single pictures, by torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.augmentations import Change

_OF_PICTURES = 4


class PictureChanges:
    """The random changes of a picture, in their order. What is drawn depends on what it is called with.

    Args:
        changes: of `netspec.runtime.data.augmentations.OF_PICTURES`.
        size: (H, W) of the net's input.

    Attributes:
        makes_size: Whether pictures may have any size before, and have the net's size afterwards.

    Raises:
        NetspecError: `torch/missing` without torchvision.
    """

    def __init__(self, changes: Sequence[Change], size: tuple[int, int]) -> None:
        self._made = [_made(change, size) for change in changes]
        self.makes_size = any(change.name == "random_resized_crop" for change in changes)

    def __call__(self, picture: Any, seed: int, epoch: int, number: int, place: int = 0) -> Tensor:
        """Return a changed picture (C, H, W) of bytes.

        PyTorch's random generator is another one afterwards.

        Args:
            picture: an image of Pillow's, or a tensor (C, H, W) of bytes.
            seed: of the run.
            epoch: from 1.
            number: of the picture in its set.
            place: in the epoch, from 1, of a picture that may be drawn more than once; else 0.
        """
        drawn_from = [seed, epoch, _OF_PICTURES, number, *([place] if place else [])]
        state = np.random.SeedSequence(drawn_from)
        torch.default_generator.manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)
        for change in self._made:
            picture = change(picture)
        return picture if isinstance(picture, Tensor) else _as_tensor(picture)


def _as_tensor(image: Any) -> Tensor:
    pixels = np.array(image)
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _made(change: Change, size: tuple[int, int]) -> Callable[[Any], Any]:
    """Return torchvision's transform for a change."""
    try:
        from torchvision.transforms import v2
    except ImportError:
        raise NetspecError.simple(
            codes.TORCH_MISSING,
            f"{change.name} is torchvision's, which is not installed",
            "pip install 'netspec-dsl[torch]'",
        ) from None
    arguments: dict[str, Any] = dict(change.arguments)
    made: Callable[[Any], Any]
    match change.name:
        case "random_resized_crop":
            arguments["size"] = arguments["size"] or size
            made = v2.RandomResizedCrop(**arguments, antialias=True)
        case "horizontal_flip":
            made = v2.RandomHorizontalFlip(**arguments)
        case "vertical_flip":
            made = v2.RandomVerticalFlip(**arguments)
        case "color_jitter":
            made = v2.ColorJitter(**arguments)
        case "rand_augment":
            made = v2.RandAugment(**arguments)
        case "trivial_augment":
            made = v2.TrivialAugmentWide()
        case "random_erasing":
            made = v2.Compose([v2.PILToTensor(), v2.RandomErasing(**arguments)])
        case _:
            raise AssertionError(change.name)
    return made
