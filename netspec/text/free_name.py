"""A name that nothing has yet, made of the one that is wanted."""

from __future__ import annotations

from collections.abc import Container

# From here on numbers are not tried one by one: a file may have tens of thousands of one name.
_ONE_BY_ONE = 32


def free_name(
    wanted: str, taken: Container[str], *, joint: str = "_", stem: str | None = None
) -> str:
    """Return the wanted name, or one with a number from 2 that is free behind it: the first, if it is
    small; else one whose predecessor is taken.

    Args:
        wanted: the name.
        taken: the names that mean something already. The one that is returned is not added.
        joint: what stands between the name and its number.
        stem: what the number is put behind, if it is not the whole name.
    """
    if wanted not in taken:
        return wanted
    base = f"{wanted if stem is None else stem}{joint}"
    for number in range(2, _ONE_BY_ONE):
        if f"{base}{number}" not in taken:
            return f"{base}{number}"
    last, free = _ONE_BY_ONE - 1, 2 * _ONE_BY_ONE
    while f"{base}{free}" in taken:
        last, free = free, 2 * free
    while free - last > 1:
        middle = (last + free) // 2
        if f"{base}{middle}" in taken:
            last = middle
        else:
            free = middle
    return f"{base}{free}"


def take_name(wanted: str, taken: set[str], *, joint: str = "_", stem: str | None = None) -> str:
    """Return what `free_name` does, and add it to those that are taken."""
    name = free_name(wanted, taken, joint=joint, stem=stem)
    taken.add(name)
    return name
