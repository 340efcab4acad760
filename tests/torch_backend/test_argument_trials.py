"""Arguments of a net are tried one at a time, or in groups where that would take long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netspec
from netspec.compiler.torch_backend import class_arguments
from netspec.compiler.torch_backend.emit import torch_source
from netspec.compiler.torch_backend.structured import net as structured_net
from tests.conftest import ROOT


@given(st.integers(0, 300), st.integers(0, 2000))
def test_each_argument_is_in_one_group(count: int, layers: int) -> None:
    names = [f"a{i}" for i in range(count)]
    groups = class_arguments._groups(names, layers)
    assert sorted(name for group in groups for name in group) == sorted(names)
    built = len(groups) * class_arguments._ENOUGH * layers
    assert built <= class_arguments._ONE_AT_A_TIME or len(groups) == 1


MIXED = """
net A(a = 4, b = 6, c = 2, d = 3, e = 5) {
    input image: [3, 8, 8]

    x = image -> conv(a, 3) -> conv(max(b, 5), 1)
    for i in range(c) {
        x = x -> conv(d + i, 1)
    }
    output x -> conv(e * e, 1) -> flatten -> linear(a // 3)
}
"""


@pytest.mark.parametrize("name", ["MIXED", "resnet.net", "threelayer.net"])
def test_groups_find_the_same_arguments(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    net = netspec.loads(MIXED) if name == "MIXED" else netspec.load(ROOT / "networks" / name)
    alone = torch_source(net.written)
    monkeypatch.setattr(class_arguments, "_ONE_AT_A_TIME", 0)
    monkeypatch.setattr(class_arguments, "_IN_GROUPS", 0)
    assert torch_source(net.written) == alone


def test_a_net_with_many_arguments_is_not_built_for_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters = ", ".join(f"a{at} = 4" for at in range(100))
    layers = "".join(f"    x = x -> linear(a{at})\n" for at in range(100))
    net = netspec.loads(f"net N({parameters}) {{\n    input x: [4]\n{layers}    output x\n}}")
    built = 0
    build = structured_net.build

    def counted(*given, **options):
        nonlocal built
        built += 1
        return build(*given, **options)

    monkeypatch.setattr(structured_net, "build", counted)
    source = torch_source(net.written)
    assert built < 60
    # The first ones were tried, and the others keep their values.
    assert "a0: int = 4" in source
    assert "    a99 = 4\n" in source
