"""The facts about a net that conditions from outside name: one table for every verb that takes them.

An `assert` in a file knows fewer, `netspec.compiler.ir.net_facts`: what a net may promise of itself while
it is being built.
"""

from __future__ import annotations

from collections.abc import Mapping

from netspec.compiler.analysis.costs import summarize
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.net_facts import facts_of

COST_FACTS: Mapping[str, str] = {
    "params": "trained parameters",
    "buffers": "numbers that are saved and not trained: statistics, `buffer`",
    "constants": "numbers of each `constant`, which no weights file has",
    "numbers": "the three together: all numbers that the net stores",
    "macs": "multiply-adds for one image",
    "flops": "two for each MAC, and one for each number that a layer without MACs gives",
    "layers": "uses of layers, those of a scan block's step once; stored numbers are none",
    "inference_bytes": "the values of one image in float32, at the peak",
    "training_bytes": "the values of one image in float32, all of them",
    "receptive_field": "rows and columns of the picture that one number of the first output sees",
}
"""What each fact counts, by its name; as `netspec summarize` does."""


def cost_facts(graph: Graph) -> dict[str, Constant]:
    """Return the facts of a graph; `receptive_field` is left out where nothing has one."""
    summary = summarize(graph)
    of_one = facts_of(graph)
    known: dict[str, Constant] = {
        **of_one,
        "buffers": summary.buffers,
        "constants": summary.constants,
        "numbers": summary.numbers,
        "flops": summary.flops,
        "layers": sum(
            1 + node.op.inner_layers() for node in graph.nodes if not node.op.reads_batch_alone
        ),
        "inference_bytes": summary.inference_bytes,
        "training_bytes": summary.training_bytes,
    }
    return {name: known[name] for name in COST_FACTS if name in known}
