"""Compiles the text of an imported net, loads the weights, and compares it with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec import codes
from netspec.compiler.driver import Request, compile_request, select, written
from netspec.compiler.ir.sizes import Dim
from netspec.diagnostics import NetspecError, Source
from netspec.runtime.models.numpy_model import Model
from netspec.tools.agreement.difference import distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.elaborate.written import Written
    from netspec.compiler.ir.graph import Graph
    from netspec.diagnostics import Diagnostic

    Arrays = Mapping[str, NDArray[Any]]

BATCHES = (2, 3)
"""The sizes of the batches that are compared."""

_PICTURE, _SEQUENCE = 64, 9  # what open sizes are

TOLERANCE = 1e-4
"""How far outputs may be apart, as a part of the largest number in them."""

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


def checked_text(name: str, text: str) -> CheckedText:
    """Compile a text.

    Raises:
        NetspecError: with its errors.
    """
    request = Request(source=Source(name, text))
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


def largest_difference(
    net: CheckedText,
    state: Arrays,
    model: Callable[[Arrays], Arrays],
    batches: Sequence[int] = BATCHES,
    smallest: float = 0.0,
) -> float:
    """Return the largest difference of outputs in evaluation, as a part of the largest number.

    Args:
        net: the compiled text.
        state: the model's weights, by the names of the net's.
        model: computes the model's outputs, by the net's names of them, from batches of the
            inputs. Outputs that it lacks in evaluation are not compared.
        batches: the sizes of the batches.
        smallest: the largest number of an output counts as this, where it is smaller.

    Raises:
        NetspecError: `import/differs` if it is above `TOLERANCE`.
    """
    ours = Model(net.graph)
    ours.load_state_dict({name: state[name] for name in net.graph.saved()})
    worst, apart = 0.0, 0.0
    for seed, count in enumerate(batches):
        batch = random_inputs(net.graph, count, np.random.default_rng(seed))
        found = ours.forward(batch)
        outputs = found if isinstance(found, dict) else {next(iter(net.graph.outputs)): found}
        for name, expected in model(batch).items():
            got = outputs[name]
            if got.shape != expected.shape:
                message = f"`{name}` is {got.shape}, and the model's is {expected.shape}"
                raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")
            gaps, peak = distances(expected, got)
            scale, difference = peak or 1.0, float(gaps.max(initial=0))
            worst = max(worst, difference / max(scale, smallest))
            apart = max(apart, difference / scale)
    if not (worst <= TOLERANCE and apart <= _SAME_SMALL):
        message = f"the net computes something else: {apart:.1e} of the largest output apart"
        raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")
    return worst


def random_inputs(graph: Graph, count: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return a batch for each input: Gaussian numbers, or whole numbers that its readers allow."""
    found: dict[str, NDArray[Any]] = {}
    for name, shape in graph.inputs.items():
        usual = _PICTURE if len(shape) > 2 else _SEQUENCE
        sizes = (count, *(_as_number(size, usual) for size in shape))
        holds = graph.holds(name)
        if holds == "bool":
            found[name] = rng.random(sizes) < 0.5
        elif holds == "int" or name in graph.whole_inputs:
            limit = graph.whole_inputs[name].limit if name in graph.whole_inputs else 2
            found[name] = rng.integers(0, limit, sizes)
        else:
            found[name] = rng.standard_normal(sizes).astype(np.float32)
    return found


def _as_number(size: Dim, usual: int) -> int:
    """Return a size; one that is open as a usual number."""
    if isinstance(size, int):
        return size
    number = size.at(dict.fromkeys(size.names(), usual))
    assert isinstance(number, int)
    return number
