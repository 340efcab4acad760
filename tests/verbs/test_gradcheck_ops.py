"""Each element of each gradient, for every example of every op and for the courses' sandwiches."""

from __future__ import annotations

import pytest

import netspec
from netspec.compiler.ir.op import Example
from netspec.testing.op_examples import net_of
from tests.helpers.op_parameters import two_of_each_quick

SANDWICHES = [
    Example("linear(5) -> relu", ((7,),)),
    Example("conv(3, 3, pad = 1) -> relu", ((2, 5, 4),)),
    Example("conv(3, 3, pad = 1) -> relu -> max_pool(2)", ((2, 6, 4),)),
    Example("conv(3, 3, pad = 1, bias = false) -> batch_norm -> relu", ((2, 5, 4),)),
    Example("conv(3, 3) -> relu -> avg_pool(2)", ((2, 6, 4),)),
    Example("linear(5, bias = false) -> batch_norm -> relu", ((7,),)),
    Example("linear(5) -> layer_norm -> relu -> dropout(0.4)", ((7,),)),
    Example("conv(4, 3, pad = 1) -> group_norm(2) -> silu -> upsample(2)", ((2, 3, 4),)),
]
# Large enough that a batch norm of vectors is not at the ends of its range.
BATCH = 3


@pytest.mark.parametrize(
    "example",
    [*(pytest.param(each, id=each.call) for each in SANDWICHES), *two_of_each_quick()],
)
def test_every_element_of_every_gradient(example):
    net = netspec.loads(net_of(example.call, example.inputs))
    report = netspec.gradcheck(net, full=True, backend="numpy", batch=BATCH)
    assert report.ok, f"{report}\n{report.diagnostics}"
    assert all(row.scores["numpy"].error <= 1e-7 for row in report.rows)
    counts = {row.name: row.probes for row in report.rows}
    still = net.graph.untrained_rows
    sizes = {
        p.name: p.size - (p.size // p.shape[0] if p.name in still else 0)
        for p in net.graph.trainable()
    }
    assert counts.items() >= sizes.items()
