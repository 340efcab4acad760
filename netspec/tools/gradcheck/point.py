"""A point at which gradients are checked, and the rows of the report for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import Span
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.difference import distance
from netspec.tools.agreement.limits import Limits
from netspec.tools.agreement.numpy_trace import trace_reference
from netspec.tools.agreement.quantities import Item, Trace, holders
from netspec.tools.gradcheck.analytic import (
    PROGRAMS,
    Analytic,
    program_gradients,
    torch_gradients,
)
from netspec.tools.gradcheck.differences import SMALLEST
from netspec.tools.gradcheck.locate import WrongFormula, wrong_formula
from netspec.tools.gradcheck.loss_along_line import Landscape
from netspec.tools.gradcheck.probe import Prober
from netspec.tools.gradcheck.probes import Probing, Target, spread
from netspec.tools.gradcheck.report import GradientRow, Smallness
from netspec.tools.gradcheck.subgraph import upstream
from netspec.tools.gradcheck.verdict import Probe, Score, Verdict, score, verdict

if TYPE_CHECKING:
    from torch import nn

# How far, relative to their size, inputs are moved away from kinks that they lie on.
ASIDE = 1e-3


class Point:
    """The loss at a case, and the gradients that each backend computes there.

    Args:
        graph: the net.
        case: the point.
        module: the PyTorch module, if it is checked.
        backends: of `numpy`, `c` and `torch`.
        tolerance: of the gradients.
    """

    def __init__(
        self,
        graph: Graph,
        case: Trial,
        module: nn.Module | None,
        backends: Sequence[str],
        tolerance: float,
    ) -> None:
        self.graph = graph
        self.case = case
        self.landscape = Landscape(graph, case)
        self.results: dict[str, Analytic] = {}
        for backend in PROGRAMS:
            if backend in backends:
                self.results[backend] = program_gradients(graph, case, backend)
        if module is not None and "torch" in backends:
            self.results["torch"] = torch_gradients(graph, module, case)
        self._module = module
        self._tolerance = tolerance
        self._prober = Prober(self.landscape, self.results, tolerance)

    def rows(
        self, targets: Sequence[Target], probing: Probing, advance: Callable[[str], object]
    ) -> tuple[list[GradientRow], list[str]]:
        """Return a row for each target, and notes on those that were probed beside the point.

        If the point lies on kinks, such as the equal pixels of a flat background under a max pool,
        there is no slope. Then the gradient is checked at nearby inputs.
        """
        rows = []
        for target in targets:
            advance(target.title)
            rows.append(self._row(target, probing))
        stuck = [i for i, row in enumerate(rows) if row.is_on_kinks]
        if not stuck:
            return rows, []
        notes = []
        beside = self._beside(probing.seed)
        for i in stuck:
            again = beside._row(targets[i], probing)
            note = f"{rows[i].name}: {self._kinks(targets[i], probing)}, where there is no slope"
            if not again.is_on_kinks:
                note += f"; checked with the inputs moved by {ASIDE:g} of their size"
                rows[i] = dataclasses.replace(again, kinks=rows[i].kinks, beside=True)
            notes.append(note)
        return rows, notes

    def _row(self, target: Target, probing: Probing) -> GradientRow:
        probes = [self._prober.probe(direction) for direction in probing.directions_of(target)]
        scores = {backend: score(probes, backend, self._tolerance) for backend in self.results}
        found = verdict(probes, list(scores.values()))
        several = len(target.names) > 1
        small: Smallness = ""
        if not several and _too_coarse(found, probes, scores):
            small, scores = self._without_differences(target, scores)
            found = verdict(probes, list(scores.values()))
        return GradientRow(
            kind="all" if several else target.kind,
            name=target.title,
            shape=(target.size,) if several else target.values[0].shape,
            span=None if several else span_of(self.graph, target.names[0]),
            probes=len(probes),
            kinks=sum(probe.slope is None for probe in probes),
            unsure=max(s.unsure for s in scores.values()),
            scores=scores,
            verdict=found,
            small=small,
        )

    def _without_differences(
        self, target: Target, scores: Mapping[str, Score]
    ) -> tuple[Smallness, dict[str, Score]]:
        """Judge a gradient that is too small for differences: by the reference, whose layers are then
        checked one by one, with what arrives at each scaled to 1.
        """
        (name,) = target.names
        item = Item("parameter" if target.kind == "parameter" else "gradient", name)
        exact = self._reference.get(item, np.zeros_like(target.values[0]))
        wrong = {
            backend
            for backend, result in self.results.items()
            if not self.limits.allow(
                item, distance(exact, result.gradients[target.kind, name]), "float64"
            )
        }
        is_zero = item not in self._reference or self.limits.is_nothing(item)
        if not is_zero and self._is_behind_a_wrong_formula(target):
            wrong = set(scores)
        judged = {
            backend: dataclasses.replace(s, wrong=s.wrong + (backend in wrong), unsure=0)
            for backend, s in scores.items()
        }
        return ("zero" if is_zero else "tiny"), judged

    def _is_behind_a_wrong_formula(self, target: Target) -> bool:
        """Return True if a gradient comes through a layer whose backward pass is wrong, or is its own."""
        wrong = self._wrong_formula
        if wrong is None:
            return False
        behind = upstream(self.graph, {wrong.node.name})
        return any(
            node.name in behind
            and (target.names[0] in node.inputs or target.names[0] in node.parameters.values())
            for node in self.graph.nodes
        )

    @cached_property
    def _reference(self) -> Trace:
        return trace_reference(self.graph, self.case)

    @cached_property
    def limits(self) -> Limits:
        """How far from the reference's a correct program's numbers may be."""
        return Limits(self.graph, self.case, self._reference, self._tolerance)

    @cached_property
    def _wrong_formula(self) -> WrongFormula | None:
        return wrong_formula(self.graph, self.case, self._reference, self._tolerance)

    def _beside(self, seed: int) -> Point:
        rng = np.random.default_rng([seed, 12])
        inputs = {
            name: array + ASIDE * spread(array) * rng.standard_normal(array.shape)
            if self.graph.holds(name) == "real"
            else array
            for name, array in self.case.inputs.items()
        }
        case = dataclasses.replace(self.case, inputs=inputs)
        return Point(self.graph, case, self._module, tuple(self.results), self._tolerance)

    def _kinks(self, target: Target, probing: Probing) -> str:
        """Describe the kinks that the point lies on."""
        found: dict[str, tuple[Node, bool]] = {}
        for direction in probing.directions_of(target):
            for node, tie in self.landscape.kinks_at(direction, SMALLEST * direction.scale):
                found[node.name] = node, tie
        ties = ", ".join(name for name, (_, tie) in found.items() if tie)
        kinks = ", ".join(name for name, (_, tie) in found.items() if not tie)
        said = [f"equal numbers tie for the largest in {ties}"] if ties else []
        said += [f"numbers lie exactly on the kink of {kinks}"] if kinks else []
        return " and ".join(said) or "kinks lie close together"


def _too_coarse(found: Verdict, probes: Sequence[Probe], scores: Mapping[str, Score]) -> bool:
    """Return True if no kink, but the size of the slopes keeps the differences from a judgement."""
    if found == "inconclusive":
        return all(probe.slope is not None for probe in probes)
    return found == "ok" and not all(s.tells for s in scores.values())


def span_of(graph: Graph, parameter: str) -> Span | None:
    """Return the layer that first holds a parameter; None for an input."""
    held = holders(graph, parameter)
    return held[0].origin.span if held else None
