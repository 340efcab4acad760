"""Packs a folder of pictures into shards: tar archives that `shards` reads, and WebDataset too."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO, cast

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import holds, open_new, open_own
from netspec.runtime.data.arrays import CLASS_NAMES
from netspec.runtime.data.image_folder import TEST, TRAIN, PictureList, list_pictures
from netspec.runtime.data.pictures import picture_image
from netspec.runtime.data.shards import LABEL
from netspec.runtime.data.stored_pictures import FolderFiles, StoredPictures
from netspec.workers import Workers

# How many bytes a shard has, about, if its number of pictures is not given.
SHARD_BYTES = 1 << 28
# The file in the folder of shards that says what they were made of, and how.
PLAN = "pack.json"
_FORMAT = 1


@dataclass(frozen=True)
class Packing:
    """How pictures are packed.

    Attributes:
        shorter: The pixels that a picture's shorter side is brought to, if it has more; None leaves
            each file as it is, byte for byte.
        quality: Of the JPEG files that are written then, from 1 to 95.
        per_shard: How many pictures a shard has; None for as many as make `SHARD_BYTES`.
        workers: How many shards are written at a time.
    """

    shorter: int | None = None
    quality: int = 90
    per_shard: int | None = None
    workers: int = 2


@dataclass(frozen=True)
class Packed:
    """What was packed.

    Attributes:
        shards: How many shards there are.
        there: How many of them were there before.
        pictures: How many pictures they have.
        size: Their size in bytes.
    """

    shards: int
    there: int
    pictures: int
    size: int


@dataclass(frozen=True)
class _Shard:
    """A shard to write: its name, and the numbers of its pictures with their labels."""

    name: str
    numbers: Sequence[int]
    labels: Sequence[int]


def pack(
    folder: Path,
    out: Path,
    packing: Packing,
    done: Callable[[str], object] = bool,
) -> Packed:
    """Pack `folder/<class>/*`, or its parts, in the order in which a training takes them.

    A shard appears under its name once it is complete, so that a packing that was stopped goes on.

    Args:
        folder: the pictures, see `load_image_folder`.
        out: the folder of the shards; made if it is not there.
        packing: how.
        done: called with the name of each shard when it is there.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file` for each picture that cannot be read, in
            front of all else; `output/not-generated` if `out` holds shards of something else.
    """
    pictures = list_pictures(folder)
    files = FolderFiles(folder, [os.path.relpath(path, folder) for path in pictures.paths])
    StoredPictures(files, np.arange(len(files)), (3, 1, 1), resize=True).require_readable()
    sizes = [path.stat().st_size for path in pictures.paths]
    per_shard = packing.per_shard or max(1, SHARD_BYTES * len(sizes) // max(1, sum(sizes)))
    shards = [*_shards(pictures, per_shard)]
    _settle_plan(out, _plan_of(files, pictures, packing, per_shard))
    there = sum((out / shard.name).is_file() for shard in shards)

    failed = Event()

    def write(shard: _Shard) -> int:
        if failed.is_set():
            return 0
        path = out / shard.name
        try:
            if not path.is_file():
                _write(path, shard, files, packing)
            done(shard.name)
        except BaseException:
            failed.set()  # whoever waits learns of it later
            raise
        return path.stat().st_size

    with Workers(packing.workers) as threads:
        answers = [threads.ask(write, shard) for shard in shards]
        size = sum(answer.result() for answer in answers)
    return Packed(len(shards), there, len(sizes), size)


def _shards(pictures: PictureList, per_shard: int) -> list[_Shard]:
    """Divide the pictures of each part into shards."""
    found = []
    numbers = np.arange(len(pictures.paths))
    for part, chosen in ((TRAIN, slice(pictures.trained)), (TEST, slice(pictures.trained, None))):
        own, labels = numbers[chosen], pictures.labels[chosen]
        for number, start in enumerate(range(0, len(own), per_shard)):
            some = slice(start, start + per_shard)
            found.append(
                _Shard(f"{part}-{number:06}.tar", own[some].tolist(), labels[some].tolist())
            )
    return found


def _plan_of(
    files: FolderFiles, pictures: PictureList, packing: Packing, per_shard: int
) -> dict[str, object]:
    total = hashlib.sha256(pictures.labels.tobytes())
    for each in files.state():
        total.update(each)
    return {
        "format": _FORMAT, "pictures": len(files), "per-shard": per_shard,
        "resize-shorter": packing.shorter,
        "quality": packing.quality if packing.shorter else None, "classes": list(pictures.names),
        "sha256": total.hexdigest(),
    }  # fmt: skip


def _settle_plan(out: Path, plan: dict[str, object]) -> None:
    """Write what the shards are made of; or check that those that are there are made of the same."""
    path = out / PLAN
    content = json.dumps(plan, indent=1).encode()
    if path.is_file():
        if _holds(path, content):
            return
        message = f"{out} holds shards of other pictures, or made in another way"
    elif out.is_dir() and any(out.iterdir()):
        message = f"{out} is not empty, and netspec did not make it"
    else:
        names = _lines_of(_names(plan))
        out.mkdir(parents=True, exist_ok=True)
        for place, text in ((out / CLASS_NAMES, names), (path, content)):
            with open_new(place) as file, _buffered(file) as buffered:
                buffered.write(text)
        return
    raise NetspecError.simple(codes.OUTPUT_NOT_GENERATED, message, "name another folder: -o DIR")


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file, which may be of any origin, has this content."""
    try:
        return holds(path, content)
    except OSError:
        return False


def _lines_of(names: Sequence[str]) -> bytes:
    """Return names as the lines of a file.

    Raises:
        NetspecError: `data/bad-file` for one that would be read as another, or as several.
    """
    for name in names:
        if name.splitlines() != [name.strip()] or _is_no_text(name):
            message = f"the class {name!r} cannot be a line of {CLASS_NAMES}"
            raise NetspecError.simple(codes.DATA_BAD_FILE, message, "rename its folder")
    return "\n".join([*names, ""]).encode()


def _is_no_text(name: str) -> bool:
    """Whether a file's name is not UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _names(plan: dict[str, object]) -> list[str]:
    names = plan["classes"]
    assert isinstance(names, list)
    return names


def _write(path: Path, shard: _Shard, files: FolderFiles, packing: Packing) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with (
        open_own(part) as file,
        _buffered(file) as buffered,
        tarfile.open(fileobj=buffered, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for number, label in zip(shard.numbers, shard.labels, strict=True):
            suffix, content = _content(files, number, packing)
            _add(tar, f"{number:08}{suffix}", content)
            _add(tar, f"{number:08}.{LABEL}", str(label).encode())
        tar.close()
        buffered.flush()
        os.fsync(file.fileno())  # a shard that is there is taken for complete
    os.replace(part, path)


def _buffered(file: BinaryIO) -> io.BufferedWriter:
    return io.BufferedWriter(cast("io.RawIOBase", file))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _content(files: FolderFiles, number: int, packing: Packing) -> tuple[str, bytes]:
    """Return a picture as it is packed, with its suffix."""
    content = files.content(number)
    suffix = Path(files.name(number)).suffix.lower()
    if packing.shorter is None:
        return suffix, content.getvalue()
    image = picture_image(files.name(number), io.BytesIO(content.getvalue()), 3)
    shorter = min(image.size)
    if shorter <= packing.shorter:
        return suffix, content.getvalue()
    from PIL import Image

    width, height = (max(1, round(side * packing.shorter / shorter)) for side in image.size)
    out = io.BytesIO()
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    resized.save(out, "JPEG", quality=packing.quality)
    return ".jpg", out.getvalue()
