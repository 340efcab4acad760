"""Weights from any kind of file: the content determines the format, not the name.

The formats are safetensors, also in shards with an index, checkpoints of PyTorch, and archives of
NumPy. Files are read as data: no code in them is executed, and no size in them is trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, plural, quoted
from netspec.files.model_files import is_onnx, what_to_do
from netspec.files.regular_file import open_regular, read_regular
from netspec.files.unsound import UnsoundFileError
from netspec.files.zip_archive import open_archive
from netspec.runtime.data.npy_members import member_array, member_header, require_likely_size
from netspec.runtime.weights.engine_state import of_engine
from netspec.runtime.weights.host import machine_memory
from netspec.runtime.weights.pytorch_file import load_pytorch
from netspec.runtime.weights.safetensors_file import Weights, load_safetensors

# The final weights in the folder of a run.
RUN_WEIGHTS = "weights.safetensors"
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# The files of a folder, of which the first that exists is read: a run's, or those that Hugging
# Face's libraries save.
_IN_FOLDERS = (RUN_WEIGHTS, "model.safetensors", _INDEXES[0], "pytorch_model.bin", _INDEXES[1])
# An index has a line for each tensor.
_MAX_INDEX, _MAX_SHARDS = 1 << 26, 10_000
# The members of an archive are read one by one, each in a tenth of a millisecond.
_MAX_ARRAYS = 10_000
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LONGEST = 200


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Read weights from a file, whatever its name.

    - A safetensors file, of netspec or any other program.
    - A checkpoint that `torch.save` wrote (`.pth`, `.pt`, `.ckpt`, `.bin`): a state dict, or one in it.
    - A checkpoint of an engine that trained a `netspec.lightning.NetModule`, under the net's own names.
    - An archive that `numpy.savez` wrote, with a tensor under each name.
    - The index of a model in shards (`model.safetensors.index.json`), whose files lie beside it.
    - A folder with one of these: of a run, or as Hugging Face's libraries save a model.

    Numbers are as stored, except for bfloat16, which becomes float32.

    Raises:
        NetspecError: `weights/bad-file`, with the reason.
    """
    found = _in_folder(Path(path))
    try:
        return of_engine(_reader(found)(found))
    except UnsoundFileError as error:
        help = what_to_do(str(found)) if is_onnx(found.name) else None
        raise _bad_file(found, str(error), help) from None
    except FileNotFoundError:
        raise _bad_file(found, "no such file") from None
    except OSError as error:
        raise _bad_file(found, f"cannot be read: {error.strerror or error}") from None


def _in_folder(path: Path) -> Path:
    """Return the file itself, or the weights file of a folder."""
    if not path.is_dir():
        return path
    for name in _IN_FOLDERS:
        if (path / name).is_file():
            return path / name
    raise _bad_file(
        path,
        "is a folder without weights",
        f"a run has {RUN_WEIGHTS}, a model of others {_IN_FOLDERS[1]}",
    )


def _reader(path: Path, *, in_shards: bool = True) -> Callable[[Path], Weights]:
    with open_regular(path) as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
    # A safetensors file begins with the length of its header, whose bytes may look like any other
    # format.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return load_safetensors
    if start.startswith(_ZIP):
        with open_archive(path) as archive:
            arrays = any(name.endswith(".npy") for name in archive.namelist())
        return _load_arrays if arrays else load_pytorch
    if start.startswith(_PICKLE):
        return load_pytorch
    if in_shards and start[:1] == b"{":
        return _load_shards
    if start[8:] == b"{":  # cut off
        return load_safetensors
    what = "is empty" if not size else "is neither safetensors nor a checkpoint of PyTorch nor .npz"
    raise UnsoundFileError(what)


def _load_arrays(path: Path) -> Weights:
    with open_archive(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) > _MAX_ARRAYS:
            raise UnsoundFileError(f"holds {len(members):,} arrays; the limit is {_MAX_ARRAYS:,}")
        headers = {name: member_header(archive, info) for name, info in members.items()}
        total = sum(info.file_size for info in members.values())
        require_likely_size(total, path.stat().st_size, "file of weights")
        if total > machine_memory():
            raise UnsoundFileError("it is larger than the memory of this machine when unpacked")
        return Weights({n: member_array(archive, members[n], headers[n]) for n in members})


def _load_shards(path: Path) -> Weights:
    try:
        content = json.loads(read_regular(path, _MAX_INDEX))
        places = content["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnsoundFileError(
            "is neither weights nor an index of them: it has no `weight_map`"
        ) from None
    shards: dict[str, list[str]] = {}
    if not isinstance(places, dict):
        raise UnsoundFileError("its `weight_map` says of no tensor where it is")
    for name, shard in places.items():
        if not isinstance(shard, str) or PurePath(shard).name != shard:
            raise UnsoundFileError(f"{quoted(name, _LONGEST)} is not in a file beside it")
        shards.setdefault(shard, []).append(name)
    if len(shards) > _MAX_SHARDS:
        raise UnsoundFileError(f"it names {len(shards):,} files")
    tensors: dict[str, NDArray[np.generic]] = {}
    for shard, names in shards.items():
        tensors |= _of_shard(path.parent / shard, names)
    return Weights(tensors, notes=(f"from {plural(len(shards), 'shard')}",))


def _of_shard(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    try:
        held = _reader(path, in_shards=False)(path).tensors
    except FileNotFoundError:
        raise _bad_file(path, "no such file, though the index names it") from None
    except UnsoundFileError as error:
        raise _bad_file(path, str(error)) from None
    except OSError as error:
        raise _bad_file(path, f"cannot be read: {error.strerror or error}") from None
    missing = next((name for name in names if name not in held), None)
    if missing is not None:
        raise _bad_file(path, f"has no {quoted(missing, _LONGEST)}, which the index says is in it")
    return {name: held[name] for name in names}


def _bad_file(path: Path, reason: str, help: str | None = None) -> NetspecError:
    return NetspecError.simple(codes.WEIGHTS_BAD_FILE, f"{path}: {reason}", help)
