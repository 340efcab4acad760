"""How an op is recognised in a PyTorch graph, as data: operators of `aten`, and classes of modules.

Nothing here needs PyTorch. Arguments have the names of PyTorch's schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol

from netspec.compiler.ir.graph import Shape
from netspec.records import record

Attribute = object
"""The value of an op's attribute: a number, a bool, a string, None, or a tuple of them."""


class NoNetspecFormError(Exception):
    """A call that the op cannot express; the message says what about it, in a sentence."""


@record(slots=True)
class AtenTensor:
    """A tensor among the arguments of a call.

    Attributes:
        value: the name of its value in the imported net.
        shape: its shape for one image; that of a stored tensor is the whole one.
        rank: how many axes it has in PyTorch.
        first: the netspec axis that PyTorch's axis 0 is: 0 for a batch, 1 for a tensor that is the
            same for every image, or whose batch holds windows of the images.
        batch: PyTorch's axis of the batch, or of its windows.
        stored: the name in the state dict, if it is a parameter or a buffer.
        is_condition: whether it stands for booleans that were computed: it is above 0 where they
            are true.
        is_bool: whether PyTorch holds booleans there.
        is_lower: whether only the places on and below the diagonal of its last two axes count, and
            the others are zero or false.
        is_cut: whether the fractions of its numbers are cut off.
        leads: whether PyTorch's axis 0 is a 1 that stands for the batch, as stored tensors have it:
            the tensor is the same for every image.
        filled: the number that it has at all places; None for other tensors.
    """

    value: str
    shape: Shape
    rank: int
    first: int
    stored: str = ""
    is_condition: bool = False
    batch: int = 0
    is_bool: bool = False
    is_lower: bool = False
    is_cut: bool = False
    leads: bool = False
    filled: float | None = None

    def axis(self, number: int) -> int:
        """Return an axis of PyTorch as netspec counts it: 1 is the first one behind the batch.

        Raises:
            NoNetspecFormError: if it is the axis of the batch.
        """
        at = number % self.rank if self.rank else 0
        if self.first:
            return at + 1
        if at == self.batch:
            raise NoNetspecFormError("it goes over the images of the batch")
        return at if at > self.batch else at + 1


@record(slots=True)
class AtenCall:
    """A call of an operator, or of a module.

    Attributes:
        arguments: by the schema's names, with its defaults: numbers, strings, tuples, None and
            tensors; for a module the attributes of the object.
        shape: the shape of the result for one image.
        part: which of the results, for an operator that gives several.
        parts: the shapes of all results.
    """

    arguments: Mapping[str, object]
    shape: Shape
    part: int = 0
    parts: tuple[Shape, ...] = ()

    def __getitem__(self, name: str) -> object:
        return self.arguments[name]

    def has(self, name: str) -> bool:
        """Whether an argument is given, and is not None."""
        return self.arguments.get(name) is not None

    def tensor(self, name: str) -> AtenTensor:
        """Return an argument that is a tensor.

        Raises:
            NoNetspecFormError: if it is none.
        """
        found = self.arguments.get(name)
        if not isinstance(found, AtenTensor):
            raise NoNetspecFormError(f"its `{name}` is not a tensor")
        return found

    def whole(self, name: str) -> int:
        """Return an argument that is a whole number.

        Raises:
            NoNetspecFormError: if it is none, such as a size that depends on the batch.
        """
        found = self.arguments.get(name)
        if not isinstance(found, int):
            raise NoNetspecFormError(f"its `{name}` is not a fixed whole number")
        return found

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return an argument that is a whole number or several.

        Raises:
            NoNetspecFormError: if it is none.
        """
        found = self.arguments.get(name)
        given = found if isinstance(found, tuple) else (found,)
        fixed = tuple(item for item in given if isinstance(item, int))
        if len(fixed) != len(given):
            raise NoNetspecFormError(f"its `{name}` is not made of fixed whole numbers")
        return fixed

    def axis(self, name: str, of: str = "self") -> int:
        """Return an argument that is an axis of a tensor, as netspec counts it."""
        return self.tensor(of).axis(self.whole(name))

    def axes(self, name: str, of: str = "self") -> tuple[int, ...]:
        """Return an argument that is an axis or several, in order."""
        return tuple(sorted(self.tensor(of).axis(number) for number in self.numbers(name)))

    def new_axis(self, name: str, of: str = "self") -> int:
        """Return an argument that says where a new axis goes, as netspec counts it."""
        x = self.tensor(of)
        at = self.whole(name) % (x.rank + 1)
        return at + 1 if x.first or at <= x.batch else at

    def order(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Return an order of all axes of `self`, as netspec writes it."""
        x = self.tensor("self")
        kept = (n for n in numbers if x.first or n % x.rank != x.batch)
        return tuple(x.axis(number) for number in kept)

    def swapped(self, one: int, other: int) -> tuple[int, ...]:
        """Return the order of the axes of `self` in which two have changed places."""
        rank = self.tensor("self").rank
        ends = list(range(rank))
        ends[one], ends[other] = ends[other], ends[one]
        return self.order(tuple(ends))

    def part_ends(self, name: str) -> tuple[int, int]:
        """Return the first place of this part along an axis, and the place behind its last."""
        at = self.axis(name) - 1
        sizes = [part[at] for part in self.parts]
        start = sum(sizes[: self.part])
        return start, start + sizes[self.part]

    def frame(self, name: str) -> tuple[tuple[int, int], ...]:
        """Return PyTorch's list of paddings, the last axis first, as pairs in the order of the
        axes behind the channels.
        """
        numbers = self.numbers(name)
        pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)][::-1]
        axes = len(self.shape) - 1
        self.require(len(pairs) <= axes, "it pads the channels or the batch: `concat` with zeros")
        return ((0, 0),) * (axes - len(pairs)) + tuple(pairs)

    def require(self, met: bool, why: str) -> None:
        """Raise NoNetspecFormError with a reason unless a condition is met."""
        if not met:
            raise NoNetspecFormError(why)


