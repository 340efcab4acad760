r"""Rules by which the tensors of a file get other names: `encoder\.(.*)=\1`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, plural, quoted
from netspec.runtime.data.choices import BAD_OPTION
from netspec.runtime.weights.safetensors_file import Weights
from netspec.runtime.weights.weights_file import load_weights

_LONGEST = 200


@dataclass(frozen=True)
class RenameRule:
    """A regular expression for whole names, and the replacement for names that it matches."""

    pattern: re.Pattern[str]
    replacement: str
    text: str

    def renamed(self, name: str) -> str | None:
        """Return the new name; None for a name that the rule does not match."""
        found = self.pattern.fullmatch(name)
        return None if found is None else found.expand(self.replacement)


def rename_rule(text: str) -> RenameRule:
    r"""Read a rule: `PATTERN=NAME`, in Python's syntax of regular expressions.

    >>> rename_rule(r"encoder\.(.*)=\1").renamed("encoder.layer1.weight")
    'layer1.weight'

    Raises:
        NetspecError: `train/bad-option`.
    """
    pattern, equals, replacement = text.rpartition("=")
    if not equals or not pattern:
        raise NetspecError.simple(
            BAD_OPTION,
            f"--rename {quoted(text, _LONGEST)} has no new name",
            r"write PATTERN=NAME, such as 'encoder\.(.*)=\1'",
        )
    try:
        compiled = re.compile(pattern)
        compiled.sub(replacement, "")  # to check the replacement, whether or not anything matches
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        raise NetspecError.simple(
            BAD_OPTION, f"--rename {quoted(text, _LONGEST)} is no regular expression: {error}"
        ) from None
    return RenameRule(compiled, replacement, text)


def renamed_tensors(
    tensors: Mapping[str, NDArray[np.generic]], rules: Sequence[RenameRule]
) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Rename tensors by the first rule that matches each; returns them with notes.

    Raises:
        NetspecError: `train/bad-option` for a rule that matches no name, `weights/mismatch` if two
            tensors would have the same name.
    """
    found: dict[str, NDArray[np.generic]] = {}
    counts = dict.fromkeys((rule.text for rule in rules), 0)
    for name, tensor in tensors.items():
        new = name
        for rule in rules:
            given = rule.renamed(name)
            if given is not None:
                new = given
                counts[rule.text] += 1
                break
        if new in found:
            raise NetspecError.simple(
                codes.WEIGHTS_MISMATCH,
                f"--rename gives two tensors the name {quoted(new, _LONGEST)}",
            )
        found[new] = tensor
    idle = next((text for text, count in counts.items() if not count), None)
    if idle is not None:
        raise NetspecError.simple(
            BAD_OPTION,
            f"--rename {quoted(idle, _LONGEST)} matches no name in the file",
            "a rule is for whole names; `netspec weights FILE` lists them",
        )
    notes = tuple(f"{plural(n, 'name')} by --rename {text}" for text, n in counts.items())
    return found, notes


def load_renamed(path: Path, texts: Sequence[str]) -> Weights:
    """Read weights from a file, and rename them by these rules.

    Raises:
        NetspecError: `weights/bad-file`; see `rename_rule` and `renamed_tensors`.
    """
    rules = [rename_rule(text) for text in texts]
    weights = load_weights(path)
    if not rules:
        return weights
    tensors, notes = renamed_tensors(weights.tensors, rules)
    return replace(weights, tensors=tensors, notes=(*weights.notes, *notes))
