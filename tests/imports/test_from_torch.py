"""`netspec import torch` and `netspec.from_torch`: what is imported, how it reads, what is refused."""

from __future__ import annotations

import functools
import re
import runpy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec import NetspecError, cli
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source
from netspec.imports.torch_import import import_torch
from tests.conftest import Run

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


def text_of(net: netspec.Net) -> str:
    return net.written.module.source.text


def imported(module: Any, *example: Any) -> str:
    """Import a module, which compares it with the net, and check what every import must be."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = netspec.from_torch(module, example)
    assert not net.warnings
    text = text_of(net)
    assert format_source(Source("a.net", text)) == text
    assert {n: p.shape for n, p in net.graph.saved().items()} == {
        n: tuple(t.shape) for n, t in state.items()
    }
    assert all(torch.equal(t, state[n]) for n, t in module.state_dict().items())
    return text


class Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if channels != out else None

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norm(self.conv(x)), inplace=True)
        return y + (x if self.shortcut is None else self.shortcut(x))


class Residuals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.body = nn.Sequential(Residual(8, 8), *(Residual(8, 8) for _ in range(3)),
                                  Residual(8, 16, 2))  # fmt: skip
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(self.stem(x)).mean([2, 3]))


def test_classes_become_blocks_with_arguments_conditions_and_loops() -> None:
    text = imported(Residuals(), torch.randn(2, 3, 8, 8))
    assert (
        text
        == """\
block Residual(channels, stride = 1) x {
    y = x
        -> conv: conv(channels, 3, stride = stride, pad = 1, bias = false)
        -> norm: batch_norm -> relu
    if stride != 1 {
        x = x -> shortcut: conv(channels, 1, stride = stride)
    }
    return y + x
}

net Residuals {
    input x: [3, 8, 8]

    main = x -> stem.0: conv(8, 3) -> relu  # [8, 6, 6]
    for i in range(4) {
        main = main -> body.{i}: Residual(8)
    }
    output main -> body.4: Residual(16, stride = 2) -> global_avg_pool -> head: linear(5)  # [5]
}
"""
    )


class Lists(nn.Module):
    """A ModuleList, a slice of it, and a concat that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 + 2 * i, 2, 3, padding=1) for i in range(4))

    def forward(self, x: Any) -> Any:
        found = [x]
        for layer in self.layers[:3]:
            found.append(layer(torch.cat(found, 1)))
        return self.layers[3](torch.cat(found, 1))


class InPlace(nn.Module):
    """A relu in place, whose input is read again."""

    def forward(self, x: Any) -> Any:
        y = x * 2
        F.relu_(y)
        return y - x


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, a: Any, b: Any) -> Any:
        return self.left(a) * self.right(b)


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        y = torch.tanh(self.body(x))
        return {"label": self.one(y), "score": self.two(y)}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(36, 2)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.leaky_relu(self.conv(x), 0.2), 2)
        x = F.dropout(x.view(x.size(0), -1), 0.3, self.training)
        return F.log_softmax(self.fc(x), dim=1)


class OwnLinear(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, out)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def named() -> Any:
    return nn.Sequential(
        OrderedDict(
            fc1=OwnLinear(6, 8), act=nn.GELU(), norm=functools.partial(nn.LayerNorm, eps=1e-6)(8),
            fc2=OwnLinear(8, 2),
        )
    )  # fmt: skip


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.relu(self.fc(x)))


class OwnParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.scale = nn.Parameter(torch.full((4,), 0.5))

    def forward(self, x: Any) -> Any:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        return (x * self.scale)[:, 0]


