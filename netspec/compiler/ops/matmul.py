"""Matrix product of two values."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.weighted_sum import odd_weights

MATMUL_MISMATCH = Code.error("shape/matmul-mismatch", "matrices that cannot be multiplied")


@register
class Matmul(Op):
    """Matrix product of two values, image by image: y = a b, (M, K) times (K, P) is (M, P).

    Axes in front of the last two are equal in both, and each place on them is a product of its own.
    y_ik = sum_j a_ij b_jk, so with g = dL/dy: dL/da = g b^T, dL/db = a^T g.
    """

    name = "matmul"
    onnx_ends = ("MatMul",)
    storage = Storage.ANY
    arity = 2
    moves_axes = True
    torch_function = "torch.matmul"
    onnx_operator = "MatMul"
    aten = (AtenForm(("matmul",), ("self", "other")), AtenForm(("bmm", "mm"), ("self", "mat2")))
    examples = (
        Example("matmul", ((3, 4), (4, 5))),
        Example("matmul", ((1, 4), (4, 1))),
        Example("matmul", ((2, 3, 4), (2, 4, 5))),
        Example("matmul", ((2, 2, 3, 1), (2, 2, 1, 2))),
    )
    bad_examples = (
        BadExample("matmul", ((3, 4), (5, 4)), MATMUL_MISMATCH),
        BadExample("matmul", ((2, 3, 4), (3, 4, 5)), MATMUL_MISMATCH),
        BadExample("matmul", ((3, 4), (4,)), codes.SHAPE_RANK),
        BadExample("matmul", ((3, 4),), codes.CALL_INPUTS),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(..., M, P)."""
        a, b = inputs
        shown = f"{show_shape(a)} and {show_shape(b)}"
        if len(a) < 2 or len(a) != len(b):
            raise ShapeError(
                codes.SHAPE_RANK,
                f"`matmul` needs two values [N, ..., rows, columns] of equal rank, not {shown}",
            )
        if a[-1] - b[-2]:
            turned = "; `permute` transposes a value" if a[-1] == b[-1] else ""
            raise ShapeError(
                MATMUL_MISMATCH,
                f"`matmul` needs as many columns on the left as rows on the right, not {shown}",
                notes=(f"{a[-1]} columns, {b[-2]} rows{turned}",),
            )
        if any(i - j for i, j in zip(a[:-2], b[:-2], strict=True)):
            raise ShapeError(
                MATMUL_MISMATCH,
                f"`matmul` needs equal axes before the last two, not {shown}",
            )
        return (*a[:-1], b[-1])

    def macs(self, *inputs: Shape) -> int:
        """M K P, for each index of the axes before the last two."""
        return math.prod(inputs[0]) * inputs[1][-1]

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: a number depends on a row of one input and a column of the other, which counts as
        everything.
        """
        return None

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """A warning about weights of a softmax along another axis than the one that is summed over."""
        rank = len(node.shape)
        yield from odd_weights(node, graph, 0, rank)
        yield from odd_weights(node, graph, 1, rank - 1)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`MatMul`."""
        yield read.layer(cls(), *read.root.inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along the axis that is summed over."""
        return over[0] == len(inputs[0]) or over[1] == len(inputs[1]) - 1

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The product."""
        y: Array = x[0] @ x[1]
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The two products."""
        return dy @ x[1].swapaxes(-1, -2), x[0].swapaxes(-1, -2) @ dy

    def lower(self, to: Lowering) -> None:
        """One product per image.

        Values that are stored as pictures are put in row-major order first.
        """
        for i, name in enumerate(("left", "right")):
            to.saved[name] = to_planes(to, to.x[i], to.x_layouts[i], to.x_shapes[i], name)
        planes = not to.layout.is_row_major
        out = to.buffer("product", to.node.shape) if planes else to.out
        to.call("matmul.forward", to.saved["left"], to.saved["right"], out, writes=[out])
        if planes:
            from_planes(to, out, to.out, to.layout, to.node.shape)

    def lower_backward(self, to: Lowering) -> None:
        """A product for each gradient that is wanted."""
        dy = to_planes(to, to.dy, to.layout, to.node.shape, "dproduct")
        for i, shape in enumerate(to.x_shapes):
            if not to.wanted[i]:
                continue
            dx = to.gradient_buffer(i)
            planes = dx if to.x_layouts[i].is_row_major else to.buffer(f"dplanes{i}", shape)
            if i == 0:
                to.call("matmul.backward_left", dy, to.saved["right"], planes, writes=[planes])
            else:
                to.call("matmul.backward_right", to.saved["left"], dy, planes, writes=[planes])
            if planes != dx:
                from_planes(to, planes, dx, to.x_layouts[i], shape)
            to.gradient(i, dx)
