"""Fixtures for tests of the project as a whole."""

from __future__ import annotations

import pytest


@pytest.fixture
def torch():
    """PyTorch on one thread.

    Its threads wait for each other in a busy loop, which is extremely slow when other tests use the
    processors too.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield torch
    torch.set_num_threads(threads)
