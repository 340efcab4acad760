"""The contract of an op.

An op is one file in `netspec/compiler/ops/`, holding one subclass of `Op`: a frozen dataclass whose
fields are the attributes a `.net` file can set. An instance is an op with its attributes; a graph's
node holds one. Everything else in netspec loops over the registry and asks the op.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from netspec.compiler.ir.attributes import Kind
from netspec.compiler.ir.graph import Graph, Node, Role, Shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.sizes import Size
from netspec.diagnostics import Code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.ir.plan import Lowering

    Array = NDArray[Any]


# --------------------------------------------------------------------------- what an op talks about


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter as its op declares it, under the op's own name (`weight`)."""

    name: str
    shape: Shape
    initializer: Initializer
    role: Role


@dataclass(slots=True, eq=False, repr=False)
class Fix:
    """A change of one attribute that may mend an error: its new text in the file, and why.

    The attribute `->` stands for a stage to be written in front of this one.
    """

    attribute: str
    value: str
    why: str


class ShapeError(Exception):
    """An op cannot take its inputs. The compiler adds where, and tries the fixes.

    Args:
        code: the diagnostic's code.
        message: what is wrong, with the numbers.
        blame: the attribute at fault, if it is one.
        notes: facts, such as the formula with its numbers.
        fixes: changes of attributes worth trying, best first.
        help: advice that is no change of an attribute.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        blame: str | None = None,
        notes: Sequence[str] = (),
        fixes: Sequence[Fix] = (),
        help: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.blame = blame
        self.notes = tuple(notes)
        self.fixes = tuple(fixes)
        self.help = help


@dataclass(slots=True, eq=False, repr=False)
class Finding:
    """Something legal but suspicious about a node: a warning in the making."""

    code: Code
    message: str
    blame: str | None = None
    node: Node | None = None
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class X:
    """Input number `index` of a node, in a PyTorch expression."""

    index: int = 0


# How many images input 0 holds, where a PyTorch expression must say it: never -1, which would take
# what is left over of other sizes for images.
BATCH = Size.named("0.0")


@dataclass(frozen=True, slots=True)
class P:
    """The node's parameter of this name, in a PyTorch expression that no module of `torch.nn` holds."""

    name: str


@dataclass(frozen=True)
class Torch:
    """A PyTorch expression as data: a module of `torch.nn` or a function, and its arguments.

    A module is built once with the arguments and called with the inputs; its parameters have the
    op's own names. A function is called with the arguments: inputs `X(i)`, parameters `P(name)`, calls
    of functions or of the one module that a node has, plain values, and tuples of these.

    Attributes:
        target: such as `nn.Conv2d` or `F.relu`.
        arguments: those by position.
        options: those by name.
        inputs: of a module, what it is called with.
        defaults: the values at which PyTorch lets an option be left out.
        pairs: whether one number stands for a pair of equal ones.
        as_module: the class that a function of one value, with the same arguments behind that, has
            in `torch.nn`: a `nn.Sequential` can hold it.
    """

    target: str
    arguments: tuple[object, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[object, ...] = (X(0),)
    defaults: Mapping[str, object] = field(default_factory=dict)
    pairs: bool = False
    as_module: str | None = None

    @property
    def is_module(self) -> bool:
        """Whether the target is a class of `torch.nn`."""
        return self.target.startswith("nn.")

    @property
    def module(self) -> Torch | None:
        """The module in the expression, if there is one: itself, or the target of an argument."""
        if self.is_module:
            return self
        parts = [part for part in self.arguments if isinstance(part, Torch)]
        return next((part.module for part in parts if part.module is not None), None)


@dataclass(slots=True, eq=False, repr=False)
class Example:
    """A call as a `.net` file writes it, and the shapes that go in. The generic tests run it."""

    call: str
    inputs: tuple[Shape, ...]


@dataclass(slots=True, eq=False, repr=False)
class BadExample:
    """A call that must be refused with this code."""

    call: str
    inputs: tuple[Shape, ...]
    code: Code


@dataclass
class Evaluation:
    """What the reference evaluation of one node can read and leave.

    Attributes:
        training: batch statistics and dropout masks, or the running statistics and none.
        parameters: by the op's own names; buffers are updated in place.
        masks: the random masks of the run by node name (drawn before, so that programs share them).
        saved: what forward leaves for backward.
        gradients: the parameters' gradients, filled by backward.
    """

    node: Node
    training: bool
    parameters: Mapping[str, Array]
    masks: Mapping[str, Array] = field(default_factory=dict)
    saved: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)


