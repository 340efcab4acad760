"""The contract of an op.

An op is one file in `netspec/compiler/ops/`, holding one subclass of `Op`: a frozen dataclass whose
fields are the attributes a `.net` file can set. An instance is an op with its attributes, and each
node of a graph holds one. The rest of netspec iterates over the registry and asks the ops.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from netspec.compiler.ir.aten_form import AtenForm, ModuleForm
from netspec.compiler.ir.attributes import Kind
from netspec.compiler.ir.graph import Graph, Node, Role, Shape
from netspec.compiler.ir.idiom import Idiom
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.layout import Storage
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import Code
from netspec.records import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.ir.onnx_form import OnnxForm, OnnxValue
    from netspec.compiler.ir.onnx_read import OnnxLayer, OnnxReader
    from netspec.compiler.ir.plan import Lowering
    from netspec.compiler.ir.scan_body import ScanBody
    from netspec.compiler.ir.step_form import StepForm

    Array = NDArray[Any]


# --------------------------------------------------------------------------- what an op talks about


@record(slots=True)
class ParameterSpec:
    """A parameter as its op declares it, under the op's own name (`weight`)."""

    name: str
    shape: Shape
    initializer: Initializer
    role: Role


# Layers have up to so many parameters; those of stacked layers have theirs for each.
_USUAL_PARAMETERS, _PARAMETERS_A_LAYER = 8, 4


def beyond_usual(parameters: int) -> int:
    """Return for how many layers more the parameters of one count, in what is limited by their number."""
    return max(0, parameters - _USUAL_PARAMETERS) // _PARAMETERS_A_LAYER


@dataclass(slots=True, eq=False, repr=False)
class Fix:
    """A change of one attribute that may fix an error: its new text in the file, and the reason.

    The attribute `->` stands for a stage that is inserted before this one.
    """

    attribute: str
    value: str
    why: str


class ShapeError(Exception):
    """An op cannot accept its inputs. The compiler adds the location, and tries the fixes.

    Args:
        code: the diagnostic's code.
        message: what is wrong, with the numbers.
        blame: the attribute that is wrong, if it is one.
        notes: facts, such as the formula with numbers put in.
        fixes: changes of attributes worth trying, best first.
        help: advice that does not change an attribute.
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


class NoOnnxFormError(Exception):
    """An op has no ONNX form, or none for these attributes and sizes. The text says what lacks one."""


class NoTorchFormError(Exception):
    """An op has no form in PyTorch. The text says what lacks one."""


@dataclass(slots=True, eq=False, repr=False)
class Finding:
    """Something legal but suspicious about a node, which becomes a warning.

    Attributes:
        code: the warning's code.
        message: what is suspicious, with the numbers.
        blame: the attribute that is, if it is one.
        node: the node that it is about, if that is another one.
        notes: facts.
        fixes: changes of attributes, best first.
        help: advice that does not change an attribute.
    """

    code: Code
    message: str
    blame: str | None = None
    node: Node | None = None
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    help: str | None = None


@record(slots=True)
class X:
    """Input number `index` of a node, in a PyTorch expression."""

    index: int = 0


# The batch size of input 0, where a PyTorch expression must state it. It is never written as -1,
# because PyTorch would then compute the batch size from the other sizes even if those are wrong.
BATCH = Size.named("0.0")


@record(slots=True)
class Training:
    """Whether the module is in training, in a PyTorch expression: `self.training`."""


TRAINING = Training()


@record(slots=True)
class P:
    """A parameter of the node, in a PyTorch expression whose module does not hold it."""

    name: str


# The target of an expression that is one of several results: `value[index]`.
ITEM = "operator.getitem"


@record(slots=True)
class Torch:
    """A PyTorch expression as data: a module of `torch.nn`, or a function, with its arguments.

    A module is created once with the arguments and called with the inputs; its parameters have the
    op's own names. A function is called with the arguments: inputs `X(i)`, parameters `P(name)`,
    calls of functions or of the single module that a node can have, plain values, and tuples of
    these.

    Attributes:
        target: such as `nn.Conv2d` or `F.relu`.
        arguments: the positional arguments.
        options: the keyword arguments.
        inputs: what a module is called with.
        call_options: the keyword arguments that it is called with.
        defaults: PyTorch's default values; an option with its default is left out.
        pairs: whether one number stands for a pair of equal ones.
        defines: the steps of the class that the target names, which is written beside the net's own.
        as_module: the class that a function of one value, with the same arguments behind that, has
            in `torch.nn`: a `nn.Sequential` can hold it.
    """

    target: str
    arguments: tuple[object, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[object, ...] = (X(0),)
    call_options: Mapping[str, object] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    pairs: bool = False
    as_module: str | None = None
    defines: ScanBody | None = None

    @property
    def is_module(self) -> bool:
        """Whether the target is a class of `torch.nn`, or one that is defined beside the net's."""
        return self.target.startswith("nn.") or self.defines is not None

    @property
    def module(self) -> Torch | None:
        """The module in the expression: the expression itself, one in its arguments, or None."""
        if self.is_module:
            return self
        for part in self.arguments:
            if isinstance(part, Torch) and (module := part.module) is not None:
                return module
        return None


