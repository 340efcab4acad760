"""How a course writes netspec's layers: tables of CS231n's names, layouts and settings.

A course's layer is a pair of functions

    out, cache = forward(x, *arrays, *settings)          dx, *gradients = backward(dout, cache)

A `CourseLayer` defines which arrays and settings a layer takes, and how they are made from the op.
A sandwich consists of several parts: its functions take the arrays of all of them, then all
settings. An op without a table here is called `forward(x, weight, bias)`, with its own names and
layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.attributes import flat, spread
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Mode:
    """What a setting may depend on besides attributes: the mode, and the running statistics."""

    training: bool = True
    running: Mapping[str, Array] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The mode's name in the course's `mode`."""
        return "train" if self.training else "test"


@dataclass(frozen=True)
class CourseArgument:
    """An array argument of a course's function, with the op's parameter for it and its layout."""

    name: str
    parameter: str
    to_course: Callable[[Array], Array] = lambda array: array
    to_op: Callable[[Array], Array] = lambda array: array


@dataclass(frozen=True)
class CourseLayer:
    """A layer as a course writes it.

    Attributes:
        op: netspec's op.
        shapes: default shapes of the inputs, including the batch; no two sizes are equal, so that
            exchanged axes show.
        arguments: the arrays after x.
        settings: makes the arguments after the arrays, from the op and the mode.
        attributes: attributes of the op if none are given.
        cases: further attributes, for one check each, if none are given.
        sizes: the attributes that follow from given arrays.
        flat: each image is flattened first.
        modal: it works differently in training.
        keeps: the share of numbers that a random mask keeps in training.
        running: the statistics that training updates, by their names in the settings.
        sets: the axes that are normalized together, of the input in another shape.
        pools: windows select their maximum.
        averages: windows give their mean.
        correlates: windows are multiplied by filters.
        gates: the gradient is passed or not for each number.
    """

    op: str
    shapes: tuple[Shape, ...]
    arguments: tuple[CourseArgument, ...] = ()
    settings: Callable[[Any, Mode], tuple[Any, ...]] = lambda _op, _mode: ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[Mapping[str, Any], ...] = ({},)
    sizes: Callable[[Mapping[str, Array]], dict[str, Any]] = lambda _given: {}
    flat: bool = False
    modal: bool = False
    keeps: Callable[[Any], float] | None = None
    running: tuple[str, ...] = ()
    sets: Callable[[Any, Shape], tuple[Shape, tuple[int, ...]]] | None = None
    pools: bool = False
    averages: bool = False
    correlates: bool = False
    gates: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        if len(self.shapes) == 1:
            return ("x",)
        return tuple(f"x{i}" for i in range(len(self.shapes)))


# ------------------------------------------------------------------------------------- the settings


def _one(sizes: Any) -> Any:
    """Return a single number if all are equal: a course has one where netspec allows several."""
    return sizes[0] if isinstance(sizes, tuple) and len(set(sizes)) == 1 else sizes


def _more(op: Op, said: tuple[str, ...]) -> dict[str, Any]:
    """Return attributes that the course's layer does not have, unless they have the usual values."""
    fields = op.attributes()
    return {
        name: getattr(op, name)
        for name, f in fields.items()
        if name not in said and getattr(op, name) != f.default
    }


def _conv_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    said = ("channels", "kernel", "stride", "pad", "bias")
    return ({"stride": _one(op.stride), "pad": _one(flat(op.padding(2), 2)), **_more(op, said)},)


def _pool_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    height, width = spread(op.kernel, 2)
    more = _more(op, ("kernel", "stride"))
    return ({"pool_height": height, "pool_width": width, "stride": _one(op.step), **more},)


def _bn_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    # The course's momentum is the share that is kept; netspec's (PyTorch's) is that of the batch.
    return ({"mode": mode.name, "eps": op.eps, "momentum": 1 - op.momentum, **mode.running},)


def _ln_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    return ({"eps": op.eps},)


def _gn_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    return (op.groups, {"eps": op.eps})


def _dropout_param(op: Any, mode: Mode) -> tuple[Any, ...]:
    # The course's p is the probability to keep; netspec's (PyTorch's) is the probability to drop.
    return ({"mode": mode.name, "p": 1 - op.p, "seed": 123},)


# ---------------------------------------------------------------------------------- what normalises


