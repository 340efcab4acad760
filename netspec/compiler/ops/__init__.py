"""The ops, one file each. The registry finds the files in this folder; there is no list to edit."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator, Mapping

from netspec import codes
from netspec.compiler.ir.op import REGISTERED, Op
from netspec.diagnostics import NetspecError


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
            self._load(name)
        return REGISTERED[name]

    @staticmethod
    def _load(name: str) -> None:
        """Import the file of an op.

        Raises:
            NetspecError: `use/file` if its op has another name, or a member that no op has.
        """
        module, file = f"{__name__}.{name}", f"compiler/ops/{name}.py"
        try:
            importlib.import_module(module)
        except TypeError as error:  # `register` refuses a misspelt member, say
            raise NetspecError.simple(codes.USE_FILE, f"{file}: {error}") from error
        if name not in REGISTERED:
            raise NetspecError.simple(codes.USE_FILE, *_misnamed(name, module, file))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def _misnamed(name: str, module: str, file: str) -> tuple[str, str]:
    """Return what is wrong with a file without the op of its name, and what to do."""
    found = [op.name for op in REGISTERED.values() if op.__module__ == module]
    if not found:
        return f"{file} registers no op", f'write a class with `@register` and name = "{name}"'
    return (
        f"{file} registers `{found[0]}`, and a file has the name of its op",
        f"call the file {found[0]}.py",
    )


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
