"""What an import gives: the text of a `.net` file, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from netspec.imports.proof import CheckedText
from netspec.imports.training_proof import TrainingDifference
from netspec.runtime.data.input_normalization import InputNormalization


@dataclass(frozen=True, slots=True)
class ImportedText:
    """A `.net` file that was imported.

    Attributes:
        text: the file.
        net: the same, compiled.
        state: the weights, by the net's names.
        difference: the largest difference of outputs, as a part of the largest number in them.
        notes: what a reader should know.
        normalization: of the images that the model takes, if it says so.
        about: what else it says of the data, as weights files have it.
        normalised: the inputs that the net normalises itself, by layers.
        trained: the largest differences in training; None if it was not compared.
    """

    text: str
    net: CheckedText
    state: Mapping[str, NDArray[Any]]
    difference: float
    notes: tuple[str, ...] = ()
    normalization: InputNormalization | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    trained: TrainingDifference | None = None
    normalised: tuple[str, ...] = ()

    def weights_file(self) -> bytes:
        """Return the contents of a weights file with the weights."""
        from netspec.runtime.weights.safetensors_file import weights_bytes

        return weights_bytes(self.state, self.normalization, self.about)
