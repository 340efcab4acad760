"""Moves images and labels to the device, one batch at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netspec.compiler.ir.graph import Graph
from netspec.runtime.data.choices import require
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    Normalization,
    Normalizations,
)
from netspec.runtime.data.prefetch import prefetched
from netspec.runtime.models.inputs import by_net_input
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.loaded import Loaded, LoadedFeed, is_loaded
from netspec.runtime.models.pytorch.picture_changes import PictureChanges

# A data set may take this share of a GPU's free memory; the rest is for the network.
_SHARE_OF_MEMORY = 0.25
# The types that torch can index; others are converted batch by batch.
_DIRECT = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


# A batch, and the samples of a set, by the names of the net's inputs.
Batch = dict[str, Tensor]
Inputs = Mapping[str, NDArray[Any]]


class Feed(Protocol):
    """Yields batches of a data set on the device: images as stored, labels as int64."""

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the images and labels of `order[part]` for each of `parts`.

        With an epoch, from 1, they are changed at random where that is done one by one; with the places
        (N,) of the images in it, each time in another way if one is drawn again.
        """
        ...


class Stored:
    """Arrays in the host's memory or in a file.

    Types that torch does not have are converted by batch.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        as_it_is = _is_direct(array) and array.flags.c_contiguous
        self._tensor = _tensor(array) if as_it_is else None

    def select(self, chosen: Tensor, *, pinned: bool = False) -> Tensor:
        """Return the rows with these numbers, in pinned memory if requested."""
        if self._tensor is None:
            batch = _tensor(self._array[chosen.numpy()])
            return batch.pin_memory() if pinned else batch
        shape = (len(chosen), *self._tensor.shape[1:])
        out = torch.empty(shape, dtype=self._tensor.dtype, pin_memory=pinned)
        return torch.index_select(self._tensor, 0, chosen, out=out)


class StoredInputs:
    """The samples of each input in the host's memory or in a file, see `Stored`."""

    def __init__(self, x: Inputs) -> None:
        self._inputs = {name: Stored(array) for name, array in x.items()}

    def select(self, chosen: Tensor, *, pinned: bool = False) -> Batch:
        """Return the samples with these numbers, see `Stored.select`."""
        return {name: each.select(chosen, pinned=pinned) for name, each in self._inputs.items()}


class HostData:
    """A data set in the host's memory, for a network in the same memory."""

    def __init__(self, x: Inputs, y: NDArray[np.int64], _device: torch.device) -> None:
        self._x, self._y = StoredInputs(x), Stored(y)

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """See `Feed`."""
        chosen = torch.from_numpy(order)
        for part in parts:
            yield self._x.select(chosen[part]), self._y.select(chosen[part])


class Resident:
    """A data set that is on the device as a whole, moved there once."""

    def __init__(self, x: Inputs, y: NDArray[np.int64], device: torch.device) -> None:
        self._x = {name: _tensor(array).to(device) for name, array in x.items()}
        self._y = _tensor(y).to(device)

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """See `Feed`."""
        chosen = torch.from_numpy(order).to(self._y.device)
        for part in parts:
            batch = {name: x.index_select(0, chosen[part]) for name, x in self._x.items()}
            yield batch, self._y.index_select(0, chosen[part])


class Streamed:
    """A data set in the host's memory: a thread gathers the next batch into pinned memory.

    From there the batch is copied to the device asynchronously, while the step before it still
    runs.
    """

    def __init__(self, x: Inputs, y: NDArray[np.int64], device: torch.device) -> None:
        self._x, self._y, self._device = StoredInputs(x), Stored(y), device

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """See `Feed`."""
        chosen = torch.from_numpy(order)
        for x, y in prefetched(self._gather, (chosen[part] for part in parts)):
            yield (
                {name: each.to(self._device, non_blocking=True) for name, each in x.items()},
                y.to(self._device, non_blocking=True),
            )

    def _gather(self, chosen: Tensor) -> tuple[Batch, Tensor]:
        # Pinned memory may be returned to its pool only after the copies from it are done.
        pinned = self._device.type == "cuda"
        return self._x.select(chosen, pinned=pinned), self._y.select(chosen, pinned=pinned)


