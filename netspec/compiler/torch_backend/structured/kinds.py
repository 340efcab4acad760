"""Types of constants as Python has them."""

from __future__ import annotations

from typing import Any


def kind_of(value: Any, sequence: str) -> str:
    """The type of a constant; `sequence` is that of a list."""
    if not isinstance(value, tuple):
        return type(value).__name__
    types = set(map(type, value))
    if tuple in types:
        kinds = {kind_of(item, sequence) for item in value}
    else:  # there may be thousands of numbers
        kinds = {each.__name__ for each in types}
    kind = "float" if "float" in kinds else min(kinds, default="int")
    return f"{sequence}[{kind}{', ...' if sequence == 'tuple' else ''}]"
