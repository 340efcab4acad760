"""What a normalization does to the numbers of an input, as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.input_normalization import (
    InputNormalization,
    Normalization,
    Normalizations,
)

# As many numbers of an array are shown, one for each channel.
MOST_SHOWN = 4


def formulas(
    by: InputNormalization, inputs: tuple[str, ...] = ("x",), x: str = "x"
) -> dict[str, str]:
    """Return what is done to a number of each input: `(x - 77.87) / 82.8`, or `x` for nothing.

    Args:
        by: the normalization.
        inputs: the name of the input, if there is one; several have theirs in the normalization.
        x: what a number is called.
    """
    if isinstance(by, Normalizations):
        return {name: formula(one, x) for name, one in by.inputs.items()}
    return {name: formula(by, x) for name in inputs}


def inputs_text(
    by: InputNormalization,
    inputs: tuple[str, ...],
    *,
    of_bytes: bool,
    normalizes: bool = False,
    advice: str = "",
) -> list[str]:
    """Return a line for each input of a file that holds a net: what it takes, as in training.

    Args:
        by: the normalization.
        inputs: the names of the net's inputs.
        of_bytes: whether the data are pixels of 0 to 255.
        normalizes: whether the file normalises by itself.
        advice: what is said where the caller has to normalise.
    """
    x, numbers = ("pixel", "pixels from 0 to 255") if of_bytes else ("x", "numbers as in the data")
    lines = []
    for name, made in formulas(by, inputs, x).items():
        if made == x:
            lines.append(f"{name}: {numbers}, as in training")
        elif normalizes:
            lines.append(
                f"{name}: {numbers}, as they are: this file makes {made} of them, as in training"
            )
        else:
            lines.append(f"{name}: {made} of {numbers}, as in training{advice}")
    return lines


def formula(by: Normalization, x: str = "x") -> str:
    """Return what is done to a number of an input."""
    shifted, divided = by.mean.any(), (by.scale != 1).any()
    moved = f"{x} - {_shown(by.mean, 'mean')}" if shifted else x
    if not divided:
        return moved
    return (
        f"({moved}) / {_shown(by.scale, 'scale')}"
        if shifted
        else f"{x} / {_shown(by.scale, 'scale')}"
    )


def _shown(values: NDArray[np.float32], name: str) -> str:
    """Return a number, a list of one for each channel, or what an array is called."""
    numbers = [f"{value:.6g}" for value in values.ravel()[: MOST_SHOWN + 1].tolist()]
    if len(set(numbers)) == 1 and (values == values.flat[0]).all():
        return numbers[0]
    if len(numbers) <= MOST_SHOWN:
        return f"[{', '.join(numbers)}]"
    return f"the {name} of its place ({values.size:,} numbers of the weights file)"
