"""Machine code whose threads share even the smallest loops, however many processors there are."""

from __future__ import annotations

import pytest

from netspec.kernels import parallel
from netspec.runtime.engine.native import code

# For `CFLAGS`: every loop is worth to be shared, and sums of linear layers are made in pieces.
SHARED = "-DPRODUCTS=0 -DNUMBERS=0 -DPIECE=3"


def share_everything(monkeypatch: pytest.MonkeyPatch, processors: int = 8) -> None:
    """Let passes have as many threads as were asked for, as if there were so many processors."""
    monkeypatch.setattr(code, "WORTH_A_TEAM", -1)
    monkeypatch.setattr(parallel, "available", lambda: processors)
