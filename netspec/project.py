"""Where the project lives: the one place with an address of it."""

from __future__ import annotations

# Such as https://example.org/netspec, without a slash at the end; empty until the owner sets it. The
# same address then goes under `[project.urls]` in pyproject.toml.
REPOSITORY = ""


def where_to_report() -> str:
    """` at ADDRESS` for a sentence about reporting a fault; nothing while there is no address."""
    return f" at {REPOSITORY}/issues" if REPOSITORY else ""
