"""An editor without an editor: texts with a `|` where the cursor is."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.language_server.analysis import Analysis, analyze
from tests.conftest import ROOT

LENET = (ROOT / "networks/lenet.net").read_text("utf-8")


def analyzed(text: str, before: Analysis | None = None, folder: Path | None = None) -> Analysis:
    return analyze(text, "a.net", folder, before=before)


def with_cursor(text: str) -> tuple[str, int]:
    """Return a text without its only `|`, and where that was."""
    assert text.count("|") == 1, text
    return text.replace("|", ""), text.index("|")


@pytest.fixture(scope="session")
def lenet() -> Analysis:
    return analyzed(LENET)
