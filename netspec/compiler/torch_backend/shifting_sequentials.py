"""Builds a `nn.Sequential` that has more children in some calls of a block than in others.

The numbers in labels `conv.0`, `conv.1`, ... shift if a layer before them exists only in some
calls. Merging gives such a label as `conv.*`, with its number in each call. If the numbers are the
indices in a list of the modules, the class fills such a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from netspec.compiler.torch_backend.class_ir import Assembled, Choice, Layer, Step, Use, Value
from netspec.compiler.torch_backend.containers import below, count_uses, fills, is_module

SHIFTED = "*"

Numbers = Mapping[Layer | Use, Mapping[int, int]]
Taken = Mapping[Choice, Mapping[int, int]]


def assemble(
    steps: list[Step], results: Sequence[Value], numbers: Numbers, taken: Taken, calls: int
) -> list[Step] | None:
    """Return the steps of a class with such lists in place of their children; None if that is not
    possible.

    Args:
        steps: the steps of the class.
        results: the results of the class.
        numbers: the number of each shifted step in each call.
        taken: the case that each call took, for each decision.
        calls: the number of calls.
    """
    uses = count_uses(steps, results)
    found = dict.fromkeys(step.path.rpartition(".")[0] for step in numbers)
    for prefix in found:
        inside = [at for at, step in enumerate(steps) if _holds(step, prefix)]
        run = steps[inside[0] : inside[-1] + 1]
        chain = _chain(run, prefix, uses)
        if chain is None or not all(
            _numbered(run, prefix, call, numbers, taken) for call in range(calls)
        ):
            return None
        steps = [*steps[: inside[0]], chain, *steps[inside[-1] + 1 :]]
    return steps


def _holds(step: Step, prefix: str) -> bool:
    if isinstance(step, Choice):
        return any(_holds(inner, prefix) for _, steps in step.cases for inner in steps)
    return below(step, prefix)


def _chain(run: Sequence[Step], prefix: str, uses: Counter[Value]) -> Assembled | None:
    """Return the run as one list; None if some step does not take the only use of the result before
    it.
    """
    ends = _ends(run, prefix, uses)
    if ends is None:
        return None
    parts = [step for step in run if not isinstance(step, Assembled)]
    spans = [step.span for step in run]
    one_file = len({id(span.source) for span in spans}) == 1
    first = min(spans, key=lambda span: span.start) if one_file else spans[0]
    last = max(spans, key=lambda span: span.end) if one_file else spans[0]
    return Assembled(prefix, parts, (ends[0],), (ends[1],), first.to(last))


def _ends(run: Sequence[Step], prefix: str, uses: Counter[Value]) -> tuple[Value, Value] | None:
    """Return the value that goes into a run and the one that comes out; None if it is not a chain."""
    start: Value | None = None
    value: Value | None = None
    for step in run:
        readers = 1
        if isinstance(step, Choice):
            if len(step.joined) != 1:
                return None
            ((result, parts),) = step.joined.items()
            inner = [_ends(steps, prefix, uses) for _, steps in step.cases if steps]
            if None in inner or not inner:
                return None
            (taken, *others) = {ends[0] for ends in inner if ends is not None}
            outs = iter([ends[1] for ends in inner if ends is not None])
            expected = tuple(next(outs) if steps else taken for _, steps in step.cases)
            if others or parts != expected:
                return None
            readers = len(step.cases)
        elif isinstance(step, Assembled) or not _is_part(step, prefix):
            return None
        else:
            (taken,), (result,) = step.inputs, step.results
        if value is not None and (taken != value or uses[value] != readers):
            return None
        start = taken if start is None else start
        value = result
    return None if start is None or value is None else (start, value)


def _is_part(step: Layer | Use, prefix: str) -> bool:
    if step.reused or len(step.inputs) != 1 or len(step.results) != 1:
        return False
    if not below(step, prefix):
        return fills(step)
    direct = step.path.rpartition(".")[0] == prefix
    return direct and (isinstance(step, Use) or is_module(step))


def _numbered(run: Sequence[Step], prefix: str, call: int, numbers: Numbers, taken: Taken) -> bool:
    """Whether the labels in a call are 0, 1, 2, ... in order."""
    for place, step in enumerate(_taken(run, call, taken)):
        if below(step, prefix):
            own = step.path.rpartition(".")[2]
            number = numbers[step][call] if own == SHIFTED else int(own) if own.isdigit() else -1
            if number != place:
                return False
    return True


def _taken(run: Sequence[Step], call: int, taken: Taken) -> Iterator[Layer | Use]:
    """Yield the steps that a call executes."""
    for step in run:
        if isinstance(step, Choice):
            yield from _taken(step.cases[taken[step][call]][1], call, taken)
        elif not isinstance(step, Assembled):
            yield step