class Masked(nn.Module):
    """Comparisons, choices by them, and places from a table that is computed of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 3))

    def forward(self, x: Any) -> Any:
        bias = self.table[(torch.arange(4)[:, None] - torch.arange(4)).abs()]  # [4, 4, 3]
        y = torch.where((x > 0) & (x != 1), x, -x).masked_fill(x <= -1, -1.0)
        above = (y >= 1).to(x.dtype).mean(-1, keepdim=True)
        return (y @ y.transpose(1, 2) + above)[:, :, :, None] * bias


class Windows(nn.Module):
    """Attention in shifted windows: a mask of 48 x 16 x 16 numbers that no file would hold."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.shift = shift

    def forward(self, x: Any) -> Any:
        side, heads = 4, 2
        (n, h, w, c), area = x.shape, side * side
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(n, h // side, side, w // side, side, c)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, area, c)
        q, k, v = self.qkv(x).view(-1, area, 3, heads, c // heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1)
        if self.shift:
            zones = x.new_zeros((h, w))
            zones[-self.shift :, :] = 1
            zones[:, -self.shift :] += 2
            zones = zones.view(h // side, side, w // side, side).permute(0, 2, 1, 3)
            zones = zones.reshape(-1, area)
            apart = zones.unsqueeze(1) - zones.unsqueeze(2)
            apart = apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)
            scores = scores.view(n, -1, heads, area, area) + apart[None, :, None]
            scores = scores.view(-1, heads, area, area)
        x = (
            (scores.softmax(-1) @ v)
            .transpose(1, 2)
            .reshape(-1, h // side, w // side, side, side, c)
        )
        return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)


class Attentive(nn.Module):
    """A block twice, whose second call reads sizes that the first one computed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        y = self.norm(x)
        return x + self.attention(y, y, y, need_weights=False)[0]


class Places(nn.Module):
    """Reads only how long its input is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 8))

    def forward(self, x: Any) -> Any:
        return self.weight[: x.shape[1]]


class Attending(nn.Module):
    """Two heads of attention under a mask of the keys, and of later ones if it is causal."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.causal = nn.Linear(8, 24), nn.Linear(8, 8), causal

    def forward(self, x: Any, mask: Any) -> Any:
        n, t, c = x.shape
        q, k, v = (y.view(n, t, 2, c // 2).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        mask = mask[:, None, None, :]
        if self.causal:
            mask = mask.expand(n, 1, t, t).tril()
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


class Reader(nn.Module):
    """A model of language: places, masks, and a last layer with the weight of the first."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(11, 8), Places()
        self.one, self.two = Attending(causal), Attending(causal)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Any, mask: Any) -> Any:
        x = self.embed(tokens)
        x = x + self.places(x)
        return self.head(self.two(torch.relu(self.one(x, mask)), mask))


@pytest.mark.parametrize("causal", [False, True])
def test_masks_places_and_a_tied_weight_come_in(causal: bool) -> None:
    tokens, mask = torch.zeros(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.bool)
    found = import_torch(Reader(causal), {"tokens": tokens, "mask": mask}, prove="full")
    assert "input mask: bool[5]" in found.text
    assert "x -> places: Places" in found.text
    assert f"attention(q, k, v, x2{', causal = true' if causal else ''})" in found.text
    assert "head: linear(11, bias = false, weight = embed.weight)" in found.text
    assert found.notes == ("`head.weight` is `embed.weight`, and loads under that name",)


class ComputedMask(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=(x[:, :, 0] > 0)[:, None, :])


class LowerPart(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.relu(torch.tril(x))


class LowerNumbers(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=torch.tril(x @ x.transpose(1, 2)))


class OwnScale(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.scaled_dot_product_attention(x, x, x, scale=2.0)


class MaskOfQueries(nn.Module):
    def forward(self, x: Any) -> Any:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=(x > 0)[:, :, :1])


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (LowerPart, "it reads a lower triangle, and only a mask of `attention` is one"),
        (LowerNumbers, "its lower triangle holds numbers"),
        (OwnScale, "it has a scale of its own"),
        (MaskOfQueries, "must fit the scores"),
    ],
)
def test_what_attention_cannot_be_is_said(module: Any, why: str) -> None:
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(module(), torch.randn(2, 5, 4))
    (found,) = caught.value.diagnostics
    assert why in found.message
    assert "test_from_torch.py" in found.notes[0]


