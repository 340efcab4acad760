"""Weights as netspec stores them: safetensors, one tensor for each parameter or buffer, by name.

The file's keys are exactly the names of the network, so `torch_module.load_state_dict(
safetensors.torch.load_file(path))` works strictly. Everything else (the input normalization, and
what the caller wants to store) is a single JSON text in the header's metadata, because safetensors
writes several entries in no fixed order, and equal training runs should give equal files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError, plural, quoted
from netspec.files.regular_file import open_regular
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    Normalization,
    Normalizations,
    made_for,
    normalization_from_json,
)
from netspec.runtime.weights.bfloat16 import widened
from netspec.runtime.weights.data_facts import TrainedOn, about_numbers, image_type
from netspec.runtime.weights.output_file import write_output
from netspec.runtime.weights.rename_help import rename_help
from netspec.runtime.weights.safetensors_header import check_header

_METADATA_KEY = "netspec"
_NORMALIZATION, _METADATA = "normalization", "metadata"
_READABLE = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")
# How many mismatched tensors are named.
_SHOWN = 8
# How many characters of a name are shown.
_LONGEST = 200
_WRITABLE = "fiub"  # NumPy's kinds: float, int, unsigned, bool


@dataclass(frozen=True, eq=False, repr=False)
class Weights(Mapping[str, NDArray[np.generic]]):
    """The contents of a weights file: a mapping of names to tensors, and what was saved with them.

    Attributes:
        tensors: Name -> array, as stored (no conversion of types).
        normalization: The normalization of inputs in training; None in files of other programs.
        metadata: The texts that were saved with them.
        notes: How they were found in the file, in words, if that is not obvious.
    """

    tensors: dict[str, NDArray[np.generic]]
    normalization: InputNormalization | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    # Of a mapping, arrays would be compared, which have no one answer.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        size = sum(tensor.size for tensor in self.tensors.values())
        return f"<netspec.Weights: {plural(len(self.tensors), 'tensor')}, {size:,} numbers>"

    @property
    def trained_on(self) -> TrainedOn | None:
        """What the weights were trained on; None in files of other programs."""
        return TrainedOn(self.normalization, self.metadata) if self.normalization else None

    @property
    def dtype(self) -> str:
        """The type for a model to compute in so that no weight is rounded: `float32` or `float64`."""
        double = any(tensor.dtype == np.float64 for tensor in self.tensors.values())
        return "float64" if double else "float32"


def save_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[np.generic]],
    normalization: InputNormalization | TrainedOn | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a weights file, completely or not at all.

    An existing file stays until the new one is complete.

    The same arguments give the same bytes.

    Args:
        path: the file.
        tensors: an array for each parameter and buffer, `model.state_dict()`; those of `load_weights`
            bring with them what they were trained on.
        normalization: what the weights were trained on, `model.trained_on` or that of a weights file:
            the normalization of inputs, the type of their numbers, the names of the classes. A
            normalization alone, `history.normalization`, knows the first two.
        metadata: further texts by name, which `load_weights` returns.

    Raises:
        NetspecError: `weights/bad-file` if the folder cannot be written to, `weights/bad-tensor`
            for an array of a type that safetensors does not have, `train/bad-option`.
    """
    content = weights_bytes(tensors, normalization, metadata)
    try:
        write_output(Path(path), content)
    except OSError as error:
        raise _bad_file(path, f"cannot be written: {error}") from None


def weights_bytes(
    tensors: Mapping[str, NDArray[np.generic]],
    normalization: InputNormalization | TrainedOn | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the contents of a weights file; see `save_weights`.

    Raises:
        NetspecError: `weights/bad-tensor` for an array of a type that safetensors does not have;
            `train/bad-option`.
    """
    from safetensors.numpy import save

    if normalization is None and isinstance(tensors, Weights):
        normalization = tensors.trained_on
    by, known = _parts(normalization)
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in _WRITABLE or tensor.dtype == np.longdouble:
            raise NetspecError.simple(
                codes.WEIGHTS_BAD_TENSOR,
                f"`{name}` holds {tensor.dtype} values, which are not saved",
            )
    # Not ascontiguousarray, which would add a dimension to a 0-d array.
    dense = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    entry: dict[str, object] = {_METADATA: {**known, **(metadata or {})}}
    if by is not None:
        entry[_NORMALIZATION] = by.to_json()
    content: bytes = save(dense, {_METADATA_KEY: json.dumps(entry, sort_keys=True)})
    return content


def _parts(
    of: InputNormalization | TrainedOn | None,
) -> tuple[InputNormalization | None, dict[str, str]]:
    """Return a normalization, and what else is known of the data.

    Raises:
        NetspecError: `train/bad-option` for anything else.
    """
    if of is None:
        return None, {}
    if isinstance(of, TrainedOn):
        return of.normalization, {**about_numbers(of.normalization), **of.about}
    if not isinstance(of, Normalization | Normalizations):
        raise NetspecError.simple(
            codes.TRAIN_BAD_OPTION,
            f"the third argument is what the weights were trained on, not {type(of).__name__}",
            "write model.trained_on, or history.normalization",
        )
    return of, about_numbers(of)


def load_safetensors(path: Path) -> Weights:
    """Read a safetensors file; bfloat16 becomes float32. No size in it is trusted.

    Raises:
        NetspecError: `weights/bad-file`, with the reason.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, NDArray[np.generic]] = {}
    bfloat16: list[str] = []
    try:
        header = check_header(path)
        # Before anything is allocated, the library checks the size of the header, and that the
        # offsets neither overlap nor leave the file.
        with safe_open(path, framework="numpy") as file:
            texts: dict[str, str] = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - the file is no dict
                dtype = file.get_slice(name).get_dtype()
                if dtype == "BF16":
                    bfloat16.append(name)
                elif dtype in _READABLE:
                    tensors[name] = file.get_tensor(name)
                else:
                    raise _bad_file(
                        path,
                        f"{short(name)} is stored as {dtype}, which NumPy has no type for",
                        "save the weights as float32",
                    )
        if bfloat16:
            tensors |= _widened(path, header, bfloat16)
    except UnsoundFileError as error:
        raise _bad_file(path, str(error)) from None
    except (SafetensorError, OSError, ValueError, TypeError, MemoryError) as error:
        raise _bad_file(path, f"not a valid safetensors file: {error}") from None
    normalization, metadata = _read_metadata(path, texts)
    return Weights(tensors, normalization, metadata)


