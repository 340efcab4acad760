r"""Finds out whether weights only have other names than a net, and says the rule for some of them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping

from netspec.runtime.weights.tensor_names import may_be_missing

Shapes = Mapping[str, tuple[int, ...]]

_LONGEST = 100
_TRIED = 20


def rename_help(given: Shapes, expected: Shapes) -> str:
    r"""Return what to do about weights whose shapes are the net's and whose names are not; else an empty
    text.

    Args:
        given: the shapes of the weights, by name.
        expected: those of the net.

    >>> rename_help({"a.weight": (2,), "b": (3,)}, {"stem.weight": (2,), "b": (3,)})
    "the shapes fit under other names: give tensors those of the net, --rename 'a\\.(.*)=stem.\\1'"
    """
    if any(expected[name] != shape for name, shape in given.items() if name in expected):
        return ""
    missing = {n: s for n, s in expected.items() if n not in given and not may_be_missing(n)}
    others = {n: s for n, s in given.items() if n not in expected and not may_be_missing(n)}
    if not missing or Counter(missing.values()) != Counter(others.values()):
        return ""
    rule = _rule(others, missing)
    example = shlex.quote(rule) if rule else "PATTERN=NAME"
    return f"the shapes fit under other names: give tensors those of the net, --rename {example}"


def _rule(others: Shapes, missing: Shapes) -> str:
    """Return a rule for a layer that is certainly the same; empty if there is none."""
    for name, shape in list(missing.items())[:_TRIED]:
        fitting = [n for n in others if others[n] == shape and _last(n) == _last(name)]
        rivals = [n for n in missing if missing[n] == shape and _last(n) == _last(name)]
        if len(fitting) != 1 or len(rivals) != 1:
            continue
        if len(fitting[0]) > _LONGEST or not fitting[0].isprintable():
            continue
        old, new = (n.rpartition(".")[0] for n in (fitting[0], name))
        if old and new and _are_equal(others, old, missing, new):
            return rf"{re.escape(old)}\.(.*)={new}.\1"
    return ""


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _are_equal(others: Shapes, old: str, missing: Shapes, new: str) -> bool:
    """Whether two layers have the same tensors."""
    one = {n.removeprefix(f"{old}."): s for n, s in others.items() if n.startswith(f"{old}.")}
    other = {n.removeprefix(f"{new}."): s for n, s in missing.items() if n.startswith(f"{new}.")}
    return one == other