def _batch_sets(op: Any, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
    return shape, (0, *range(2, len(shape)))


def _image_sets(op: Any, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
    sets = op.sets(shape[1:])
    return (shape[0], *sets.split), sets.over


# --------------------------------------------------------------------------------------- the tables

_BIAS = CourseArgument("b", "bias")
_GAMMA, _BETA = CourseArgument("gamma", "weight"), CourseArgument("beta", "bias")
_RUNNING = ("running_mean", "running_var")


def _transpose(array: Array) -> Array:
    return np.ascontiguousarray(array.T)


def _on_channels(name: str, parameter: str) -> CourseArgument:
    """An array of shape (1, C, 1, 1), as in spatial group norm."""
    return CourseArgument(
        name, parameter, lambda a: a.reshape(1, -1, 1, 1), lambda a: a.reshape(-1)
    )


_BATCH_NORM = CourseLayer(
    "batch_norm", ((6, 5),), (_GAMMA, _BETA), _bn_param,
    modal=True, running=_RUNNING, sets=_batch_sets,
)  # fmt: skip
_SPATIAL_BATCH_NORM = CourseLayer(
    "batch_norm", ((3, 4, 5, 6),), (_GAMMA, _BETA), _bn_param,
    modal=True, running=_RUNNING, sets=_batch_sets,
)  # fmt: skip
_LAYER_NORM = CourseLayer("layer_norm", ((4, 6),), (_GAMMA, _BETA), _ln_param, sets=_image_sets)
_GROUP_NORM = CourseLayer(
    "group_norm", ((3, 6, 4, 5),), (_on_channels("gamma", "weight"), _on_channels("beta", "bias")),
    _gn_param, attributes={"groups": 2}, sets=_image_sets,
)  # fmt: skip

PARTS: dict[str, CourseLayer] = {
    "affine": CourseLayer(
        "linear", ((4, 2, 3, 5),), (CourseArgument("w", "weight", _transpose, _transpose), _BIAS),
        attributes={"features": 3}, flat=True,
        sizes=lambda given: {"features": given["w"].shape[1]} if "w" in given else {},
    ),
    "conv": CourseLayer(
        "conv", ((3, 2, 7, 11),), (CourseArgument("w", "weight"), _BIAS), _conv_param, correlates=True,
        attributes={"channels": 4, "kernel": 3}, cases=({"stride": 2, "pad": 1}, {}),
        sizes=lambda given: (
            {"channels": given["w"].shape[0], "kernel": list(given["w"].shape[2:])}
            if "w" in given else {}
        ),
    ),
    "max_pool": CourseLayer(
        "max_pool", ((3, 2, 8, 6),), (), _pool_param, attributes={"kernel": 2},
        cases=({}, {"kernel": 3, "stride": 1}), pools=True,
    ),
    "avg_pool": CourseLayer(
        "avg_pool", ((3, 2, 8, 6),), (), _pool_param, attributes={"kernel": 2},
        cases=({}, {"kernel": 3, "stride": 1}), averages=True,
    ),
    "relu": CourseLayer("relu", ((4, 7),), gates=True),
    "batch_norm": _BATCH_NORM,
    "spatial_batch_norm": _SPATIAL_BATCH_NORM,
    "layer_norm": _LAYER_NORM,
    "group_norm": _GROUP_NORM,
    "dropout": CourseLayer(
        "dropout", ((40, 50),), (), _dropout_param, attributes={"p": 0.3}, modal=True,
        keeps=lambda op: 1 - op.p,
    ),
}  # fmt: skip

# The course writes some names as one word, and the norms of pictures with `spatial` in front.
ALIASES = {
    "batchnorm": "batch_norm",
    "spatial_batchnorm": "spatial_batch_norm",
    "layernorm": "layer_norm",
    "groupnorm": "group_norm",
    "spatial_groupnorm": "group_norm",
    "spatial_group_norm": "group_norm",
    "pool": "max_pool",
    "affine_batchnorm_relu": "affine_bn_relu",
    "conv_batchnorm_relu": "conv_bn_relu",
}

SANDWICHES: dict[str, tuple[str, ...]] = {
    "affine_relu": ("affine", "relu"),
    "affine_bn_relu": ("affine", "batch_norm", "relu"),
    "affine_ln_relu": ("affine", "layer_norm", "relu"),
    "conv_relu": ("conv", "relu"),
    "conv_bn_relu": ("conv", "batch_norm", "relu"),
    "conv_relu_pool": ("conv", "relu", "max_pool"),
}

# Functions of scores and labels: loss, dx = f(x, y).
LOSSES = {"softmax_loss": "softmax", "svm_loss": "svm"}


def known() -> tuple[str, ...]:
    """Return every name that `like` accepts."""
    return tuple(sorted({*PARTS, *ALIASES, *SANDWICHES, *LOSSES, *registry()}))


def parts_of(like: str) -> tuple[tuple[str, CourseLayer], ...]:
    """Return the parts of a layer or a sandwich, by name.

    An op without a table follows its own contract.
    """
    name = ALIASES.get(like, like)
    if name in SANDWICHES:
        return tuple((part, PARTS[part]) for part in SANDWICHES[name])
    return ((name, PARTS[name] if name in PARTS else _own(name)),)


def _own(name: str) -> CourseLayer:
    """Describe an op by itself: shapes and attributes of its first example, parameters by name."""
    from netspec.net import loads

    example = registry()[name].examples[0]
    inputs = "\n".join(f"input x{i}: {list(shape)}" for i, shape in enumerate(example.inputs))
    group = ", ".join(f"x{i}" for i in range(len(example.inputs)))
    graph = loads(f"net Example() {{\n{inputs}\noutput ({group}) -> {example.call}\n}}").graph
    op = graph.nodes[-1].op
    trained = [p for p in op.parameters(*example.inputs) if p.role not in ("statistic", "counter")]
    return CourseLayer(
        name,
        tuple((3, *shape) for shape in example.inputs),
        tuple(CourseArgument(p.name, p.name) for p in trained),
        attributes={
            key: WrittenAttribute(op.kind(key).show(value)) for key, value in _more(op, ()).items()
        },
    )


class WrittenAttribute(str):
    """Format an attribute as in a `.net` file."""

    __slots__ = ()
