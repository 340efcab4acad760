"""What the tokens of a text stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError


class Decoder(Protocol):
    """Makes a text of tokens as they come; a character of several tokens comes with its last one."""

    def next(self, token: int) -> str:
        """Return the text that this token completes."""

    def end(self) -> str:
        """Return what an incomplete character at the end is shown as."""


class Vocabulary(ABC):
    """Tokens from 0 on, and the text that each stands for.

    A text may have bytes that are no UTF-8, as Python reads them with `surrogateescape`.
    """

    @property
    def any_bytes(self) -> bool:
        """Whether bytes that are no UTF-8 have tokens too."""
        return False

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


def as_bytes(text: str, name: str) -> bytes:
    """Return the bytes that a text was read from; `name` says in messages what it is.

    Raises:
        NetspecError: `data/bad-file` for half of a surrogate pair, which no bytes are read as.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _no_character(text, error.start, name) from None


def require_characters(text: str, name: str) -> None:
    """Check that a text has no bytes that are no UTF-8.

    Raises:
        NetspecError: `data/bad-file`.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _no_character(text, error.start, name) from None


def _no_character(text: str, at: int, name: str) -> NetspecError:
    line = text.count("\n", 0, at) + 1
    return NetspecError.simple(
        codes.DATA_BAD_FILE, f"{name} has {text[at]!a} in line {line}, which is no character"
    )
