"""The ops, one file each. The registry finds the files in this folder; there is no list to edit."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator, Mapping

from netspec.compiler.ir.op import REGISTERED, Op


class _Registry(Mapping[str, type[Op]]):
    """The ops by name, in alphabetical order.

    The file of an op is imported when the op is asked for.
    """

    def __init__(self) -> None:
        # pkgutil would find them too, but importing it takes ten times as long.
        splits = (os.path.splitext(name) for name in os.listdir(__path__[0]))
        found = (name for name, ending in splits if ending == ".py")
        self._names = sorted(name for name in found if name != "__init__")

    def __getitem__(self, name: str) -> type[Op]:
        if name not in REGISTERED:
            if name not in self._names:
                raise KeyError(name)
            importlib.import_module(f"{__name__}.{name}")
        return REGISTERED[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


@functools.cache
def registry() -> Mapping[str, type[Op]]:
    """Return all ops by name. They are found in the files of this folder, not listed.

    A file is named after its op, so that a net loads the ops it uses and no others.
    """
    return _Registry()


DECLARED = ("parameter", "buffer", "constant")
"""The words that declare a net's own numbers, each of which is a layer of the graph."""


def declared_op(kind: str) -> type[Op]:
    """Return the op of what is declared with a word of `DECLARED`, and never called."""
    from netspec.compiler.ops.families import declared

    return declared.DECLARED[kind]


def scan_op() -> type[Op]:
    """Return the op of scan blocks, which are called by their own names."""
    from netspec.compiler.ops.families.scan import Scan

    return Scan
