"""Masks of attention: PyTorch's convention, which queries see no key, and dropout."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.testing.op_examples import agreement

TEXT = """\
block Halves(dropout) x, seen {{
    h = x -> reshape([-1, 2, 3]) -> permute([2, 1, 3])
    y = attention(h, h, h, seen, causal = {causal}, dropout = dropout)
    return y -> permute([2, 1, 3]) -> reshape([-1, 6])
}}

net Masked(dropout = 0) {{
    input x: [T, 6]
    input seen: {seen}

    output (x, seen) -> Halves(dropout) -> linear(3)
}}
"""
MASKS = ["bool[T]", "bool[T, T]", "bool[1, T, T]", "bool[2, T, T]"]


def masked(seen, causal, **arguments):
    text = TEXT.format(seen=seen, causal=str(causal).lower())
    return netspec.loads(text, **arguments)


def batch(net, length=5):
    """Return inputs; of the last image no query sees a key."""
    rng = np.random.default_rng(3)
    shape = [length if not isinstance(n, int) else n for n in net.graph.inputs["seen"]]
    seen = rng.random((3, *shape)) < 0.6
    seen[2] = False
    return {"x": rng.standard_normal((3, length, 6)), "seen": seen}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("seen", MASKS)
def test_a_mask_is_pytorchs(seen, causal):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = masked(seen, causal)
    given = batch(net)
    ours, theirs = (net.compile(t, dtype="float64") for t in ("numpy", "torch"))
    y = ours.forward(given)
    assert agreement(y, theirs.forward(given)) <= 1e-12
    x, mask = torch.tensor(given["x"]), torch.tensor(given["seen"])
    h = x.reshape(3, 5, 2, 3).transpose(1, 2)
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    mask = mask.expand(-1, -1, 5, -1) & (torch.ones(5, 5).tril() > 0 if causal else True)
    shares = torch.where(mask, h @ h.transpose(-1, -2) / 3**0.5, -torch.inf).softmax(-1)
    wanted = (shares.nan_to_num() @ h).transpose(1, 2).reshape(3, 5, 6)
    p = {name: torch.tensor(array) for name, array in ours.parameters.items()}
    wanted = wanted @ p["linear1.weight"].T + p["linear1.bias"]
    assert agreement(y, wanted.numpy()) <= 1e-12


@pytest.mark.parametrize(("seen", "causal"), [("bool[T]", True), ("bool[2, T, T]", False)])
def test_all_agree_with_dropout(seen, causal):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = masked(seen, causal, dropout=0.4, T=4)
    assert netspec.verify(net).ok
    assert netspec.gradcheck(net, directions=2, whole=True).ok


def test_dropout_is_trained_only():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    given = batch(masked("bool[T]", False))
    models = [
        masked("bool[T]", False, dropout=rate).compile(target, dtype="float64")
        for rate in (0, 0.5)
        for target in ("numpy", "torch")
    ]
    first, *others = (model.forward(given) for model in models)
    assert all(agreement(first, other) <= 1e-12 for other in others)
    source = masked("bool[T]", False, dropout=0.5).source("torch")
    assert re.search(r"dropout_p=(self\.dropout|0\.5) if self\.training else 0\.0", source)


def test_numbers_are_a_mask_where_the_call_says_so():
    text = TEXT.replace("dropout = dropout)", "masked = true)").format(seen="[T]", causal="false")
    given = batch(masked("bool[T]", False))
    numbers = given | {"seen": given["seen"] * 2.0 - 1}
    y = netspec.loads(text).compile(dtype="float64").forward(numbers)
    assert agreement(y, masked("bool[T]", False).compile(dtype="float64").forward(given)) <= 1e-12


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (
            "bool[4]",
            "the mask of `attention` is [N, 4], and must fit the scores, [N, 2, 5, 5]",
        ),
        (
            "bool[3, 5, 5]",
            "the mask of `attention` is [N, 3, 5, 5], and must fit the scores, [N, 2, 5, 5]",
        ),
        ("int[5]", "`attention` takes real numbers, and `seen` holds whole numbers"),
    ],
)
def test_wrong_masks(seen, message):
    with pytest.raises(NetspecError) as caught:
        masked(seen, False, T=5)
    assert caught.value.diagnostics[0].message == message


def test_a_mask_of_keys_hides_what_fills_up_a_sequence():
    """A padded sequence gives what the sequence alone gives."""
    text = (
        "net A {\n input x: [T, 6]\n input seen: bool[T]\n"
        " output multihead_attention(x, x, x, seen, 2)\n}"
    )
    model = netspec.loads(text).compile(dtype="float64")
    x = np.random.default_rng(0).standard_normal((1, 5, 6))
    seen = np.array([[True, True, True, False, False]])
    y = model.forward({"x": x, "seen": seen})
    alone = model.forward({"x": x[:, :3], "seen": seen[:, :3]})
    assert agreement(y[:, :3], alone) <= 1e-12


def test_a_bias_beside_causal_is_told_how_a_bias_hides_later_keys():
    bias = "{ input x: [5, 6]\n constant places: [5] = range(5)\n"
    bias += " distance = (places -> unsqueeze(2)) - (places -> unsqueeze(1))\n"
    with pytest.raises(NetspecError) as caught:
        netspec.loads(f"net A {bias} output attention(x, x, x, distance, causal = true) }}")
    (found,) = caught.value.diagnostics
    assert found.message.startswith("`causal` must be false where a bias is given")
    (help,) = (hint for hint in found.hints if "where(" in hint.text)
    (idiom,) = re.findall("`(where.*?)`", help.text)
    idiom = idiom.replace("bias", "-distance")
    net = netspec.loads(f"net A {bias} output attention(x, x, x, {idiom}) }}")
    model = net.compile(dtype="float64")
    x = np.random.default_rng(0).standard_normal((1, 5, 6))
    y, later = model.forward(x), x.copy()
    later[0, 3] += 1
    assert np.array_equal(model.forward(later)[0, :3], y[0, :3])
    assert not np.allclose(model.forward(later)[0, 3:], y[0, 3:])