class Taken(Protocol):
    """Computes an attribute from a call.

    Raises:
        NoNetspecFormError: if the op cannot express the call.
    """

    def __call__(self, call: AtenCall, /) -> Attribute:
        """Return the value."""
        ...


@record(slots=True)
class Always:
    """An attribute that is the same for all calls."""

    value: Attribute

    def __call__(self, _: AtenCall, /) -> Attribute:
        """Return the value, whatever the call."""
        return self.value


@record(slots=True)
class Then:
    """An op on the value of the one before: its name and attributes.

    `only_shapes` says that it does nothing where the shape stays.
    """

    op: str
    attributes: Mapping[str, Taken] = field(default_factory=dict)
    only_shapes: bool = False


@record(slots=True)
class AtenForm:
    """What calls of an operator are in netspec.

    Attributes:
        operators: their names without the overload, such as `conv2d`; with it (`add.Tensor`) where
            the form is for that one only. An operator in place, `relu_`, is the same.
        inputs: the arguments that are values; lists of tensors are several. A number among them
            becomes the attribute that the op has for it.
        parameters: the op's own names, with the arguments that are its stored tensors.
        attributes: the op's attributes, with the name of the argument or what computes it.
        unless: raises for calls that the op cannot express.
        before: ops on a value before it is read, by the argument.
        then: ops that follow.
        only_shapes: whether it does nothing where the shape stays.
        does_nothing: tells calls that leave the first value as it is.
        gives_condition: whether the result is above 0 where PyTorch's boolean is true.
        reads_conditions: whether it takes such values for booleans.
        moves_batch: whether the batch may be any axis of the first value.
        spreads: tells calls that only repeat the first value, along axes of size 1 or new ones in
            front.
        spread: the argument that the op itself repeats so: it reads what that was repeated from.
            It may be a lower triangle, which `attributes` have to say.
        places: the argument whose numbers the op itself cuts to places from 0 to `last_place`.
        limits: the range that a call limits the first value to, and does nothing else.
        adds: the argument that is added to the result, where it is given.
        is_last: whether other ops are better where they can express a call.
        computes: an argument that the line of Python computes: no number of its is written there.
        is_apart: whether its stored tensors are of a module that computes nothing itself, such as an
            `nn.ParameterDict`. It is then better than other ops.
        starts: the attributes that say what a stored tensor starts with, if that is one number, with
            the argument.
    """

    operators: tuple[str, ...]
    inputs: tuple[str, ...] = ("self",)
    parameters: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str | Taken] = field(default_factory=dict)
    unless: Callable[[AtenCall], None] | None = None
    before: Mapping[str, tuple[Then, ...]] = field(default_factory=dict)
    then: tuple[Then, ...] = ()
    only_shapes: bool = False
    does_nothing: Callable[[AtenCall], bool] | None = None
    gives_condition: bool = False
    reads_conditions: bool = False
    moves_batch: bool = False
    spreads: Callable[[AtenCall], object] | None = None
    spread: str = ""
    places: str = ""
    last_place: Callable[[AtenCall], object] | None = None
    limits: Callable[[AtenCall], tuple[object, object]] | None = None
    adds: str = ""
    is_last: bool = False
    computes: str = ""
    is_apart: bool = False
    starts: Mapping[str, str] = field(default_factory=dict)


@record(slots=True)
class ModuleForm:
    """What calls of a class of modules are in netspec, whatever they compute inside.

    Attributes:
        classes: the names of the classes, with their modules: `torch.nn.modules.rnn.LSTM`; or the
            name alone, for classes that many projects define alike, as `DropPath`.
        inputs: how many values a call takes. The last one may stand in the place of those behind it,
            as one does in self-attention, and the second of two as key and value.
        parameters: the op's own names, which the module's tensors have too.
        attributes: the op's attributes, with the name of the object's attribute, names of which it
            has one, or what computes it.
        unless: raises for modules that the op cannot express.
        states: how many further values a call may be given, all or none: what it begins with, whose
            axis of layers stands in front of the batch.
        hides: whether a call may be given booleans of the keys, true where one is hidden: the layer
            reads behind its other values which are shown.
        starts_at_zero: whether values of zeros that it is given are the states that it begins with,
            as it does without them.
    """

    classes: tuple[str, ...]
    inputs: int = 1
    attributes: Mapping[str, str | tuple[str, ...] | Taken] = field(default_factory=dict)
    unless: Callable[[AtenCall], None] | None = None
    states: int = 0
    hides: bool = False
    starts_at_zero: bool = False


def both_compared(call: AtenCall) -> None:
    """Require that `self` and `other` are conditions.

    Raises:
        NoNetspecFormError: if one of them is none.
    """
    compared = all(call.tensor(name).is_condition for name in ("self", "other"))
    call.require(compared, "only for what was compared")
