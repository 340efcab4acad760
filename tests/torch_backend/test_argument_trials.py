"""Arguments of a net are tried within a budget."""

from __future__ import annotations

import pytest

import netspec
from netspec.compiler.torch_backend.emit import torch_source
from netspec.compiler.torch_backend.structured import net as structured_net


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