class FeedPart:
    """A selection of the images of a feed's data set, in an order of their own.

    Args:
        whole: the feed of the set.
        numbers: (M,) the indices of its images, in order.
    """

    def __init__(self, whole: Feed, numbers: NDArray[np.int64]) -> None:
        self._whole, self._numbers = whole, numbers

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """See `Feed`."""
        return self._whole.batches(self._numbers[order], parts, epoch, places)


def make_feeds(
    sets: Mapping[str, tuple[Inputs, NDArray[np.int64]]], device: torch.device
) -> dict[str, Feed]:
    """Return a feed for each data set: on the device if all fit there comfortably, else streamed.

    Args:
        sets: images (N, ...) of each input, and labels (N,), by name.
        device: where batches are needed. On the CPU everything stays in the host's memory.
    """
    kind: type[HostData | Resident | Streamed] = HostData
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        wanted = sum(y.nbytes + sum(array.nbytes for array in x.values()) for x, y in sets.values())
        kind = Resident if wanted <= _SHARE_OF_MEMORY * free else Streamed
    return {name: kind(x, y, device) for name, (x, y) in sets.items()}


def job_feeds(job: Job, graph: Graph, device: torch.device) -> dict[str, Feed]:
    """Return the sources of a run's images: of its `steps`, and of each accuracy by its name."""
    sets = {"steps": (by_net_input(graph, job.data.x_train), job.data.y_train)}
    chosen = {}
    for name, (x, y) in job.measured.items():
        if isinstance(x, ChosenImages):
            assert x.images is job.data.x_train, "some of the training images"
            chosen[name] = x.numbers
        else:
            sets[name] = (by_net_input(graph, x), y)
    feeds = _loaded(job, sets, device) or make_feeds(sets, device)
    return feeds | {name: FeedPart(feeds["steps"], numbers) for name, numbers in chosen.items()}


def _loaded(
    job: Job, sets: Mapping[str, tuple[Inputs, NDArray[np.int64]]], device: torch.device
) -> dict[str, Feed]:
    """Return the feeds of samples that a loader makes; none for others.

    Raises:
        NetspecError: `train/bad-option` for changes by torchvision of other samples than pictures.
    """
    if not is_loaded(job.data.x_train, job.of_pictures):
        return {}
    changes = None
    if job.of_pictures:
        x = job.data.x_train
        names = ", ".join(each.name for each in job.of_pictures)
        require(
            x.ndim == 4 and x.shape[1] in (1, 3) and x.dtype == np.uint8,
            f"{names}: for pictures (1 or 3, H, W) of bytes; an image of {job.data.name} is"
            f" {list(x.shape[1:])} of {x.dtype}",
        )
        changes = PictureChanges(job.of_pictures, x.shape[2:])
    (only,) = sets["steps"][0]
    plain = {name: (x[only], y) for name, (x, y) in sets.items()}
    loaded = Loaded(only, plain, changes, job.seed, job.workers, device)
    return {name: LoadedFeed(loaded, name) for name in sets}


def make_normalizers(
    fitted: InputNormalization, only: str, dtype: torch.dtype, device: torch.device
) -> dict[str, Normalizer]:
    """Return the normalization of each input on the device.

    Args:
        fitted: the normalization.
        only: the name of the input, if there is only one.
        dtype: the type of the normalized images.
        device: where they are.
    """
    each = fitted.inputs if isinstance(fitted, Normalizations) else {only: fitted}
    return {name: Normalizer(one, dtype, device) for name, one in each.items()}


class Normalizer:
    """A `Normalization` on the device; its results are bit-identical to those in NumPy."""

    def __init__(self, fitted: Normalization, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._mean, self._scale = (
            _tensor(a).to(device, dtype) for a in (fitted.mean, fitted.scale)
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W) or (N, F) into a new tensor."""
        # A kind that leaves out one of them has 0 or 1 for it, which changes no bit.
        return x.to(self._dtype, copy=True).sub_(self._mean).div_(self._scale)


def _is_direct(array: NDArray[Any]) -> bool:
    """Return True if torch has the type."""
    return array.dtype.newbyteorder("=") == array.dtype and array.dtype.name in _DIRECT


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return the array as a tensor that shares its memory if torch allows it, else a copy."""
    if not _is_direct(array):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    with warnings.catch_warnings():
        # A warning about a read-only array; nothing writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        array = np.ascontiguousarray(array)
        # A single image with reversed rows is contiguous to NumPy, but not to torch.
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())
