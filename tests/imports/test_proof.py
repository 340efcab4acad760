"""What an import's proof takes for equal."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from netspec.imports import training_proof
from netspec.imports.proof import closed, compared, random_inputs
from netspec.runtime.engine.record.recorder import Recorder
from tests.helpers.checked_texts import checked_text
from tests.helpers.errors import fails


def test_what_is_no_number_equals_no_number() -> None:
    net = checked_text("A", "net A {\n    input x: [4]\n    output x - 3 -> log\n}\n")
    with fails("import/differs", "the net computes something else"):
        compared(net, {}, lambda batch: {"output": np.full_like(batch["x"], 7)})


def test_the_same_places_may_hold_no_number() -> None:
    net = checked_text("A", "net A {\n    input x: [4]\n    output x - 3 -> log\n}\n")
    with np.errstate(invalid="ignore"):
        assert compared(net, {}, lambda batch: {"output": np.log(batch["x"] - 3)}).difference < 1e-5


def test_an_open_size_is_the_same_wherever_its_name_stands() -> None:
    text = "net A {\n    input rows: [H]\n    input x: [3, H, W]\n    output x -> sqrt\n"
    net = checked_text("A", text + "    output rows = rows -> relu\n}\n")
    still = closed(net.graph)
    drawn = random_inputs(still, 2, np.random.default_rng(0))
    assert drawn["x"].shape[2:3] == drawn["rows"].shape[1:] == (64,)
    assert drawn["x"].min() > 0  # as a root needs it
    assert drawn["rows"].min() < 0

    def model(batch: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return {"output": np.sqrt(batch["x"]), "rows": np.maximum(batch["rows"], 0)}

    assert compared(net, {}, model).difference < 1e-6


def test_inputs_are_of_the_type_that_the_model_takes() -> None:
    text = "net A {\n    input x: int[4]\n    input m: bool[4]\n    input y: [4]\n"
    net = checked_text("A", text + "    output where(m, y, y) + (x -> one_hot(3) -> sum(2))\n}\n")
    drawn = random_inputs(net.graph, 2, np.random.default_rng(0))
    assert [a.dtype for a in drawn.values()] == [np.int64, np.bool_, np.float32]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_gradient_that_is_no_number_differs_wherever_it_stands(names: tuple[str, str]) -> None:
    theirs = {name: np.ones(3) for name in names}
    ours = {**theirs, "a": np.array([1.0, np.nan, 1.0])}
    with fails("import/differs", "`a` by inf"):
        training_proof._largest(ours, theirs, "the gradients")


def test_outputs_of_batches_of_one_are_told_apart() -> None:
    net = checked_text("n", "net N {\n    input x: [3]\n\n    output x -> sin\n}\n")
    found = compared(net, {}, lambda batch: {"output": np.sin(batch["x"])}, batches=(1, 1))
    assert found.tells_apart
    same = checked_text("n", "net N {\n    input x: [3]\n\n    output x * 0.0\n}\n")
    assert not compared(same, {}, lambda batch: {"output": batch["x"] * 0}, (1, 1)).tells_apart


def test_a_proof_records_no_run_which_takes_longer_than_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Recorder, "__enter__", _recording_is_refused)
    net = checked_text("A", "net A {\n    input x: [4]\n    output x -> relu\n}\n")

    def relu(batch: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return {"output": np.maximum(batch["x"], 0)}

    assert compared(net, {}, relu, (2, 2, 2)).difference == 0


def _recording_is_refused(self: Recorder) -> Recorder:
    raise AssertionError("a run was recorded")


def test_outputs_that_are_infinite_are_compared_without_a_warning() -> None:
    net = checked_text("A", "net A {\n    input x: [4]\n    output x * 0.0 + 1e300 * 10.0\n}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proof = compared(net, {}, lambda batch: {"output": np.full_like(batch["x"], np.inf)})
    assert not proof.tells_apart
