"""Sweeps: a recipe in which options have lists of values. Each combination of them is a run.

    lr = [1e-3, 3e-3]
    seed = [0, 1, 2]
    epochs = 5

    [sweep]
    net = "lenet.net"

An option that takes a list itself is given a list of lists. `[search]` has ranges in place of lists,
see `Search`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.compiler.parse import decode_source, read_file
from netspec.diagnostics import Diagnostic, Hint, Source
from netspec.runtime.data.choices import meant_by
from netspec.runtime.models.history import MONITORS
from netspec.runtime.runs.option_types import Bool, ListOf, WordOrList
from netspec.runtime.runs.options import OPTIONS, TARGETS
from netspec.runtime.runs.recipe import ARGUMENTS, Recipe, as_constant, mistakes, parsed, refuse
from netspec.runtime.runs.resolve import Settings, resolve
from netspec.runtime.runs.sweeps.search_table import SEARCH, Search, read_search
from netspec.runtime.runs.toml_spans import TomlSpans

SWEEP = "sweep"
# What runs may be compared by, and whether more is better.
MEASURES = {**MONITORS, "test": True, "train": True, "loss": False}
MAX_RUNS = 1000
# What a sweep chooses itself: where its runs are, and what they show.
_OWN = ("out", "quiet")
_KNOWN = tuple(name for name in OPTIONS if name not in _OWN)
_SAFE = re.compile(r"[A-Za-z0-9_.+=,-]+")
_LONGEST_NAME = 100

SEED = ("seed",)

# The place of a choice in the file: of an option, or `("set", argument)`.
Place = tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """A run of a sweep.

    Attributes:
        name: The name of its folder.
        choices: Its values, by their places in the file.
        recipe: Its options and arguments of the net.
        settings: A value for every option.
    """

    name: str
    choices: Mapping[Place, Any]
    recipe: Recipe
    settings: Settings


@dataclass(frozen=True)
class SweepFile:
    """What a sweep's file says.

    Attributes:
        net: The `.net` file, as it is written; empty for the one beside the file.
        target: One of `TARGETS`.
        by: One of `MEASURES`, or empty: validation accuracy if images are held out, else the loss.
        fixed: What all runs have: options and arguments of the net.
        varied: The values of what differs, by its place in the file.
        search: Ranges; None for a grid.
    """

    net: str
    target: str
    by: str
    fixed: Recipe
    varied: Mapping[Place, tuple[Any, ...]]
    search: Search | None

    def grid(self) -> list[Member]:
        """Return the runs of all combinations, in the order of the file.

        Raises:
            NetspecError: `recipe/value` for a combination that no run can have.
        """
        values = itertools.product(*self.varied.values())
        return [self.member(dict(zip(self.varied, chosen, strict=True))) for chosen in values]

    def member(self, choices: Mapping[Place, Any], prefix: str = "") -> Member:
        """Return the run with these choices.

        Args:
            choices: values by their places.
            prefix: what its name begins with; without, that is the choices.

        Raises:
            NetspecError: `recipe/value`.
        """
        options = {place[0]: value for place, value in choices.items() if len(place) == 1}
        arguments = {
            place[1]: as_constant(value) for place, value in choices.items() if len(place) == 2
        }
        recipe = replace(
            self.fixed,
            values={**self.fixed.values, **options},
            arguments={**self.fixed.arguments, **arguments},
            places=self._places_of(choices),
        )
        named = {p: v for p, v in choices.items() if not prefix or p == SEED}
        name = ",".join([*([prefix] if prefix else []), *(_part(p, v) for p, v in named.items())])
        return Member(_safe(name or "run"), choices, recipe, resolve({}, recipe))

    def _places_of(self, choices: Mapping[Place, Any]) -> TomlSpans:
        """Return the places of a run's values: those of its own items of lists."""
        places = self.fixed.places
        for place, value in choices.items():
            if place in self.varied:
                places = _at_item(places, place, self.varied[place].index(value))
            elif (span := places.values.get((SEARCH, *place))) is not None:
                places = TomlSpans(places.keys, {**places.values, place: span})
        return places

    def trial(self, number: int, choices: Mapping[Place, Any]) -> list[Member]:
        """Return the runs of a trial of the search: one for each seed.

        Raises:
            NetspecError: `recipe/value`.
        """
        seeds = self.varied.get(SEED)
        each = [{**choices, SEED: seed} for seed in seeds] if seeds else [dict(choices)]
        return [self.member(chosen, f"trial-{number:04}") for chosen in each]

    @property
    def measure(self) -> str:
        """The one of `MEASURES` that runs are compared by."""
        held_out = self.fixed.values.get("val") or any(self.varied.get(("val",), ()))
        return self.by or ("val" if held_out else "loss")


