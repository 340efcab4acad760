"""What an import's proof takes for equal."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.imports import training_proof
from netspec.imports.proof import checked_text, largest_difference
from tests.helpers.errors import fails


def test_what_is_no_number_equals_no_number() -> None:
    net = checked_text("A", "net A {\n    input x: [4]\n    output x -> log\n}\n")
    with fails("import/differs", "the net computes something else"):
        largest_difference(net, {}, lambda batch: {"output": np.full_like(batch["x"], 7)})


def test_the_same_places_may_hold_no_number() -> None:
    net = checked_text("A", "net A {\n    input x: [4]\n    output x -> log\n}\n")
    with np.errstate(invalid="ignore"):
        assert largest_difference(net, {}, lambda batch: {"output": np.log(batch["x"])}) < 1e-5


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_gradient_that_is_no_number_differs_wherever_it_stands(names: tuple[str, str]) -> None:
    theirs = {name: np.ones(3) for name in names}
    ours = {**theirs, "a": np.array([1.0, np.nan, 1.0])}
    with fails("import/differs", "`a` by inf"):
        training_proof._largest(ours, theirs, "the gradients")
