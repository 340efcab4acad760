"""Nets that write, as one writes them in PyTorch: nanoGPT's GPT-2, layers of LSTM, and Llama."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal attention by several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        n, t, c = x.shape
        parts = self.c_attn(x).split(c, dim=2)
        q, k, v = (p.view(n, t, self.heads, c // self.heads).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(n, t, c))


class Layer(nn.Module):
    """One of the layers of the transformer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        x = x + self.attn(self.ln_1(x))
        y = functional.gelu(self.mlp["c_fc"](self.ln_2(x)))
        return x + self.mlp["c_proj"](y)


class Gpt2(nn.Module):
    """nanoGPT's `GPT`, without dropout."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, positions: int
    ) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocabulary, width),
                "wpe": nn.Embedding(positions, width),
                "h": nn.ModuleList(Layer(width, heads) for _ in range(layers)),
                "ln_f": nn.LayerNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) to (N, T, vocabulary)."""
        places = torch.arange(tokens.shape[1])
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](places)
        for layer in self.transformer["h"]:
            x = layer(x)
        return self.lm_head(self.transformer["ln_f"](x))


class CharLstm(nn.Module):
    """char-rnn's layers of LSTM, without dropout."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) to (N, T, vocabulary)."""
        return self.head(self.lstm(self.embedding(tokens))[0])


class RmsNorm(nn.Module):
    """`LlamaRMSNorm`."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Rotary(nn.Module):
    """`LlamaRotaryEmbedding`: the cosines and sines of each place, once for each half of a head."""

    def __init__(self, size: int, theta: float = 10000.0) -> None:
        super().__init__()
        rates = 1.0 / theta ** (torch.arange(0, size, 2).double() / size)
        self.register_buffer("inv_freq", rates, persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """T to twice (T, D)."""
        half = torch.outer(torch.arange(length).double(), self.inv_freq)
        angles = torch.cat((half, half), dim=-1)
        return angles.cos(), angles.sin()


def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`apply_rotary_pos_emb`, for x (N, H, T, D)."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class GroupedAttention(nn.Module):
    """`LlamaAttention`: each head of keys and values is read by a group of queries."""

    def __init__(self, width: int, heads: int, shared: int) -> None:
        super().__init__()
        size = width // heads
        self.q_proj = nn.Linear(width, heads * size, bias=False)
        self.k_proj = nn.Linear(width, shared * size, bias=False)
        self.v_proj = nn.Linear(width, shared * size, bias=False)
        self.o_proj = nn.Linear(heads * size, width, bias=False)
        self.size, self.group = size, heads // shared

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        n, t, c = x.shape
        q, k, v = (
            project(x).view(n, t, -1, self.size).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = turned(q, cosine, sine), turned(k, cosine, sine)
        k, v = (each.repeat_interleave(self.group, dim=1) for each in (k, v))
        scores = q @ k.transpose(2, 3) / self.size**0.5
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        shares = scores.masked_fill(later, -torch.inf).softmax(-1)
        return self.o_proj((shares @ v).transpose(1, 2).reshape(n, t, c))


class LlamaLayer(nn.Module):
    """`LlamaDecoderLayer`."""

    def __init__(self, width: int, heads: int, shared: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = GroupedAttention(width, heads, shared)
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(width, hidden, bias=False),
                "up_proj": nn.Linear(width, hidden, bias=False),
                "down_proj": nn.Linear(hidden, width, bias=False),
            }
        )
        self.input_layernorm = RmsNorm(width)
        self.post_attention_layernorm = RmsNorm(width)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        y = self.post_attention_layernorm(x)
        y = functional.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y)
        return x + self.mlp["down_proj"](y)


class Llama(nn.Module):
    """`LlamaForCausalLM`."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, shared: int, hidden: int
    ) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(vocabulary, width),
                "layers": nn.ModuleList(
                    LlamaLayer(width, heads, shared, hidden) for _ in range(layers)
                ),
                "norm": RmsNorm(width),
            }
        )
        self.rotary = Rotary(width // heads)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) to (N, T, vocabulary)."""
        cosine, sine = self.rotary(tokens.shape[1])
        x = self.model["embed_tokens"](tokens)
        for layer in self.model["layers"]:
            x = layer(x, cosine, sine)
        return self.lm_head(self.model["norm"](x))
