"""What is measured: a net, a batch, and what a step of it is.

Nothing heavy is loaded here: a process that measures sets its number of threads before NumPy is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from netspec.compiler.ir.graph import Graph
from netspec.runtime.models.classifier_shape import (
    class_count,
    require_sizes,
    require_training_batch,
    scores_output,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

# Small, so that no run of thousands of steps on one batch gets to numbers that a processor is slow
# with (infinite or denormal ones), and large enough to see what a step changed.
LEARNING_RATE = 1e-3


class NetWithSource(Protocol):
    """What is needed of a `netspec.Net`."""

    @property
    def graph(self) -> Graph:
        """The operations."""
        ...

    def source(self, target: str) -> str:
        """The generated program."""
        ...


@dataclass(frozen=True)
class Workload:
    """A step to measure.

    In training a step is forward, softmax cross-entropy, backward and SGD on a batch of float32
    images; otherwise it is forward, in evaluation mode. Everyone starts from the same parameters and
    takes the same batch.

    Attributes:
        net: the net.
        batch: how many images.
        train: a training step, or inference.
        threads: how many threads each may use.
    """

    net: NetWithSource
    batch: int
    train: bool
    threads: int
    seed: int = 0

    @property
    def graph(self) -> Graph:
        """The net's operations."""
        return self.net.graph

    @property
    def what(self) -> str:
        """A step, in words."""
        return "training step" if self.train else "inference"

    def require(self) -> None:
        """Refuse sizes left open, and what cannot be trained: no class scores, too small a batch.

        Raises:
            NetspecError: those of `netspec.runtime.models.classifier_shape`.
        """
        require_sizes(self.graph)
        if self.train:
            class_count(self.graph)
            require_training_batch(self.graph, self.batch)

    @property
    def output(self) -> int:
        """Which output is compared, and read by the loss; counted from 0."""
        names = list(self.graph.outputs)
        if self.train:
            return names.index(scores_output(self.graph))
        return names.index("output") if "output" in names else 0

    def inputs(self) -> dict[str, Array]:
        """A batch for each input, by name, as (N, C, H, W)."""
        import numpy as np

        rng = np.random.default_rng([self.seed, 1])
        return {
            name: rng.standard_normal((self.batch, *shape), np.float32)
            for name, shape in self.graph.inputs.items()
        }

    def labels(self) -> NDArray[Any]:
        """A class for each image."""
        import numpy as np

        rng = np.random.default_rng([self.seed, 2])
        return rng.integers(0, class_count(self.graph), self.batch)

    def parameters(self) -> dict[str, Array]:
        """The parameters and buffers that everyone starts with, by name."""
        import numpy as np

        from netspec.runtime.models.numpy_model import draw_parameter

        return {
            name: draw_parameter(p, self.seed).astype(np.float32)
            for name, p in self.graph.parameters.items()
            if p.role != "counter"
        }


@dataclass(frozen=True)
class Runner:
    """A peer that is ready.

    Attributes:
        step: takes a step and comes back when it is done; what it gives is for `result`.
        result: of what a step gave: the loss (`loss`) and the trained parameters after it by name,
            or the output (`output`) of inference. Not timed.
        version: of the library.
        peak: the bytes that a step holds at its worst moment, as the library's own profiler counts
            them; None where it has none.
    """

    step: Callable[[], Any]
    result: Callable[[Any], dict[str, Array]]
    version: str
    peak: Callable[[], int] | None = None


Prepare = Callable[[Workload], Runner]
