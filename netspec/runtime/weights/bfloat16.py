"""bfloat16, which NumPy does not have: its 16 bits are the upper half of a float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def widened(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Convert bfloat16 numbers to float32, which holds each of them exactly.

    Args:
        bits: the numbers as uint16, of any byte order.
    """
    wide: NDArray[np.uint32] = np.left_shift(bits, 16, dtype=np.uint32)
    return wide.view(np.float32)
