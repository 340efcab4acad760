"""Turns the arguments of a check into its subject: a graph, a point, an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.bind_sizes import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.diagnostics import NetspecError
from netspec.runtime.data.exchanged_axes import exchanged
from netspec.runtime.models.classifier_shape import require_sizes
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.models.room import parameter_count, require_room, value_count
from netspec.runtime.optim.losses import AnyLoss, chosen_loss
from netspec.runtime.optim.targets import OF_CLASSES
from netspec.tools.agreement.case import HasGraph, draw_inputs
from netspec.tools.agreement.input_range import in_range
from netspec.tools.agreement.objective import Objective, has_scores, make_objective
from netspec.tools.agreement.text import grouped
from netspec.tools.gradcheck.parameters import draw_parameters, settle
from netspec.tools.gradcheck.subgraph import cut

Array = NDArray[Any]

# Arrays in float64 that are held at once, of the size of all parameters and of all values: the
# least that was measured.
PARAMETER_COPIES, VALUE_COPIES = 5, 2


@dataclass(frozen=True)
class Subject:
    """A graph and the point where it is checked."""

    graph: Graph
    parameters: dict[str, Array]
    inputs: dict[str, Array]
    objective: Objective
    notes: list[str] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """The number of images."""
        return len(next(iter(self.inputs.values())))


def prepare(
    net: HasGraph,
    x: ArrayLike | Mapping[str, ArrayLike] | None,
    y: ArrayLike | None,
    *,
    batch: int,
    seed: int,
    loss: AnyLoss | None,
    start: str | None,
    end: str | None,
) -> Subject:
    """Return the subject of a check; the arguments are those of `gradcheck`.

    Raises:
        NetspecError: `gradcheck/label`, `model/inputs`, `model/input-shape`, `model/open-size`,
            `model/scores`, `data/shape`, `limit/layers`, `limit/memory`.
    """
    given = _given_inputs(net.graph, x)
    whole = net.graph
    if given and open_sizes(whole):
        sizes = match_sizes(whole, {name: array.shape[1:] for name, array in given.items()})
        whole = specialize(whole, sizes or {})
    require_sizes(whole)
    graph = cut(whole, start, end)
    size = len(next(iter(given.values()))) if given else batch
    _require_room(graph, size)
    drawn = draw_inputs(graph, size, np.random.default_rng([seed, 5]))
    notes = []
    parameters: dict[str, Array]
    if isinstance(net, Model):
        parameters = {
            name: array.astype(np.float64) if array.dtype.kind == "f" else array.copy()
            for name, array in net.parameters.items()
            if name in graph.parameters
        }
    else:
        parameters = draw_parameters(graph, seed)
    inputs = in_range(graph, drawn, parameters)
    inputs |= {n: a for n, a in given.items() if n in graph.inputs}
    if not isinstance(net, Model):
        scaled = settle(graph, parameters, inputs)
        if scaled:
            notes.append(f"scaled, so that signals neither vanish nor explode: {grouped(scaled)}")
    is_part = start is not None or end is not None
    objective = _objective(graph, size, seed, loss, y, is_part=is_part)
    return Subject(graph, parameters, inputs, objective, notes)


def _require_room(graph: Graph, batch: int) -> None:
    """Refuse a net that is too large for a check.

    Raises:
        NetspecError: `limit/layers`, `limit/memory`.
    """
    require_few_layers(graph)
    parameters, values = PARAMETER_COPIES * parameter_count(graph), value_count(graph)
    doing = "checking the gradients of"
    held = VALUE_COPIES * values
    require_room(graph, lambda images: 8 * (parameters + images * held), batch, doing)


def _given_inputs(graph: Graph, x: ArrayLike | Mapping[str, ArrayLike] | None) -> dict[str, Array]:
    if x is None:
        return {}
    arrays = x if isinstance(x, Mapping) else {next(iter(graph.inputs)): x}
    if set(arrays) != set(graph.inputs):
        raise NetspecError.simple(
            codes.MODEL_INPUTS,
            f"{graph.name} has the inputs {', '.join(graph.inputs)},"
            f" and got {', '.join(map(str, arrays)) or 'none'}",
        )
    given = {name: np.array(array, np.float64) for name, array in arrays.items()}
    for name, array in given.items():
        shape = graph.inputs[name]
        if array.ndim == 0 or len(array) == 0 or match_sizes_of(shape, array.shape[1:]) is None:
            expected = ", ".join(["N", *map(str, shape)])
            moved = exchanged(name, array.shape[1:], shape)
            raise NetspecError.simple(
                codes.MODEL_INPUT_SHAPE,
                f"`{name}` must be of shape [{expected}], not {list(array.shape)}",
                moved and f"the axes stand in another order: {moved}",
            )
    if len({len(array) for array in given.values()}) > 1:
        lengths = {name: len(array) for name, array in given.items()}
        raise NetspecError.simple(codes.MODEL_INPUTS, f"batches of different sizes: {lengths}")
    return given


def _objective(
    graph: Graph,
    batch: int,
    seed: int,
    loss: AnyLoss | None,
    y: ArrayLike | None,
    *,
    is_part: bool,
) -> Objective:
    """Return the objective; its loss applies to the scores if a whole net has any."""
    names = list(graph.outputs)
    scores = "output" if "output" in names else names[0] if len(names) == 1 else None
    # Scores of places, of a text or a map, are told from other outputs by their labels or their loss.
    is_told = loss is not None or y is not None
    if is_part or scores is None or not has_scores(graph, scores, of_places=is_told):
        scores = None
    if scores is None and is_told:
        raise NetspecError.simple(
            codes.MODEL_SCORES,
            "a part of a net has no loss: it is checked with a random linear functional"
            if is_part
            else f"{graph.name} has no output of scores for a loss",
        )
    labels = None if y is None else np.asarray(y)
    places = () if scores is None else OF_CLASSES.shape(graph.shape_of(graph.outputs[scores]))
    wanted = (batch, *places)
    if labels is not None and (labels.shape != wanted or labels.dtype.kind not in "ui"):
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"y must hold whole numbers {list(wanted)}, one for each {'place' if places else 'image'};"
            f" it is {labels.dtype} {list(labels.shape)}",
        )
    chosen = None if loss is None else chosen_loss(loss)
    rng = np.random.default_rng([seed, 7])
    labels = None if labels is None else labels.astype(np.int64)
    return make_objective(graph, batch, rng, loss=chosen, scores=scores, labels=labels)


def choose_parameters(graph: Graph, pattern: str) -> tuple[list[str], list[str]]:
    """Return the trained parameters and the inputs that a pattern such as `layer1.*` selects.

    Raises:
        NetspecError: `gradcheck/params` if it selects none.
    """
    trained = [p.name for p in graph.trainable()]
    inputs = list(graph.real_inputs)
    if pattern == "all":
        return trained, inputs
    patterns = [part.strip() for part in pattern.split(",")]
    chosen = [
        [name for name in names if any(fnmatchcase(name, part) for part in patterns)]
        for names in (trained, inputs)
    ]
    if not any(chosen):
        raise NetspecError.simple(
            codes.GRADCHECK_PARAMS,
            f"no parameter or input of {graph.name} matches {pattern!r}",
            f"the names are {', '.join([*trained, *inputs][:12])}",
        )
    return chosen[0], chosen[1]
