"""Tokens of a `tokenizer.json`, as the package `tokenizers` (of Hugging Face) writes and reads it.

The file is not trusted: the package compiles it to data, and what goes wrong there is an ordinary error.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import Code, NetspecError
from netspec.runtime.data.files import read_text
from netspec.runtime.data.held_stderr import held_stderr
from netspec.runtime.data.vocabulary import Vocabulary, require_characters

if TYPE_CHECKING:
    import tokenizers

SUFFIX = ".json"
KIND = "tokenizers"
# The limits on a file, and on the number of its tokens, each of which has a name in a weights file.
MAX_BYTES = 1 << 25
MAX_TOKENS = 1 << 18
# How a decoder shows bytes that are no whole character yet.
_INCOMPLETE = "\ufffd"


def require_tokenizers() -> None:
    """Check that the package is installed.

    Raises:
        NetspecError: `library/tokenizers` if it is not.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_TOKENIZERS,
            "tokenizer files are read with the package tokenizers, which is not installed",
            "pip install 'netspec-dsl[tokenizers]', or choose --tokens char or byte",
        ) from None


@dataclass(frozen=True)
class TokenizerVocabulary(Vocabulary):
    """The tokens of a tokenizer. Nothing is added around a text, cut off or filled up.

    Attributes:
        content: The text of its file.

    Raises:
        NetspecError: `library/tokenizers`, `data/bad-file`.
    """

    content: str

    def __post_init__(self) -> None:
        highest = max(self._tokens.values(), default=-1)
        if not 0 <= highest < MAX_TOKENS:
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"the tokenizer's last token is {highest:,}: tokens may go up to {MAX_TOKENS - 1:,}"
                if highest >= 0
                else "the tokenizer has no tokens",
            )

    @classmethod
    def of_file(cls, path: Path) -> TokenizerVocabulary:
        """Read a file.

        Raises:
            NetspecError: `library/tokenizers`, `data/missing-file`, `data/bad-file`.
        """
        if not path.is_file():
            raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
        content = read_text(path, MAX_BYTES)
        try:
            return cls(content)
        except NetspecError as error:
            (found,) = error.diagnostics
            if found.code == codes.LIBRARY_TOKENIZERS:
                raise
            raise NetspecError.simple(codes.DATA_BAD_FILE, f"{path}: {found.message}") from None

    @classmethod
    def of_content(cls, content: Any) -> TokenizerVocabulary:
        """Return what `to_json` wrote, read as JSON; it is not trusted.

        Raises:
            ValueError, KeyError, TypeError: if anything in it is wrong.
            NetspecError: as for the class.
        """
        packed = base64.b64decode(content["packed"], validate=True)
        unpacking = zlib.decompressobj()
        try:
            found = unpacking.decompress(packed, MAX_BYTES + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(found) > MAX_BYTES or not unpacking.eof:
            raise ValueError(f"a tokenizer of more than {MAX_BYTES:,} bytes, or a part of one")
        return cls(found.decode("utf-8"))

    def to_json(self) -> str:
        """See `Vocabulary`; the file is packed, as weights files limit the signs in their header."""
        packed = base64.b64encode(zlib.compress(self.content.encode("utf-8"))).decode("ascii")
        return json.dumps({"kind": KIND, "packed": packed})

    def file(self) -> bytes:
        """See `Vocabulary`."""
        return self.content.encode("utf-8")

    @cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        require_tokenizers()
        from tokenizers import Tokenizer

        with _reported("the tokenizer is not one that can be used"):
            found = Tokenizer.from_str(self.content)
            found.no_truncation()
            found.no_padding()
        return found

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return self._tokenizer.get_vocab(with_added_tokens=True)

    @property
    def size(self) -> int:
        """See `Vocabulary`: one more than the last token, as numbers may be left out."""
        return max(self._tokens.values()) + 1

    def names(self) -> tuple[str, ...]:
        """See `Vocabulary`."""
        found = list(map(str, range(self.size)))
        for text, token in self._tokens.items():
            found[token] = ascii(text)
        return tuple(found)

    def encode(self, text: str, name: str) -> NDArray[np.int32]:
        """See `Vocabulary`."""
        require_characters(text, name)
        with _reported(f"the tokenizer fails at {name}"):
            found = np.asarray(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
        if found.size and found.max() >= self.size:
            raise NetspecError.simple(
                codes.DATA_BAD_FILE,
                f"the tokenizer makes a token {found.max():,} of {name}, and has {self.size:,}",
            )
        return found.astype(np.int32)

    def decoder(self, before: Sequence[int] = ()) -> _Decoder:
        """See `Vocabulary`."""
        return _Decoder(self._tokenizer, before)


class _Decoder:
    """Decodes the last tokens with each new one, because what a token stands for depends on those
    before it: a space in front is left out at the start of a text.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._before = [*before]
        self._waiting: list[int] = []

    def next(self, token: int) -> str:
        """Return the text that this token completes."""
        self._waiting.append(token)
        found = self._text()
        if not found or found.endswith(_INCOMPLETE):
            return ""
        self._before, self._waiting = self._waiting, []
        return found

    def end(self) -> str:
        """Return what an incomplete character at the end is shown as."""
        return self._text()

    def _text(self) -> str:
        """Return the text of the tokens that wait."""
        shown = self._decoded(self._before)
        return self._decoded([*self._before, *self._waiting])[len(shown) :]

    def _decoded(self, tokens: list[int]) -> str:
        with _reported("the tokenizer fails at tokens"):
            return self._tokenizer.decode(tokens, skip_special_tokens=False)


@contextmanager
def _reported(what: str, code: Code = codes.DATA_BAD_FILE) -> Iterator[None]:
    """Make an ordinary error of the package's: it raises `Exception` itself, and panics aloud."""
    try:
        with held_stderr():
            yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise NetspecError.simple(code, f"{what}: {reason}") from None
