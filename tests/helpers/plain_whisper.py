"""The encoder of Whisper in plain PyTorch, with the names of Hugging Face's `WhisperEncoder`."""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):
    """Attention of a sequence to itself; the keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        shares = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(3)
        out: torch.Tensor = self.out_proj((shares @ v).transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """A layer of the encoder, with pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(x))))


class Whisper(nn.Module):
    """The encoder, for spectrograms of any length up to twice the positions."""

    def __init__(self, mels: int, width: int, blocks: int, heads: int, positions: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(blocks))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, input_features: torch.Tensor) -> dict[str, torch.Tensor]:
        x = nn.functional.gelu(self.conv1(input_features))
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return {"output": self.layer_norm(x)}
