"""The encoder of BERT in plain PyTorch, with the modules and the names of Hugging Face's `BertModel`."""

from __future__ import annotations

import torch
from torch import nn

EPS = 1e-12


def holder(**modules: nn.Module) -> nn.Module:
    """Return a module that only holds others."""
    made = nn.Module()
    for name, module in modules.items():
        made.add_module(name, module)
    return made


class Layer(nn.Module):
    """A layer of the encoder, with post-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        names = ("query", "key", "value")
        self.attention = holder(
            self=holder(**{name: nn.Linear(width, width) for name in names}),
            output=holder(dense=nn.Linear(width, width), LayerNorm=nn.LayerNorm(width, EPS)),
        )
        self.intermediate = holder(dense=nn.Linear(width, 4 * width))
        self.output = holder(dense=nn.Linear(4 * width, width), LayerNorm=nn.LayerNorm(width, EPS))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = self.attention.get_submodule("self")
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (own.query, own.key, own.value)
        )
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        scores = scores + (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        y = (scores.softmax(3) @ v).transpose(1, 2).flatten(2)
        x = self.attention.output.LayerNorm(x + self.attention.output.dense(y))
        y = nn.functional.gelu(self.intermediate.dense(x))
        return self.output.LayerNorm(x + self.output.dense(y))


class Bert(nn.Module):
    """The encoder, without dropout."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, positions: int
    ) -> None:
        super().__init__()
        self.embeddings = holder(
            word_embeddings=nn.Embedding(vocabulary, width, padding_idx=0),
            position_embeddings=nn.Embedding(positions, width),
            token_type_embeddings=nn.Embedding(2, width),
            LayerNorm=nn.LayerNorm(width, EPS),
        )
        self.encoder = holder(layer=nn.ModuleList(Layer(width, heads) for _ in range(layers)))
        self.pooler = holder(dense=nn.Linear(width, width))

    def forward(
        self, input_ids: torch.Tensor, token_type_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        places = torch.arange(input_ids.shape[1])
        x = self.embeddings.word_embeddings(input_ids)
        x = x + self.embeddings.position_embeddings(places)
        x = self.embeddings.LayerNorm(x + self.embeddings.token_type_embeddings(token_type_ids))
        for layer in self.encoder.layer:
            x = layer(x, attention_mask)
        return {"last_hidden_state": x, "pooler_output": self.pooler.dense(x[:, 0]).tanh()}
