"""Whole numbers of one input go to tables of different lengths."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.places import holds_only_whole
from netspec.export import standalone_source
from netspec.runtime.models.inputs import whole_limits
from netspec.tools.agreement.case import draw_inputs

COLUMNS = """
net Columns {
    input categories: int[3]
    a = categories -> slice(1, 0, stop = 1) -> embedding(7, 4) -> flatten
    b = categories -> slice(1, 1, stop = 2) -> embedding(12, 4) -> flatten
    c = categories -> roll(1, 1) -> slice(1, 0, stop = 1) -> embedding(31, 4) -> flatten
    output concat(a, b, c) -> linear(2)
}
"""
MIXED = """
net Mixed {
    input x: [5]
    kind = x -> slice(1, 0, stop = 1) -> embedding(9, 4) -> flatten
    rest = x -> slice(1, 1)
    output concat(kind, rest) -> linear(2)
}
"""
OPEN = """
net Open {
    input pairs: int[T, 2]
    a = pairs -> slice(2, 0, stop = 1) -> squeeze(2) -> embedding(5, 3)
    b = pairs -> slice(2, 1) -> squeeze(2) -> embedding(50, 3)
    output a + b -> linear(2)
}
"""
STEPS = """
scan block Step x {
    state h: [3] = zeros
    a = x -> slice(1, 0, stop = 1) -> embedding(5, 3) -> flatten
    b = x -> slice(1, 1) -> embedding(50, 3) -> flatten
    h = a + b + h -> tanh
    return h
}
net N {
    input pairs: [4, 2]
    output pairs -> Step
}
"""


def standalone(net: netspec.Net, folder: Path) -> Any:
    """Return the network of a net's standalone file."""
    path = folder / "made.py"
    path.write_text(standalone_source(net.graph), "utf-8")
    return runpy.run_path(str(path))[net.graph.name]()


REFUSED = [
    ([7, 0, 0], "holds 7 at [1, 0]", "from 0 to 6"),
    ([0, 12, 0], "holds 12 at [1, 1]", "from 0 to 11"),
    ([0, 0, 31], "holds 31 at [1, 2]", "from 0 to 30"),
    ([0, -1, 0], "holds -1 at [1, 1]", "from 0 to 11"),
]


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_each_column_has_the_limit_of_its_table(target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(COLUMNS).compile(target)
    assert np.shape(model.forward({"categories": [[6, 11, 30]]})) == (1, 2)
    for row, held, limit in REFUSED:
        with pytest.raises(netspec.NetspecError) as caught:
            model.forward({"categories": [[1, 1, 1], row]})
        assert held in str(caught.value)
        assert limit in str(caught.value)


def test_the_standalone_file_checks_each_column(tmp_path: Path) -> None:
    net = netspec.loads(COLUMNS)
    held = standalone(net, tmp_path)
    given = {"categories": np.array([[6, 11, 30], [0, 0, 0]])}
    model = net.compile("numpy")
    model.load_state_dict(held.parameters)
    np.testing.assert_allclose(held.forward(given), model.forward(given), rtol=1e-6)
    for row, at, limit in REFUSED:
        with pytest.raises(ValueError, match=limit) as caught:
            held.forward({"categories": np.array([[1, 1, 1], row])})
        assert at in str(caught.value)


def test_drawn_numbers_reach_every_row_of_every_table() -> None:
    drawn = draw_inputs(netspec.loads(COLUMNS).graph, 2000, np.random.default_rng(0))
    assert [int(n) for n in drawn["categories"].max(0)] == [6, 11, 30]
    assert drawn["categories"].min() == 0


def test_columns_of_real_numbers_beside_a_place_stay_real(tmp_path: Path) -> None:
    net = netspec.loads(MIXED)
    model = net.compile("numpy")
    given = np.array([[8, 0.5, -3.25, 90, 0.1]])
    moved = given + np.array([0, 1, 0, 0, 0])
    assert not np.allclose(model.forward(given), model.forward(moved))
    with pytest.raises(netspec.NetspecError, match=r"holds 9 at \[0, 0\]"):
        model.forward(given + np.array([1, 0, 0, 0, 0]))
    with pytest.raises(netspec.NetspecError, match=r"holds 8.5 at \[0, 0\]"):
        model.forward(given + np.array([0.5, 0, 0, 0, 0]))
    assert not holds_only_whole(net.graph, "x")
    drawn = draw_inputs(net.graph, 500, np.random.default_rng(0))["x"]
    assert drawn[:, 0].max() == 8
    assert (drawn[:, 1:] % 1 != 0).all()
    held = standalone(net, tmp_path)
    model.load_state_dict(held.parameters)
    np.testing.assert_allclose(held.forward(given), model.forward(given), rtol=1e-6)
    with pytest.raises(ValueError, match="from 0 to 8"):
        held.forward(given + np.array([1, 0, 0, 0, 0]))


def test_limits_follow_along_open_sizes() -> None:
    model = netspec.loads(OPEN).compile("numpy")
    for length in (3, 4, 3):
        pairs = np.tile([4, 49], (1, length, 1))
        assert model.forward({"pairs": pairs}).shape == (1, length, 2)
        pairs[0, 1, 0] = 5
        with pytest.raises(netspec.NetspecError, match=r"holds 5 at \[0, 1, 0\].*from 0 to 4"):
            model.forward({"pairs": pairs})


def test_limits_follow_into_the_steps_of_a_scan() -> None:
    net = netspec.loads(STEPS)
    limits = whole_limits(net.graph)["pairs"]
    assert isinstance(limits, np.ndarray)
    assert limits.tolist() == [[5, 50]] * 4
    model = net.compile("numpy")
    model.forward(np.tile([4, 49], (1, 4, 1)))
    with pytest.raises(netspec.NetspecError, match=r"holds 5 at \[0, 3, 0\]"):
        model.forward(np.array([[[4, 49], [4, 49], [4, 49], [5, 0]]]))


def test_training_takes_every_row_of_every_table() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, n, 60) for n in (7, 12, 31)], 1)
    x[0] = [6, 11, 30]
    y = rng.integers(0, 2, 60)
    model = netspec.loads(COLUMNS).compile("numpy")
    data = netspec.Dataset("columns", x, y, x, y, 2)
    assert netspec.fit(model, data, epochs=1, progress=False).loss_history
    wrong = x.copy()
    wrong[3, 1] = 12
    with pytest.raises(netspec.NetspecError, match=r"holds 12 at \[3, 1\]"):
        netspec.fit(model, replace(data, x_train=wrong), epochs=1, progress=False)
