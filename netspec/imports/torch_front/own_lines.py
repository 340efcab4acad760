"""Which lines of a traceback are the model's own, and not PyTorch's or netspec's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache

from netspec import codes
from netspec.runtime.models.torch_build import require_torch


def innermost_own(frames: Iterable[tuple[str, int, str]]) -> tuple[str, int, str] | None:
    """Return the innermost of some frames (file, line, text of the line) that is the model's own.

    Code that no file holds, such as what `exec` ran, has no text to show and is passed over.
    """
    own = [frame for frame in frames if frame[2] and not frame[0].startswith(_packages())]
    return own[-1] if own else None


@cache
def _packages() -> tuple[str, ...]:
    """Return the folders of PyTorch and of netspec, each with a separator at its end.

    A model may well lie in a folder that is called `torch` or `netspec`: names of folders say
    nothing.
    """
    files = (str(require_torch().__file__), str(codes.__file__))
    return tuple(os.path.join(os.path.dirname(file), "") for file in files)
