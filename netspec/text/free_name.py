"""A name that nothing has yet, made of the one that is wanted."""

from __future__ import annotations

from collections.abc import Container
from itertools import count


def free_name(
    wanted: str, taken: Container[str], *, joint: str = "_", stem: str | None = None
) -> str:
    """Return the wanted name, or one with the first number from 2 that is free behind it.

    Args:
        wanted: the name.
        taken: the names that mean something already. The one that is returned is not added.
        joint: what stands between the name and its number.
        stem: what the number is put behind, if it is not the whole name.
    """
    if wanted not in taken:
        return wanted
    base = wanted if stem is None else stem
    return next(name for n in count(2) if (name := f"{base}{joint}{n}") not in taken)


def take_name(wanted: str, taken: set[str], *, joint: str = "_", stem: str | None = None) -> str:
    """Return what `free_name` does, and add it to those that are taken."""
    name = free_name(wanted, taken, joint=joint, stem=stem)
    taken.add(name)
    return name
