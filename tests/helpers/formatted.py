"""Generated Python as ruff would write it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


def check_formatted(sources: Mapping[str, str]) -> None:
    """Check that `ruff format` would change nothing, and that `ruff check` finds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources.items():
            (Path(folder) / f"{name}.py").write_text(source, "utf-8")
        for command in (["format", "--diff"], ["check", "--select", "E4,E7,E9,F,W,I,UP,B"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "88"]
            done = subprocess.run(
                [*ruff, "--no-cache", folder], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
