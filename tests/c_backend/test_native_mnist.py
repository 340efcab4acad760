"""How much machine code learns, on real pictures."""

from __future__ import annotations

import json

import pytest

from tests.conftest import ROOT
from tests.helpers.mnist import mnist


@pytest.mark.heavy
def test_lenet_learns_mnist_in_three_epochs(run, tmp_path):
    """The recipe beside the net, but for the data and the epochs."""
    mnist()  # or the test is skipped
    finished = run(
        "train", "c", ROOT / "networks/lenet.net", "--data", "mnist", "--epochs", 3, "--out",
        tmp_path / "run",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    last = (tmp_path / "run/metrics.jsonl").read_text("utf-8").splitlines()[-1]
    assert json.loads(last)["test"] >= 0.988
