"""What `netspec.load_run` returns: a run, with its net, its data and its trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.compiler.driver import Request
from netspec.net import Net, checked
from netspec.runtime.data.catalog import load
from netspec.runtime.models.classifier_shape import only_input_shape
from netspec.runtime.runs.folder import RunFolder
from netspec.runtime.runs.resolve import resolve
from netspec.runtime.runs.resume import checked_options
from netspec.runtime.weights.data_facts import class_names, stored_vocabulary
from netspec.runtime.weights.safetensors_file import Weights
from netspec.runtime.weights.weights_file import load_weights

if TYPE_CHECKING:
    from netspec.runtime.data import Dataset
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
        settings = resolve({n: v for n, v in self.options.items() if v is not None})
        folder = data_dir or settings["data-dir"]
        return load(
            settings["data"], folder, only_input_shape(self.net.graph), resize=settings.resize,
            ignore_index=settings["ignore-index"], tokens=settings["tokens"],
            vocabulary=stored_vocabulary(self.weights.metadata),
        ).fit_to_inputs(self.net.graph.inputs)  # fmt: skip

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
