"""`netspec generate RUN`, `netspec generate FILE --weights W`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import emit, emit_piece, natural, positive, tell
from netspec.cli.trained_net import Trained, add_weight_options, load_trained
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.runtime.data.vocabulary import Decoder, Vocabulary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_weight_options(parser, pictures=False)
    parser.add_argument("--prompt", default="\n", metavar="TEXT",
                        help="what to go on from (default the end of a line)")  # fmt: skip
    parser.add_argument("--tokens", metavar="TOKENS",
                        help="byte, or a tokenizer.json, for weights of a net that was trained on arrays"
                        " of tokens; those of a text say it themselves")  # fmt: skip
    parser.add_argument("--length", type=natural, default=500, metavar="N",
                        help="how many tokens to write (default 500)")  # fmt: skip
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T",
                        help="below 1 more of the likely, 0 the likeliest alone (default 1)")  # fmt: skip
    parser.add_argument("--top-k", type=positive, metavar="K",
                        help="draw from the K likeliest tokens")  # fmt: skip
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P",
                        help="draw from the fewest likeliest whose probabilities sum to P")  # fmt: skip
    parser.add_argument("--seed", type=natural, default=0, metavar="S",
                        help="equal seeds give equal texts (default 0)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Write the prompt and what follows it, each token as it comes."""
    from netspec.runtime.models.continuing import why_not_continued
    from netspec.runtime.models.generation import Sampling

    # Before the weights are read, for its errors.
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    trained = load_trained(options)
    vocabulary = _vocabulary(trained, options.tokens)
    sampling = replace(sampling, known=vocabulary.size)
    why = why_not_continued(trained.model.graph)
    if why is not None:
        tell(f"note: each token is computed from the whole window: {why}")
    prompt = vocabulary.encode(options.prompt, "the prompt").tolist()
    tokens = trained.model.generate(prompt, options.length, sampling)
    if options.format == "json":
        found = [*tokens]
        text = vocabulary.decode(found, prompt)
        emit(json.dumps({"prompt": options.prompt, "text": text, "tokens": found}, indent=2))
        return OK
    emit_piece(options.prompt.removeprefix("\n"))
    for piece in _pieces(vocabulary.decoder(prompt), tokens):
        emit_piece(piece)
    emit("")
    return OK


def _pieces(decoder: Decoder, tokens: Iterator[int]) -> Iterator[str]:
    yield from map(decoder.next, tokens)
    yield decoder.end()


def _vocabulary(trained: Trained, tokens: str | None) -> Vocabulary:
    """Return the vocabulary that is stored with the weights, or else the given one.

    Raises:
        NetspecError: `usage/weights` if there is none, or both, or it has more tokens than the net
            scores for; `train/bad-option` for an unknown kind, and as for a tokenizer's file.
    """
    from netspec.runtime.data.vocabularies import fixed_vocabulary
    from netspec.runtime.weights.data_facts import stored_vocabulary

    found = stored_vocabulary(trained.weights.metadata)
    if found is not None and tokens is not None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            f"{trained.path} says itself what its tokens stand for: leave out --tokens",
        )
    if tokens is not None:
        found = fixed_vocabulary(tokens)
    if found is None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            f"{trained.path} does not say what its tokens stand for",
            "give --tokens tokenizer.json, or train on a text: netspec train FILE --data book.txt",
        )
    if found.size > trained.model.classes:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            f"the net has scores for {trained.model.classes} tokens, and the vocabulary of"
            f" {trained.path} has {found.size}",
        )
    return found
