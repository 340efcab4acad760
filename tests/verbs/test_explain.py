"""`netspec explain`: codes, layers, and what was probably meant."""

from __future__ import annotations

import pytest

from tests.conftest import Run


def test_a_layer_is_explained_by_its_op(run: Run) -> None:
    told = run("explain", "conv")
    assert told.code == 0
    assert told.out.startswith("conv(channels, kernel, stride = 1, pad = 0, ")
    assert "attribute" in told.out
    assert "For example: x -> conv(4, 3)" in told.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("celu", "did you mean `elu`?"),
        ("Conv2d", "did you mean `conv`?"),
        ("batchnorm", "did you mean `batch_norm`?"),
        ("rank", "did you mean `shape/rank`?"),
        ("sequential", "layers are joined by arrows"),
        ("quite-another", "`netspec explain` lists all codes"),
    ],
)
def test_what_was_probably_meant(run: Run, asked: str, said: str) -> None:
    refused = run("explain", asked)
    assert refused.code == 2
    assert f"there is no code or layer `{asked}`" in refused.err
    assert said in refused.err
