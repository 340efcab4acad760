"""Products of matrices from PyTorch, whatever their numbers of axes; what no net has is told by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec import NetspecError
from netspec.imports.imported_net import ImportedInput, ImportedNet, ImportedNode, Place, Scope
from netspec.imports.sound_text import sound_text
from tests.conftest import Run
from tests.helpers.errors import fails

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

Head = Callable[[Any, Any], Any]


class Heads(nn.Module):
    """Weights that are no layer's, and a function of them and of features [N, 4] or rows [N, 6, 4]."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4, 3))
        self.b, self.u = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(4))
        self.one, self.many = nn.Parameter(torch.randn(1, 4, 3)), nn.Parameter(torch.randn(2, 4, 3))
        self.head = head

    def forward(self, x: Any) -> Any:
        return self.head(self, x)


def rows(x: Any) -> Any:
    """(N, 6, 4) of (N, 24)."""
    return x.view(-1, 6, 4)


READ: dict[str, tuple[Head, int, str]] = {
    "features and a parameter": (lambda s, x: x @ s.w.t() + s.b, 4, '"nk,nkj->nj"'),
    "a cosine": (
        lambda s, x: F.linear(F.normalize(x), F.normalize(s.w), s.b), 4, '"nk,njk->nj"',
    ),
    "mm": (lambda s, x: torch.mm(x, torch.softmax(s.v, 0)), 4, '"nk,nkj->nj"'),
    "addmm": (lambda s, x: torch.addmm(s.b, x, s.v), 4, '"nk,nkj->nj"'),
    "a linear of rows": (lambda s, x: F.linear(rows(x), s.w, s.b), 24, '"nik,njk->nij"'),
    "rows and a matrix": (lambda s, x: rows(x) @ s.v, 24, "matmul(y, v)"),
    "rows and a vector": (lambda s, x: rows(x) @ s.u, 24, '"nik,nk->ni"'),
    "a vector and columns": (lambda s, x: s.u @ rows(x).transpose(1, 2), 24, '"nk,nkj->nj"'),
    "groups and a matrix": (lambda s, x: x.view(-1, 2, 3, 4) @ s.v, 24, '"naik,nkj->naij"'),
    "rows, repeated": (lambda s, x: rows(x)[:, None] @ s.many, 24, '"nik,nakj->naij"'),
    "a matrix with a 1 in front": (lambda s, x: rows(x) @ s.one, 24, "matmul(y, one)"),
    "bmm": (
        lambda s, x: torch.bmm(rows(x), s.one.expand(x.shape[0], -1, -1)), 24, "matmul(y, one)",
    ),
    "two parameters": (lambda s, x: x @ (s.v @ s.w), 4, "matmul(v, w)"),
}  # fmt: skip


@pytest.mark.parametrize("what", READ)
def test_a_product_comes_in_with_its_gradients(what: str) -> None:
    head, features, reads = READ[what]
    torch.manual_seed(0)
    net = netspec.from_torch(Heads(head), torch.randn(2, features), prove="full")
    assert reads in net.written.module.source.text


REFUSED: dict[str, tuple[Head, str]] = {
    "images with images": (lambda s, x: x @ x.t(), "several of its axes depend on the batch"),
    "a batch behind": (lambda s, x: (s.w @ x.t()).t(), "the batch is not its first axis"),
    "a multiple": (lambda s, x: torch.addmm(s.b, x, s.v, beta=2), "`alpha` or `beta` is not 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_product_that_no_net_has_is_told_with_its_line(what: str) -> None:
    head, words = REFUSED[what]
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(Heads(head), torch.randn(2, 4))
    (error,) = caught.value.diagnostics
    assert error.code == "import/inexpressible"
    assert words in error.message
    assert "test_products.py" in error.notes[0]


def a_node(value: str, op: str, *inputs: str) -> ImportedNode:
    place = Place("model.py", len(value), f"{value} = ...")
    scopes = (Scope("head", "Head"),)
    return ImportedNode(value, op, {}, inputs, (4,), scopes=scopes, place=place)


def test_a_text_with_an_error_is_told_by_the_line_of_the_model() -> None:
    nodes = (
        a_node("a", "relu", "x"),
        a_node("bb", "sigmoid", "a"),
        a_node("ccc", "matmul", "a", "bb"),
        a_node("dddd", "relu", "ccc"),
    )
    net = ImportedNet("Net", (ImportedInput("x", (4,)),), nodes, {"output": "dddd"})
    with fails("import/inexpressible", r"head \(Head\): `matmul` cannot be expressed") as caught:
        sound_text("Net", net, nowhere="the model itself")
    assert caught.value.diagnostics[0].notes == ("at model.py:3: ccc = ...",)


def test_the_only_input_needs_no_name(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    one = "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, 3)\n"
    two = one.replace("super().__init__(4, 3)", "super().__init__(4, 3)\n    def forward(self, x, y):"
                      " return super().forward(x) + super().forward(y)")  # fmt: skip
    Path("one.py").write_text(one)
    Path("two.py").write_text(two)
    assert "input x: [4]" in run("import", "torch", "one.py:Net", "--input", "4").out
    assert "has no name" in run("import", "torch", "two.py:Net", "--input", "4").err
