"""Tokens that need no file to be known: the characters of a text, or its bytes."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.vocabulary import Vocabulary, as_bytes

KINDS = ("char", "byte")
_BYTES = 256


@dataclass(frozen=True)
class PlainVocabulary(Vocabulary):
    """Characters or bytes.

    Attributes:
        kind: One of `KINDS`.
        characters: The characters, in the order of their tokens; empty for bytes.
    """

    kind: str
    characters: str = ""

    @classmethod
    def of(cls, kind: str, text: str) -> PlainVocabulary:
        """Return the vocabulary of a text: its characters in the order of Unicode, or all bytes."""
        return cls(kind, "".join(sorted(set(text))) if kind == "char" else "")

    @classmethod
    def of_content(cls, content: Any) -> PlainVocabulary:
        """Return what `to_json` wrote, read as JSON; it is not trusted.

        Raises:
            ValueError, KeyError, TypeError: if anything in it is wrong.
        """
        kind, characters = content["kind"], content["characters"]
        # Each character once, in order, as `encode` searches them; surrogates are none.
        sound = (
            kind in KINDS
            and isinstance(characters, str)
            and list(characters) == sorted(set(characters))
        )
        if not sound or bool(characters) != (kind == "char"):
            raise ValueError("not a list of different characters in order")
        characters.encode("utf-8")
        return cls(kind, characters)

    @property
    def any_bytes(self) -> bool:
        """See `Vocabulary`."""
        return self.kind == "byte"

    @property
    def size(self) -> int:
        """See `Vocabulary`."""
        return len(self.characters) if self.kind == "char" else _BYTES

    def names(self) -> tuple[str, ...]:
        """See `Vocabulary`."""
        if self.kind == "char":
            return tuple(map(ascii, self.characters))
        return tuple(f"{byte:#04x}" for byte in range(_BYTES))

    def encode(self, text: str, name: str) -> NDArray[np.int32]:
        """See `Vocabulary`; an unknown character is an error with its line."""
        if self.any_bytes:
            return np.frombuffer(as_bytes(text, name), np.uint8).astype(np.int32)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        known = np.frombuffer(self.characters.encode("utf-32-le"), "<u4")
        found = np.searchsorted(known, points).clip(max=len(known) - 1)
        wrong = known[found] != points
        if wrong.any():
            at = int(wrong.argmax())
            line = text.count("\n", 0, at) + 1
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"{name} has the character {text[at]!a} in line {line}, which is not one of the"
                f" {len(known)} that the net was trained on",
                "bytes know every text: train with --tokens byte",
            )
        return found.astype(np.int32)

    def decoder(self, before: Sequence[int] = ()) -> _Decoder:
        """See `Vocabulary`."""
        return _Decoder(self.characters)

    def to_json(self) -> str:
        """See `Vocabulary`."""
        return json.dumps({"kind": self.kind, "characters": self.characters})


class _Decoder:
    """A decoder of characters, or of bytes if there are none."""

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: int) -> str:
        """Return the text that this token completes."""
        if self._characters:
            return self._characters[token]
        return self._bytes.decode(bytes([token]))

    def end(self) -> str:
        """Return what an incomplete character at the end is shown as."""
        return self._bytes.decode(b"", final=True)
