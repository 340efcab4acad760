"""How inputs were normalised in training, as macros of a header, for a caller that does it itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netspec.compiler.c_backend.c_text import numbers
from netspec.compiler.c_backend.definitions import WIDTH
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.input_scale import InputScale

# A line of C99 has no more than 4,095 characters, also when it is written as several.
MOST_NUMBERS = 200


def is_normalized(by: InputScale) -> bool:
    """Whether anything is done to the numbers of an input."""
    return by.shifts or by.divides


def declared_normalization(names: Names, inputs: Mapping[str, InputScale], who: str) -> list[str]:
    """Return the constants for each input that was normalised; none if none was.

    Args:
        names: of the file.
        inputs: how each input was normalised.
        who: a sentence that says who does it.
    """
    found = {name: by for name, by in inputs.items() if is_normalized(by)}
    if not found:
        return []
    return [
        "/* How an input was normalised in training: (x - MEAN) / STD of a number x as the data have it.",
        f"   {who}",
        "   MEAN and STD are a number for all, or in braces one for each channel, or for each place. */",
        *(line for name, by in found.items() for line in _constants(names, name, by)),
        "",
    ]


def _constants(names: Names, name: str, by: InputScale) -> Iterator[str]:
    for what, values in (("mean", by.mean), ("std", by.scale)):
        macro = names.constant(f"{names.net}_{name}_{what}")
        if values.size > MOST_NUMBERS:
            yield f"/* {macro} would be {values.size:,} numbers: see the weights file. */"
            continue
        given = numbers(values.ravel().astype(float))
        if len(given) == 1:
            yield f"#define {macro} {given[0]}"
        else:
            yield from _in_braces(macro, given)


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
