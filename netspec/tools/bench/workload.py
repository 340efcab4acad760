"""What is measured: a net, a batch, and the definition of a step.

Nothing heavy is imported here: a measuring process sets its number of threads before it imports
NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from netspec.compiler.ir.graph import Graph
from netspec.runtime.models.classifier_shape import (
    label_count,
    require_sizes,
    require_training_batch,
    scores_output,
    scores_shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

# Small enough that thousands of steps on one batch lead to no numbers that a processor is slow with
# (infinite or denormal ones), and large enough that the change by one step shows.
LEARNING_RATE = 1e-3


class NetWithSource(Protocol):
    """The part of `netspec.Net` that is used here."""

    @property
    def graph(self) -> Graph:
        """The operations."""
        ...

    def source(self, target: str) -> str:
        """Return the generated program."""
        ...


@dataclass(frozen=True)
class Workload:
    """A step to measure.

    In training a step is forward, softmax cross-entropy, backward and SGD on a batch of float32
    images; otherwise it is forward, in evaluation mode. All peers start with the same parameters
    and use the same batch.

    Attributes:
        net: the net.
        batch: the number of images.
        train: True for a training step, False for inference.
        threads: how many threads each peer may use.
        seed: of the batch, and of initial values.
        weights: parameters and buffers by their full names, in place of initial values.
    """

    net: NetWithSource
    batch: int
    train: bool
    threads: int
    seed: int = 0
    weights: Mapping[str, Array] | None = None

    @property
    def graph(self) -> Graph:
        """The net's operations."""
        return self.net.graph

    @property
    def what(self) -> str:
        """Describe a step in words."""
        return "training step" if self.train else "inference"

    def require(self) -> None:
        """Refuse open sizes, and what cannot be trained: nets without class scores, too small a batch.

        Raises:
            NetspecError: the errors of `netspec.runtime.models.classifier_shape`.
        """
        require_sizes(self.graph)
        if self.train:
            label_count(self.graph)
            require_training_batch(self.graph, self.batch)

    @property
    def output(self) -> int:
        """The index, from 0, of the output that is compared and that the loss reads."""
        names = list(self.graph.outputs)
        if self.train:
            return names.index(scores_output(self.graph))
        return names.index("output") if "output" in names else 0

    def inputs(self) -> dict[str, Array]:
        """Return a batch for each input, by name, as (N, C, H, W), drawn as `verify` draws it: standard
        normal where the net has normalised it.
        """
        import numpy as np

        from netspec.tools.agreement.case import draw_inputs
        from netspec.tools.agreement.input_range import in_range

        drawn = draw_inputs(self.graph, self.batch, np.random.default_rng([self.seed, 1]))
        found = in_range(self.graph, drawn, _Start(self))
        return {name: x.astype(np.float32) for name, x in found.items()}

    def labels(self) -> NDArray[Any]:
        """Return a class for each image, (N,), or for each place of it, (N, ...)."""
        import numpy as np

        from netspec.runtime.optim.targets import OF_CLASSES

        rng = np.random.default_rng([self.seed, 2])
        places = OF_CLASSES.shape(scores_shape(self.graph))
        return rng.integers(0, label_count(self.graph), (self.batch, *map(int, places)))

    def start(self) -> dict[str, Array]:
        """Return all that all peers start with, counters and constants too, by name."""
        return dict(_Start(self))

    def parameters(self) -> dict[str, Array]:
        """Return the parameters and buffers that all peers start with, by name."""
        import numpy as np

        return {
            name: array.astype(np.float32)
            for name, array in self.start().items()
            if self.graph.parameters[name].role != "counter"
        }


class _Start(Mapping[str, "Array"]):
    """What all peers start with, by name; drawn where it is read, as most of it may never be."""

    def __init__(self, case: Workload) -> None:
        self._given = case.weights or {}
        self._parameters = case.graph.parameters
        self._seed = case.seed

    def __getitem__(self, name: str) -> Array:
        from netspec.runtime.models.numpy_model import draw_parameter

        own = self._given.get(name)
        return draw_parameter(self._parameters[name], self._seed) if own is None else own

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


@dataclass(frozen=True)
class Runner:
    """A peer that is ready.

    Attributes:
        step: runs a step and returns when it is done; its return value is passed to `result`.
        result: converts it to the loss (`loss`) and the trained parameters after the step by name,
            or to the output (`output`) of inference. Not timed.
        version: the version of the library.
        peak: the most bytes that a step holds, as measured by the library's own profiler; None if
            it has none.
    """

    step: Callable[[], Any]
    result: Callable[[Any], dict[str, Array]]
    version: str
    peak: Callable[[], int] | None = None


Prepare = Callable[[Workload], Runner]