@dataclass(slots=True, eq=False, repr=False)
class Example:
    """A call as a `.net` file writes it, with the shapes of its inputs.

    The generic tests run it.
    """

    call: str
    inputs: tuple[Shape, ...]


@dataclass(slots=True, eq=False, repr=False)
class BadExample:
    """A call that must be rejected with this code."""

    call: str
    inputs: tuple[Shape, ...]
    code: Code


@dataclass
class Evaluation:
    """What the reference evaluation of a node reads, and what it leaves behind.

    Attributes:
        training: whether to use batch statistics and dropout masks, or running statistics and no
            masks.
        parameters: by the op's own names; buffers are updated in place.
        masks: the random masks of the run by node name, drawn beforehand so that programs share
            them.
        saved: what forward saves for backward.
        gradients: the parameters' gradients, filled by backward.
    """

    node: Node
    training: bool
    parameters: Mapping[str, Array]
    masks: Mapping[str, Array] = field(default_factory=dict)
    saved: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)


# ----------------------------------------------------------------------------------------- the op


_F = TypeVar("_F", bound=Callable[..., object])


def needed(member: _F) -> _F:
    """Mark a method of a base class of ops that every op defines, or inherits from a family."""
    member.__dict__["is_needed"] = True
    return member


class Op:
    """One kind of layer. Subclasses are frozen dataclasses registered with `@register`.

    Class attributes:
        name: the op's name in a `.net` file.
        arity: the number of inputs; None for two or more.
        optional: how many inputs more it can take.
        number_places: for each index among the values of a call, the attribute for a number in
            place of the value; "" if there cannot be one.
        needs_positive: whether it is only defined for positive numbers.
        commutes_with_max: it is monotonically non-decreasing and elementwise, and its gradient is
            zero wherever it is flat, so that a maximum may be taken before it.
        takes_max: its value is the maximum over a window; of equal values the first one counts.
        value_range: the smallest and the largest number that its value can contain.
        is_distribution: whether its values along an axis are probabilities, with the sum 1.
        only_moves: whether its value holds the numbers of its inputs, only in other places: such an op
            takes whole numbers and booleans too.
        reads_batch_alone: whether it takes nothing but the size of the batch from its inputs.
        moves_axes: whether its result in PyTorch, or the gradient that it passes back, can be a
            view with permuted axes, whose order in memory is not that of its axes.
        formula_name: what its elementwise formula is called in a program's functions, if that is
            not the op's name.
        storage: the layouts of the inputs that `lower` works with, and of the value that it gives.
        torch_order: PyTorch's order of arguments. A size that PyTorch takes, but that is inferred
            from the input here, is written as "".
        inferred_axis: the axis of the first input whose size that is.
        torch_function, torch_module: the function or the module of PyTorch that takes the inputs
            and the attributes in order; both if they are two forms of the same op.
        onnx_operator: the operator of ONNX that takes the inputs, and no attributes.
        onnx_ends: the operators of ONNX at which `from_onnx` looks for layers of this op.
        onnx_spellings: patterns of operators by which others write it with its default attributes,
            with the value as `x`.
        rate: the attribute that says how often it drops numbers in training; at 0 it drops none.
        is_associative: whether op(op(a, b), c) is op(a, b, c).
        is_commutative: whether its value does not depend on the order of its inputs.
        aten: the operators of PyTorch's graphs that it stands for in an imported model.
        torch_modules: the classes of modules that it stands for there.
        idioms: rows of other layers that it stands for in any imported model.
        parameter_names: the parameters whose initial values `weight = normal(0.1)` may set in a
            call.
        offers: the op's own public names that are not in the contract, but that other modules may
            read.
        examples, bad_examples: what the generic tests run.
    """

    name: ClassVar[str]
    arity: ClassVar[int | None] = 1
    optional: ClassVar[int] = 0
    number_places: ClassVar[tuple[str, ...]] = ()
    needs_positive: ClassVar[bool] = False
    commutes_with_max: ClassVar[bool] = False
    takes_max: ClassVar[bool] = False
    value_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    is_distribution: ClassVar[bool] = False
    only_moves: ClassVar[bool] = False
    reads_batch_alone: ClassVar[bool] = False
    moves_axes: ClassVar[bool] = False
    formula_name: ClassVar[str] = ""
    storage: ClassVar[Storage] = Storage.USUAL
    torch_order: ClassVar[tuple[str, ...]] = ()
    inferred_axis: ClassVar[int] = 0
    torch_function: ClassVar[str] = ""
    torch_module: ClassVar[str | None] = None
    onnx_operator: ClassVar[str] = ""
    onnx_ends: ClassVar[tuple[str, ...]] = ()
    onnx_spellings: ClassVar[tuple[str, ...]] = ()
    rate: ClassVar[str] = ""
    is_associative: ClassVar[bool] = False
    is_commutative: ClassVar[bool] = False
    aten: ClassVar[tuple[AtenForm, ...]] = ()
    torch_modules: ClassVar[tuple[ModuleForm, ...]] = ()
    idioms: ClassVar[tuple[Idiom, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ()
    offers: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[tuple[Example, ...]] = ()
    bad_examples: ClassVar[tuple[BadExample, ...]] = ()

    # -- checking

    def shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the value, for one image. By default it is that of the first input.

        Raises:
            ShapeError: if the op cannot accept these inputs.
        """
        return inputs[0]

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """Return the parameters and buffers, with their default initial values."""
        return ()

    def macs(self, *inputs: Shape) -> int:
        """Return the multiply-adds for one image.

        They are zero for everything but matrix products.
        """
        return 0

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """Return (extent, step) along each axis behind the channels, or None. Axes left out are (1, 1).

        The extent is the number of rows of the input that one number of the value depends on, and
        the step the distance of the rows that its neighbour depends on, which is less than 1 if the
        op enlarges. None means that each number depends on the whole input.
        """
        return ()

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Whether a number of the value, in evaluation, depends on others than those at its place along
        an axis, which is counted from 1 in each input; None in an input that lacks it.

        By default it does.
        """
        return True

    def advance(self, to: StepForm) -> str:
        """Add what computes the value at new positions, from the inputs there and what is held of those
        before, and return that.

        By default it is the op itself, if it does not mix positions.

        Raises:
            NotCausalError: if there is no such thing.
        """
        return to.same()

    def require_formulas(self, operands: Sequence[str]) -> bool:
        """Return whether formulas say what it computes, after checking that they are formulas.

        Args:
            operands: the names of its inputs and parameters.

        Raises:
            TypeError: for what is none.
        """
        return False

    def least_training_batch(self, *inputs: Shape) -> int:
        """Return the smallest batch size on which the op can be trained."""
        return 1

    def whole_numbers(self, index: int) -> int | None:
        """Return how many whole numbers, from 0, an input may hold; None if it may hold any number."""
        return None

    def places(self, index: int, *inputs: Shape) -> tuple[tuple[int, Array | None], ...]:
        """Return how many whole numbers, from 0, numbers of an input may be, with the positions of these
        in one sample, row-major; None for all of them.
        """
        limit = self.whole_numbers(index)
        return () if limit is None else ((limit, None),)

    def draws(self) -> bool:
        """Whether it draws random numbers in training."""
        return False

    def inner_layers(self) -> int:
        """Return how many layers a file gives it, which are compiled with it."""
        return 0

    def steps(self) -> ScanBody | None:
        """Return what it computes in each step, where a file says that."""
        return None

    def resolved(self, *inputs: Shape) -> dict[str, object]:
        """Return the attributes as what they stand for with these inputs. Ops of a kind with equal ones
        compute the same; by default they are those of `per_axis`, with axes counted from the first.
        """
        rank = len(inputs[0]) if inputs else 0
        given = self.per_axis(*inputs).items()
        return {name: self.kind(name).from_first(value, rank) for name, value in given}

    def per_axis(self, *inputs: Shape) -> dict[str, object]:
        """Return the attributes, with a number for each axis where one stands for all."""
        count = max((len(shape) - 1 for shape in inputs), default=0)
        return {
            name: self.kind(name).of_axes(getattr(self, name), count) for name in self.attributes()
        }

    def untrained_row(self, parameter: str) -> int | None:
        """Return the row of a parameter, by the op's own name, for which the gradient is 0 although its
        value counts; None if there is none.
        """
        return None

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Return what an input may hold. An op that `only_moves` numbers takes any."""
        return ("real",)

    def given(self, types: tuple[NumberType, ...]) -> Op:
        """Return the op as it is for inputs that hold these, which it `takes`."""
        return self

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """Return what is legal but suspicious about a node."""
        return ()

    def is_unlikely(self) -> bool:
        """Whether hardly anyone would choose these attributes, so that they may be in PyTorch's
        order.
        """
        return False

    # -- reference: slow and obvious, N,C,H,W

    @needed
    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Return the value for a batch."""
        raise NotImplementedError

    @needed
    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Return the gradients of the inputs. Those of parameters go to `run.gradients`."""
        raise NotImplementedError

    def pattern(self, *x: Array) -> Array | None:
        """Return which smooth piece of the op each number of a batch is on, as whole numbers or
        bools.

        The result changes when an input crosses a kink, such as the zero of a ReLU: finite
        differences across a kink do not approximate the gradient. It is None for an op without
        kinks.
        """
        return None

    # -- lowering

    @needed
    def lower(self, to: Lowering) -> None:
        """Append the steps that compute `to.out`."""
        raise NotImplementedError

    @needed
    def lower_backward(self, to: Lowering) -> None:
        """Append the steps that compute the gradients from `to.dy`."""
        raise NotImplementedError

    def torch(self, *inputs: Shape) -> Torch:
        """Return the same op in PyTorch.

        By default it is `torch_function`, or else `torch_module`.

        Raises:
            NoTorchFormError: if there are none.
        """
        given = tuple(getattr(self, name) for name in self.attributes())
        if self.torch_function:
            arguments = (*map(X, range(len(inputs))), *given)
            return Torch(self.torch_function, arguments, as_module=self.torch_module)
        if self.torch_module is None:
            raise NoTorchFormError(f"`{self.name}` has no form in PyTorch")
        return Torch(self.torch_module, given)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """Append the operators of ONNX that compute the value in evaluation, and return it.

        By default it is `onnx_operator`.

        Raises:
            NoOnnxFormError: if there are none, or none for these attributes and sizes.
        """
        if not self.onnx_operator:
            raise NoOnnxFormError(f"`{self.name}` has no ONNX form")
        return to(self.onnx_operator, *to.x)

    @classmethod
    def onnx_forms(cls) -> tuple[Op, ...]:
        """Return the ops of this class whose ONNX form is looked for at every operator of a file.

        Such a form does not depend on the shapes of the inputs, and has no parameters.
        """
        return ()

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Yield the layers of this op that may end at an operator of a file, one of `onnx_ends`.

        A layer is rejected later if its op refuses the shapes of its inputs or of its parameters.
        """
        return ()

    def needs_order(self, *inputs: Shape) -> bool:
        """Whether PyTorch computes a wrong gradient for `torch` when an input is a view with
        permuted axes.

        The sizes in `inputs` are numbers, or formulas of sizes that can still change.
        """
        return False

    def torch_of_views(self, *inputs: Shape) -> Torch:
        """Return the PyTorch expression that is also correct for views with permuted axes.

        It differs from `torch` where the op `needs_order`.
        """
        return self.torch(*inputs)

    # -- common to all

    @classmethod
    def attributes(cls) -> Mapping[str, dataclasses.Field[object]]:
        """Return the attributes in positional order."""
        return _attributes(cls)  # type: ignore[arg-type]

    @classmethod
    def kind(cls, attribute: str) -> Kind:
        """Return the kind of an attribute."""
        kind: Kind = cls.attributes()[attribute].metadata["kind"]
        return kind

    def __str__(self) -> str:
        """Return the call as a file could write it, with the attributes that differ from their
        defaults.
        """
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
_PACKAGE = "netspec.compiler.ops."


@dataclass_transform(frozen_default=True)
def register(cls: type[_T]) -> type[_T]:
    """Class decorator: make an op a frozen dataclass, and register netspec's own under its name.

    Raises:
        TypeError: for a public name that neither the contract nor a family of ops has, such as a
            misspelt `foward`, and for a field that is not made by `attribute`.
    """
    record(cls)
    _require_known_names(cls)
    if not cls.__module__.startswith(_PACKAGE):
        return cls  # an op of somebody's own: a file has it that says so by `use`
    if cls.name in REGISTERED:
        raise ValueError(f"two ops are named {cls.name}")
    REGISTERED[cls.name] = cls
    return cls


def _require_known_names(cls: type[Op]) -> None:
    """Reject a member that nothing would ever call, because its name is misspelt."""
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


def missing_members(cls: type[Op]) -> tuple[str, ...]:
    """Return the members that an op of its kind must define, and lacks."""
    missing = [n for n in dir(cls) if getattr(getattr(cls, n), "is_needed", False)]
    if cls.arity != 1 and not hasattr(cls, "unequal"):
        missing += ["unequal" for base in cls.__mro__ if "unequal" in _declared(base)]
    return tuple(missing)


def _declared(base: type) -> Mapping[str, Any]:
    """Return the members that a class declares for its subclasses, such as `name: ClassVar[str]`."""
    return inspect.get_annotations(base)


def _unknown(cls: type[Op], name: str) -> str:
    """Return the error message for a public name that is not in the contract."""
    from difflib import get_close_matches

    known = {n for base in cls.__mro__[1:] for n in (*vars(base), *_declared(base))}
    near = get_close_matches(name, [n for n in known if not n.startswith("_")], 1)
    meant = f": did you mean `{near[0]}`?" if near else "."
    return (
        f"{cls.__name__}.{name} is not a member of an op{meant} If only this op uses it, start it"
        f" with an underscore, `_{name}`; if others may read it, list it in `offers`."
    )
