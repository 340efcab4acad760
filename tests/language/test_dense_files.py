"""What 64 KB can ask for at most: time in proportion to the layers, and little memory.

`python -m tests.helpers.dense_files` prints what each verb takes for each text.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.dense_files import IMPORTED, SIZE, TEXTS, VERBS, cost, make

# Measured were 2.7 s at most (PyTorch modules), and 3.8 s where ten processes shared two processors.
LONGEST = 10.0
MEGABYTES = 500


def test_texts_are_as_large_as_they_are_meant() -> None:
    sizes = {name: len(text()) for name, text in TEXTS.items()}
    assert all(size <= SIZE for size in sizes.values())
    assert sum(size > 0.95 * SIZE for size in sizes.values()) > 12


@pytest.mark.heavy
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", [*TEXTS, *IMPORTED])
def test_a_dense_file_takes_bounded_time_and_memory(tmp_path: Path, name: str, verb: str) -> None:
    make(tmp_path, name)
    found = cost(tmp_path, verb)
    assert found.code in (0, 1, 2), found.said  # 2: `diff` of what has an error
    assert "Traceback" not in found.said
    assert found.megabytes < MEGABYTES
    assert found.seconds < LONGEST
