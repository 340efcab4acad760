"""The generated programs of a standalone file, as modules whose text is copied like that of others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Option, Plan
from netspec.compiler.numpy_backend.emit import NumpySource, emit_program
from netspec.compiler.numpy_backend.passes.plan_memory import MemoryPlan
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.numpy_backend.statements import wrapped_again
from netspec.export.call_lists import read_program
from netspec.export.constant_folding import split_constant
from netspec.export.literals import call
from netspec.export.source_units import SourceModule, Target


@dataclass(frozen=True)
class Made:
    """A plan, and the functions of its program in the module `home`."""

    plan: Plan
    home: str
    scratch: Target

    def function(self, name: str) -> Target:
        """Return one of its functions, as (module, name)."""
        return self.home, name


@dataclass(frozen=True)
class Programs:
    """The contents of a file: its modules and programs, and what is computed once from parameters."""

    modules: dict[str, SourceModule]
    evaluation: Made
    training: Made | None
    once: Target | None
    prepared: tuple[Buffer, ...]


def make_programs(graph: Graph, *, training: bool, without: Collection[str]) -> Programs:
    """Make the programs of a graph: always evaluation, and training if requested."""
    plan = make_plan(graph, training=False, backward=False, without=without)
    if not training:
        plan, constant, prepared = split_constant(plan)
        modules = [_module("evaluation", emit_program(plan, graph))]
        once = None
        if constant.forward:
            modules.append(_module("preparation", emit_program(constant, graph)))
            once = ("preparation", "forward")
        made = Made(plan, "evaluation", ("evaluation", "scratch_size"))
        return Programs(_by_name(modules), made, None, once, prepared)
    whole = make_plan(graph, training=True, without=without)
    evaluated, trained = emit_program(plan, graph), emit_program(whole, graph)
    if _is_part(evaluated, trained):
        shared = _module("program", trained, " in training")
        shared_made = Made(whole, "program", ("program", "scratch_size"))
        evaluation = Made(plan, "program", ("program", "scratch_size"))
        return Programs(_by_name([shared]), evaluation, shared_made, None, ())
    modules = [_module("evaluation", evaluated), _module("training", trained)]
    return Programs(
        _by_name(modules),
        Made(plan, "evaluation", ("evaluation", "scratch_size")),
        Made(whole, "training", ("training", "scratch_size")),
        None,
        (),
    )


def outside(plan: Plan, memory: MemoryPlan) -> tuple[Buffer, ...]:
    """The buffers with memory of their own."""
    given = set(plan.inputs.values())
    return tuple(b for b in memory.external if b not in given)


def _by_name(modules: list[SourceModule]) -> dict[str, SourceModule]:
    return {made.name: made for made in modules}


def _module(name: str, source: NumpySource, left_out: str = "") -> SourceModule:
    """Return a program's text as a module, with a function that computes its scratch size."""
    text = source.text.replace(f",{left_out}.", ".").replace(f"{left_out}, ", ", ", 1)
    calls = [call(s.function, ["n", *map(repr, s.arguments)], _options(s.options), 8)
             for s in source.scratch]  # fmt: skip
    calls += [
        f"elementwise.scratch_size({t.width}, {t.registers})" for t in source.tiles if t.registers
    ]
    needs = sorted({c.partition(".")[0] for c in calls})
    sizes = "".join(f"        {c},\n" for c in dict.fromkeys(calls))
    head = f"from netspec.kernels import {', '.join(needs)}\n" if needs else ""
    counting = (
        "\n\ndef scratch_size(n):\n"
        '    """The elements of scratch that suffice for a batch of n images."""\n'
        f"    return max(\n        1,\n        0,\n{sizes}    )\n"
    )
    at = text.index('"""', 3) + 3
    made = read_program(name, f"{text[:at]}\n\n{head}{text[at:]}{counting}")
    made.wrap = wrapped_again
    return made


def _options(options: object) -> dict[str, Option]:
    assert isinstance(options, dict)
    return options


def _is_part(small: NumpySource, large: NumpySource) -> bool:
    """Return True if every function of a program is in another one, ignoring docstrings."""
    _, *functions = _parts(small.text.replace("evaluation", "training"))
    return set(functions) <= set(_parts(large.text))


def _parts(text: str) -> list[str]:
    """Return the head of a generated program and each of its functions, which blank lines part."""
    return [part.strip("\n") for part in text.split("\n\n\n")]
