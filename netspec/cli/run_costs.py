"""What the nets of runs cost, counted from the copies of their texts in the runs' folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.runtime.runs.listing import RunSummary

COSTS = ("params", "macs")


def costs_of(runs: Sequence[RunSummary]) -> list[dict[str, int]]:
    """Return the trained parameters and the multiply-adds for one image of each run's net, `COSTS`.

    Those of a net are empty that cannot be compiled here, such as one with layers of somebody's own. Each
    text is compiled once with the same arguments.
    """
    known: dict[str, dict[str, int]] = {}
    found = []
    for run in runs:
        key = repr((run.text, run.facts.net, sorted(run.facts.constants.items())))
        if not run.text or key not in known:
            known[key] = _costs(run)
        found.append(known[key])
    return found


def _costs(run: RunSummary) -> dict[str, int]:
    from netspec.compiler.driver import Request, compile_request
    from netspec.compiler.ir.net_facts import params_and_macs
    from netspec.runtime.runs.folder import RunFolder

    facts = run.facts
    try:
        path = RunFolder(run.path).net_file(facts)
        result = compile_request(Request(path=path, net=facts.net, arguments=facts.constants))
    except NetspecError:
        return {}
    graph = None if result.errors else result.graphs.get(facts.net)
    return {} if graph is None else params_and_macs(graph)
