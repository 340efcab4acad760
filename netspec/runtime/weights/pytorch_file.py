"""PyTorch's own checkpoint files, read without PyTorch: what `torch.save` writes of a state dict.

Since PyTorch 1.6 a file is a zip archive: a pickle, `<name>/data.pkl`, and the raw numbers of each
storage, `<name>/data/<key>`. Before, it was a sequence of pickles (a magic number, a version, facts
about the machine, the object, the keys of the storages) followed by the storages, each after the
count of its numbers. The pickles are read as plain data (`netspec.files.plain_pickle`): nothing in
a file is executed, and no objects are created except tensors and containers.

A tensor is a view of a storage, and is checked to lie within the storage's bytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, plural, quoted
from netspec.files.plain_pickle import Foreign, Global, PickleRefusedError, load_pickle
from netspec.files.regular_file import open_regular
from netspec.files.unsound import UnsoundFileError
from netspec.files.zip_archive import open_archive
from netspec.runtime.weights.bfloat16 import widened
from netspec.runtime.weights.host import machine_memory
from netspec.runtime.weights.safetensors_file import Weights

# The keys under which training scripts store the weights in a checkpoint; the weights come before
# their averages.
_NESTED = (
    "state_dict", "model_state_dict", "model", "weights", "params",
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "module",
)  # fmt: skip
_MAX_NESTS = 4
_MOST_TOLD, _LONGEST = 5, 80  # names of what is not used
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_ZIP = b"PK\x03\x04"
_MAX_DIMENSIONS = 32
# A limit on its size: the pickle of an archive has names and shapes; 1,000 layers take 200 KB.
_MAX_PICKLE = 1 << 26
# PyTorch's names of types.
_BFLOAT16 = "bfloat16"
_TYPES = {
    "float64": "f8", "float32": "f4", "float16": "f2", _BFLOAT16: "u2", "int64": "i8", "int32": "i4",
    "int16": "i2", "int8": "i1", "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1",
    "bool": "u1",
}  # fmt: skip
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": _BFLOAT16, "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    """Numbers stored elsewhere in the file; a `dtype` of None means bytes of any type."""

    key: str
    dtype: str | None
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, as numbers of `dtype`."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _OddTensor:
    """A tensor that is not a plain array of numbers: sparse, quantized, nested, without numbers, ..."""

    reason: str = "is not an ordinary tensor of numbers"


_ODD = _OddTensor()


def load_pytorch(path: Path) -> Weights:
    """Read the tensors of a state dict saved with `torch.save`, by name; bfloat16 becomes float32.

    The file holds a state dict, or a checkpoint that has one under `state_dict`, `model`, `ema` and
    the like; a note says which was taken. Arrays may share memory, and may be read-only.

    Raises:
        NetspecError: `weights/bad-file`.
    """
    try:
        with open_regular(path) as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(4)
        if size > machine_memory():
            raise UnsoundFileError("it is larger than the memory of this machine")
        if start == _ZIP:
            with open_archive(path) as archive:
                return _from_archive(archive, size)
        with open_regular(path) as file:
            return _from_pickles(file.read())
    except UnsoundFileError as error:
        raise _bad(path, str(error)) from None
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from None


def _bad(path: Path, reason: str) -> NetspecError:
    return NetspecError.simple(codes.WEIGHTS_BAD_FILE, f"{path}: {reason}")


# ----------------------------------------------------------------------------- the two kinds of files


def _from_archive(archive: zipfile.ZipFile, size: int) -> Weights:
    members = {info.filename: info for info in archive.infolist()}
    (name, *others) = [n for n in members if n.count("/") == 1 and n.endswith("/data.pkl")] or [""]
    if not name or others:
        raise UnsoundFileError("not a file written by torch.save: it has no data.pkl")
    folder = name.partition("/")[0]

    def read(member: str, most: int) -> bytes:
        nonlocal size
        info = members.get(f"{folder}/{member}")
        if info is None:
            raise UnsoundFileError(f"damaged: it has no {member[:80]}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise UnsoundFileError(f"{member[:80]} is compressed, which torch.save never does")
        # Members may overlap each other; together they are no larger than the file.
        size -= info.file_size
        if info.file_size > most or size < 0:
            raise UnsoundFileError(f"damaged: {member[:80]} is too large")
        return archive.read(info)

    tensors, notes = _state_dict(load_pickle(read("data.pkl", _MAX_PICKLE), _Tensors()))
    order = read("byteorder", 16) if f"{folder}/byteorder" in members else b"little"
    whole = size

    def storage(which: _Storage) -> memoryview:
        return memoryview(read(f"data/{which.key}", whole))

    arrays = _Arrays(storage, big_endian=order.strip() == b"big", size=whole)
    return Weights(arrays.all(tensors), notes=notes)


def _from_pickles(content: bytes) -> Weights:
    file, meaning = io.BytesIO(content), _Tensors()
    if load_pickle(file, meaning) != _MAGIC or load_pickle(file, meaning) != _VERSION:
        raise UnsoundFileError("not a file written by torch.save")
    facts, found, keys = (load_pickle(file, meaning) for _ in range(3))
    if not isinstance(facts, dict) or not isinstance(keys, list):
        raise UnsoundFileError("damaged: no list of its storages")
    tensors, notes = _state_dict(found)
    places: dict[str, memoryview] = {}
    rest = memoryview(content)[file.tell() :]
    for key in keys:
        which = meaning.storages.get(key) if isinstance(key, str) else None
        if which is None or which.dtype is None or key in places:
            raise UnsoundFileError("damaged: its list of storages is wrong")
        end = 8 + which.count * np.dtype(_TYPES[which.dtype]).itemsize
        if len(rest) < end or int.from_bytes(rest[:8], "little") != which.count:
            raise UnsoundFileError(f"damaged: the storage {key[:80]} is cut short")
        places[key], rest = rest[8:end], rest[end:]

    def storage(which: _Storage) -> memoryview:
        if which.key not in places:
            raise UnsoundFileError(f"damaged: it has no storage {which.key[:80]}")
        return places[which.key]

    big = facts.get("little_endian") is False
    arrays = _Arrays(storage, big_endian=big, size=len(content))
    return Weights(arrays.all(tensors), notes=notes)


def _state_dict(content: object) -> tuple[dict[str, _Tensor | _OddTensor], tuple[str, ...]]:
    """Return the tensors of the dict in a file or of one inside it, and notes on where they were."""
    notes: list[str] = []
    for _ in range(_MAX_NESTS):
        if not isinstance(content, dict):
            break
        beside = [name for name in _tensors_of(content) if name not in _NESTED]
        nests = [key for key in _NESTED if _holds_more(content.get(key), len(beside))]
        nests = nests or ([] if beside else _single_part(content))
        if not nests:
            break
        taken, *others = nests
        unused = [*others, *beside][:_MOST_TOLD]
        left = f"; not used: {', '.join(quoted(key, _LONGEST) for key in unused)}" if unused else ""
        notes.append(f"taken from `{taken}`{left}")
        content = content[taken]
    if not isinstance(content, dict):
        kind = content.kind.shown if isinstance(content, Foreign) else type(content).__name__
        raise UnsoundFileError(
            f"it holds a {kind.strip('_')}, not a state dict: save model.state_dict()"
        )
    tensors = _tensors_of(content)
    if not tensors:
        raise UnsoundFileError(f"it holds no tensors by name{_told_parts(content)}")
    return tensors, tuple(notes)


def _parts(content: Mapping[object, object]) -> dict[str, int]:
    """Return how many tensors each part of a checkpoint holds, of those that hold any."""
    inner = {key: value for key, value in content.items() if isinstance(value, dict)}
    counts = {key: len(_tensors_of(value)) for key, value in inner.items() if isinstance(key, str)}
    return {key: count for key, count in counts.items() if count}


def _single_part(content: Mapping[object, object]) -> list[str]:
    """Return the only part of a checkpoint that holds tensors, whatever it is called, in a list."""
    found = list(_parts(content))
    return found if len(found) == 1 else []


def _told_parts(content: Mapping[object, object]) -> str:
    """Return what a checkpoint holds instead, and which of it are tensors by name."""
    counts = _parts(content)
    names = [key for key in content if isinstance(key, str)]
    told = [
        quoted(key, _LONGEST) + (f" ({plural(counts[key], 'tensor')})" if key in counts else "")
        for key in (*counts, *(name for name in names if name not in counts))
    ]
    if not told:
        return ""
    more = ", ..." if len(told) > _MOST_TOLD else ""
    several = "; save one of them alone" if counts else ""
    return f": its keys are {', '.join(told[:_MOST_TOLD])}{more}{several}"


def _holds_more(content: object, tensors: int) -> bool:
    """Whether a part of a checkpoint holds more tensors than lie beside it, or other parts."""
    if not isinstance(content, dict):
        return False
    if not tensors and any(isinstance(content.get(key), dict) for key in _NESTED):
        return True
    return len(_tensors_of(content)) > tensors


def _tensors_of(content: Mapping[object, object]) -> dict[str, _Tensor | _OddTensor]:
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, _Tensor | _OddTensor)
    }


# ------------------------------------------------------------------------- what the pickles say


@dataclass
class _Tensors:
    """The calls that `torch.save` writes for tensors and containers; see `Meaning`.

    Attributes:
        storages: The storages that were referred to, by key.
    """

    storages: dict[str, _Storage] = field(default_factory=dict)

    def call(self, function: Global, arguments: object) -> object:
        given = arguments if isinstance(arguments, tuple) else ()
        if function.name == "collections OrderedDict":
            return _ordered(given)
        module, _, name = function.name.partition(" ")
        if name == "_rebuild_from_type_v2" and module == "torch._tensor":
            match given:
                # A tensor with attributes of its own.
                case (
                    Global("torch._utils _rebuild_tensor_v2") as inner,
                    Global(kind),
                    tuple(its),
                    _,
                ):
                    plain = kind in ("torch Tensor", "torch.nn.parameter Parameter")
                    return self.call(inner, its) if plain else _ODD
            return _ODD
        if module == "torch._utils" and name.startswith("_rebuild_parameter") and given:
            return given[0]
        if name.startswith("_rebuild") and module.startswith("torch"):
            return _tensor(name, given)
        return Foreign(function)

    def set_state(self, target: object, state: object) -> None:
        if not isinstance(target, dict):  # a state dict has the versions of its modules
            raise PickleRefusedError("refused: it sets the state of something that has none")

    def persistent(self, reference: object) -> object:
        match reference:
            case ("storage", Global(kind), str(key), str(), int(count), *view) if count >= 0:
                pass
            case _:
                return Foreign(Global("something outside of it"))
        module, _, name = kind.partition(" ")
        untyped = name == "UntypedStorage"
        if not module.startswith("torch") or (name not in _STORAGES and not untyped) or any(view):
            return Foreign(Global(kind))
        storage = _Storage(key, None if untyped else _STORAGES[name], count)
        if self.storages.setdefault(key, storage) != storage:
            raise PickleRefusedError(f"damaged: the storage {key[:80]} is of two kinds")
        return storage


def _ordered(given: tuple[object, ...]) -> object:
    """Return an OrderedDict: empty, or, in old files, made from a list of pairs."""
    pairs = given[0] if given and isinstance(given[0], list) else []
    return {pair[0]: pair[1] for pair in pairs if _is_pair(pair)}


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)


def _tensor(function: str, given: tuple[object, ...]) -> _Tensor | _OddTensor:
    match function, given:
        case "_rebuild_tensor", (_Storage() as storage, offset, shape, strides):
            dtype, facts = storage.dtype, None
        case "_rebuild_tensor_v2", (_Storage() as storage, offset, shape, strides, _, _, *rest):
            dtype, facts = storage.dtype, rest[0] if rest else None
        case (
            "_rebuild_tensor_v3",
            (_Storage() as storage, offset, shape, strides, _, _, Global(name), *rest),
        ):
            dtype, facts = name.removeprefix("torch "), rest[0] if rest else None
        case _:
            return _ODD
    # This metadata say that numbers are stored negated or conjugated.
    if dtype is None or facts:
        return _ODD
    if dtype not in _TYPES:
        return _OddTensor(f"is stored as {dtype[:40]}, which NumPy has no type for")
    sizes, steps = _sizes(shape), _sizes(strides)
    (start,) = _sizes((offset,))
    if len(sizes) != len(steps) or len(sizes) > _MAX_DIMENSIONS:
        raise PickleRefusedError("damaged: a tensor's strides do not fit its shape")
    return _Tensor(storage, dtype, start, sizes, steps)


def _sizes(value: object) -> tuple[int, ...]:
    """Check that a value is a tuple of sizes that can exist, and return it."""
    if isinstance(value, tuple):
        sizes = tuple(size for size in value if type(size) is int and 0 <= size < 1 << 48)
        if len(sizes) == len(value):
            return sizes
    raise PickleRefusedError("damaged: a tensor's shape is not a tuple of sizes")


# ---------------------------------------------------------------------------------- the numbers


class _Arrays:
    """Makes the arrays of tensors; each storage is read once.

    Args:
        read: Returns the bytes of a storage.
        big_endian: The byte order of numbers.
        size: The size of the file in bytes: copies take at most four times as much.
    """

    def __init__(
        self, read: Callable[[_Storage], memoryview], *, big_endian: bool, size: int
    ) -> None:
        self._read = read
        self._order: Literal["<", ">"] = ">" if big_endian else "<"
        self._left = 4 * size
        self._storages: dict[str, memoryview] = {}
        self._made: dict[_Tensor, NDArray[Any]] = {}

    def all(self, tensors: Mapping[str, _Tensor | _OddTensor]) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {name: self._array(name[:80], tensor) for name, tensor in tensors.items()}

    def _array(self, name: str, tensor: _Tensor | _OddTensor) -> NDArray[Any]:
        if isinstance(tensor, _OddTensor):
            raise UnsoundFileError(f"`{name}` {tensor.reason}")
        if tensor not in self._made:
            self._made[tensor] = self._converted(tensor.dtype, self._view(name, tensor))
        return self._made[tensor]

    def _view(self, name: str, tensor: _Tensor) -> NDArray[Any]:
        dtype = np.dtype(_TYPES[tensor.dtype]).newbyteorder(self._order)
        content = self._bytes(tensor.storage, dtype.itemsize)
        stored, numbers = len(content) // dtype.itemsize, math.prod(tensor.shape)
        if not numbers:
            return np.empty(tensor.shape, dtype)
        last = tensor.offset + sum(
            (size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)
        )
        # With a stride of 0, one number becomes any number of them.
        if last >= stored or numbers > stored:
            raise UnsoundFileError(f"damaged: `{name}` has more numbers than are stored for it")
        strides = [step * dtype.itemsize for step in tensor.strides]
        start = tensor.offset * dtype.itemsize
        return np.ndarray(tensor.shape, dtype, content, start, strides)

    def _bytes(self, storage: _Storage, itemsize: int) -> memoryview:
        if storage.key not in self._storages:
            self._storages[storage.key] = self._read(storage)
        found = self._storages[storage.key]
        if (
            len(found) != storage.count * (itemsize if storage.dtype else 1)
            or len(found) % itemsize
        ):
            raise UnsoundFileError(f"damaged: the storage {storage.key[:80]} is cut short")
        return found

    def _converted(self, kind: str, view: NDArray[Any]) -> NDArray[Any]:
        if kind == _BFLOAT16:
            self._spend(4 * view.size)
            return widened(view)
        if kind == "bool":
            self._spend(view.size)
            return view.astype(np.bool_)
        if not view.dtype.isnative:
            self._spend(view.nbytes)
            return view.astype(view.dtype.newbyteorder("="))
        return view

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise UnsoundFileError("damaged: its tensors share their storage too often")
