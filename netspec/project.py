"""The project's address, in the one place that has it."""

from __future__ import annotations

# Such as https://example.org/netspec, without a slash at the end; empty until the owner sets it.
# The same address then goes under `[project.urls]` in pyproject.toml.
REPOSITORY = ""
# Where the site is, such as https://example.org/netspec/site, in the same way.
SITE = ""


def where_to_report() -> str:
    """Return ` at ADDRESS` for a sentence about reporting a bug; empty while there is no address."""
    return f" at {REPOSITORY}/issues" if REPOSITORY else ""


def page_about(code: str) -> str | None:
    """Return the address of the site's page about a code; None while the site has no address."""
    return f"{SITE}/codes/{code}.html" if SITE else None


def where_explained(code: str) -> str:
    """Return where a code is explained: its page, or the command while the site has no address."""
    return page_about(code) or f"netspec explain {code}"
