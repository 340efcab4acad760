"""PyTorch's own operator samples, written as nets."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock


def flags_left_open() -> AbstractContextManager[Any]:
    """Import PyTorch's own tests, which else forbid this process to set any flag from then on."""
    from torch import backends

    return mock.patch.object(backends, "disable_global_flags")