def read_sweep(path: Path) -> SweepFile:
    """Read and check the file of a sweep.

    Raises:
        NetspecError: `file/...` if it cannot be read, `recipe/...` with every mistake in it.
    """
    return check_sweep(decode_source(read_file(path, str(path)), str(path)))


def check_sweep(source: Source) -> SweepFile:
    """Check the text of a sweep.

    Raises:
        NetspecError: `limit/file-size`, `recipe/syntax`, `recipe/key`, `recipe/value`.
    """
    content, places = parsed(source)
    about, search = content.pop(SWEEP, {}), content.pop(SEARCH, None)
    arguments = content.get(ARGUMENTS, {})
    varied = dict(_lists(content))
    fixed = {name: value for name, value in content.items() if (name,) not in varied}
    if isinstance(arguments, dict):
        kept = {name: v for name, v in arguments.items() if (ARGUMENTS, name) not in varied}
        fixed[ARGUMENTS] = kept
        if not kept:
            del fixed[ARGUMENTS]
    searched = None if search is None else read_search(search, places, _KNOWN)
    refuse(_too_many(varied, searched, places))
    refuse(_wrong(about, fixed, varied, places))
    plain = {name: as_constant(v) for name, v in fixed.pop(ARGUMENTS, {}).items()}
    recipe = Recipe(source, fixed, plain, places)
    return SweepFile(
        about.get("net", ""), about.get("target", "numpy"), about.get("by", ""), recipe, varied,
        searched,
    )  # fmt: skip


def _lists(content: Mapping[str, Any]) -> Iterator[tuple[Place, tuple[Any, ...]]]:
    """Yield what has several values, with its place."""
    for name, value in content.items():
        if name == ARGUMENTS and isinstance(value, dict):
            for argument, values in value.items():
                if isinstance(values, list) and values:
                    yield (ARGUMENTS, argument), tuple(values)
        elif name in OPTIONS and isinstance(value, list) and value and _are_choices(name, value):
            yield (name,), tuple(value)


def _are_choices(name: str, value: list[Any]) -> bool:
    """Whether a list has values of an option; an option may also take a list as its one value."""
    kind = OPTIONS[name].kind
    if isinstance(kind, WordOrList):
        return any(isinstance(item, list) or item in kind.words for item in value)
    return not isinstance(kind, ListOf) or all(isinstance(item, list) for item in value)


def _wrong(
    about: object,
    fixed: Mapping[str, Any],
    varied: Mapping[Place, tuple[Any, ...]],
    places: TomlSpans,
) -> Iterator[Diagnostic]:
    yield from mistakes(fixed, places, _KNOWN)
    for place, values in varied.items():
        for i, value in enumerate(values):
            content = {place[0]: value} if len(place) == 1 else {ARGUMENTS: {place[1]: value}}
            yield from mistakes(content, _at_item(places, place, i), _KNOWN)
            if value in values[:i]:
                yield Diagnostic(
                    codes.RECIPE_VALUE, f"`{place[-1]}` has this value twice",
                    places.values.get((*place, i)),
                )  # fmt: skip
    yield from _wrong_about(about, places)


