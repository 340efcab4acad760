"""Options shared by the verbs that feed pictures to a net: how pictures are normalized and resized."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netspec.runtime.data.input_normalization import ChannelStatistics

_NORMALIZE, RESIZE = ("normalize", "mean", "std"), ("resize", "resize-shorter")
Group = argparse.ArgumentParser | argparse._ArgumentGroup


def add_normalize_options(group: Group, kinds: Sequence[str], about: str) -> None:
    """Add `--normalize` with the given kinds, and `--mean` and `--std`, which can be used instead."""
    group.add_argument("--normalize", choices=kinds, help=about)
    _add_options(group, _NORMALIZE[1:])


def add_resize_options(group: Group) -> None:
    """Add `--resize` and `--resize-shorter`."""
    _add_options(group, RESIZE)


def _add_options(group: Group, names: Sequence[str]) -> None:
    from netspec.cli.training_options import add_option
    from netspec.runtime.runs.options import OPTIONS

    for name in names:
        add_option(group, OPTIONS[name])


def given_normalization(options: argparse.Namespace) -> str | ChannelStatistics | None:
    """Return the kind of normalization, or its statistics; None if no option is given.

    Raises:
        NetspecError: `train/bad-option` for options that contradict each other, or for invalid
            numbers.
    """
    from netspec.runtime.runs.resolve import resolve

    given = _given(options, _NORMALIZE)
    return resolve(given).normalize if given else None


def given_resize(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values of `resize` and `resize-shorter` that are given, by name."""
    return _given(options, RESIZE)


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    found = {name: getattr(options, name.replace("-", "_")) for name in names}
    return {name: value for name, value in found.items() if value is not None}
