"""How objects remember the cases of conditions that they were made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.structured.constructor import Counted, Flag
from netspec.compiler.torch_backend.structured.flow import given_by, placed_in, steps_in
from netspec.compiler.torch_backend.structured.layout import Layout
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Branch,
    Loop,
    Placed,
    Suite,
    said,
    suites_in,
)


def flags_of(body: Suite, layout: Layout, taken: Set[str]) -> dict[Branch, Flag]:
    """How objects remember the cases that they were made for."""
    flags: dict[Branch, Flag] = {}
    decided: dict[tuple[str, str], Flag] = {}
    counted = Counted(body, layout)
    given = {name for step in steps_in(body) for name in given_by(step)}
    names = {s.label[0] for s in steps_in(body) if isinstance(s, Placed) and s.label} | set(taken)
    contained = layout.contained()
    makers = Counter(_makers(body, layout, counted))
    for branch in _outside_loops(body):
        if branch in contained:
            continue
        if len(branch.cases) != 2 or any(not c.known for c in branch.conditions):
            continue
        made = [_made_in(case, layout, counted) for case in branch.cases]
        holds = [
            any(p.has_module for s in c.steps or () for p in placed_in(s)) for c in branch.cases
        ]
        if holds.count(True) == 1:
            case = holds.index(True)
            attribute = made[case]
            # A case of another decision may have a module of that name.
            if attribute is not None and makers[attribute] == 1:
                flags[branch] = Flag(attribute, case, is_module=True)
                continue
        name, case = _decides(branch)
        text = said(branch.conditions[0]).name
        alike = decided.get((name, text))
        if alike is not None and words_in(text) <= set(taken) - given:
            flags[branch] = alike
            continue
        word = name
        while name in names:
            name += "_"
        names.add(name)
        flags[branch] = decided[word, text] = Flag(name, case, is_module=False)
    return flags


def _makers(body: Suite, layout: Layout, counted: Counted) -> Iterator[str]:
    """The attributes that statements make."""
    for step in steps_in(body):
        if isinstance(step, Placed) and step.has_module:
            name = counted.names.get(step, "") if step.label is None else step.label[0]
            if step.label is None or len(step.label) == 1:
                yield name
    yield from {container.prefix[0] for container in layout.containers.values()}


def _outside_loops(suite: Suite) -> Iterator[Branch]:
    for step in suite.steps or ():
        if isinstance(step, Branch):
            yield step
        if not isinstance(step, Loop):
            for inner in suites_in(step):
                yield from _outside_loops(inner)


def _made_in(case: Suite, layout: Layout, counted: Counted) -> str | None:
    """The attribute of the first module of a case."""
    for at, step in enumerate(case.steps or ()):
        for container in layout.opened(case, at):
            if container.target == f"self.{container.prefix[0]}":
                return container.prefix[0]
        if isinstance(step, Placed) and step.has_module and layout.is_outside(step):
            name = counted.names.get(step, "") if step.label is None else ".".join(step.label)
            return name if name.isidentifier() and not counted.is_counted(step) else None
    return None


def _decides(branch: Branch) -> tuple[str, int]:
    """What a condition decides, in a word, and the case that it speaks of."""
    for case, suite in enumerate(branch.cases):
        for placed in (p for step in suite.steps or () for p in placed_in(step)):
            if placed.what == "add":
                named = [s for read in placed.reads for s in read.sources if isinstance(s, str)]
                return f"adds_{named[0]}" if named else "adds", case
            return f"applies_{_snake(placed.what)}", case
    for case, value in enumerate(branch.values):
        if value is not None and isinstance(value.source, str):
            return f"uses_{value.source}", case
    for case, suite in enumerate(branch.cases):
        for step in suite.steps or ():
            if isinstance(step, Bind):
                return f"changes_{step.name}", case
    return "is_first_case", 0


def _snake(name: str) -> str:
    return "".join(
        f"_{c.lower()}" if c.isupper() and at and not name[at - 1].isupper() else c.lower()
        for at, c in enumerate(name)
    )
