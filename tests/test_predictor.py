"""Predictors: the recorded calls give what the program gives, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.op import registry
from netspec.kernels import parallel
from netspec.runtime.model import Model
from tests.support import agreement, graph_of, random_inputs

EXAMPLES = [example for cls in registry().values() for example in cls.examples]
NETS = sorted(Path(netspec.__file__).parents[1].glob("networks/**/*.net"))


def assert_same(ours, theirs):
    """Equal but for what numexpr rounds otherwise, which a predictor does without."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_same(ours[name], theirs[name])
        return
    assert ours.dtype == theirs.dtype
    assert agreement(ours, theirs) < 1e-6


def prepared(predictor, x):
    predictor(x)
    (found,) = predictor._prepared.values()
    return found


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{e.call} of {list(map(list, e.inputs))}" for e in EXAMPLES]
)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_op_is_recorded(example, threads, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", threads)
    monkeypatch.setattr(parallel, "WORTH_A_THREAD", 1)
    model = Model(graph_of(example.call, example.inputs), seed=1)
    for batch in (1, 3):
        x = random_inputs(model.graph, batch)
        predictor = model.predictor()
        assert prepared(predictor, x).recording is not None
        for seed in (2, 3):
            x = random_inputs(model.graph, batch, seed)
            assert_same(predictor(x), model.forward(x))
