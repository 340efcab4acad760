"""The attributes in which objects of a class keep its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable

from netspec.compiler.syntax import labels

_ATTRIBUTE = re.compile(r"\bself\.([A-Za-z_]\w*)")


class Kept:
    """What attributes are called: as the arguments, unless a layer has that name.

    Args:
        arguments: the arguments of the class.
        modules: the attributes of its layers.
    """

    def __init__(self, arguments: Iterable[str], modules: Iterable[str]) -> None:
        taken = set(modules)
        self._names: dict[str, str] = {}
        for own in arguments:
            name = own.lstrip("_")
            if not name[:1].isalpha():  # nothing, or a number
                name = f"argument{name}"
            while name in taken or labels.problem(name) is not None:
                name += "_"
            taken.add(name)
            self._names[own] = name
        self._arguments = {name: own for own, name in self._names.items()}

    def attribute(self, argument: str) -> str:
        """`self.width`, for an argument as `forward` writes it."""
        return f"self.{self._names.get(argument, argument)}"

    def argument(self, attribute: str) -> str:
        """The argument that an attribute holds."""
        return self._arguments.get(attribute, attribute)

    def in_constructor(self, text: str) -> str:
        """An expression of `forward` over arguments, as the constructor writes it."""
        return _ATTRIBUTE.sub(lambda match: self.argument(match[1]), text)
