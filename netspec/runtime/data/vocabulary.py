"""The tokens that a text is made of: its characters, or its bytes."""

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

KINDS = ("char", "byte")
_BYTES = 256


@dataclass(frozen=True)
class Vocabulary:
    """What each token stands for.

    Attributes:
        kind: One of `KINDS`.
        characters: The characters, in the order of their tokens; empty for bytes.
    """

    kind: str
    characters: str = ""

    @classmethod
    def of(cls, kind: str, text: str) -> Vocabulary:
        """Return the vocabulary of a text: its characters in the order of Unicode, or all bytes."""
        return cls(kind, "".join(sorted(set(text))) if kind == "char" else "")

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.characters) if self.kind == "char" else _BYTES

    def names(self) -> tuple[str, ...]:
        """Return a name for each token, such as `'a'`."""
        if self.kind == "char":
            return tuple(map(ascii, self.characters))
        return tuple(f"{byte:#04x}" for byte in range(_BYTES))

    def encode(self, text: str, name: str) -> NDArray[np.int32]:
        """Return the tokens of a text; `name` says in messages what it is.

        Raises:
            NetspecError: `data/bad-file` for a character that is not among them, with its place.
        """
        if self.kind == "byte":
            return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)
        points = np.frombuffer(text.encode("utf-32-le"), "<u4")
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

    def decoder(self) -> Decoder:
        """Return what makes a text of tokens, one at a time."""
        return Decoder(self)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become U+FFFD."""
        decoder = self.decoder()
        return "".join(map(decoder.next, tokens)) + decoder.end()

    def to_json(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({"kind": self.kind, "characters": self.characters})

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Read the output of `to_json`; the text is not trusted.

        Raises:
            NetspecError: `weights/bad-file` if anything in it is wrong.
        """
        try:
            content: Any = json.loads(text)
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NetspecError.simple(
                codes.WEIGHTS_BAD_FILE, f"the stored vocabulary is damaged: {error}"
            ) from None
        return cls(kind, characters)


class Decoder:
    """Makes a text of tokens as they come; a character of several bytes comes with its last one."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._characters = vocabulary.characters
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: int) -> str:
        """Return the text that this token completes."""
        if self._characters:
            return self._characters[token]
        return self._bytes.decode(bytes([token]))

    def end(self) -> str:
        """Return what an incomplete character at the end is shown as."""
        return self._bytes.decode(b"", final=True)
