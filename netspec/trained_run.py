"""What `netspec.load_run` returns: a run, with its net, its data and its trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec import codes
from netspec.compiler.driver import Request
from netspec.diagnostics import NetspecError
from netspec.net import Net, checked
from netspec.runtime.data.catalog import load
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.inference.given_picture import Picture, read_picture
from netspec.runtime.models.classifier_shape import only_input_shape
from netspec.runtime.models.evaluation import class_probabilities
from netspec.runtime.runs.folder import RunFolder
from netspec.runtime.runs.resolve import Settings, resolve
from netspec.runtime.runs.resume import checked_options
from netspec.runtime.weights.data_facts import (
    class_names,
    image_type,
    require_same_pixels,
    stored_vocabulary,
)
from netspec.runtime.weights.safetensors_file import Weights
from netspec.runtime.weights.weights_file import load_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.runtime.data import Dataset
    from netspec.runtime.data.pictures import Resize
    from netspec.runtime.models.numpy_model import Model


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRun:
    """A run that has finished.

    Attributes:
        path: its folder.
        net: the run's own copy of its net, with the arguments that it was trained with.
        options: a value for every option of `netspec train`, by its name.
        weights: the contents of its weights file.
        model: a NumPy model with these weights, in the precision of the training, that knows how its
            inputs were normalised.
    """

    path: Path
    net: Net
    options: Mapping[str, Any]
    weights: Weights
    model: Model

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, one for each score."""
        return class_names(self.weights.metadata, self.model.classes)

    def data(self, data_dir: str | Path | None = None) -> Dataset:
        """Load the data that it was trained on.

        Args:
            data_dir: where to look first; by default where the run found them.

        Raises:
            NetspecError: as `netspec.load_data`.
        """
        settings = self._settings
        folder = data_dir or settings["data-dir"]
        return load(
            settings["data"], folder, only_input_shape(self.net.graph), resize=settings.resize,
            ignore_index=settings["ignore-index"], tokens=settings["tokens"],
            vocabulary=stored_vocabulary(self.weights.metadata),
        ).fit_to_inputs(self.net.graph.inputs)  # fmt: skip

    def input_of(self, *pictures: Picture, resize: Resize | None = None) -> NDArray[np.floating]:
        """Return what the net takes for pictures: resized and normalised as in training.

        `run.model.predictor()` and `run.model.forward` take it. Threads may call it at the same time.

        Args:
            pictures: each a path of a PNG or JPEG file, its bytes, or a file that is open.
            resize: what to do with a picture of another size, see `netspec.read_picture`; by default
                what was done in training, which may be to refuse it.

        Returns:
            (N, C, H, W) or (N, F), in the precision of the model.

        Raises:
            NetspecError: as `netspec.read_picture`; `data/shape` if the net was trained on other
                numbers than pixels; `weights/no-normalization`.
        """
        shape, by = self.model.input_shape, self.weights.normalization
        if not isinstance(
            by, Normalization
        ):  # several inputs have no one shape, which is refused above
            raise NetspecError.simple(
                codes.WEIGHTS_NO_NORMALIZATION,
                f"{self} does not say how images were normalised",
                "normalise them, and give the arrays to run.model.scores",
            )
        require_same_pixels("the picture", "uint8", image_type(self.weights.metadata))
        how = self._settings.resize if resize is None else resize
        pixels = np.empty((len(pictures), *shape), np.uint8)
        for i, picture in enumerate(pictures):
            pixels[i] = read_picture(picture, shape, resize=how)
        return by.apply(pixels, self.model.dtype)

    def predict(self, picture: Picture, /, *, resize: Resize | None = None) -> dict[str, float]:
        """Return the probability of each class for a picture, the likeliest first.

        It is what `netspec predict` prints. Threads may call it at the same time.

        Args:
            picture: the path of a PNG or JPEG file, its bytes, or a file that is open.
            resize: as of `input_of`: True is the command's `--resize`, a number `--resize-shorter`.

        Raises:
            NetspecError: as `input_of`; `model/not-finite`.
        """
        (shares,) = class_probabilities(self.model, self.input_of(picture, resize=resize))
        order = np.argsort(-shares, kind="stable")
        return {self.class_names[i]: float(shares[i]) for i in order}

    @property
    def _settings(self) -> Settings:
        return resolve({n: v for n, v in self.options.items() if v is not None})

    def __repr__(self) -> str:
        return f"<netspec.TrainedRun {self.path}: {self.net.name}>"


def load_run(path: str | os.PathLike[str], /) -> TrainedRun:
    """Open the folder of a run that `netspec train` left, such as `runs/first`.

    Raises:
        NetspecError: `run/missing` if it is not a run, `run/damaged`, `usage/weights` if it has not
            finished; with the errors of its net.
    """
    folder = RunFolder(Path(path))
    facts = folder.facts()
    options = checked_options(folder, facts)
    request = Request(path=folder.net_file(facts), net=facts.net, arguments=facts.constants)
    net = checked(request)
    weights = load_weights(folder.final_weights())
    model = net.compile("numpy", dtype=options["dtype"])
    model.load_state_dict(weights)
    return TrainedRun(folder.path, net, options, weights, model)
