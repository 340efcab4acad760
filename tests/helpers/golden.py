"""Golden files: expected texts, beside the inputs that produce them.

`UPDATE_GOLDEN=1 pytest tests` writes the actual texts. Read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path


def check_golden(path: Path, actual: str) -> None:
    """Compare a text with a golden file, or update the file."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(actual, "utf-8")
    assert path.is_file(), f"{path.name} is missing; UPDATE_GOLDEN=1 writes it"
    assert actual == path.read_text("utf-8")
