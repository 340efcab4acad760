"""The list of slow tests names tests that are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT, SLOW


@pytest.mark.heavy
def test_every_slow_test_is_there() -> None:
    files = sorted({line.partition("::")[0] for line in SLOW})
    options = ("--collect-only", "-q", "-m", "", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(done.stdout.splitlines()) >= SLOW, done.stderr
