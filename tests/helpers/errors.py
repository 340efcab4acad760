"""Checks of errors that tests share."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from netspec.diagnostics import NetspecError


def fails(code: str, *parts: str) -> AbstractContextManager[pytest.ExceptionInfo[NetspecError]]:
    """Expect a `NetspecError` with this code, whose text contains these patterns in order."""
    return pytest.raises(NetspecError, match="(?s)" + ".*".join([rf"\[{code}\]", *parts]))
