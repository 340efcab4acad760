"""Golden files: expected texts beside the inputs that give them.

`UPDATE_GOLDEN=1 pytest tests` writes what came out; read the difference before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path


def check_golden(path: Path, actual: str) -> None:
    """Compare a text with the file that holds what it should be."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(actual, "utf-8")
    assert path.is_file(), f"{path.name} is missing; UPDATE_GOLDEN=1 writes it"
    assert actual == path.read_text("utf-8")
