"""Several outputs of a net are a tuple whose items have their names."""

from __future__ import annotations

import pickle

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.torch_build import module_class  # noqa: E402
from tests.helpers.formatted import check_formatted  # noqa: E402

NET = """
net Two(n = 4) {{
    input x: [n]
    y = x -> linear(8) -> relu
    output {first} = y -> linear(3)
    output {second} = y -> linear(2)
}}
"""


def test_outputs_have_their_names() -> None:
    net = netspec.loads(NET.format(first="logits", second="aux"))
    check_formatted({"two": net.source("torch")})
    module = module_class(net)()
    x = torch.ones(5, 4)
    logits, aux = found = module(x)
    assert found.logits is logits
    assert found.aux is aux
    assert type(found).__name__ == "TwoOutputs"
    scripted = torch.jit.script(module)(x)
    torch.testing.assert_close(scripted.aux, aux)
    again = pickle.loads(pickle.dumps(module))
    torch.testing.assert_close(again(x), found)


def test_names_that_no_field_can_have_stay_a_tuple() -> None:
    for first in ("count", "index", "_a", "in_", "logits"):
        source = netspec.loads(NET.format(first=first, second="aux")).source("torch")
        assert ("NamedTuple" in source) == (first == "logits"), first


def test_a_block_may_have_the_name_of_the_class() -> None:
    text = "block TwoOutputs x { return x -> linear(8) }\n" + NET.format(first="a", second="b")
    source = netspec.loads(text.replace("-> relu", "-> TwoOutputs")).source("torch")
    assert "class TwoOutputs_(NamedTuple):" in source
