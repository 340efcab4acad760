"""Older names in published weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.weights.tensor_names import match_names, may_be_missing

ZOO = Path(__file__).parents[2] / "networks" / "zoo"


def test_published_densenet_weights_find_their_places():
    expected = netspec.load(ZOO / "densenet121.net").graph.parameters
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): name
        for name in expected
        if not may_be_missing(name)
    }
    renamed = match_names(old, expected).names
    assert renamed == {key: name for key, name in old.items() if key != name}
    assert len(renamed) == 58 * (2 + 8)  # two convolutions and two batch norms in 58 layers
    missing = set(expected) - {renamed.get(key, key) for key in old}
    assert missing
    assert all(map(may_be_missing, missing))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_loading_renames(backend: str) -> None:
    net = netspec.load(ZOO / "densenet121.net")
    rng = np.random.default_rng(0)
    state = {
        name: np.asarray(rng.random(p.shape), np.float32)
        for name, p in net.graph.parameters.items()
        if not may_be_missing(name)
    }
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): array
        for name, array in state.items()
    }
    model: Any = net.compile()
    if backend == "torch":
        pytest.importorskip("torch")
        from netspec.runtime.models.pytorch.model import TorchModel
        from netspec.runtime.models.torch_build import build_module

        model = TorchModel(net.graph, build_module(net))
    counters = {n: a for n, a in model.state_dict().items() if may_be_missing(n)}
    model.load_state_dict(old)
    loaded = model.state_dict()
    assert all(np.array_equal(loaded[name], array) for name, array in {**state, **counters}.items())
    del old["features.denseblock1.denselayer1.norm.1.bias"]
    with pytest.raises(netspec.NetspecError, match="one tensor differs"):
        model.load_state_dict(old)


def test_names_that_fit_stay():
    names = ["features.0.weight", "layer1.0.conv1.weight"]
    assert match_names(names, set(names)).names == {}


def test_names_of_nothing_stay():
    assert (
        match_names(["norm.3.bias", "norm.x.bias", "1.2.bias"], {"norm1.bias", "12.bias"}).names
        == {}
    )


def test_a_name_that_is_there_is_not_given_again():
    assert match_names(["norm.1.bias", "norm1.bias"], {"norm1.bias"}).names == {}


def test_one_of_two_places_is_not_guessed():
    assert match_names(["a.1.b.2"], {"a1.b.2", "a.1.b2"}).names == {}


def test_two_names_for_one_place_are_not_guessed():
    assert match_names(["a.1.b2", "a1.b.2"], {"a1.b2"}).names == {}


def test_only_the_counter_may_be_missing():
    assert may_be_missing("bn1.num_batches_tracked")
    assert not may_be_missing("bn1.running_mean")
