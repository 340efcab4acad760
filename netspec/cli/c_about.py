"""What a C file says of its numbers: where its weights are from, and how inputs are normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.cli.trained_net import Trained

INITIAL = "the initial values of seed 0"


def about_numbers(
    trained: Trained | None, inputs: tuple[str, ...], *, normalizes: bool = False, can: bool = True
) -> tuple[str, ...]:
    """Return the lines.

    Args:
        trained: the net with its weights; None for initial values.
        inputs: the names of its inputs.
        normalizes: whether the file normalises its input.
        can: whether it could.
    """
    from netspec.runtime.data.normalization_text import formulas
    from netspec.runtime.weights.data_facts import image_type

    if trained is None:
        return (f"The weights are {INITIAL}.",)
    path, stored = trained.path, trained.weights
    where = "/".join(part for part in path.parts[-2:] if part != path.anchor)
    lines = [f"The weights are those of {where}."]
    if stored.normalization is None:
        return (*lines, "They do not say how inputs were normalised in training.")
    is_bytes = image_type(stored.metadata) == "uint8"
    x, numbers = ("pixel", "pixels from 0 to 255") if is_bytes else ("x", "numbers as in the data")
    for name, made in formulas(stored.normalization, inputs, x).items():
        if made == x:
            lines.append(f"{name}: {numbers}, as in training")
        elif normalizes:
            lines.append(f"{name}: {numbers}; this file takes {made}, as in training")
        else:
            more = "; or compile with --normalize" if can and len(inputs) == 1 else ""
            lines.append(f"{name}: {made} of {numbers}, as in training{more}")
    return tuple(lines)
