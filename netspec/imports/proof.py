"""Compiles the text of an imported net, loads the weights, and compares it with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec import codes
from netspec.compiler.driver import Request, compile_request, select, written
from netspec.compiler.ir.places import holds_only_whole
from netspec.compiler.ir.sizes import names_in
from netspec.compiler.passes.bind_sizes import specialize
from netspec.diagnostics import NetspecError
from netspec.imports.imported_net import LARGEST
from netspec.runtime.models.engines import NumpyEngine
from netspec.runtime.models.numpy_model import Model
from netspec.tools.agreement.case import draw_inputs
from netspec.tools.agreement.difference import distances, share_of_spread
from netspec.tools.agreement.input_range import in_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.elaborate.written import Written
    from netspec.compiler.ir.graph import Graph
    from netspec.compiler.syntax import tree as syntax
    from netspec.diagnostics import Diagnostic

    Arrays = Mapping[str, NDArray[Any]]

BATCHES = (2, 3)
"""The sizes of the batches that are compared."""

_PICTURE, _SEQUENCE = 64, 9  # what open sizes are

TOLERANCE = 1e-4
"""How far outputs may be apart, as a part of the largest number in them."""

_SAME_FOR_ALL = 10 * TOLERANCE
"""Outputs for different inputs that are closer together tell little: what makes them differ may be wrong
by a tenth.
"""

_SAME_SMALL = 0.1  # how far they may be apart in any case


@dataclass(frozen=True, slots=True)
class CheckedText:
    """A text that compiles, as `netspec.Net` holds one."""

    graph: Graph
    written: Written
    warnings: tuple[Diagnostic, ...]

    @property
    def name(self) -> str:
        """The name of the net."""
        return self.graph.name


def checked_tree(tree: syntax.File) -> CheckedText:
    """Compile the text of a syntax tree.

    Raises:
        NetspecError: with its errors.
    """
    request = Request(source=tree.source, tree=tree)
    result = compile_request(request)
    graph = select(result, None)
    warnings = tuple(d for d in result.diagnostics if d.severity == "warning")
    return CheckedText(graph, written(result, request, graph.name), warnings)


def require_same_names(net: CheckedText, state: Arrays) -> None:
    """Check that the weights of a model are those of a net, by names and shapes.

    Raises:
        NetspecError: `import/differs`.
    """
    ours = {name: p.shape for name, p in net.graph.saved().items()}
    theirs = {name: tuple(array.shape) for name, array in state.items()}
    wrong = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if wrong:
        shown = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        message = f"the net has other parameters than the model: {shown}"
        raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a comparison has found.

    Attributes:
        difference: the largest difference of outputs, as a part of the largest number in them.
        tells_apart: whether the outputs depend on the inputs, so that a wrong layer would show.
        peak: the largest number of the output that differs most.
    """

    difference: float
    tells_apart: bool
    peak: float


def compared(
    net: CheckedText,
    state: Arrays,
    model: Callable[[Arrays], Arrays],
    batches: Sequence[int] = BATCHES,
    smallest: float = 0.0,
    tolerance: float = TOLERANCE,
) -> Proof:
    """Compare the outputs of a net and of a model in evaluation.

    Args:
        net: the compiled text.
        state: the model's weights, by the names of the net's.
        model: computes the model's outputs, by the net's names of them, from batches of the
            inputs. Outputs that it lacks in evaluation are not compared.
        batches: the sizes of the batches.
        smallest: the largest number of an output counts as this, where it is smaller: the difference
            may then be larger as a part of it.
        tolerance: how far outputs may be apart.

    Raises:
        NetspecError: `import/differs` if they are further apart.
    """
    ours = Model(net.graph, engine=NumpyEngine(replays=False))  # runs twice
    ours.load_state_dict({name: state[name] for name in net.graph.saved()})
    still = closed(net.graph)
    worst, apart, peak_there = 0.0, 0.0, 0.0
    known: dict[str, list[NDArray[Any]]] = {}
    for seed, count in enumerate(batches):
        batch = random_inputs(still, count, np.random.default_rng(seed), ours.parameters)
        found = ours.forward(batch)
        outputs = found if isinstance(found, dict) else {next(iter(net.graph.outputs)): found}
        for name, expected in model(batch).items():
            got = outputs[name]
            if got.shape != expected.shape:
                message = f"`{name}` is {got.shape}, and the model's is {expected.shape}"
                raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")
            gaps, peak = distances(expected, with_infinite(got, expected))
            scale, difference = peak or 1.0, float(gaps.max(initial=0))
            worst = max(worst, difference / max(scale, smallest))
            if difference / scale >= apart:
                apart, peak_there = difference / scale, peak
            known.setdefault(name, []).append(expected)
    if not (worst <= tolerance and apart <= _SAME_SMALL):
        message = f"the net computes something else: {apart:.1e} of the largest output apart"
        raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")
    varies = max((share_of_spread(np.concatenate(each)) for each in known.values()), default=0.0)
    return Proof(apart, varies > _SAME_FOR_ALL, peak_there)


def with_infinite(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Return a net's numbers, infinite where a model's are and its own are as large as a file says it:
    what a mask puts in is then no part of the largest number that differences are measured by.
    """
    is_same = (
        np.isinf(theirs) & (np.sign(ours) == np.sign(theirs)) & (abs(ours) >= np.float32(LARGEST))
    )
    return np.where(is_same, theirs, ours)


def closed(graph: Graph) -> Graph:
    """Return a net with a number for each open size, the same wherever its name stands.

    Raises:
        NetspecError: if a layer cannot take images of that size.
    """
    sizes: dict[str, int] = {}
    for shape in graph.inputs.values():
        usual = _PICTURE if len(shape) > 2 else _SEQUENCE
        for name in names_in(shape):
            sizes[name] = max(usual, sizes.get(name, 0))
    return specialize(graph, sizes) if sizes else graph


def random_inputs(
    graph: Graph, count: int, rng: np.random.Generator, parameters: Arrays | None = None
) -> dict[str, NDArray[Any]]:
    """Return a batch for each input of a net without open sizes, of the type that its model takes, in
    the range that the net is for if its parameters are given.
    """
    drawn = draw_inputs(graph, count, rng)
    found = drawn if parameters is None else in_range(graph, drawn, parameters)
    return {name: array.astype(_type_of(graph, name)) for name, array in found.items()}


def _type_of(graph: Graph, name: str) -> type[np.generic]:
    if not holds_only_whole(graph, name):
        return np.float32
    return np.bool_ if graph.holds(name) == "bool" else np.int64
