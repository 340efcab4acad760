"""The state of a run in a file: safetensors with JSON metadata and a checksum over everything.

Nothing in a checkpoint is ever executed, and no size in it is trusted: the library checks the
offsets against the file before anything is allocated, and the checksum is verified before a number
is used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.weights.atomic_write import sync_folder, told_plainly, write_durably
from netspec.runtime.weights.safetensors_file import first_not_finite
from netspec.runtime.weights.safetensors_header import check_header

# To be changed whenever the contents of a checkpoint change.
FORMAT = 1
_KEY = "netspec-checkpoint"
# The newest first. `next` exists only for a moment, and `previous` is there in case the last one is
# damaged.
NEXT, LAST, PREVIOUS = "next.safetensors", "last.safetensors", "previous.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state at one step.

    Attributes:
        tensors: Arrays by name.
        state: Everything else, as JSON data.
    """

    tensors: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        """The number of steps that the run had taken."""
        return int(self.state["step"])


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the contents of a checkpoint's file."""
    from safetensors.numpy import save

    dense = {name: np.asarray(t, order="C") for name, t in checkpoint.tensors.items()}
    text = json.dumps(checkpoint.state, sort_keys=True, allow_nan=False)
    entry = {"format": FORMAT, "sha256": _digest(dense, text), "state": text}
    content: bytes = save(dense, {_KEY: json.dumps(entry, sort_keys=True)})
    return content


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Make this the last checkpoint of a folder, and the one that was last the previous one.

    At every moment one of the two exists and is complete, wherever this is interrupted.

    Raises:
        NetspecError: `output/disk-full`, `output/unwritable`; the checkpoints are unchanged.
    """
    content = checkpoint_bytes(checkpoint)
    with told_plainly(folder / LAST, "the run continues from the checkpoint before it"):
        write_durably(folder / NEXT, content)
        # If interrupted between these lines, the folder has a `next`, which is newer than all
        # others.
        _put_in_place(folder)


def settle(folder: Path) -> None:
    """Finish a `save_checkpoint` that was interrupted.

    Raises:
        NetspecError: `output/disk-full`, `output/unwritable`.
    """
    if not (folder / NEXT).exists():
        return
    with told_plainly(folder):
        try:
            load_checkpoint(folder / NEXT)
        except NetspecError:
            (folder / NEXT).unlink()
        else:
            _put_in_place(folder)


def _put_in_place(folder: Path) -> None:
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)
    os.replace(folder / NEXT, folder / LAST)
    sync_folder(folder)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, and verify that it is complete.

    Raises:
        NetspecError: `run/checkpoint`, with the reason.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, NDArray[Any]] = {}
    try:
        check_header(path)
        with safe_open(path, framework="numpy") as file:
            entry = json.loads((file.metadata() or {})[_KEY])
            for name in file.keys():  # noqa: SIM118 - the file is no dict
                tensors[name] = file.get_tensor(name)
        if entry["format"] != FORMAT:
            raise _damaged(path, f"it is of format {str(entry['format'])[:20]}, not {FORMAT}")
        text, wanted = entry["state"], entry["sha256"]
        if _digest(tensors, text) != wanted:
            raise _damaged(path, "its checksum is wrong")
        state = json.loads(text)
        checkpoint = Checkpoint(tensors, state)
        _ = checkpoint.step
        model = {n: t for n, t in tensors.items() if n.startswith("model.")}
        if (name := first_not_finite(model)) is not None:
            raise _damaged(path, f"`{name}` holds numbers that are not finite")
    except KeyError as error:
        raise _damaged(path, f"it is not a checkpoint: {error} is missing") from None
    except (
        SafetensorError, OSError, ValueError, TypeError, AttributeError, MemoryError,
        RecursionError,
    ) as error:  # fmt: skip
        raise _damaged(path, str(error).splitlines()[0][:200]) from None
    return checkpoint


def newest_checkpoint(folder: Path) -> tuple[Checkpoint, list[str]]:
    """Return the newest valid checkpoint, and what is wrong with newer ones.

    Raises:
        NetspecError: `run/checkpoint` if none is valid.
    """
    wrong: list[str] = []
    for name in (NEXT, LAST, PREVIOUS):
        if (folder / name).exists():
            try:
                return load_checkpoint(folder / name), wrong
            except NetspecError as error:
                wrong.append(error.diagnostics[0].message)
    raise NetspecError.simple(
        codes.RUN_CHECKPOINT, "; ".join(wrong) or f"{folder} holds no checkpoint",
        "the run cannot be continued: start a new one",
    )  # fmt: skip


def _digest(tensors: Mapping[str, NDArray[Any]], text: str) -> str:
    """Return a checksum of the text, and of every tensor with its name, type and shape."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        total.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _damaged(path: Path, reason: str) -> NetspecError:
    message = f"the checkpoint {path} is damaged: {reason}"
    return NetspecError.simple(codes.RUN_CHECKPOINT, message)
