"""The random numbers of dropout, which each process of a run draws for itself."""

from __future__ import annotations

import numpy as np
import torch


def seed_process(*numbers: int) -> None:
    """Seed PyTorch's generator with whole numbers: the seed of the run, the rank, and more if needed."""
    (state,) = np.random.SeedSequence([*numbers]).generate_state(1, np.uint64)
    torch.manual_seed(int(state >> np.uint64(1)))
