"""PyTorch's own operator samples, written as nets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def flags_left_open() -> Iterator[None]:
    """Import PyTorch's own tests, which forbid this process to set any of its flags from then on."""
    from torch import backends

    try:
        yield
    finally:
        setattr(backends, "__allow_nonbracketed_mutation_flag", True)
