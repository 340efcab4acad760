"""The pipeline from a graph to the plan that runs: which passes run, in which order, and what each
did.

A pass is a function from graph to graph or from plan to plan. Any of them can be left out by name,
and the program is still correct: `netspec compile --target numpy --no-fuse`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.compiler.numpy_backend.explain_changes import (
    computed_early,
    folded,
    fused,
    recomputed,
    turned_round,
)
from netspec.compiler.numpy_backend.lower import lower
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.compiler.numpy_backend.passes import early_slopes, fold_batch_norm, fuse, recompute
from netspec.compiler.passes import pool_before_activation as pool_first
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.diagnostics import NetspecError, suggest
from netspec.records import record


@record
class GraphPass:
    """A pass over the graph before it is lowered; see `Pass`."""

    name: str
    gain: str
    apply: Callable[[Graph], Graph]
    changes: Callable[[Graph, Graph], Iterator[str]]


@record
class Pass:
    """A pass over the plan, between lowering and the program.

    Attributes:
        name: what `--no-NAME` leaves out; `PASS_NAMES` says what it does.
        gain: what it is expected to gain, in one line.
        apply: the function of the pass.
        changes: lines that say what it did, from the plans before and after.
    """

    name: str
    gain: str
    apply: Callable[[Plan], Plan]
    changes: Callable[[Plan, Plan], Iterator[str]]


GRAPH_PASSES: tuple[GraphPass, ...] = (
    GraphPass(
        "pool-first",
        "the function is computed for the maxima alone, and its values are not stored",
        pool_first.pool_first,
        turned_round,
    ),
)

PASSES: tuple[Pass, ...] = (
    Pass(
        "fold-batch-norm",
        "a value less to store, and a pass over it less",
        fold_batch_norm.fold_batch_norm,
        folded,
    ),
    Pass(
        "fuse",
        "values that are never stored: memory is written and read again for none of them",
        fuse.fuse,
        fused,
    ),
    Pass(
        "early-slopes",
        "an error function less, in the backward pass",
        early_slopes.early_slopes,
        computed_early,
    ),
    Pass(
        "recompute",
        "a smaller arena, for one elementwise pass over each such value",
        recompute.recompute,
        recomputed,
    ),
)


@record
class PassChange:
    """What a pass did, as lines of text; there are none if it found nothing to do."""

    by: GraphPass | Pass
    lines: tuple[str, ...]


def make_plan(
    graph: Graph,
    *,
    training: bool,
    without: Collection[str] = (),
    changes: list[PassChange] | None = None,
    **options: Any,
) -> Plan:
    """Lower a graph, run the passes, and return the plan.

    Args:
        graph: a checked graph without dead nodes.
        training: as for `lower`.
        without: the names of passes to leave out.
        changes: a list to which what each pass did is appended.
        options: the other options of `lower`.

    Raises:
        NetspecError: `compile/pass` for an unknown name in `without`; `limit/layers`.
    """
    _require_names(without)
    require_few_layers(graph)
    written = graph
    if not options.get("keep_activations"):  # a kept value must be the one of the written graph
        for each in GRAPH_PASSES:
            if each.name not in without:
                before, graph = graph, each.apply(graph)
                if changes is not None:
                    changes.append(PassChange(each, tuple(each.changes(before, graph))))

    def inner(graph: Graph, **options: Any) -> Plan:
        return run_passes(lower(graph, inner=inner, **options), without)

    plan = lower(graph, training=training, inner=inner, **options)
    if graph is not written:
        plan = _as_written(plan, graph, written)
    return run_passes(plan, without, changes)


def run_passes(
    plan: Plan, without: Collection[str] = (), changes: list[PassChange] | None = None
) -> Plan:
    """Return a plan after all passes over plans; see `make_plan`."""
    for each in PASSES:
        if each.name not in without:
            before, plan = plan, each.apply(plan)
            if changes is not None:
                changes.append(PassChange(each, tuple(each.changes(before, plan))))
    return plan


def _as_written(plan: Plan, graph: Graph, written: Graph) -> Plan:
    """Return a plan that refers only to values with the same meaning in the graph as it was
    written.
    """
    same = {
        node.name
        for node in graph.nodes
        if node.name in written.by_name and written.by_name[node.name].inputs == node.inputs
    }
    known = {*written.inputs, *(node.name for node in written.nodes)}
    return dataclasses.replace(
        plan,
        activations={name: b for name, b in plan.activations.items() if name in known},
        activation_gradients={
            name: b for name, b in plan.activation_gradients.items() if name in known
        },
        contributions={edge: b for edge, b in plan.contributions.items() if edge[0] in same},
    )


def _require_names(without: Collection[str]) -> None:
    for name in without:
        if name not in PASS_NAMES:
            meant = suggest(name, PASS_NAMES)
            known = f"the passes are {', '.join(PASS_NAMES)}"
            message = f"there is no pass {name!r}"
            help = f"did you mean {meant!r}?" if meant else known
            raise NetspecError.simple(codes.COMPILE_PASS, message, help)
