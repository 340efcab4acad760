"""Golden files: expected texts, beside the inputs that produce them.

`UPDATE_GOLDEN=1 pytest tests` writes the actual texts. Read the difference before you commit it.
"""

from __future__ import annotations

import difflib
import os
from itertools import islice
from pathlib import Path

import pytest


def check_golden(path: Path, actual: str) -> None:
    """Compare a text with a golden file, or update the file."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(actual, "utf-8")
    assert path.is_file(), f"{path.name} is missing; UPDATE_GOLDEN=1 writes it"
    kept = path.read_text("utf-8")
    if actual != kept:  # pytest shows a part of two long texts, and not where they differ
        lines = difflib.unified_diff(
            kept.splitlines(), actual.splitlines(), path.name, "now", n=1, lineterm=""
        )
        shown = "\n".join(islice(lines, 60))
        pytest.fail(f"{path.name} is another now; UPDATE_GOLDEN=1 writes it\n{shown}")
