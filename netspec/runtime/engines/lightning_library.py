"""Lightning, which the base installation does not include."""

from __future__ import annotations

from netspec import codes
from netspec.diagnostics import NetspecError


def require_lightning() -> None:
    """Check that it is installed.

    Raises:
        NetspecError: `library/lightning` if it is not.
    """
    try:
        import lightning  # noqa: F401
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_LIGHTNING,
            "Lightning is not installed",
            "pip install 'netspec-dsl[lightning]'",
        ) from None
