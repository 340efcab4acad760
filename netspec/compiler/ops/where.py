"""Choice by sign."""

from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenTensor
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import Attributes
from netspec.compiler.ops.families.arithmetic import ArithmeticOp


def _is_boolean(x: AtenTensor) -> bool:
    return x.is_condition or x.is_bool


def _of_not(row: tuple[Attributes, ...], _: tuple[int, ...]) -> Attributes | None:
    """The choice by `~c`, which is the one by c with its values exchanged."""
    condition, choice = row
    if condition.get("then") != 0 or condition.get("otherwise") != 1:
        return None
    numbers = {"then": choice.get("otherwise"), "otherwise": choice.get("then")}
    return {name: number for name, number in numbers.items() if number is not None}


@register
class Where(ArithmeticOp):
    """One of two values: y = a where c > 0, else b, for `where(c, a, b)`; a or b may be a number.

    dy/da = 1 where c > 0, else 0; dy/db the other way round; dy/dc = 0.
    """

    then: float | None = attribute(Real(), "a number in place of a", None)
    otherwise: float | None = attribute(Real(), "a number in place of b", None)

    name = "where"
    onnx_ends = ("Where",)
    arity = 3
    number_places = ("", "then", "otherwise")
    aten = (
        AtenForm(("where",), ("condition", "self", "other"), reads_conditions=True),
        AtenForm(("masked_fill",), ("mask", "value", "self"), reads_conditions=True),
        AtenForm(
            ("to", "_to_copy", "type_as"),
            attributes={"then": Always(1), "otherwise": Always(0)},
            unless=lambda call: call.require(
                _is_boolean(call.tensor("self")), "it changes the kind of its numbers"
            ),
            reads_conditions=True,
        ),
        AtenForm(
            ("logical_not", "bitwise_not"),
            attributes={"then": Always(0), "otherwise": Always(1)},
            unless=lambda call: call.require(
                _is_boolean(call.tensor("self")), "only for what was compared"
            ),
            gives_condition=True,
            reads_conditions=True,
        ),
    )
    idioms = (Idiom(("where", "where"), _of_not, turned=True),)
    examples = (
        Example("where", ((5,), (5,), (5,))),
        Example("where(otherwise = 0.5)", ((3, 1), (3, 2))),
        Example("where(then = 1, otherwise = 0)", ((4,),)),
    )
    unequal = Code.error("shape/where-mismatch", "a choice of values whose shapes do not fit")
    bad_examples = (
        BadExample("where", ((7,), (7,), (6,)), unequal),
        BadExample("where", ((7,), (7,)), codes.CALL_INPUTS),
    )

    def combine(self, *x: Expression) -> Expression:
        """a where c > 0, else b."""
        c, a, b = x
        return where(c > 0, a, b)

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """0 for c, and 1 for the operand that is chosen."""
        c, _, _ = x
        return Const(0.0), where(c > 0, 1, 0), where(c > 0, 0, 1)

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """The condition may be of any kind, unless its kind is that of the value."""
        is_free = index == 0 and (self.then is None or self.otherwise is None)
        return ("bool", "int", "real") if is_free else ("real",)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Where` of what is above 0, or of booleans."""
        condition, then, otherwise = read.root.inputs
        above = read.pattern("Where(Greater(c, 0), a, b)")
        if above is not None:
            condition = above.values["c"]
        inputs, numbers = [condition], {}
        for name, value in (("then", then), ("otherwise", otherwise)):
            number = read.number(value)
            if number is None:
                inputs.append(value)
            else:
                numbers[name] = number
        yield read.layer(cls(**numbers), *inputs, found=above)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.where`.

        If both operands are numbers, one becomes a tensor, for the precision of the value.
        """
        c, a, b = self.operands([X(i) for i in range(len(inputs))])
        both = not isinstance(a, X) and not isinstance(b, X)
        other = Torch("torch.full_like", (c, b)) if both else b
        return Torch("torch.where", (Torch("torch.gt", (c, 0)), a, other))
