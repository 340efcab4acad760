"""What tests ask of errors."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from netspec.diagnostics import NetspecError


def fails(code: str, *parts: str) -> AbstractContextManager[pytest.ExceptionInfo[NetspecError]]:
    """A block that raises a `NetspecError` of this code; its text has these patterns, in order."""
    return pytest.raises(NetspecError, match="(?s)" + ".*".join([rf"\[{code}\]", *parts]))
