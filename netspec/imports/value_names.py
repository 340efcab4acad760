"""Names for the values of a body, none of which means anything else there."""

from __future__ import annotations

from netspec.compiler.ops import registry
from netspec.compiler.parse.tree_builder import KEYWORDS

_COMMON = ("y", "z", "u", "v", "w")


class Names:
    """The names that a body uses."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)
        # By a name without its number: the least number that may be free.
        self._least: dict[str, int] = {}

    def take(self, name: str) -> None:
        """Say that a name is used."""
        self._taken.add(name)

    def release(self, name: str) -> None:
        """Say that a name is not used any more."""
        self._taken.discard(name)
        end = len(name)
        while end and name[end - 1].isdigit():
            end -= 1
            self._least.pop(name[:end], None)

    def fresh(self, hint: str) -> str:
        """Return a name that is not used yet, like the hint if there is one, and use it."""
        usable = [hint] if self.can_be(hint) else []
        usable += [name for name in _COMMON if self.is_free(name)]
        name = usable[0] if usable else self._numbered(hint or "y")
        self.take(name)
        return name

    def can_be(self, hint: str) -> bool:
        """Whether a value can have a name that it would have elsewhere."""
        return bool(hint) and self.is_free(hint) and hint not in registry()

    def word(self, base: str) -> str:
        """Return a name for a constant, with a number behind it if need be, and use it."""
        name = base if self.is_free(base) else self._numbered(base)
        self.take(name)
        return name

    def _numbered(self, base: str) -> str:
        number = self._least.get(base, 2)
        while not self.is_free(f"{base}{number}"):
            number += 1
        self._least[base] = number
        return f"{base}{number}"

    def is_free(self, name: str) -> bool:
        """Whether a name means nothing yet."""
        return name not in self._taken and name not in KEYWORDS