class Mixed(nn.Module):
    """Two classes whose `block` differs from call to call, which is a word of the language."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 6))

    def forward(self, x: Any) -> Any:
        return x + self.block(x)


WRITTEN = {
    "attention twice": (lambda: nn.Sequential(Attentive(), Attentive()), (torch.randn(2, 5, 8),)),
    "comparisons, and a table of places": (Masked, (torch.randn(2, 4, 4),)),
    "windows with a mask": (
        lambda: nn.Sequential(Windows(0), Windows(1), Windows(0), Windows(1)),
        (torch.randn(2, 32, 24, 8),),
    ),
    "a module called `block`": (
        lambda: nn.Sequential(Mixed(4), Mixed(5), Mixed(4)),
        (torch.randn(2, 6),),
    ),
    "a module list, a slice of it and a growing concat": (Lists, (torch.randn(2, 3, 4, 4),)),
    "relu in place, its input read again": (InPlace, (torch.randn(2, 4),)),
    "two inputs": (TwoInputs, (torch.randn(2, 4), torch.randn(2, 5))),
    "two outputs": (TwoOutputs, (torch.randn(2, 4),)),
    "functional calls and view": (Functional, (torch.randn(2, 1, 8, 8),)),
    "an ordered sequence, a layer class of one's own, a partial": (named, (torch.randn(2, 6),)),
    "a mask that is computed": (ComputedMask, (torch.randn(2, 5, 4),)),
    "a shared layer": (Shared, (torch.randn(2, 4),)),
    "parameters of one's own": (OwnParameter, (torch.randn(2, 3, 4),)),
}


@pytest.mark.parametrize("what", WRITTEN)
def test_modules_as_people_write_them(what: str) -> None:
    make, example = WRITTEN[what]
    imported(make(), *example)


class Words(nn.Module):
    """Inputs and outputs that are called by words of the language."""

    def forward(self, input: Any, block: Any, x: Any) -> Any:
        return {"in": input + block, "output_in": block * x, "a.b": -x, "a_b": x - block}


def test_names_that_are_words_of_the_language_are_replaced_by_others() -> None:
    net = netspec.from_torch(Words(), (torch.randn(2, 4), torch.randn(2, 4), torch.randn(2, 4)))
    assert list(net.graph.inputs) == ["x_2", "x_3", "x"]
    assert list(net.graph.outputs) == ["output_in", "output_in_2", "a_b", "a_b_2"]


class Branches(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class Complex(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.fft.rfft(x).abs()


class Sorts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        y = torch.sort(self.fc(x), dim=1)[0]
        return torch.cummax(x, dim=1)[0] + y


class OverBatch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - x.mean(0, keepdim=True)


class Random(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + torch.rand(4)


class Rounds(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.div(x, 2, rounding_mode="floor")


class Sparse(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.sparse.mm(x.to_sparse(), torch.ones(4, 3))


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return dy


class OwnGradient(nn.Module):
    def forward(self, x: Any) -> Any:
        return StraightThrough.apply(x)


class Selects(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[x > 0]


class Half(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.to(torch.float16) * 2


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(9, 3)

    def forward(self, x: Any) -> Any:
        return self.bag(x.abs().long())


class SharedInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x: Any) -> Any:
        return self.parts[0](torch.relu(self.parts[0](x)))


def test_a_shared_layer_whose_name_has_dots_is_refused() -> None:
    with pytest.raises(NetspecError, match=r"`parts\.0` is called again"):
        netspec.from_torch(SharedInside(), torch.randn(2, 4))


REFUSED: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "a branch on data": (Branches, (2, 4), "cannot trace"),
    "complex numbers": (
        Complex,
        (2, 4),
        "_fft_r2c" if torch.__version__.startswith("2.6.") else "`fft_rfft`",
    ),
    "what there is no layer for": (Sorts, (2, 4), "`sort`"),
    "a mean over the batch": (OverBatch, (2, 4), "over the images of the batch"),
    "random numbers": (Random, (2, 4), "random numbers"),
    "sparse matrices": (Sparse, (2, 4), "to_sparse"),
    "a function with a gradient of its own": (OwnGradient, (2, 4), "gradient of its own"),
    "as many numbers as the data has": (Selects, (2, 4), "`index`"),
    "half precision": (Half, (2, 4), "changes the kind"),
    "what adds rows up": (Bag, (2, 4), "`arange`"),
    "rounding": (Rounds, (2, 4), "rounds"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_expressed_is_listed_at_its_line(what: str) -> None:
    make, shape, words = REFUSED[what]
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(make(), torch.randn(*shape))
    shown = str(caught.value)
    assert words in shown
    assert re.search(rf"{Path(__file__).name}:\d+", shown)


BRANCHES_AND_SORTS = """
import torch


