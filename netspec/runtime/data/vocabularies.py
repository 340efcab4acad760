"""The kinds of vocabularies: which one `--tokens` means, and which one a weights file keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name
from netspec.runtime.data.plain_vocabulary import KINDS, PlainVocabulary
from netspec.runtime.data.tokenizer_vocabulary import KIND, SUFFIX, TokenizerVocabulary
from netspec.runtime.data.vocabulary import Vocabulary


def tokenizer_file(tokens: str) -> Path | None:
    """Return the file that a kind of tokens names; None for one of `KINDS` and an unknown one."""
    return Path(tokens).expanduser() if tokens.endswith(SUFFIX) else None


def check_tokens(tokens: str) -> None:
    """Refuse a kind of tokens that there is not.

    Raises:
        NetspecError: `train/bad-option`.
    """
    if tokenizer_file(tokens) is None:
        check_name("kind of tokens", tokens, (*KINDS, f"FILE{SUFFIX}"))


def vocabulary_of(tokens: str, text: str) -> Vocabulary:
    """Return the vocabulary of a text: by its characters, by bytes, or that of a tokenizer's file.

    Raises:
        NetspecError: `train/bad-option`, and as for `TokenizerVocabulary.of_file`.
    """
    check_tokens(tokens)
    path = tokenizer_file(tokens)
    return PlainVocabulary.of(tokens, text) if path is None else TokenizerVocabulary.of_file(path)


def fixed_vocabulary(tokens: str) -> Vocabulary:
    """Return a vocabulary that does not depend on a text: bytes, or that of a tokenizer's file.

    Raises:
        NetspecError: `train/bad-option` for another, and as for `TokenizerVocabulary.of_file`.
    """
    path = tokenizer_file(tokens)
    if path is not None:
        return TokenizerVocabulary.of_file(path)
    check_name("vocabulary", tokens, ("byte", f"FILE{SUFFIX}"))
    return PlainVocabulary(tokens)


def from_json(text: str) -> Vocabulary:
    """Read what `Vocabulary.to_json` gave; the text is not trusted.

    Raises:
        NetspecError: `weights/bad-file` if anything in it is wrong, `library/tokenizers`.
    """
    try:
        content: Any = json.loads(text)
        kind = TokenizerVocabulary if content["kind"] == KIND else PlainVocabulary
        return kind.of_content(content)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error)
    except NetspecError as error:
        if error.diagnostics[0].code == codes.LIBRARY_TOKENIZERS:
            raise
        reason = error.diagnostics[0].message
    raise NetspecError.simple(codes.WEIGHTS_BAD_FILE, f"the stored vocabulary is damaged: {reason}")
