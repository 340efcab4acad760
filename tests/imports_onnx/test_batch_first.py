"""Models of PyTorch's exporters in which the batch is not always the first axis, and alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec.diagnostics import NetspecError
from netspec.imports.imported_text import ImportedText
from netspec.imports.onnx.convert import import_onnx

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional


class Recurrent(nn.Module):  # type: ignore[misc, name-defined]
    """A recurrent layer behind a turn of the axes or with its own, and the last step or all."""

    def __init__(self, kind: Any, *, steps_first: bool = False, **options: Any) -> None:
        super().__init__()
        self.body = kind(6, 8, batch_first=not steps_first, **options)
        self.steps_first = steps_first

    def forward(self, x: Any) -> Any:
        if self.steps_first:
            y = self.body(x.permute(1, 0, 2))[0]
            steps, batch, wide = y.shape
            return y.reshape(steps * batch, wide).tanh().view(steps, batch, wide).permute(1, 0, 2)
        return self.body(x)[0][:, -1]


class FirstState(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.body = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: Any, about: Any) -> Any:
        y, last = self.body(x, torch.tanh(self.first(about)).unsqueeze(0))
        return y, last[-1]


class Attention(nn.Module):  # type: ignore[misc, name-defined]
    """`nn.MultiheadAttention` between two sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(16, 4, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Any, y: Any) -> Any:
        return self.norm(x + self.attn(x, y, y, need_weights=False)[0])


class ByHand(nn.Module):  # type: ignore[misc, name-defined]
    """Causal attention as courses write it, with a mask and a product of all three projections."""

    def __init__(self, length: int = 6) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 16), nn.Embedding(length, 16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.register_buffer("seen", torch.tril(torch.ones(length, length)))

    def forward(self, tokens: Any) -> Any:
        batch, length = tokens.shape
        x = self.tokens(tokens) + self.places(torch.arange(length))
        q, k, v = (
            part.view(batch, length, 4, 4).transpose(1, 2) for part in self.qkv(x).split(16, 2)
        )
        scores = (q @ k.transpose(-2, -1)) * 4**-0.5
        scores = scores.masked_fill(self.seen[:length, :length] == 0, float("-inf"))
        y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).contiguous().view(batch, length, 16))


