"""Parameters of a test, some of which are heavy."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def some_heavy(values: Iterable[Any], heavy: Container[Any]) -> list[Any]:
    """Return all values as parameters of a test; those in `heavy` are run by `make test-all` alone."""
    return [pytest.param(v, marks=[pytest.mark.heavy] if v in heavy else []) for v in values]


def some_quick(values: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """Return all values as parameters of a test; those not in `quick` are heavy."""
    listed = list(values)
    return some_heavy(listed, [value for value in listed if value not in quick])
