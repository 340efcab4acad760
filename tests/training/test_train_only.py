"""`--train-only`: the opposite of `--freeze`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import (
    Normalization,
    Normalizations,
    normalization_from_json,
    readable_json,
)
from netspec.runtime.training.transfer import choose_frozen
from tests.conftest import Run

NET = "net Two {\n input x: [6]\n output x -> body: linear(5) -> relu -> head: linear(3)\n}\n"
GRAPH = netspec.loads(NET).graph


def test_all_others_are_frozen() -> None:
    assert choose_frozen(GRAPH, (), ["head.*"]) == {"body.weight", "body.bias"}
    both = choose_frozen(GRAPH, ["*.bias"], ["head.*"])
    assert both == {"body.weight", "body.bias", "head.bias"}
    several = choose_frozen(GRAPH, (), ["head.weight", "body.bias"])
    assert several == {"body.weight", "head.bias"}
    with pytest.raises(NetspecError, match="no parameter of Two matches `haed"):
        choose_frozen(GRAPH, (), ["haed.*"])
    with pytest.raises(NetspecError, match="no parameter is left to train"):
        choose_frozen(GRAPH, ["head.*"], ["head.*"])


@pytest.mark.parametrize("in_recipe", [False, True])
def test_only_these_move(in_recipe: bool, run: Run, tmp_path: Path) -> None:
    net, data, out = tmp_path / "two.net", tmp_path / "d.npz", tmp_path / "w.safetensors"
    net.write_text(NET)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)).astype("f4"), rng.integers(0, 3, 32)
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    start = netspec.loads(NET).compile("numpy", seed=5).state_dict()
    netspec.save_weights(tmp_path / "start.safetensors", start)
    more = ["--train-only", "head.*"]
    if in_recipe:
        (tmp_path / "two.toml").write_text('train-only = ["head.*"]\n')
        more = []
    told = run("train", net, "--data", data, "--epochs", 1, "--out", out,
               "--weights", tmp_path / "start.safetensors", *more)  # fmt: skip
    assert told.code == 0, told.err
    found = netspec.load_weights(out).tensors
    moved = {name for name, each in start.items() if not np.array_equal(each, found[name])}
    assert moved == {"head.weight", "head.bias"}
    assert "does not say how its inputs were normalised" in told.err + told.out
    assert "--normalize none" in told.err + told.out


def test_a_readable_normalization_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    one = Normalization.fit("channel", rng.normal(3, 7, (40, 3, 4, 4)))
    many = Normalization.fit("channel", rng.normal(3, 7, (40, 500)))
    text = readable_json(one)
    assert json.loads(text)["mean"] == [[[float(str(v))]] for v in one.mean.ravel()]
    for each in (one, many, Normalizations({"a": one, "b": many})):
        assert normalization_from_json(readable_json(each)).is_like(each)
        assert normalization_from_json(each.to_json()).is_like(each)
    for odd in ('["a"]', "[[1], [1, 2]]", "[1e99]", "[true]", "[]", "[[[[[1]]]]]", "[null]"):
        damaged = f'{{"kind": "channel", "mean": {odd}, "scale": [1.0]}}'
        with pytest.raises(NetspecError, match="damaged"):
            normalization_from_json(damaged)
