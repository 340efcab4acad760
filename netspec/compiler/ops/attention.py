"""Scaled dot-product attention."""

import math

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.attending import ATTENTION_MISMATCH, attend, attend_backward


@register
class Attention(Op):
    """Scaled dot-product attention (Vaswani et al. 2017): `(query, key, value) -> attention`.

    y = p v, p = softmax(q k^T / sqrt(D)) along the keys, for q (T, D), k (S, D), v (S, E), or with the
    heads in front of each. Causal: query t sees the keys 0 to t alone.

    With g = dL/dy, dp = g v^T and ds = p (dp - sum over the keys of dp p):
        dL/dq = ds k / sqrt(D), dL/dk = ds^T q / sqrt(D), dL/dv = p^T g
    """

    causal: bool = attribute(Bool(), "hide later keys from each query", False)

    name = "attention"
    storage = Storage.ANY
    arity = 3
    moves_axes = True
    examples = (
        Example("attention", ((4, 3), (5, 3), (5, 2))),
        Example("attention", ((2, 3, 4), (2, 5, 4), (2, 5, 3))),
        Example("attention(causal = true)", ((4, 3), (4, 3), (4, 3))),
        Example("attention(causal = true)", ((2, 5, 3), (2, 3, 3), (2, 3, 1))),
        Example("attention(causal = true)", ((1, 2, 2), (1, 4, 2), (1, 4, 3))),
    )
    bad_examples = (
        BadExample("attention", ((4,), (4,), (4,)), codes.SHAPE_RANK),
        BadExample("attention", ((4, 3), (5, 2), (5, 2)), ATTENTION_MISMATCH),
        BadExample("attention", ((4, 3), (5, 3), (4, 3)), ATTENTION_MISMATCH),
        BadExample("attention", ((2, 4, 3), (1, 4, 3), (2, 4, 3)), ATTENTION_MISMATCH),
        BadExample("attention", ((4, 3), (4, 3)), codes.CALL_INPUTS),
        BadExample("attention(causal = 1)", ((4, 3), (4, 3), (4, 3)), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(T, E), behind the axis of heads if there is one."""
        q, k, v = inputs
        shown = ", ".join(show_shape(shape) for shape in inputs)
        if len(q) not in (2, 3) or len({len(q), len(k), len(v)}) > 1:
            raise ShapeError(
                codes.SHAPE_RANK,
                "`attention` needs three values [N, length, features] or [N, heads, length,"
                f" features], not {shown}",
            )
        for wrong, what, one, other in (
            (q[-1] - k[-1], "features of query and key", q[-1], k[-1]),
            (k[-2] - v[-2], "lengths of key and value", k[-2], v[-2]),
            (len(q) == 3 and (q[0] - k[0]), "heads of query and key", q[0], k[0]),
            (len(q) == 3 and (q[0] - v[0]), "heads of query and value", q[0], v[0]),
        ):
            if wrong:
                raise ShapeError(
                    ATTENTION_MISMATCH,
                    f"`attention` needs equal {what}, not {one} and {other}",
                    notes=(f"query, key and value are {shown}",),
                )
        return (*q[:-1], v[-1])

    def macs(self, *inputs: Shape) -> int:
        """T S (D + E) for each head: the two matrix products."""
        q, k, v = inputs
        return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: each number depends on the whole input."""
        return None

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula."""
        return attend(*x, causal=self.causal)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formulas."""
        return attend_backward(dy, *x, causal=self.causal)

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """One kernel. Values that are stored as pictures are put in row-major order first."""
        planes = []
        for i, name in enumerate(("query", "key", "value")):
            to.saved[name] = to_planes(to, to.x[i], to.x_layouts[i], to.x_shapes[i], name)
            planes.append(to.saved[name])
        heads = not to.layout.is_row_major
        out = to.buffer("planes", to.node.shape) if heads else to.out
        to.call(
            "attention.forward", *planes, out, to.scratch,
            writes=[out], scratch=self._scratch(to), causal=self.causal,
        )  # fmt: skip
        if heads:
            from_planes(to, out, to.out, to.layout, to.node.shape)

    def lower_backward(self, to: Lowering) -> None:
        """One kernel, which computes p again."""
        dy = to_planes(to, to.dy, to.layout, to.node.shape, "dplanes")
        planes = []
        for i, shape in enumerate(to.x_shapes):
            dx = to.gradient_buffer(i)
            ordered = dx if to.x_layouts[i].is_row_major else to.buffer(f"dplanes{i}", shape)
            planes.append(ordered if to.wanted[i] else None)
        to.call(
            "attention.backward",
            to.saved["query"], to.saved["key"], to.saved["value"], dy, *planes, to.scratch,
            writes=planes, scratch=self._scratch(to), causal=self.causal,
        )  # fmt: skip
        for i, ordered_gradient in enumerate(planes):
            if ordered_gradient is None:
                continue
            dx = to.gradient_buffer(i)
            if ordered_gradient != dx:
                from_planes(to, ordered_gradient, dx, to.x_layouts[i], to.x_shapes[i])
            to.gradient(i, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("attention.scratch_size", (to.x_shapes[0], to.x_shapes[1]))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.scaled_dot_product_attention`."""
        return Torch(
            "F.scaled_dot_product_attention", (X(0), X(1), X(2)), {"is_causal": self.causal},
            defaults={"is_causal": False},
        )  # fmt: skip
