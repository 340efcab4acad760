"""What the tokens of a text stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Decoder(Protocol):
    """Makes a text of tokens as they come; a character of several tokens comes with its last one."""

    def next(self, token: int) -> str:
        """Return the text that this token completes."""

    def end(self) -> str:
        """Return what an incomplete character at the end is shown as."""


class Vocabulary(ABC):
    """Tokens from 0 on, and the text that each stands for."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of tokens."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return a name for each token, such as `'a'`."""

    @abstractmethod
    def encode(self, text: str, name: str) -> NDArray[np.int32]:
        """Return the tokens of a text; `name` says in messages what it is.

        Raises:
            NetspecError: `data/bad-file` for a text that the tokens cannot make.
        """

    @abstractmethod
    def decoder(self, before: Sequence[int] = ()) -> Decoder:
        """Return what makes a text of tokens, one at a time, where `before` are those in front."""

    @abstractmethod
    def to_json(self) -> str:
        """Return it as a line of JSON, which `vocabularies.from_json` reads."""

    def file(self) -> bytes | None:
        """Return the contents of the file that it was read from; None if it was from none."""
        return None

    def decode(self, tokens: Sequence[int], before: Sequence[int] = ()) -> str:
        """Return the text of tokens behind others; bytes that are no UTF-8 become U+FFFD."""
        decoder = self.decoder(before)
        return "".join(map(decoder.next, tokens)) + decoder.end()