def _widened(path: Path, header: bytes, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Read the bfloat16 tensors with these names, at the positions in the header, which was checked."""
    entries, found = json.loads(header), {}
    with open_regular(path) as file:
        for name in names:
            start, end = entries[name]["data_offsets"]
            file.seek(8 + len(header) + start)
            bits = np.frombuffer(file.read(end - start), "<u2")
            found[name] = widened(bits).reshape(entries[name]["shape"])
    return found


def check_tensors(
    tensors: Mapping[str, NDArray[np.generic]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that `tensors` are exactly the `expected` names with the expected shapes.

    Raises:
        NetspecError: `weights/mismatch`, naming the tensors that are missing, unexpected or of
            another shape, the first few of many.
    """
    notes = differences(tensors, expected)
    if notes:
        message = f"the weights do not fit the network: {len(notes)} tensors differ"
        if len(notes) == 1:
            message = "the weights do not fit the network: one tensor differs"
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        hint = Hint(
            rename_help(shapes, {name: tuple(shape) for name, shape in expected.items()})
            or "the weights must come from the same .net file with the same --set arguments"
        )
        raise NetspecError(
            [Diagnostic(codes.WEIGHTS_MISMATCH, message, notes=the_first(notes), hints=(hint,))]
        )


def the_first(notes: Sequence[str]) -> tuple[str, ...]:
    """Return the first few of many notes, and how many more there are."""
    more = (f"... and {len(notes) - _SHOWN:,} more",) if len(notes) > _SHOWN else ()
    return (*notes[:_SHOWN], *more)


def check_numbers(tensors: Mapping[str, NDArray[np.generic]], dtype: np.dtype[np.floating]) -> None:
    """Check that parameters of `dtype` can hold these numbers.

    Raises:
        NetspecError: `weights/mismatch` for strings and complex numbers, and for finite numbers
            that would become infinite.
    """
    largest = float(np.finfo(dtype).max)
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in _WRITABLE:
            raise NetspecError.simple(
                codes.WEIGHTS_MISMATCH,
                f"{short(name)} holds {tensor.dtype} values, not real numbers",
            )
        if tensor.dtype.kind == "f" and tensor.dtype.itemsize > dtype.itemsize:
            finite = np.abs(tensor[np.isfinite(tensor)])
            if finite.size and finite.max() > largest:
                raise NetspecError.simple(
                    codes.WEIGHTS_MISMATCH,
                    f"{short(name)} holds {finite.max():.3g}, which is too large for {dtype}",
                    'compile the net for it: dtype="float64"',
                )


def first_not_finite(tensors: Mapping[str, NDArray[np.generic]]) -> str | None:
    """Return the name of the first tensor with an infinity or NaN; None if there is none."""
    return next((n for n, t in tensors.items() if not np.isfinite(t).all()), None)


def differences(
    tensors: Mapping[str, NDArray[np.generic]], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Yield the differences between `tensors` and the `expected` names and shapes, a line for each."""
    notes = [
        f"missing: {short(name)} {list(shape)}"
        for name, shape in expected.items()
        if name not in tensors
    ]
    notes += [
        f"unexpected: {short(name)} {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if name not in expected
    ]
    notes += [
        f"shape: {short(name)} is {list(tensors[name].shape)}, the network has {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != tuple(shape)
    ]
    return notes


def short(name: str) -> str:
    """Quote a name from a file, which may have any length, for a message."""
    return quoted(name, _LONGEST)


def _read_metadata(
    path: Path, texts: Mapping[str, str]
) -> tuple[InputNormalization | None, dict[str, str]]:
    others = {key: text for key, text in texts.items() if key != _METADATA_KEY}
    if _METADATA_KEY not in texts:
        return None, others
    try:
        entry = json.loads(texts[_METADATA_KEY])
        metadata, stored = entry[_METADATA], entry.get(_NORMALIZATION)
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not all strings")
        if not isinstance(stored, str | None):
            raise ValueError("its normalization is not a string")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad_file(path, f"its metadata are damaged: {error}") from None
    about = {**others, **metadata}
    if stored is None:
        return None, about
    return made_for(normalization_from_json(stored), image_type(about)), about


def _bad_file(path: str | os.PathLike[str], reason: str, help: str | None = None) -> NetspecError:
    return NetspecError.simple(codes.WEIGHTS_BAD_FILE, f"{os.fspath(path)}: {reason}", help)
