"""Plain text as a data set: windows of tokens, whose targets are the tokens that come next."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.files import read_text
from netspec.runtime.data.vocabularies import check_tokens, vocabulary_of
from netspec.runtime.data.vocabulary import Vocabulary

SUFFIX = ".txt"
# The limit on the size of a file; a token takes 12 bytes in memory.
MAX_BYTES = 1 << 29
# The last part of a text is for testing.
_TESTED = 10
DEFAULT_LENGTH = 64


def load_text(
    path: Path,
    input_shape: tuple[int, ...] | None = None,
    *,
    tokens: str = "char",
    vocabulary: Vocabulary | None = None,
) -> Dataset:
    """Load a text file as windows of T tokens (N, T), with the next token for each (N, T).

    The text is in UTF-8; only for bytes it may be any file.
    Windows follow each other without overlap. The first nine tenths of the text are for training, the
    rest for testing, so that validation images, the last ones for training, are a part in between.

    Args:
        path: The file.
        input_shape: (T,) of the network's input; None takes 64.
        tokens: `char`, `byte`, or the path of a `tokenizer.json`.
        vocabulary: The known one of trained weights; None takes the one of this text.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`, `train/bad-option`,
            `library/tokenizers`.
    """
    check_tokens(tokens)
    shape = input_shape or (DEFAULT_LENGTH,)
    if len(shape) != 1:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{path.stem} is text, and the network's input is [{', '.join(map(str, shape))}]",
            "an input of tokens is `input tokens: int[T]`, read by `embedding(vocabulary, width)`",
        )
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    any_bytes = tokens == "byte" if vocabulary is None else vocabulary.any_bytes
    text = read_text(path, MAX_BYTES, any_bytes=any_bytes)
    vocabulary = vocabulary or vocabulary_of(tokens, text)
    found = vocabulary.encode(text, path.name)
    (length,) = shape
    count = (len(found) - 1) // length
    if count < 2:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{path.name} has {len(found):,} tokens: too few for two windows of {length}, and the"
            " token behind them",
        )
    x = found[: count * length].reshape(count, length)
    y = found[1 : count * length + 1].reshape(count, length).astype(np.int64)
    cut = count - max(1, count // _TESTED)
    return Dataset(
        path.stem, x[:cut], y[:cut], x[cut:], y[cut:], vocabulary.size,
        class_names=vocabulary.names(), vocabulary=vocabulary,
    )  # fmt: skip
