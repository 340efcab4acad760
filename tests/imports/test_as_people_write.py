"""Modules in the manner of libraries and papers: what they do beside their layers comes in, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import netspec
from netspec import NetspecError

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


def whole(below: int, *shape: int) -> Any:
    return torch.arange(math.prod(shape)).reshape(shape) % below


class Encoder(nn.Module):
    """Masks and kinds of tokens that nobody gave are made of ones and zeros, as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(9, 8, padding_idx=0), nn.Embedding(2, 8)
        self.places = nn.Embedding(12, 8)
        self.register_buffer("ids", torch.arange(12).expand((1, -1)), persistent=False)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, tokens: Any, mask: Any = None, kinds: Any = None) -> Any:
        size = tokens.size()
        if mask is None:
            mask = torch.ones(size, device=tokens.device)
        if kinds is None:
            kinds = torch.zeros(size, dtype=torch.long, device=tokens.device)
        mask = (1.0 - mask[:, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        x = self.words(tokens) + self.kinds(kinds) + self.places(self.ids[:, : size[1]])
        scores = self.query(x) @ self.key(x).transpose(-1, -2) / math.sqrt(8) + mask
        return scores.softmax(-1) @ self.value(x)


class Decoder(nn.Module):
    """A stored mask is cut to the length, compared with 0, and puts in -inf, as in nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe, self.attn = nn.Embedding(9, 8), nn.Embedding(6, 8), nn.Linear(8, 24)
        self.head = nn.Linear(8, 9, bias=False)
        self.wte.weight = self.head.weight
        self.register_buffer("bias", torch.tril(torch.ones(6, 6)).view(1, 1, 6, 6))

    def forward(self, idx: Any) -> Any:
        b, t = idx.size()
        x = self.wte(idx) + self.wpe(torch.arange(0, t, dtype=torch.long, device=idx.device))
        q, k, v = (p.view(b, t, 2, 4).transpose(1, 2) for p in self.attn(x).split(8, dim=2))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf")).softmax(-1)
        return self.head((att @ v).transpose(1, 2).contiguous().view(b, t, 8)), None


class Causal(nn.Module):
    """A table of -inf above the diagonal, added to scores."""

    def forward(self, x: Any) -> Any:
        mask = torch.full((5, 5), float("-inf")).triu(1)
        return (x @ x.transpose(1, 2) + mask).softmax(-1) @ x


class Masks(nn.Module):
    """Numbers times what was compared, one less that, and the larger of a value and zeros."""

    def forward(self, x: Any) -> Any:
        mask = (x > 0.1).float()
        y = x * mask + (1 - mask) * 0.1 * x + x * (x > -0.2)
        return torch.max(y, torch.zeros_like(y)) + torch.where(y > 0, y, torch.ones_like(y))


class Padded(nn.Module):
    """Zeros for channels that a shortcut lacks, a channel of each, and of places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(8, 2, 1), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        b, _, h, w = x.shape
        down = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(b, 1, h, w)
        right = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(b, 1, h, w)
        x = torch.cat([x, torch.zeros_like(x), down, right], 1)
        y = self.conv(x).mean((2, 3))
        return self.fc(torch.cat([y, y.new_ones(b, 4)], 1))


class Aliases(nn.Module):
    """One layer under three names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = self.a
        self.seq = nn.Sequential(self.a, nn.ReLU(), self.a)

    def forward(self, x: Any) -> Any:
        for _ in range(2):
            x = torch.tanh(self.a(x))
        return self.b(x) + self.seq(x)


class States(nn.Module):
    """A recurrence that is given the zeros it begins with."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(4, 3, num_layers=2, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        start = torch.zeros(2, x.size(0), 3, device=x.device)
        out, _ = self.lstm(x, (start, start.clone()))
        return self.fc(out[:, -1, :])


class Counted(nn.Module):
    """Whole numbers as quantities, as classes, and as what fills up a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Embedding(9, 4, padding_idx=0), nn.Linear(9, 4)

    def forward(self, x: Any) -> Any:
        mask = (x != 0).float().unsqueeze(-1)
        y = (self.embed(x) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return y + self.fc(F.one_hot(x, 9).float()).mean(1)


class Bytes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Any) -> Any:
        return self.conv(x.float() / 255)


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 2, 5))

    def forward(self, x: Any) -> Any:
        y = F.normalize(x, dim=-1) + x / (x.std(-1, keepdim=True) + 1e-5)
        y = torch.einsum("bnd,dhe->bhne", y, self.weight)
        return y.max(-1).values + y.norm(dim=-1)


class Pools(nn.Module):
    """A learned query that looks at a sequence, which is key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.mix = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(3, 8))
        self.mha = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        found, _ = self.mha(self.query.expand(x.size(0), -1, -1), x, x)
        return (found @ self.mix.t()).squeeze(1).reciprocal()


class Named(nn.Module):
    """What is given by name, behind what is not given, and outputs in lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Any, mask: Any = None, scale: Any = None, *, extra: Any = None) -> Any:
        assert mask is None
        return {"heads": {"one": self.a(x) * scale, "two": [self.b(extra), x]}, "loss": None}


@dataclass(frozen=True)
class Case:
    make: Callable[[], Any]
    example: Callable[[], Any]
    reads: str = ""


WRITTEN = {
    "an encoder": Case(Encoder, lambda: whole(9, 2, 5), "constant mask: [1, 1, 5] = ones"),
    "a decoder": Case(Decoder, lambda: whole(9, 2, 5), "causal = true"),
    "a causal table": Case(Causal, lambda: torch.randn(2, 5, 3), "-3.4e+38"),
    "masks": Case(Masks, lambda: torch.randn(2, 6), "maximum(number = 0.0)"),
    "zeros and places": Case(Padded, lambda: torch.randn(2, 3, 4, 4), "zeros_like: [3, 4, 4]"),
    "one layer under three names": Case(Aliases, lambda: torch.randn(2, 4), "layer a = linear(4)"),
    "states of zeros": Case(States, lambda: torch.randn(2, 5, 4), "lstm(3, layers = 2)"),
    "whole numbers": Case(Counted, lambda: whole(9, 2, 5), "input x: [5]"),
    "a query of one's own": Case(
        Pools, lambda: torch.randn(2, 5, 8), "(query, x, x) -> mha: multihead"
    ),
    "bytes": Case(Bytes, lambda: whole(255, 2, 3, 6, 6).to(torch.uint8), "/ 255"),
    "norms and an einsum": Case(Norms, lambda: torch.randn(2, 4, 8), '"bnd,bdhe->bhne"'),
    "names": Case(
        Named,
        lambda: {k: torch.randn(2, n) for k, n in (("scale", 3), ("extra", 4), ("x", 4))},
        "output heads_two1",
    ),
}


@pytest.mark.parametrize("what", WRITTEN)
def test_what_people_write_comes_in_with_its_gradients(what: str) -> None:
    case = WRITTEN[what]
    torch.manual_seed(0)
    net = netspec.from_torch(case.make(), case.example(), prove="full")
    assert not net.warnings
    assert case.reads in net.written.module.source.text


class Nothing(nn.Module):
    def forward(self, x: Any) -> Any:
        return None


class Constant(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.ones(3)


class OneNumber(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean(1)


class WholeMean(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean()


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            y = self.fc(x)
        return y * 2


class Draws(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + torch.randn_like(x)


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5)

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[0]


class OfDict(nn.Module):
    def forward(self, batch: Any) -> Any:
        return batch["x"]


def two(*sizes: int) -> Any:
    return torch.randn(2, *sizes)


REFUSED: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "no output": (Nothing, lambda: two(4), "it gives no tensor"),
    "an output of nothing": (Constant, lambda: two(4), "it depends on no input"),
    "a number for each image": (OneNumber, lambda: two(4), "no axis but the batch's"),
    "a mean of all": (WholeMean, lambda: two(4), "layer has no such form (`mean`)"),
    "no gradients": (Frozen, lambda: two(4), "`no_grad` cannot be expressed"),
    "noise in evaluation": (Draws, lambda: two(4), "draws random numbers in evaluation"),
    "a sequence in front": (SequenceFirst, lambda: two(3, 4), "has no axis for a batch"),
    "an example of one image": (Draws, lambda: torch.randn(1, 4), "give two"),
    "no axis": (Draws, lambda: torch.tensor(1.0), "has no axis for a batch"),
    "double precision": (
        lambda: nn.Linear(4, 3).double(),
        lambda: two(4),
        "import `model.float()`",
    ),
    "a dict": (OfDict, lambda: {"batch": {"x": two(4)}}, "`batch` is a dict"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_net_can_be_is_said(what: str) -> None:
    make, example, words = REFUSED[what]
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(make(), example())
    assert words in str(caught.value)


def test_a_trace_that_fails_writes_nothing_to_the_terminal(capfd: Any) -> None:
    class Drops(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if torch.rand(1).item() < 0.5 else x * 2

    with pytest.raises(NetspecError, match="cannot trace"):
        netspec.from_torch(Drops(), two(4))
    assert capfd.readouterr() == ("", "")