def _wrong_about(about: object, places: TomlSpans) -> Iterator[Diagnostic]:
    """Yield what is wrong with the table `[sweep]`."""
    allowed = {"net": None, "target": TARGETS, "by": tuple(MEASURES)}
    if not isinstance(about, dict):
        yield Diagnostic(codes.RECIPE_VALUE, f"`{SWEEP}` is a table", places.keys.get((SWEEP,)))
        return
    for name, value in about.items():
        span = places.values.get((SWEEP, name), places.keys.get((SWEEP, name)))
        if name not in allowed:
            meant = meant_by(name, [*allowed])
            hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(allowed)}"
            key = places.keys.get((SWEEP, name))
            message = f"[{SWEEP}] has no `{name[:60]}`"
            yield Diagnostic(codes.RECIPE_KEY, message, key, hints=(Hint(hint),))
        elif not isinstance(value, str) or not value:
            yield Diagnostic(codes.RECIPE_VALUE, f"`{name}` must be a text", span)
        elif (words := allowed[name]) is not None and value not in words:
            message = f"`{name}` must be one of {', '.join(words)}"
            yield Diagnostic(codes.RECIPE_VALUE, message, span)


def _too_many(
    varied: Mapping[Place, tuple[Any, ...]], search: Search | None, places: TomlSpans
) -> Iterator[Diagnostic]:
    """Yield what is wrong with the number of runs, and with lists beside a search."""
    count = math.prod(len(values) for values in varied.values())
    if search is not None:
        for place in varied.keys() - {SEED}:
            yield Diagnostic(
                codes.RECIPE_VALUE, f"beside [{SEARCH}] `seed` alone may have several values",
                places.values.get(place), hints=(Hint(f"move the list into [{SEARCH}]"),),
            )  # fmt: skip
        if search.pruner and len(varied.get(SEED, ())) > 1:
            message = "a pruner looks at the one run of a trial: `seed` has several values"
            yield Diagnostic(codes.RECIPE_VALUE, message, places.values.get(SEED))
        for place in search.ranges.keys() & places.keys.keys():
            message = f"`{place[-1]}` is searched, and is given too"
            yield Diagnostic(codes.RECIPE_VALUE, message, places.keys.get(place))
        count *= search.trials
    if count > MAX_RUNS:
        message = f"these are {count:,} runs, and a sweep has at most {MAX_RUNS:,}"
        yield Diagnostic(codes.RECIPE_VALUE, message)


def _at_item(places: TomlSpans, place: Place, number: int) -> TomlSpans:
    """Return the places of a file in which the list at `place` is its one item `number`."""
    item = (*place, number)
    own = {
        (*place, *path[len(item) :]): span
        for path, span in places.values.items()
        if path[: len(item)] == item
    }
    others = {p: span for p, span in places.values.items() if p[: len(place)] != place}
    return TomlSpans(places.keys, {**others, **own})


def _part(place: Place, value: Any) -> str:
    return f"{place[-1]}={shown_choice(value)}"


def shown_choice(value: Any) -> str:
    """Format a value of an option in a table and in the name of a run."""
    if isinstance(value, list | tuple):
        return "+".join(map(shown_choice, value))
    if isinstance(value, Mapping):
        return "+".join(f"{name}={shown_choice(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _safe(name: str) -> str:
    """Return a name that any system's folders can have; different names stay different."""
    if _SAFE.fullmatch(name) and len(name) <= _LONGEST_NAME and not name.startswith((".", "-")):
        return name
    plain = re.sub(r"[^A-Za-z0-9_.+=,-]", "_", name)[:_LONGEST_NAME].lstrip(".-")
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def flags(recipe: Recipe) -> list[str]:
    """Return the options of `netspec train` for what a recipe beside a net cannot set."""
    words: list[str] = []
    for name, value in recipe.values.items():
        option = OPTIONS[name]
        if option.recipe or value is False:
            continue
        if isinstance(option.kind, Bool):
            words.append(f"--{name}")
        elif isinstance(option.kind, ListOf) and option.kind.repeated:
            words += [f"--{name}={item}" for item in value]
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            words.append(f"--{name}={text}")
    return words
