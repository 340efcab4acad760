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
from netspec.runtime.weights.bounded_matching import MatchingError, first_matches
from netspec.runtime.weights.safetensors_file import Weights
from netspec.runtime.weights.weights_file import load_weights
from netspec.text.printable import printable

_LONGEST = 200


@dataclass(frozen=True)
class RenameRule:
    """A regular expression for whole names, and the replacement for names that it matches."""

    pattern: str
    replacement: str
    text: str


def rename_rule(text: str) -> RenameRule:
    r"""Read a rule: `PATTERN=NAME`, in Python's syntax of regular expressions.

    >>> rename_rule(r"encoder\.(.*)=\1").replacement
    '\\1'

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
        # The replacement is checked with groups that match nothing: this pattern might take for
        # ever.
        names = {number: f"?P<{name}>" for name, number in compiled.groupindex.items()}
        groups = (f"({names.get(number, '')})" for number in range(1, compiled.groups + 1))
        re.sub("".join(groups), replacement, "")
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        raise NetspecError.simple(
            BAD_OPTION, f"--rename {quoted(text, _LONGEST)} is no regular expression: {error}"
        ) from None
    return RenameRule(pattern, replacement, text)


def renamed_tensors(
    tensors: Mapping[str, NDArray[np.generic]], rules: Sequence[RenameRule], file: str = "the file"
) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Rename tensors by the first rule that matches each; returns them with notes.

    Args:
        tensors: by name.
        rules: in their order.
        file: what messages call the file.

    Raises:
        NetspecError: `train/bad-option` for a rule that matches no name, and for rules that take
            too long; `weights/mismatch` if two tensors would have the same name.
    """
    found: dict[str, NDArray[np.generic]] = {}
    counts = dict.fromkeys((rule.text for rule in rules), 0)
    for (name, tensor), match in zip(tensors.items(), _matches(list(tensors), rules), strict=True):
        new = name
        if match is not None:
            number, new = match
            counts[rules[number].text] += 1
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
            f"--rename {quoted(idle, _LONGEST)} matches no name in {file}",
            "a rule is for whole names; `netspec weights FILE` lists them",
        )
    notes = tuple(f"{plural(n, 'name')} by --rename {text}" for text, n in counts.items())
    return found, notes


def _matches(names: Sequence[str], rules: Sequence[RenameRule]) -> Sequence[tuple[int, str] | None]:
    """Return for each name the number of the rule that matches it, and the new name.

    Raises:
        NetspecError: `train/bad-option` for rules that take too long, or too much memory.
    """
    try:
        return first_matches([(rule.pattern, rule.replacement) for rule in rules], names)
    except MatchingError:
        texts = quoted(", ".join(rule.text for rule in rules), _LONGEST)
        raise NetspecError.simple(
            BAD_OPTION,
            f"--rename {texts} takes too long for {plural(len(names), 'name')}",
            "a repetition inside a repetition, such as `(a+)+`, can take for ever",
        ) from None


def load_renamed(path: Path, texts: Sequence[str]) -> Weights:
    """Read weights from a file, and rename them by these rules.

    Raises:
        NetspecError: `weights/bad-file`; see `rename_rule` and `renamed_tensors`.
    """
    rules = [rename_rule(text) for text in texts]
    weights = load_weights(path)
    if not rules:
        return weights
    tensors, notes = renamed_tensors(weights.tensors, rules, printable(str(path)))
    return replace(weights, tensors=tensors, notes=(*weights.notes, *notes))