class AsMatrix(nn.Module):  # type: ignore[misc, name-defined]
    """A product of all steps of all sequences with one matrix, as Hugging Face's GPT-2 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 7)), nn.Parameter(torch.randn(7))

    def forward(self, x: Any) -> Any:
        size = (*x.shape[:-1], 7)
        return torch.addmm(self.bias, x.view(-1, 5), self.weight).view(size)


class Reading(nn.Module):  # type: ignore[misc, name-defined]
    """Columns of pictures as steps (Shi et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.LSTM(32, 8, bidirectional=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.conv(x).relu()
        batch, channels, height, width = x.shape
        x = x.permute(3, 0, 1, 2).reshape(width, batch, channels * height)
        y, _ = self.body(x)
        return self.head(y.view(width * batch, 16)).view(width, batch, 5).permute(1, 0, 2)


class Table(nn.Module):  # type: ignore[misc, name-defined]
    """Columns of a table: some are looked up, some are numbers, and the end is a single one."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.days = nn.Embedding(5, 3), nn.Embedding(31, 4)
        self.first, self.last = nn.Linear(10, 8), nn.Linear(8, 1)

    def forward(self, chosen: Any, numbers: Any, day: Any) -> Any:
        found = [self.kinds(chosen[:, 0]), self.days(day), numbers[:, [0, 2]]]
        x = torch.cat([*found, numbers[:, 1].unsqueeze(1)], 1)
        return self.last(self.first(x).relu()).squeeze(-1)


class Last(nn.Module):  # type: ignore[misc, name-defined]
    """The last states of all layers and directions."""

    def __init__(self, *, bidirectional: bool) -> None:
        super().__init__()
        self.body = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Any) -> Any:
        _, (states, _) = self.body(x)
        return torch.cat([states[0], states[-1]], 1)


class Gate(nn.Module):  # type: ignore[misc, name-defined]
    """Two axes at once, and a batch norm in a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.squeeze = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        y = self.bn(self.conv(x))
        return y * self.squeeze(y.mean((2, 3))).sigmoid()[:, :, None, None]


class Similar(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any, y: Any) -> Any:
        return (x * y).sum(1), x.argmax(1), y.mean(1)


def encoder() -> Any:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def windows() -> Any:
    from torchvision import models

    return models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5)


Sizes = tuple[tuple[int, ...], ...]
OLD, NEW = False, True
CASES: dict[str, tuple[Callable[[], Any], Sizes, str, tuple[bool, ...]]] = {
    "lstm": (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        ((7, 6),), "lstm(8, layers = 2, bidirectional = true)", (OLD, NEW),
    ),
    "gru": (lambda: Recurrent(nn.GRU, bias=False), ((7, 6),), "gru(8, bias = false)", (OLD, NEW)),
    # PyTorch's newer exporter writes this layer step by step.
    "rnn": (
        lambda: Recurrent(nn.RNN, nonlinearity="relu"),
        ((7, 6),), "rnn(8, nonlinearity = relu)", (OLD,),
    ),
    "steps first": (
        lambda: Recurrent(nn.LSTM, steps_first=True), ((7, 6),), "lstm(8) -> tanh", (OLD, NEW)
    ),
    "first state": (FirstState, ((7, 6), (4,)), "body: gru(8)", (OLD, NEW)),
    "reading": (Reading, ((1, 8, 12),), "body: lstm(8, bidirectional = true)", (OLD, NEW)),
    "attention": (Attention, ((5, 16), (7, 16)), "= attention(", (OLD, NEW)),
    "by hand": (ByHand, (), "causal = true)", (OLD, NEW)),
    "as matrix": (AsMatrix, ((6, 5),), "linear(7)", (OLD, NEW)),
    "encoder": (encoder, ((6, 16),), "attention(", (OLD, NEW)),
    "table": (Table, ((-4,), (3,), ()), "kinds: embedding(5, 3)", (OLD, NEW)),
    "last states": (lambda: Last(bidirectional=False), ((7, 6),), ": lstm(8)", (OLD, NEW)),
    "both ends": (
        lambda: Last(bidirectional=True), ((7, 6),), "lstm(8, bidirectional = true)", (OLD, NEW)
    ),
    "gate": (Gate, ((3, 8, 8),), " -> conv: conv(4, 3)", (OLD, NEW)),
    "numbers": (Similar, ((5,), (5,)), "input input1: [5]", (OLD, NEW)),
    "windows": (windows, ((3, 64, 64),), "softmax", (OLD,)),
}  # fmt: skip
QUICK = {("lstm", OLD), ("first state", OLD), ("attention", OLD), ("by hand", OLD), ("table", OLD)}
EACH = [
    pytest.param(name, dynamo, marks=[] if (name, dynamo) in QUICK else pytest.mark.heavy)
    for name, (*_, exporters) in CASES.items()
    for dynamo in exporters
]


def example(shape: tuple[int, ...]) -> Any:
    """Return two examples; of numbers for each, and of -4 whole ones, those of a table."""
    if not shape or shape[0] < 0:
        return torch.randint(0, 5, (2, *map(abs, shape)))
    return torch.randn(2, *shape)


def imported(module: Any, sizes: Sizes, path: Path, *, dynamo: bool) -> ImportedText:
    """Export a module for any size of the batch, and import it."""
    inputs = tuple(map(example, sizes)) or (torch.randint(0, 11, (2, 6)),)
    names = [f"input{i}" for i in range(len(inputs))]
    old = {"dynamic_axes": {name: {0: "batch"} for name in names}}
    new = {"dynamic_shapes": tuple({0: torch.export.Dim.DYNAMIC} for _ in names)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, path, input_names=names, dynamo=dynamo,
            verbose=False, **(new if dynamo else old),
        )  # fmt: skip
    return import_onnx(path)


@pytest.mark.parametrize(("name", "dynamo"), EACH)
def test_the_batch_is_brought_in_front(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, sizes, wanted, _ = CASES[name]
    found = imported(make(), sizes, tmp_path / "model.onnx", dynamo=dynamo)
    assert found.difference <= 1e-4
    assert wanted in found.text
    assert "buffer" not in found.text or name == "windows"


@pytest.mark.heavy
def test_equal_parameters_of_a_new_net_are_not_shared(tmp_path: Path) -> None:
    """PyTorch's exporter keeps equal arrays once: the layers of a new encoder are copies."""
    torch.manual_seed(0)
    found = imported(encoder(), ((6, 16),), tmp_path / "model.onnx", dynamo=True)
    assert "layers.0: TransformerEncoderLayer -> layers.1: TransformerEncoderLayer" in found.text
    assert "weight = " not in found.text
    assert {"layers.0.norm1.weight", "layers.1.norm2.weight"} <= set(found.state)


class Frames(nn.Module):  # type: ignore[misc, name-defined]
    """A convolution of each picture of a film, which no layer is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        return self.conv(x.flatten(0, 1)).mean((2, 3)).view(x.shape[0], x.shape[1], 4)


@pytest.mark.parametrize(
    ("make", "sizes", "message"),
    [
        (
            Frames,
            (3, 3, 8, 8),
            "`Conv` cannot be expressed: the batch is not the first axis of what",
        ),
    ],
)
def test_what_stands_in_the_way_is_said_once(
    make: Callable[[], Any], sizes: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NetspecError) as caught:
        imported(make(), (sizes,), tmp_path / "model.onnx", dynamo=False)
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message


class StepsFirst(nn.Module):  # type: ignore[misc, name-defined]
    """A recurrent layer as PyTorch has it by default: the steps in front, outside too."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.body = kind(6, 8)

    def forward(self, x: Any, state: Any = None) -> Any:
        found = self.body(x, state)[0]
        return found, found[-1].tanh()


class EncoderFirst(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


STEPS: dict[str, tuple[Callable[[], Any], Sizes, bool, str]] = {
    "lstm": (lambda: StepsFirst(nn.LSTM), ((7, 2, 6),), True, "lstm(8)"),
    "a fixed batch": (lambda: StepsFirst(nn.LSTM), ((7, 2, 6),), False, "lstm(8)"),
    "first state": (
        lambda: StepsFirst(nn.GRU), ((7, 2, 6), (1, 2, 8)), True, "body: gru(8)"
    ),
    "encoder": (EncoderFirst, ((7, 2, 16),), True, "attention("),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dynamo"),
    [
        pytest.param(name, dynamo, marks=pytest.mark.heavy if dynamo or name == "encoder" else [])
        for name in STEPS
        for dynamo in (OLD, NEW)
    ],
)
def test_the_steps_may_be_in_front_outside_too(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, sizes, is_open, wanted = STEPS[name]
    path, inputs = tmp_path / "model.onnx", tuple(torch.randn(size) for size in sizes)
    names = [f"input{i}" for i in range(len(inputs))]
    batch = torch.export.Dim("batch")
    old = {"dynamic_axes": {each: {1: "batch"} for each in names} if is_open else None}
    new = {"dynamic_shapes": tuple({1: batch} for _ in names) if is_open else None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            make().eval(), inputs, path, input_names=names, dynamo=dynamo, verbose=False,
            **(new if dynamo else old),
        )  # fmt: skip
    found = import_onnx(path)
    assert found.difference <= 1e-4
    assert wanted in found.text
    assert f"input input0: [7, {sizes[0][-1]}]" in found.text
    note = "`input0` has the batch in front here, and as its second axis in the file"
    assert note in found.notes
    assert any(
        "has the batch as its second axis, and here in front" in note for note in found.notes
    )
