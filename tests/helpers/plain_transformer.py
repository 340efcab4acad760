"""PyTorch's `nn.Transformer` with the embeddings and the names of its tutorial on translation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """The vectors of tokens, and sinusoids of their places (Vaswani et al. 2017)."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) to (N, T, C)."""
        places = torch.arange(tokens.shape[1]).double()[:, None]
        angles = places / 10000 ** (torch.arange(0, self.width, 2).double() / self.width)
        sinusoids = torch.zeros(tokens.shape[1], self.width, dtype=torch.float64)
        sinusoids[:, 0::2] = angles.sin()
        sinusoids[:, 1::2] = angles.cos()
        return self.embedding(tokens) * self.width**0.5 + sinusoids


class Transformer(nn.Module):
    """A transformer between two vocabularies, without dropout."""

    def __init__(
        self, source_vocabulary: int, target_vocabulary: int, width: int, layers: int, heads: int,
        hidden: int, positions: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.transformer = nn.Transformer(
            width, heads, layers, layers, hidden, dropout=0.0, batch_first=True
        )
        self.generator = nn.Linear(width, target_vocabulary)
        self.src_tok_emb = Embedding(source_vocabulary, width)
        self.tgt_tok_emb = Embedding(target_vocabulary, width)

    def forward(
        self, source: Tensor, target: Tensor, source_mask: Tensor, target_mask: Tensor
    ) -> dict[str, Tensor]:
        """(N, S) and (N, T) with their masks to (N, T, target_vocabulary)."""
        length = target.shape[1]
        x = self.transformer(
            self.src_tok_emb(source),
            self.tgt_tok_emb(target),
            tgt_mask=torch.ones(length, length, dtype=torch.bool).triu(1),
            src_key_padding_mask=~source_mask,
            tgt_key_padding_mask=~target_mask,
            memory_key_padding_mask=~source_mask,
        )
        return {"output": self.generator(x)}
