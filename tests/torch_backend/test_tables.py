"""Lists of numbers that a file computes: the generated constructor computes them too."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.numpy_model import draw_parameter  # noqa: E402
from netspec.runtime.models.torch_build import module_class  # noqa: E402
from netspec.testing.op_examples import (  # noqa: E402
    random_inputs,
    random_output_gradients,
    run_program,
)
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.torch_support import classes, same, source_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

NETS = {
    "a table that a loop fills, and one that counts": """
        block Angles(half, count, theta) x {
            rates = []
            for i in range(half) {
                rates = rates + [theta ** (-i / half)]
            }
            constant rate: [half] = rates
            constant places: [count] = range(count)
            angles = (places -> unsqueeze(2)) * (rate -> unsqueeze(1))
            return x + (cos(angles) + sin(angles))
        }
        net A(half = 4, count = 6, theta = 100.0) {
            input x: [count, half]
            output x -> Angles(half, count, theta)
        }
    """,
    "bands of one number, in a block and in the net": """
        block Bands(first) x {
            buffer bands: [x.features] = [0] * first + [2] * (x.features - first)
            return x + bands
        }
        net A(n = 5, first = 2, count = 3) {
            input x: [n]
            parameter start: [n] = [1] * first + [0.5] * (n - first)
            y = x + start
            for i in range(count) {
                y = y -> layers.{i}: Bands(first)
            }
            output y
        }
    """,
    "rows that are given to a block": """
        block Row(row) x {
            constant row_: [len(row)] = row
            return x * row_
        }
        net A(n = 3) {
            input x: [n]
            rows = []
            for i in range(n) {
                rows = rows + [i + 0.5]
            }
            output x -> Row(rows) -> Row([2 * n] * n)
        }
    """,
}
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "a table that a loop fills, and one that counts": (
        {}, {"half": 3}, {"count": 1, "theta": 2.0}, {"half": 1},
    ),
    "bands of one number, in a block and in the net": (
        {}, {"n": 7}, {"n": 4, "first": 4}, {"count": 1, "first": 1},
    ),
    "rows that are given to a block": ({}, {"n": 1}, {"n": 6}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_a_table_follows_the_arguments(name: str) -> None:
    """One generated file starts from the lists of the net compiled with these arguments."""
    text = NETS[name]
    source = source_of(netspec.loads(text))
    check_formatted({name: source})
    assert "copy_" not in source
    made = classes(source)["A"]
    for setting in SETTINGS[name]:
        net = netspec.loads(text, **setting)
        module, own = made(**setting).double(), module_class(net)().double()
        wanted, found = own.state_dict(), module.state_dict()
        assert list(found) == list(wanted)
        for key, tensor in wanted.items():
            torch.testing.assert_close(found[key], tensor)
        graph = net.graph
        inputs = random_inputs(graph, 2)
        parameters = {p.name: draw_parameter(p, 0) for p in graph.parameters.values()}
        dy = random_output_gradients(graph, 2)
        run = run_program(graph, parameters, inputs, dy, training=False)
        (x,), (y,) = inputs.values(), run.outputs.values()
        same(module.eval()(torch.tensor(x)), torch.tensor(y), 1e-6)


def test_a_list_has_the_type_of_its_items() -> None:
    source = netspec.loads(NETS["a table that a loop fills, and one that counts"]).source("torch")
    assert "rates: list[float] = []" in source
