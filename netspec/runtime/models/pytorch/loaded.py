"""Feeds whose samples are made by PyTorch's `DataLoader`, in worker processes or in this one."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from netspec.diagnostics import NetspecError
from netspec.runtime.data.lazy_samples import LazySamples
from netspec.runtime.data.stored_pictures import StoredPictures
from netspec.runtime.models.pytorch.picture_changes import PictureChanges

Batch = dict[str, Tensor]


class Wanted(NamedTuple):
    """The samples of a batch.

    Attributes:
        part: The name of their set.
        numbers: (N,) which of it.
        epoch: That in which they are changed at random; None to leave them as they are.
        places: (N,) their places in the epoch, if one may be there more than once; else None.
    """

    part: str
    numbers: NDArray[np.int64]
    epoch: int | None
    places: NDArray[np.int64] | None = None


class _Samples(Dataset):  # type: ignore[misc]  # it has no types
    """Makes whole batches; a copy of it is in each worker.

    Args:
        sets: the samples of each set by its name.
        changes: the changes of training pictures; None for none.
        seed: what they are drawn from.
    """

    def __init__(self, sets: Mapping[str, Any], changes: PictureChanges | None, seed: int) -> None:
        self._sets, self._changes, self._seed = dict(sets), changes, seed

    def __getitem__(self, wanted: Wanted) -> Tensor | NetspecError:
        """Return a batch (N, ...), or what is wrong: a loader would make another exception of it."""
        x = self._sets[wanted.part]
        try:
            if self._changes is None or wanted.epoch is None:
                return torch.from_numpy(np.ascontiguousarray(self._plain(x, wanted.numbers)))
            return self._changed(x, wanted, wanted.epoch)
        except NetspecError as error:
            return error

    def _plain(self, x: Any, numbers: NDArray[np.int64]) -> NDArray[Any]:
        inside = torch.utils.data.get_worker_info() is not None
        if inside and isinstance(x, StoredPictures):
            return np.stack([x.pixels(int(number)) for number in x.numbers[numbers]])
        array: NDArray[Any] = x[numbers]
        return array

    def _changed(self, x: Any, wanted: Wanted, epoch: int) -> Tensor:
        assert self._changes is not None
        before = torch.get_rng_state()
        numbers = wanted.numbers
        out = torch.empty((len(numbers), *x.shape[1:]), dtype=torch.uint8)
        places = np.zeros_like(numbers) if wanted.places is None else wanted.places + 1
        try:
            for one, number, place in zip(out, numbers.tolist(), places.tolist(), strict=True):
                picture = self._picture(x, number)
                one.copy_(self._changes(picture, self._seed, epoch, number, place))
        finally:
            torch.set_rng_state(before)
        return out

    def _picture(self, x: Any, number: int) -> Any:
        """Return the picture to change: an image of Pillow's, or a tensor (C, H, W)."""
        assert self._changes is not None
        if not isinstance(x, StoredPictures):
            return torch.from_numpy(np.array(x[number]))
        stored = int(x.numbers[number])
        image = x.image(stored)
        if self._changes.makes_size:
            return image
        from PIL import Image

        pixels = x.sized(stored, image)
        rows = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(rows))


class _Order(Sampler):  # type: ignore[misc]  # it has no types
    """The batches that are made next."""

    def __init__(self) -> None:
        self.wanted: Sequence[Wanted] = ()

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.wanted)

    def __len__(self) -> int:
        return len(self.wanted)


class Loaded:
    """The sets of a run, whose batches one loader makes. Only one feed is read at a time.

    Args:
        only: the name of the net's only input.
        sets: samples and labels by the name of the set.
        changes: the changes of training pictures; None for none.
        seed: what they are drawn from.
        workers: how many processes make batches; 0 for this one.
        device: where the batches go.
    """

    def __init__(
        self,
        only: str,
        sets: Mapping[str, tuple[Any, NDArray[np.int64]]],
        changes: PictureChanges | None,
        seed: int,
        workers: int,
        device: torch.device,
    ) -> None:
        self._only, self._device = only, device
        self._labels = {name: torch.from_numpy(y) for name, (_, y) in sets.items()}
        self._order = _Order()
        self._loader = DataLoader(
            _Samples({name: x for name, (x, _) in sets.items()}, changes, seed),
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            collate_fn=_as_it_is,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
            # It draws seeds of workers at each start, which nothing here uses; not from dropout's.
            generator=torch.Generator(),
        )

    def close(self) -> None:
        """End the workers, which an exception would keep alive together with its frames."""
        iterator = getattr(self._loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()

    def batches(
        self,
        name: str,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None,
        places: NDArray[np.int64] | None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the samples and labels of a set, see `Feed`."""
        self._order.wanted = [
            Wanted(name, order[part], epoch, None if places is None else places[part])
            for part in parts
        ]
        labels = self._labels[name]
        loaded = iter(self._loader)
        for wanted in self._order.wanted:
            x = next(loaded)
            if isinstance(x, NetspecError):
                raise x
            y = labels[torch.from_numpy(wanted.numbers)]
            if self._device.type != "cpu":
                x = x.to(self._device, non_blocking=True)
                y = y.to(self._device, non_blocking=True)
            yield {self._only: x}, y


class LoadedFeed:
    """A set whose batches `Loaded` makes, see `Feed`."""

    def __init__(self, loaded: Loaded, name: str) -> None:
        self._loaded, self._name = loaded, name

    def close(self) -> None:
        """End the workers of all sets."""
        self._loaded.close()

    def batches(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        epoch: int | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """See `Feed`."""
        return self._loaded.batches(self._name, order, parts, epoch, places)


def is_loaded(x: object, changes: Sequence[object]) -> bool:
    """Return True if samples are made by a loader: lazy ones, and pictures that torchvision changes."""
    return isinstance(x, LazySamples) or bool(changes)


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the process that trains, which ends the workers after the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
