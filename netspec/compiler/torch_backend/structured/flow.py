"""How values go through a body: which statements form a chain, and who reads what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from netspec.compiler.ir.op import Torch, X
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Block,
    Branch,
    Carry,
    Gather,
    Let,
    Loop,
    NotStructuredError,
    Placed,
    Return,
    Source,
    Step,
    Suite,
    said,
    suites_in,
)


def modules_of(step: Placed) -> list[Torch | Block]:
    """What a layer is as modules that each take the value of the one before.

    Raises:
        NotStructuredError: if it is none.
    """
    if isinstance(step.form, Block):
        return [said(step.form)]
    if step.own:
        raise NotStructuredError
    return list(_modules(step.form))


def _modules(form: Torch) -> list[Torch]:
    if form.is_module:
        if form.inputs != (X(0),) or form.call_options:
            raise NotStructuredError
        return [said(form)]
    if form.as_module is None:
        raise NotStructuredError
    first, *rest = form.arguments
    if not isinstance(first, Torch) and first != X(0):
        raise NotStructuredError
    before = _modules(first) if isinstance(first, Torch) else []
    arguments = said(tuple(rest))
    if form.as_module == "nn.Flatten" and arguments == (1,):
        arguments = ()  # as PyTorch has it
    options, defaults = said(form.options), said(form.defaults)
    made = Torch(form.as_module, arguments, options, defaults=defaults, pairs=form.pairs)
    return [*before, made]


def is_one_module(step: Placed) -> bool:
    """Whether a layer is one module that takes one value."""
    try:
        return len(modules_of(step)) == 1
    except NotStructuredError:
        return False


def chain_end(steps: Sequence[Step], start: frozenset[Source]) -> frozenset[Source] | None:
    """Where the value is after statements that each take it from the one before.

    None if some statement takes anything else, or if what takes it is no module.
    """
    at = start
    for step in steps:
        found = None if isinstance(step, Gather) else _after(step, at)
        if found is None:
            return None
        at = found
    return at


def alike(steps: Sequence[Step], sources: Iterable[Source]) -> frozenset[Source]:
    """Where else a value is after statements: names may have been given to it."""
    values: dict[str, object] = {}
    for step in steps:
        if isinstance(step, Bind):
            known = [values.get(s, s) if isinstance(s, str) else s for s in step.value.sources]
            values[step.name] = known[0] if known else step
        for inner in under(step):
            if isinstance(inner, Bind):
                values[inner.name] = inner
    wanted = {values.get(s, s) if isinstance(s, str) else s for s in sources}
    return frozenset({*sources, *(name for name, value in values.items() if value in wanted)})


def _after(step: Step, at: frozenset[Source]) -> frozenset[Source] | None:
    if isinstance(step, Bind):
        return at | {step.name} if at & set(step.value.sources) else None
    if isinstance(step, Placed):
        if step.again or step.gives != 1 or len(step.reads) != 1:
            return None
        if not at & set(step.reads[0].sources):
            return None
        try:
            modules_of(step)
        except NotStructuredError:
            return None
        return frozenset({(step, 0)})
    if isinstance(step, Return):
        (value, *others) = step.values
        return None if others or not at & set(value.sources) else at
    if isinstance(step, Branch):
        return _after_branch(step, at)
    if isinstance(step, Loop):
        end = chain_end(step.body.steps or (), at)
        if end is None:
            return None
        both = at & end
        again = chain_end(step.body.steps or (), both) if both else None
        return both if again is not None and both <= again else None
    return at


def _after_branch(branch: Branch, at: frozenset[Source]) -> frozenset[Source] | None:
    ends: list[frozenset[Source]] = []
    for case, value in zip(branch.cases, branch.values, strict=True):
        end = chain_end(case.steps or (), at)
        if end is None or (value is not None and not end & set(value.sources)):
            return None
        ends.append(end)
    both = frozenset.intersection(*ends)
    if any(value is not None for value in branch.values):
        both |= {(branch, 0)}
    return both or None


def nested(suite: Suite) -> Suite:
    """The statements, those behind a case that returns in the other cases.

    Raises:
        NotStructuredError: if several other cases go on.
    """
    steps: list[Step] = []
    for at, step in enumerate(suite.steps or ()):
        if isinstance(step, Branch):
            cases = [nested(case) for case in step.cases]
            going = [number for number, case in enumerate(cases) if not _returns(case)]
            rest = (suite.steps or [])[at + 1 :]
            if len(going) < len(cases) and rest:
                if len(going) != 1:
                    raise NotStructuredError
                (on,) = going
                cases[on] = nested(Suite([*(cases[on].steps or ()), *rest]))
                return Suite([*steps, replace(step, cases=cases)])
            if any(_returns(case) for case in cases):
                step = replace(step, cases=cases)
        steps.append(step)
    return Suite(steps)


def _returns(suite: Suite) -> bool:
    """Whether every way through a suite returns."""
    last = suite.steps[-1] if suite.steps else None
    if isinstance(last, Branch):
        return all(map(_returns, last.cases))
    return isinstance(last, Return)


def steps_in(suite: Suite) -> Iterator[Step]:
    """All statements of a suite, also those under loops and conditions."""
    left = list(reversed(suite.steps or ()))
    while left:
        step = left.pop()
        yield step
        for inner in reversed(suites_in(step)):
            left.extend(reversed(inner.steps or ()))


def placed_in(step: Step) -> Iterator[Placed]:
    """The layers and blocks of a statement."""
    if isinstance(step, Placed):
        yield step
    for suite in suites_in(step):
        for inner in suite.steps or ():
            yield from placed_in(inner)


def under(step: Step) -> Iterator[Step]:
    """All statements under a loop or a condition."""
    for suite in suites_in(step):
        yield from steps_in(suite)


def given_by(step: Step) -> Sequence[str]:
    """The names that a statement gives to constants."""
    if isinstance(step, Let):
        return step.names
    if isinstance(step, Loop):
        return step.targets
    return [step.name] if isinstance(step, Carry) else []
