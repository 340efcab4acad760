"""A slice of the fuzzer; `python -m tests.helpers.fuzz --seconds 3600` is the whole of it."""

from __future__ import annotations

import subprocess
import sys

from tests.helpers.fuzz import ROOT


def test_sixty_seconds_of_fuzzing(tmp_path):
    """In a process of its own, so that its memory is measured alone."""
    command = [sys.executable, "-m", "tests.helpers.fuzz", "--worker", "--seconds", "60"]
    command += ["--out", str(tmp_path / "found"), "--seed", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = "\n".join(p.read_text() for p in sorted((tmp_path / "found").glob("*.txt"))[:3])
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{found}"
