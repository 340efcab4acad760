"""A random walk over the public Python API and the command line; see `tests.walk.__main__`."""

from __future__ import annotations

import pytest

from tests.walk.walker import walk


@pytest.mark.parametrize(
    ("seconds", "seed"), [(8, 15), pytest.param(60, 60, marks=pytest.mark.heavy)]
)
def test_a_random_walk_finds_nothing(seconds: int, seed: int) -> None:
    pytest.importorskip("torch")
    report = walk(seconds, seed=seed)
    assert not report.finds, "\n".join(report.finds)
    assert report.steps
