"""Fully connected layer."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import AXES, KINDS

NEEDS_FLATTEN = Code.warning(
    "shape/needs-flatten", "a `linear` along the last axis of a picture whose channels come first"
)


_PRODUCTS = (
    "Add(MatMul(x, Transpose(c_w, perm=(1, 0))), c_b)",
    "Add(MatMul(x, c_w), c_b)",
    "MatMul(x, Transpose(c_w, perm=(1, 0)))",
    "MatMul(x, c_w)",
)


@register
class Linear(Op):
    """Fully connected layer over the last axis: y = x W^T + b, with W of shape (out, in).

    With g = dL/dy, one row for each vector of the batch:
        dL/dW = g^T x
        dL/db = sum_n g[n]
        dL/dx = g W
    """

    features: int = attribute(Int(1), "number of outputs")
    bias: bool = attribute(Bool(), "add a number to each output", True)

    name = "linear"
    onnx_ends = ("Gemm", "MatMul", "Add")
    storage = Storage.ROW_MAJOR
    parameter_names = ("weight", "bias")
    torch_order = ("", "features", "bias")
    aten = (
        AtenForm(
            ("linear",),
            ("input",),
            {"weight": "weight", "bias": "bias"},
            {
                "features": lambda call: call.tensor("weight").shape[0],
                "bias": lambda call: call.has("bias"),
            },
        ),
    )
    examples = (
        Example("linear(4)", ((6,),)),
        Example("linear(3, bias = false)", ((5,),)),
        Example("linear(1)", ((1,),)),
        Example("linear(4)", ((3, 5),)),
        Example("linear(4)", ((2, 3, 5),)),
        Example("linear(2, bias = false)", ((2, 3, 2, 4),)),
    )
    bad_examples = (
        BadExample("linear(2.5)", ((4,),), codes.CALL_VALUE),
        BadExample("linear(4, biass = false)", ((4,),), codes.CALL_UNKNOWN_ATTRIBUTE),
        BadExample("linear(4, 3)", ((4,),), codes.CALL_INFERRED_SIZE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(..., features)."""
        return (*inputs[0][:-1], self.features)

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """A warning where the last axis is that of a picture whose channels come first."""
        (x,) = graph.shapes_into(node)
        if len(x) == 1 or not _has_channels_first(node.inputs[0], graph):
            return
        kind, axis = KINDS.get(len(x) - 1, "value"), AXES.get(len(x) - 1, ("last axis",))[-1]
        yield Finding(
            NEEDS_FLATTEN,
            f"`linear` works along the last axis, the {axis} of the {kind} {show_shape(x)}",
            notes=(
                f"a linear layer at each place is `conv({self.features}, 1)`, with the channels first",
            ),
            fixes=(Fix("->", "flatten", f"flatten the {kind} to {math.prod(x)} numbers first"),),
        )

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight` (out, in) and `bias` (out,), with PyTorch's initial distributions."""
        ins = inputs[0][-1]
        bound = 1 / math.sqrt(ins)
        gain = math.sqrt(1 / 3)
        weight = ParameterSpec("weight", (self.features, ins), KaimingUniform(gain), "weight")
        bias = ParameterSpec("bias", (self.features,), Uniform(-bound, bound), "bias")
        return (weight, bias) if self.bias else (weight,)

    def macs(self, *inputs: Shape) -> int:
        """The input features times the output features, for every row."""
        return math.prod(inputs[0]) * self.features

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None, as each number depends on the whole input; one row if the input is a matrix."""
        return None if len(inputs[0]) == 1 else super().sees(*inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along the last axis."""
        return over[0] == len(inputs[0])

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """One product per row."""
        y: Array = x[0] @ run.parameters["weight"].T
        return y + run.parameters["bias"] if self.bias else y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The three products."""
        weight = run.parameters["weight"]
        rows = dy.reshape(-1, self.features)
        run.gradients["weight"] = rows.T @ x[0].reshape(-1, weight.shape[1])
        if self.bias:
            run.gradients["bias"] = rows.sum(axis=0)
        return (dy @ weight,)

    def lower(self, to: Lowering) -> None:
        """One matrix product."""
        weight, bias = to.parameter("weight"), to.parameter("bias")
        to.call(
            "linear.forward", to.x[0], weight, bias, to.out, to.scratch, writes=[to.out],
            scratch=to.needs("linear.scratch_size", (to.out.shape,)),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The gradients of weight and bias, and that of the input if it is wanted."""
        dweight = to.parameter_gradient("weight")
        to.call("linear.backward_weight", to.x[0], to.dy, dweight, writes=[dweight])
        if self.bias:
            dbias = to.parameter_gradient("bias")
            to.call("linear.backward_bias", to.dy, dbias, writes=[dbias])
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("linear.backward_input", to.dy, to.parameter("weight"), dx, writes=[dx])
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Linear`."""
        return Torch(
            "nn.Linear",
            (inputs[0][-1], self.features),
            {"bias": self.bias},
            defaults={"bias": True},
        )

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Gemm`, or a product with a matrix; with or without a sum behind it."""
        if read.root.operator == "Gemm":
            yield cls._from_gemm(read)
            return
        for text in _PRODUCTS:
            found = read.pattern(text)
            array = None if found is None else read.array(found.values["c_w"])
            if found is None or array is None or array.ndim != 2:
                continue
            matrix = array if "Transpose" in text else array.T
            held = {"weight": Held(found.values["c_w"], matrix)}
            bias = found.values.get("c_b")
            shift = read.array(bias)
            if bias is not None:
                if shift is None or shift.size != len(matrix) or shift.shape[-1:] != (len(matrix),):
                    continue
                held["bias"] = Held(bias, shift.reshape(-1))
            op = cls(len(matrix), bias=bias is not None)
            yield read.layer(op, found.values["x"], found=found, parameters=held)

    @classmethod
    def _from_gemm(cls, read: OnnxReader) -> OnnxLayer | None:
        given, x = read.attributes, read.shape()
        weight, shift = read.array(read.given(1)), read.array(read.given(2))
        if weight is None or given.whole("transA") or not x or weight.ndim != 2:
            return None
        matrix = weight if given.whole("transB") else weight.T
        if given.real("alpha") != 1:
            matrix = matrix * np.asarray(given.real("alpha"), matrix.dtype)
        held = {"weight": read.held(read.given(1), matrix)}
        if read.given(2) is not None:
            if shift is None or shift.size not in (1, len(matrix)):
                return None
            shift = np.broadcast_to(shift.reshape(-1), (len(matrix),))
            factor = np.asarray(given.real("beta"), shift.dtype)
            held["bias"] = read.held(
                read.given(2), shift if given.real("beta") == 1 else shift * factor
            )
        return read.layer(cls(len(matrix), bias="bias" in held), read.given(0), parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Gemm` of vectors, else a product with the transposed weight."""
        weight, bias = to.parameters["weight"], to.parameter("bias")
        if len(to.shape) == 1:
            return to("Gemm", to.x[0], weight, bias, transB=1)
        product = to("MatMul", to.x[0], to("Transpose", weight, perm=(1, 0)))
        return product if bias is None else to("Add", product, bias)


def _has_channels_first(value: str, graph: Graph) -> bool:
    """Whether a value is a picture, signal or volume with its channels in front: one that a layer
    for such values made, or a picture that the net is given.
    """
    while value in graph.by_name:
        node = graph.by_name[value]
        if node.op.storage is not Storage.KEPT:
            return node.op.storage is Storage.CHANNELS_LAST
        value = node.inputs[0]
    return len(graph.inputs.get(value, ())) == 3
