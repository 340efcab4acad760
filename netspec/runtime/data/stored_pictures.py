"""Pictures in files, which are decoded when they are asked for."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.files.cache_folder import cache_folder
from netspec.runtime.data.lazy_samples import LazySamples, Numbers
from netspec.runtime.data.picture_errors import error_of_pictures
from netspec.runtime.data.pictures import (
    Resize,
    is_shorter_side,
    picture_array,
    picture_content,
    picture_image,
    require_readable,
    resized_image,
)
from netspec.workers import Workers

_LOG = logging.getLogger(__name__)
# Decoding releases the interpreter lock, so threads help.
_THREADS = min(8, os.cpu_count() or 1)
# How many pictures are read at a time when all are looked through, and how many of the unreadable ones
# an error names.
_AT_A_TIME, MOST_NAMED = 64, 1000
# Looking through more pictures than this is told, because it takes a while.
_TOLD_FROM = 5000
# The folder, in the user's cache, that remembers which pictures were found to be readable. The number
# is that of the examination.
_SEEN = "pictures-1"


class PictureFiles(Protocol):
    """Where pictures lie. Processes that decode them have a copy, which is made by pickling."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def name(self, number: int) -> str:
        """Return what messages call a picture: a path, perhaps of an archive and in it."""
        ...

    def content(self, number: int) -> io.BytesIO:
        """Return the file of a picture.

        Raises:
            NetspecError: `data/missing-file`, `data/bad-file`.
        """
        ...

    def state(self) -> Iterator[bytes]:
        """Yield what changes when a picture does: names, sizes, times."""
        ...


class FolderFiles:
    """Pictures in files below a folder. Their names are kept as one text: there may be millions.

    Args:
        root: the folder.
        names: their paths in it.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        # Processes may be somewhere else.
        self._root = str(root.absolute())
        encoded = [os.fsencode(name) for name in names]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def name(self, number: int) -> str:
        """See `PictureFiles`."""
        start, end = self._ends[number : number + 2]
        return os.path.join(self._root, os.fsdecode(self._text[start:end]))

    def content(self, number: int) -> io.BytesIO:
        """See `PictureFiles`."""
        return picture_content(Path(self.name(number)))

    def state(self) -> Iterator[bytes]:
        """See `PictureFiles`."""
        for number in range(len(self)):
            name = self.name(number)
            try:
                found = os.stat(name)
            except OSError:
                continue
            yield f"{name} {found.st_size} {found.st_mtime_ns} ".encode("utf-8", "surrogateescape")


class StoredPictures(LazySamples):
    """Pictures in files as (N, C, H, W) bytes.

    Args:
        files: where they lie.
        numbers: (N,) which of them.
        sample_shape: (C, H, W), grey or RGB.
        resize: how those of other sizes become of this one.
    """

    def __init__(
        self,
        files: PictureFiles,
        numbers: Numbers,
        sample_shape: tuple[int, int, int],
        resize: Resize,
    ) -> None:
        super().__init__(numbers, sample_shape, np.dtype(np.uint8))
        self.files, self.resize = files, resize
        self._channels, self._size = sample_shape[0], sample_shape[1:]

    def chosen(self, numbers: Numbers | slice) -> Self:
        """See `LazySamples`."""
        shape = (self._channels, *self._size)
        return type(self)(self.files, self.numbers[numbers], shape, self.resize)

    def made(self, stored: Numbers) -> NDArray[np.uint8]:
        """See `LazySamples`. They are decoded in threads."""
        out = np.empty((len(stored), *self.shape[1:]), np.uint8)

        def decode(at: int) -> None:
            out[at] = self.pixels(int(stored[at]))

        if len(stored) < 2 or _THREADS < 2:
            for at in range(len(stored)):
                decode(at)
            return out
        with Workers(_THREADS) as threads:
            answers = [threads.ask(decode, at) for at in range(len(stored))]
            for answer in answers:
                answer.result()
        return out

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """Return a stored picture (C, H, W), in the calling thread."""
        content = self.files.content(number)
        return picture_array(
            self.files.name(number), content, self._channels, self._size, resize=self.resize
        )

    def image(self, number: int) -> Any:
        """Return a stored picture as an image of Pillow's in its own size."""
        return picture_image(self.files.name(number), self.files.content(number), self._channels)

    def sized(self, number: int, image: Any) -> NDArray[np.uint8]:
        """Return an image of Pillow's as (C, H, W) of the right size."""
        return resized_image(self.files.name(number), image, self._size, self.resize)

    def require_readable(self) -> None:
        """Look through all pictures, unless this was done before and none has changed since.

        Raises:
            NetspecError: `data/bad-file`, `data/missing-file` for each that cannot be read, and
                `data/shape` for each of another size that must not be resized.
        """
        seen = self._seen()
        if seen is not None and seen.exists():
            return
        if len(self) > _TOLD_FROM:
            _LOG.info("looking through %s pictures for such as cannot be read", f"{len(self):,}")
        with Workers(_THREADS) as threads:
            found = self._unreadable(threads)
            wrong = [*islice(found, MOST_NAMED + 1)]
        if wrong:
            raise error_of_pictures(wrong[:MOST_NAMED], there_are_more=len(wrong) > MOST_NAMED)
        if seen is not None:
            try:
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.touch()
            except OSError:
                pass  # it is looked through again next time

    def _unreadable(self, threads: Workers) -> Iterator[tuple[str, Diagnostic]]:
        for start in range(0, len(self), _AT_A_TIME):
            block = self.numbers[start : start + _AT_A_TIME]
            answers = [threads.ask(self._examine, int(number)) for number in block]
            for number, answer in zip(block, answers, strict=True):
                name = self.files.name(int(number))
                yield from ((name, each) for each in answer.result())

    def _examine(self, number: int) -> Sequence[Diagnostic]:
        """Return what is wrong with a stored picture."""
        name = self.files.name(number)
        try:
            found = require_readable(name, self.files.content(number))
            if self.resize is False and found != self._size:
                self.pixels(number)
            if is_shorter_side(self.resize):
                _require_enough(self, number, found)
        except NetspecError as error:
            if error.diagnostics[0].code == codes.LIBRARY_PILLOW:
                raise
            return error.diagnostics
        return ()

    def _seen(self) -> Path | None:
        """Return the file that there is if these pictures were looked through; None without a cache."""
        total = hashlib.sha256(f"{self.shape} {self.resize} {self.numbers.tobytes()!r}".encode())
        for each in self.files.state():
            total.update(each)
        try:
            return cache_folder() / _SEEN / total.hexdigest()
        except OSError:
            return None


def _require_enough(pictures: StoredPictures, number: int, found: tuple[int, int]) -> None:
    """Make a picture whose middle may be smaller than what is cut out of it, which is an error."""
    shorter, longer = sorted(found)
    height, width = pictures.shape[-2:]
    resize = int(pictures.resize)
    if resize < max(height, width) or resize * longer > shorter << 8:
        pictures.pixels(number)
