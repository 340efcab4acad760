"""What is done to a batch of stored images on its device, before the network sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from netspec.compiler.ir.graph import Graph
from netspec.runtime.data.augment_draws import picture_to_change
from netspec.runtime.data.mixing import Mix, blended
from netspec.runtime.data.views import View
from netspec.runtime.models.inputs import input_name
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.augment import cut_out, shift_and_flip
from netspec.runtime.models.pytorch.batches import Batch, make_normalizers


class Preparation:
    """Augments training images and normalizes all.

    Args:
        graph: the net.
        job: the run.
        dtype: the type of the normalized images.
        device: where they are.

    Raises:
        NetspecError: `train/bad-option` if there is no picture to augment.
    """

    def __init__(self, graph: Graph, job: Job, dtype: torch.dtype, device: torch.device) -> None:
        self._changes, self._device = job.augment, device
        self._known_places: dict[tuple[View, int, bool], Tensor] = {}
        picture = picture_to_change(job.augment, job.data)
        self._picture = None if picture is None else input_name(graph, picture)
        only = next(iter(graph.inputs))
        self._normalizers = make_normalizers(job.normalization, only, dtype, device)

    def changed(self, x: Batch, drawn: Tensor) -> Batch:
        """Augment and normalize stored training images.

        Args:
            x: the images, by input.
            drawn: (N, 5), see `netspec.runtime.data.augment_draws.draw`; (N, 0) without pictures.
        """
        if self._picture is None:
            return self.normalized(x)
        changes, name = self._changes, self._picture
        changed = self.normalized({**x, name: shift_and_flip(x[name], drawn, changes)})
        return {**changed, name: cut_out(changed[name], drawn, changes)}

    def seen(self, x: Batch, view: View) -> Batch:
        """Normalize stored images as a view shows their picture."""
        if view.is_plain:
            return self.normalized(x)
        name = next(name for name, each in x.items() if each.dim() == 4)
        picture = x[name]
        for axis in (2, 3):
            places = self._places(view, picture.shape[axis], flips=axis == 3)
            picture = picture.index_select(axis, places)
        return self.normalized({**x, name: picture})

    def mixed(self, x: Batch, mix: Mix | None) -> Batch:
        """Blend changed images with their partners, each the one before it, as in `epoch_share.Step`."""
        if mix is None:
            return x
        ((name, every),) = x.items()
        return {name: blended(every[1:].clone(), every[:-1], mix)}

    def _places(self, view: View, size: int, *, flips: bool) -> Tensor:
        """Return the rows or columns of a view on the device, where they are put once."""
        key = (view, size, flips)
        if key not in self._known_places:
            places = torch.tensor(view.places(size, flips=flips), device=self._device)
            self._known_places[key] = places
        return self._known_places[key]

    def normalized(self, x: Batch) -> Batch:
        """Normalize stored images."""
        return {name: self._normalizers[name](each) for name, each in x.items()}
