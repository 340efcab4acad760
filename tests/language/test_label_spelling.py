"""Labels that look like typing errors, and labels that are only similar."""

from __future__ import annotations

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Source


def reported(*labels: str) -> list[str]:
    """Return the labels that are reported in a net with a `linear` under each."""
    stages = "\n".join(f"    -> {label}: linear(4)" for label in labels)
    text = f"net A {{\n    input x: [4]\n    output x\n{stages}\n}}\n"
    result = compile_request(Request(source=Source("test.net", text)))
    assert {d.code for d in result.diagnostics} <= {"label/misspelt"}
    return [d.span.text for d in result.diagnostics if d.span is not None]


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        (("features.0", "faetures.1", "features.2"), "faetures.1"),
        (("features.0", "fetures.1", "features.2"), "fetures.1"),
        (("features.0", "featuress.1"), "featuress.1"),
        (("featuress.0", "features.1"), "featuress.0"),
        (("fc1", "cf2", "fc3"), "cf2"),
        (("head.lniear",), "head.lniear"),
        (("left.stem", "right.setm"), "right.setm"),
        (("a{1}.stem", "a{2}.stem", "a{3}.sttem"), "a{3}.sttem"),
    ],
)
def test_slips(labels: tuple[str, ...], wrong: str) -> None:
    assert reported(*labels) == [wrong]


@pytest.mark.parametrize(
    "labels",
    [
        ("to_q", "to_k", "to_v", "to_kv"), ("fc1", "fc2", "fc11"), ("left", "right"),
        ("encode", "decode"), ("lin", "line"), ("block.0", "blocks.1"), ("conv1x1", "conv3x3"),
        ("up", "pu"), ("expand", "expand2", "expand3"), ("norm", "norms"), ("key", "keys"),
        ("feat.0", "features.1", "features.2"), ("in_proj", "out_proj"), ("linear", "linears"),
        ("x" * 60, "x" * 61), ("q", "k", "v"), ("from", "for"),
    ],
)  # fmt: skip
def test_labels_that_only_look_alike(labels: tuple[str, ...]) -> None:
    assert reported(*labels) == []
