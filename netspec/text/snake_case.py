"""Names of classes as names of functions."""

import functools


@functools.lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """Return `BasicBlock` as `basic_block`."""
    out = ""
    for i, char in enumerate(name):
        if char.isupper() and i and not name[i - 1].isupper() and name[i - 1] != "_":
            out += "_"
        out += char.lower()
    return out