# ----------------------------------------------------------------------------------------- the op


class Op:
    """One kind of layer. Subclasses are frozen dataclasses registered with `@register`.

    Class attributes:
        name: the word in a `.net` file.
        arity: how many inputs it takes; None for any number from two.
        commutes_with_max: it never falls and works on each number alone, and its gradient is zero
            wherever it is flat, so that a maximum may be taken before it.
        takes_max: its value is the maximum over a window, the first of equals.
        value_range: the least and the largest number that its value can hold.
        is_distribution: whether its values along an axis are probabilities that add up to 1.
        moves_axes: whether what PyTorch makes of it, or the gradient that goes back, can be a view
            with axes moved, which lies in memory in another order than that of its axes.
        torch_order: PyTorch's order of arguments, where it also takes a size that we infer from the
            input, which is written as "".
        torch_function, torch_module: the function or the module of PyTorch that takes the inputs and
            the attributes in order; both where they are two forms of the same.
        parameter_names: the parameters whose initial values `weight = normal(0.1)` may set in a call.
        offers: names of its own, beside those of the contract, that others may read.
        examples, bad_examples: what the generic tests run.
    """

    name: ClassVar[str]
    arity: ClassVar[int | None] = 1
    commutes_with_max: ClassVar[bool] = False
    takes_max: ClassVar[bool] = False
    value_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    is_distribution: ClassVar[bool] = False
    moves_axes: ClassVar[bool] = False
    torch_order: ClassVar[tuple[str, ...]] = ()
    torch_function: ClassVar[str] = ""
    torch_module: ClassVar[str | None] = None
    parameter_names: ClassVar[tuple[str, ...]] = ()
    offers: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[tuple[Example, ...]] = ()
    bad_examples: ClassVar[tuple[BadExample, ...]] = ()

    # -- checking

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the value, for one image: by default that of the first input.

        Raises:
            ShapeError: if the op cannot take these inputs.
        """
        return inputs[0]

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """The parameters and buffers, with their default initial values."""
        return ()

    def macs(self, *inputs: Shape) -> int:
        """Multiply-adds for one image; zero for everything but matrix products."""
        return 0

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], tuple[int, float]] | None:
        """(extent, step) along height and along width: how many rows one number of the value looks
        at, and how far apart its neighbour looks, less than 1 where the op enlarges. None where it
        looks at everything.
        """
        return (1, 1), (1, 1)

    def least_training_batch(self, *inputs: Shape) -> int:
        """The smallest batch that the op can be trained on."""
        return 1

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """What is legal but suspicious about a node."""
        return ()

    def is_unlikely(self) -> bool:
        """Whether the attributes are such as hardly anyone means: they may be in PyTorch's order."""
        return False

    # -- reference: slow and obvious, N,C,H,W

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The value of a batch."""
        raise NotImplementedError

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The gradients of the inputs; those of parameters go to `run.gradients`."""
        raise NotImplementedError

    def pattern(self, *x: Array) -> Array | None:
        """Which smooth piece of the op each number of a batch is on, as whole numbers or bools.

        It changes when an input crosses a kink, such as a ReLU's zero: finite differences across
        one say nothing about the gradient. None for an op without kinks.
        """
        return None

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """Append the steps that compute `to.out`."""
        raise NotImplementedError

    def lower_backward(self, to: Lowering) -> None:
        """Append the steps that compute the gradients from `to.dy`."""
        raise NotImplementedError

    def torch(self, *inputs: Shape) -> Torch:
        """The same op in PyTorch: by default `torch_function`, or else `torch_module`."""
        given = tuple(getattr(self, name) for name in self.attributes())
        if self.torch_function:
            arguments = (*map(X, range(len(inputs))), *given)
            return Torch(self.torch_function, arguments, as_module=self.torch_module)
        if self.torch_module is None:
            raise NotImplementedError
        return Torch(self.torch_module, given)

    def needs_order(self, *inputs: Shape) -> bool:
        """Whether PyTorch gets the gradient of `torch` wrong for views with axes moved.

        Sizes are numbers, or formulas of what can still change.
        """
        return False

    def torch_of_views(self, *inputs: Shape) -> Torch:
        """What `torch` is, right for views with axes moved too, where it `needs_order`."""
        return self.torch(*inputs)

    # -- common to all

    @classmethod
    def attributes(cls) -> Mapping[str, dataclasses.Field[object]]:
        """The attributes in positional order."""
        return _attributes(cls)  # type: ignore[arg-type]

    @classmethod
    def kind(cls, attribute: str) -> Kind:
        """The kind of an attribute."""
        kind: Kind = cls.attributes()[attribute].metadata["kind"]
        return kind

    def __str__(self) -> str:
        """The call as a file could write it, with the attributes that differ from their defaults."""
        given = []
        for name, f in self.attributes().items():
            value = getattr(self, name)
            shown = "none" if value is None else self.kind(name).show(value)
            if f.default is dataclasses.MISSING:
                given.append(shown)
            elif value != f.default:
                given.append(f"{name} = {shown}")
        return f"{self.name}({', '.join(given)})" if given else self.name


