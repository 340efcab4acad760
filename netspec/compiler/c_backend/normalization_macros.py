"""How inputs were normalised in training, as macros of a header, for a caller that does it itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netspec.compiler.c_backend.c_text import numbers
from netspec.compiler.c_backend.definitions import WIDTH
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.input_scale import InputScale

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A line of C99 has no more than 4,095 characters, also when it is written as several.
MOST_NUMBERS = 200


def is_normalized(by: InputScale) -> bool:
    """Whether anything is done to the numbers of an input."""
    return by.shifts or by.divides


def declared_normalization(
    names: Names,
    shapes: Mapping[str, Shape],
    inputs: Mapping[str, InputScale],
    who: str,
) -> list[str]:
    """Return the constants for each input that was normalised; none if none was.

    Args:
        names: of the file.
        shapes: of the net's inputs for one image.
        inputs: how each input was normalised.
        who: a sentence that says who does it.
    """
    found = {name: by for name, by in inputs.items() if is_normalized(by)}
    if not found:
        return []
    return [
        "/* How an input was normalised in training: (x - MEAN) / STD of a number x as the data have it.",
        f"   {who}",
        "   MEAN and STD are initialisers of arrays: a number for each channel, or for each place. */",
        *(line for name, by in found.items() for line in _constants(names, name, by, shapes[name])),
        "",
    ]


def _constants(names: Names, name: str, by: InputScale, shape: Shape) -> Iterator[str]:
    for what, values in (("mean", by.mean), ("std", by.scale)):
        macro = names.constant(f"{names.net}_{name}_{what}")
        if values.size > MOST_NUMBERS:
            yield f"/* {macro} would be {values.size:,} numbers: see the weights file. */"
            continue
        yield from _in_braces(macro, numbers(_of_each_channel(values, shape).astype(float)))


def _of_each_channel(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return a number for each channel where all share one, so that programs take any training's.

    More than `MOST_NUMBERS` channels, or a number of them that is not known, keep the one.
    """
    channels = shape[0] if shape else 1
    if values.size == 1 and isinstance(channels, int) and channels <= MOST_NUMBERS:
        return values.ravel().repeat(channels)
    return values.ravel()


def _in_braces(macro: str, given: list[str]) -> Iterator[str]:
    """Yield the lines of a macro that is an initialiser."""
    line = f"#define {macro} {{"
    for at, text in enumerate(given):
        part = f" {text}" if at == len(given) - 1 else f" {text},"
        if len(line) + len(part) + 2 > WIDTH:
            yield f"{line} \\"
            line = "   "
        line += part
    yield f"{line} }}"
