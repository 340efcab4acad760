"""What a compiled file says of its numbers: where its weights are from, and how inputs are normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.cli.trained_net import Stored, Trained
    from netspec.runtime.data.pictures import Resize

INITIAL = "the initial values of seed 0"


def about_numbers(
    stored: Stored | Trained | None,
    inputs: tuple[str, ...],
    *,
    normalizes: bool = False,
    advice: str = "; or compile with --normalize",
) -> tuple[str, ...]:
    """Return the lines.

    Args:
        stored: the weights file, or the net with its weights; None for initial values.
        inputs: the names of the net's inputs.
        normalizes: whether the file normalises its input.
        advice: what is said where it does not.
    """
    from netspec.runtime.data.normalization_text import inputs_text
    from netspec.runtime.weights.data_facts import image_type

    if stored is None:
        return (f"The weights are {INITIAL}.",)
    path, weights = stored.path, stored.weights
    where = "/".join(part for part in path.parts[-2:] if part != path.anchor)
    lines = [f"The weights are those of {where}."]
    if weights.normalization is None:
        return (*lines, "They do not say how inputs were normalised in training.")
    lines += inputs_text(
        weights.normalization, inputs, of_bytes=image_type(weights.metadata) == "uint8",
        normalizes=normalizes, advice=advice,
    )  # fmt: skip
    return (*lines, *_about_pictures(stored))


def _about_pictures(stored: Stored | Trained) -> tuple[str, ...]:
    """Return how pictures of other sizes were resized, if a run knows it and it was done."""
    if stored.run is None:
        return ()
    resize = stored.run.settings.resize
    return () if resize is False else (_resized(resize),)


def _resized(resize: Resize) -> str:
    from netspec.runtime.data.pictures import is_shorter_side

    if not is_shorter_side(resize):
        return "Pictures were stretched to the size of the input (--resize)."
    return (
        f"Pictures were resized so that the shorter side has {resize} pixels, and the middle was cut"
        f" out (--resize-shorter {resize})."
    )