@functools.cache
def _attributes(cls: type) -> Mapping[str, dataclasses.Field[object]]:
    return {f.name: f for f in dataclasses.fields(cls)}


# ------------------------------------------------------------------------------------ registration

_T = TypeVar("_T", bound=Op)
REGISTERED: dict[str, type[Op]] = {}


@dataclass_transform(frozen_default=True)
def register(cls: type[_T]) -> type[_T]:
    """Class decorator: make an op, as a frozen dataclass, known under its name.

    Raises:
        TypeError: for a public name that neither the contract nor a family of ops has, such as a
            misspelt `foward`, and for a field that is no `attribute`.
    """
    dataclass(frozen=True)(cls)
    _require_known_names(cls)
    if cls.name in REGISTERED:
        raise ValueError(f"two ops are named {cls.name}")
    REGISTERED[cls.name] = cls
    return cls


def _require_known_names(cls: type[Op]) -> None:
    """Refuse what nobody would ever call: a hook whose name is not quite one."""
    attributes = cls.attributes()
    for name, declared in attributes.items():
        if "kind" not in declared.metadata:
            raise TypeError(
                f"{cls.__name__}.{name} is a field, and must be made by `attribute(...)`"
            )
    for name in vars(cls):
        if name.startswith("_") or name in attributes or name in cls.offers:
            continue
        if not any(name in vars(base) or name in _declared(base) for base in cls.__mro__[1:]):
            raise TypeError(_unknown(cls, name))


def _declared(base: type) -> Mapping[str, Any]:
    """What a class says that its subclasses have, such as `name: ClassVar[str]`."""
    found: Mapping[str, Any] = vars(base).get("__annotations__", {})
    return found


def _unknown(cls: type[Op], name: str) -> str:
    """What is said of a public name that is in no contract."""
    from difflib import get_close_matches

    known = {n for base in cls.__mro__[1:] for n in (*vars(base), *_declared(base))}
    near = get_close_matches(name, [n for n in known if not n.startswith("_")], 1)
    meant = f": did you mean `{near[0]}`?" if near else "."
    return (
        f"{cls.__name__}.{name} is not a member of an op{meant} If only this op uses it, start it"
        f" with an underscore, `_{name}`; if others may read it, list it in `offers`."
    )