class Branches(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Sorts(torch.nn.Module):
    def forward(self, x):
        return torch.sort(x).values
"""


@pytest.mark.parametrize("folder", ["netspec", "torch/nn", "torch/_dynamo", "Übung eins"])
def test_the_line_is_named_whatever_the_folder_is_called(tmp_path: Path, folder: str) -> None:
    home = tmp_path / folder
    home.mkdir(parents=True)
    (home / "model.py").write_text(BRANCHES_AND_SORTS, "utf-8")
    models = runpy.run_path(str(home / "model.py"))
    for name, line in (("Branches", "7: return x if"), ("Sorts", "12: return torch.sort(x)")):
        with pytest.raises(NetspecError) as caught:
            netspec.from_torch(models[name](), torch.randn(2, 4))
        assert f"{home / 'model.py'}:{line}" in str(caught.value)


def test_a_model_that_no_file_holds_has_no_line() -> None:
    models: dict[str, Any] = {}
    exec(BRANCHES_AND_SORTS, models)
    with pytest.raises(NetspecError, match="cannot trace the model") as caught:
        netspec.from_torch(models["Branches"](), torch.randn(2, 4))
    assert "at <string>" not in str(caught.value)


def test_all_that_stands_in_the_way_is_listed_at_once() -> None:
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(Sorts(), torch.randn(2, 4))
    assert ["`sort`" in str(d.message) for d in caught.value.diagnostics] == [True, False]
    assert "`cummax`" in caught.value.diagnostics[1].message


class Standardized(nn.Conv2d):
    def forward(self, x: Any) -> Any:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


def test_what_stands_behind_what_cannot_be_expressed_is_listed_too() -> None:
    model = nn.Sequential(Standardized(3, 4, 3), nn.ReLU(), Standardized(4, 4, 3))
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(model, torch.randn(2, 3, 8, 8))
    (diagnostic,) = caught.value.diagnostics
    assert "`mean` cannot be expressed" in diagnostic.message
    assert "so in 2 places, also in 2" in diagnostic.notes[-1]


MODEL = """
import torch


class Small(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.fc = torch.nn.Linear(4, classes)

    def forward(self, x):
        return torch.relu(self.fc(x))
"""


def test_the_command_writes_both_files_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, weights = tmp_path / "m.py", tmp_path / "small.net", tmp_path / "w.safetensors"
    source.write_text(MODEL)
    command = ["import", "torch", f"{source}:Small", "--input", "x=4", "--set", "classes=5",
               "-o", str(out), "--weights-out", str(weights)]  # fmt: skip
    assert cli.main(command) == 0
    assert "proved" in capsys.readouterr().err
    model = netspec.load(out).compile()
    model.load_state_dict(netspec.load_weights(weights))
    assert model.graph.saved()["fc.weight"].shape == (5, 4)
    out.write_text("mine")
    assert cli.main(command) != 0
    assert out.read_text() == "mine"
    assert cli.main([*command, "--force"]) == 0
    assert cli.main(["import", "torch", f"{source}:Missing", "--input", "x=4"]) == 1
    assert "Missing" in capsys.readouterr().err


def test_a_saved_trace_is_imported(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    shapes = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(model, (torch.randn(2, 4),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "m.pt2")
    out = tmp_path / "m.net"
    assert cli.main(["import", "torch", str(tmp_path / "m.pt2"), "-o", str(out)]) == 0
    assert '"0": linear(3)' in out.read_text()


class Dropped(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.rate = name
        setattr(self, name, 0.25)

    def forward(self, x: Any) -> Any:
        p = getattr(self, self.rate)
        if not self.training or p == 0:
            return x
        mask = torch.rand(x.shape[0], 1, device=x.device).add_(1 - p).floor_()
        return x.div(1 - p) * mask


@pytest.mark.parametrize("name", ["drop_prob", "drop_rate", "p"])
@pytest.mark.parametrize("kind", ["DropPath", "StochasticDepth"])
def test_stochastic_depth_is_read_whatever_its_rate_is_called(kind: str, name: str) -> None:
    own = type(kind, (Dropped,), {"__module__": "mine"})
    model = nn.Sequential(nn.Linear(4, 4), own(name), nn.Linear(4, 2))
    assert "drop_path(0.25)" in imported(model, torch.zeros(2, 4))


class Odd(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.det(x.reshape(-1, 2, 2)).reshape(-1, 1) + x


class Odds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([Odd() for _ in range(9)])

    def forward(self, x: Any) -> Any:
        return torch.stack([part(x) for part in self.parts], dim=1)


def test_what_many_modules_lack_is_told_once() -> None:
    with pytest.raises(NetspecError) as error:
        netspec.from_torch(Odds(), torch.ones(2, 4))
    (found,) = error.value.diagnostics
    assert found.message.startswith("parts.0 (Odd): ")
    others = ", ".join(f"parts.{i}" for i in range(1, 6))
    assert found.notes[-1] == f"so in 9 places, also in {others} and 3 more"


MINE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.head(x)
"""


@pytest.mark.parametrize("kind", ["state", "checkpoint", "safetensors"])
def test_weights_are_loaded_before(kind: str, tmp_path: Path, run: Any) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    state = {
        "module.head.weight": torch.arange(6.0).reshape(2, 3),
        "module.head.bias": torch.ones(2),
    }
    path = tmp_path / "given.pt"
    if kind == "safetensors":
        netspec.save_weights(path, {n: t.numpy() for n, t in state.items()})
    else:
        torch.save(state if kind == "state" else {"model": state, "epoch": 3}, path)
    out = tmp_path / "w.safetensors"
    command = (
        "import",
        "torch",
        f"{tmp_path}/mine.py:Net",
        "--input",
        "x=3",
        "-o",
        tmp_path / "a.net",
    )
    done = run(*command, "--weights", path, "--weights-out", out)
    assert done.code == 0, done.err
    assert f"{path}: `module.` taken off 2 names" in done.err
    held = netspec.load_weights(out).tensors
    assert held["head.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    over = run(*command[:-1], path, "--weights", path, "--force")
    assert "output/is-source" in over.err


SCALED = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.bend = torch.nn.Linear(3, 2), torch.nn.PReLU()
        self.scale = torch.nn.Parameter(torch.full((3,), 0.1))
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x):
        return self.bend(self.head((x - self.seen) * self.scale))
"""


def test_initial_values_are_those_before_the_weights(tmp_path: Path, run: Any) -> None:
    (tmp_path / "mine.py").write_text(SCALED)
    trained = {"head.weight": torch.ones(2, 3), "head.bias": torch.ones(2)}
    trained["scale"] = torch.tensor([0.1, 0.2, 0.3])
    trained["seen"], trained["bend.weight"] = torch.tensor([3.0, 2, 1]), torch.tensor([0.7])
    torch.save(trained, tmp_path / "best.pt")
    out, weights = tmp_path / "a.net", tmp_path / "w.safetensors"
    done = run(
        "import", "torch", f"{tmp_path}/mine.py:Net", "--input", "x=3", "-o", out,
        "--weights", tmp_path / "best.pt", "--weights-out", weights,
    )  # fmt: skip
    assert done.code == 0, done.err
    text = out.read_text()
    assert "parameter scale: [3] = constant(0.1)" in text
    assert "buffer seen: [3] = zeros" in text
    assert "bend: prelu  #" in text
    assert netspec.load_weights(weights).tensors["seen"].tolist() == [3, 2, 1]


def test_weights_of_another_model_are_refused(tmp_path: Path, run: Any) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    torch.save({"head.weight": torch.zeros(2, 4)}, tmp_path / "given.pt")
    command = (
        "import",
        "torch",
        f"{tmp_path}/mine.py:Net",
        "--input",
        "x=3",
        "-o",
        tmp_path / "a.net",
    )
    done = run(*command, "--weights", tmp_path / "given.pt")
    assert done.code == 1
    assert "weights/mismatch" in done.err
    assert "head.bias" in done.err
    assert not (tmp_path / "a.net").exists()
    missing = run(*command, "--weights", tmp_path / "none.pt")
    assert "weights/bad-file" in missing.err


SIGNED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int, classes: int = 10):
        super().__init__()
        self.first, self.last = nn.Linear(8, width), nn.Linear(width, classes)

    def forward(self, first, mask):
        return self.last(self.first(first) * mask)
"""


@pytest.mark.parametrize(
    ("arguments", "message", "help"),
    [
        (("Net",), "'width'", "it takes width, classes = 10: give `--set width=...`"),
        (
            ("Net", "--set", "width=4", "--set", "depth=2"),
            "'depth'",
            "it takes width, classes = 10",
        ),
        (("Net(width=4, classes=3)",), "is a call", "Net --set width=4 --set classes=3`"),
        (("Ned",), "there is no `Ned`", "did you mean `Net`?"),
        (("Net", "--set", "width=4"), "cannot be called with nothing", "`--input first=3,224,224`"),
        (
            ("Net", "--set", "width=4", "--input", "first=8"),
            "cannot be called with first",
            "--input",
        ),
    ],
)
def test_how_a_model_is_made_and_called_is_said(
    run: Run, tmp_path, monkeypatch, arguments, message, help
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SIGNED)
    failed = run("import", "torch", f"model.py:{arguments[0]}", *arguments[1:])
    assert failed.code == 1
    assert "import/module" in failed.err
    assert message in failed.err
    assert help in failed.err


def test_an_input_that_is_called_like_a_layer_gets_another_name(run: Run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SIGNED)
    made = run("import", "torch", "model.py:Net", "--set", "width=4",
               "--input", "first=8", "--input", "mask=4")  # fmt: skip
    assert made.code == 0, made.err
    assert "note: the model's input `first` is called `x` here" in made.err
    assert "first: linear(4)" in made.out
