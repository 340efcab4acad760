"""Matches the names of tensors in a file with a network's: prefixes, and names of older versions.

Wrappers add prefixes to names: DistributedDataParallel and DataParallel `module.`, a class around
the network `model.` or `net.`; `torch.compile` inserts `_orig_mod.`.

PyTorch's modules may no longer have a dot in their own names, so torchvision's DenseNets now say
`norm1.weight` where their published weights say `norm.1.weight`. The counter of batch norm,
`num_batches_tracked`, came later than many published weights, which therefore have none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from netspec.diagnostics import plural, quoted

T = TypeVar("T")

_DOTTED_NUMBER = re.compile(r"(?<=[A-Za-z])\.(?=[0-9]+(?:\.|$))")
_COMPILED = "_orig_mod"
# A prefix has at most this many parts, and makes a name at most this many characters longer.
_PARTS, _PREFIX = 8, 200


@dataclass(frozen=True)
class Renaming:
    """How names were matched with those of a network.

    Attributes:
        names: Name in the file -> name in the network, where the two differ.
        notes: What was done, in words.
    """

    names: dict[str, str]
    notes: tuple[str, ...]


def match_names(names: Iterable[str], expected: Collection[str]) -> Renaming:
    """Find the names in a file that differ from the network's by a prefix or an older spelling.

    A prefix is removed if more names match without it than as they are, and no other prefix gives
    as many matches. An older name has an additional dot between a word and a number. Names that the
    network has are kept, and nothing is renamed to a name that exists already or that two names
    would get.

    >>> match_names(["module.conv0.weight", "module.norm.1.bias"], {"norm1.bias", "conv0.weight"}).names
    {'module.conv0.weight': 'conv0.weight', 'module.norm.1.bias': 'norm1.bias'}
    """
    given = list(dict.fromkeys(names))
    longest = max(map(len, expected), default=0) + _PREFIX
    # A longer name cannot be one of the network's, and trying to remove its parts could take for
    # ever.
    strange = {name: name for name in given if name not in expected and len(name) <= longest}
    compiled = {name: _without_compiled(name) for name in strange}
    prefix = _common_prefix(given, compiled.values(), expected)
    bare = {name: text.removeprefix(prefix) for name, text in compiled.items()}
    newer = _rename_old(bare, expected, set(given) & set(expected))
    claims = Counter(newer.values())
    found = {old: new for old, new in newer.items() if claims[new] == 1}
    return Renaming(found, tuple(_notes(found, prefix)))


def _without_compiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def _common_prefix(given: Iterable[str], strange: Iterable[str], expected: Collection[str]) -> str:
    """Return the prefix of most names, with its dot; empty if more names match as they are."""
    fitting = sum(name in expected for name in given)
    prefixes: Counter[str] = Counter()
    for name in strange:
        fitting += name in expected
        end = -1
        for _ in range(_PARTS):
            end = name.find(".", end + 1)
            if end < 0:
                break
            if name[end + 1 :] in expected:
                prefixes[name[: end + 1]] += 1
    (best, count), (_, second) = [*prefixes.most_common(2), ("", 0), ("", 0)][:2]
    return best if count > fitting and count > second else ""


def _rename_old(
    bare: Mapping[str, str], expected: Collection[str], taken: Collection[str]
) -> dict[str, str]:
    """Return the network's names that names without prefixes stand for, each by its name in the file."""
    direct = {name: text for name, text in bare.items() if text in expected and text not in taken}
    there = {*taken, *direct.values()}
    older = {}
    for name, text in bare.items():
        if name in direct:
            continue
        dots = _DOTTED_NUMBER.finditer(text)
        newer = (text[: dot.start()] + text[dot.end() :] for dot in dots)
        places = [new for new in newer if new in expected and new not in there]
        if len(places) == 1:
            older[name] = places[0]
    return direct | older


def _notes(found: Mapping[str, str], prefix: str) -> Iterable[str]:
    prefixed = sum(_without_compiled(old).startswith(prefix) for old in found) if prefix else 0
    if prefixed:
        yield f"{quoted(prefix, _PREFIX)} taken off {plural(prefixed, 'name')}"
    compiled = sum(_COMPILED in old.split(".") for old in found)
    if compiled:
        yield f"`{_COMPILED}.` of torch.compile taken out of {plural(compiled, 'name')}"
    older = {
        old: new for old, new in found.items() if _without_compiled(old).removeprefix(prefix) != new
    }
    if older:
        old, new = next(iter(older.items()))
        told = f"{quoted(old, _PREFIX)} for `{new}`"
        yield f"{plural(len(older), 'name')} of older versions, such as {told}"


def fit_state(
    state: Mapping[str, T],
    expected: Mapping[str, tuple[int, ...]],
    ties: Mapping[str, str] | None = None,
) -> tuple[dict[str, T], dict[str, tuple[int, ...]]]:
    """Return a state by the names of the network, and the entries of `expected` that it must have.

    `ties` are further names of the network's tensors, under which PyTorch's modules have them too. What
    is equal under both names is taken once.

    >>> fit_state({"norm.1.bias": 2.5}, {"norm1.bias": (4,), "norm1.num_batches_tracked": ()})
    ({'norm1.bias': 2.5}, {'norm1.bias': (4,)})
    """
    renamed = match_names(state, expected).names
    fitted = {renamed.get(name, name): tensor for name, tensor in state.items()}
    for own, full in (ties or {}).items():
        if own in fitted and (full not in fitted or _is_equal(fitted[own], fitted[full])):
            fitted[full] = fitted.pop(own)
    needed = {n: shape for n, shape in expected.items() if n in fitted or not may_be_missing(n)}
    return fitted, needed


def _is_equal(a: object, b: object) -> bool:
    import numpy as np

    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def may_be_missing(name: str) -> bool:
    """Return True if a file may lack this tensor, which then keeps its initial value."""
    return name.rpartition(".")[2] == "num_batches_tracked"
