"""Names in older checkpoints, and what the same tensors are called now.

PyTorch's modules may no longer have a dot in their own names, so torchvision's DenseNets now say
`norm1.weight` where their published weights say `norm.1.weight`. The counter of batch norm,
`num_batches_tracked`, came later than many published weights, which therefore have none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_DOTTED_NUMBER = re.compile(r"(?<=[A-Za-z])\.(?=[0-9]+(?:\.|$))")


def rename_old_keys(names: Iterable[str], expected: Container[str]) -> dict[str, str]:
    """Which of `names` are older names of tensors that the network expects: old name -> new name.

    A name is renamed if the network does not have it, but has it with one dot less, between a word
    and a number. Names that the network has stay, and nothing is renamed to a name that is there
    already or that two others claim.

    >>> rename_old_keys(["norm.1.bias", "conv0.weight"], {"norm1.bias", "conv0.weight"})
    {'norm.1.bias': 'norm1.bias'}
    """
    present = dict.fromkeys(names)
    places: dict[str, list[str]] = {}
    for name in present:
        dots = () if name in expected else _DOTTED_NUMBER.finditer(name)
        newer = (name[: dot.start()] + name[dot.end() :] for dot in dots)
        places[name] = [n for n in newer if n in expected and n not in present]
    claims = Counter(new for found in places.values() for new in found)
    return {
        old: found[0] for old, found in places.items() if len(found) == 1 and claims[found[0]] == 1
    }


def fit_state(
    state: Mapping[str, T], expected: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, T], dict[str, tuple[int, ...]]]:
    """A state under the names that the network expects, and what it must then hold of `expected`.

    >>> fit_state({"norm.1.bias": 2.5}, {"norm1.bias": (4,), "norm1.num_batches_tracked": ()})
    ({'norm1.bias': 2.5}, {'norm1.bias': (4,)})
    """
    newer = rename_old_keys(state, expected)
    fitted = {newer.get(name, name): tensor for name, tensor in state.items()}
    needed = {n: shape for n, shape in expected.items() if n in fitted or not may_be_missing(n)}
    return fitted, needed


def may_be_missing(name: str) -> bool:
    """Whether a file may lack this tensor, which then keeps its initial value."""
    return name.rpartition(".")[2] == "num_batches_tracked"
