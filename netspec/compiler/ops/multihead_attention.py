"""Multi-head attention."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileOperator
from netspec.compiler.ops.families.attending import (
    ATTENTION_MISMATCH,
    Scores,
    attend,
    attend_backward,
    onnx_attention,
)
from netspec.records import record

INPUTS = ("query", "key", "value")
_MASK = 3


@register
class MultiheadAttention(Op):
    """Attention by several heads (Vaswani et al. 2017): `multihead_attention(query, key, value, heads)`.

    Query (T, E), key and value (S, E) are projected by the thirds of `in_proj_weight` (3 E, E) and
    `in_proj_bias`. Each head gets E / heads of the features, for `attention`; the features of all
    heads, side by side, are projected by `out_proj.weight` (E, E) and `out_proj.bias`:
        y = attention(q W_q^T + b_q, k W_k^T + b_k, v W_v^T + b_v) W_o^T + b_o
    A fourth value (S) is a mask of the keys, such as booleans: no query sees a key where it is not above
    0. In training each p in `attention` is zero with probability `dropout`, else divided by 1 - dropout.

    With g = dL/dy, and da the gradient that `attention` gives its query for g W_o:
        dL/dq = da W_q, dL/dW_q = da^T q, and so for key and value; dL/dW_o = g^T a
    """

    heads: int = attribute(Int(1), "how many heads share the features")
    dropout: float = attribute(Real(0, 1), "probability to drop each weight in training", 0.0)

    name = "multihead_attention"
    rate = "dropout"
    onnx_ends = ("Add",)
    storage = Storage.ROW_MAJOR
    arity = 3
    optional = 1
    moves_axes = True
    torch_order = ("", "heads", "dropout")
    torch_modules = (
        ModuleForm(
            ("torch.nn.modules.activation.MultiheadAttention",),
            3,
            {"heads": "num_heads", "dropout": "dropout"},
            hides=True,
            unless=lambda call: call.require(
                bool(call["batch_first"])
                and call.has("in_proj_bias")
                and not call.has("bias_k")
                and not call["add_zero_attn"],
                "`multihead_attention` has the batch first, and biases",
            ),
        ),
    )
    examples = (
        Example("multihead_attention(2)", ((4, 6), (4, 6), (4, 6))),
        Example("multihead_attention(3)", ((2, 6), (5, 6), (5, 6))),
        Example("multihead_attention(1)", ((3, 2), (1, 2), (1, 2))),
        Example("multihead_attention(2)", ((3, 4), (5, 4), (5, 4), (5,))),
        Example("multihead_attention(2, dropout = 0.4)", ((3, 4), (5, 4), (5, 4))),
        Example("multihead_attention(2, 0.3)", ((3, 4), (5, 4), (5, 4), (5,))),
        Example("multihead_attention(1, dropout = 1)", ((3, 2), (4, 2), (4, 2))),
    )
    bad_examples = (
        BadExample("multihead_attention(2)", ((4,), (4,), (4,)), codes.SHAPE_RANK),
        BadExample("multihead_attention(2)", ((2, 4, 6),) * 3, codes.SHAPE_RANK),
        BadExample("multihead_attention(4)", ((4, 6), (4, 6), (4, 6)), ATTENTION_MISMATCH),
        BadExample("multihead_attention(2)", ((4, 6), (4, 8), (4, 6)), ATTENTION_MISMATCH),
        BadExample("multihead_attention(2)", ((4, 6), (5, 6), (4, 6)), ATTENTION_MISMATCH),
        BadExample("multihead_attention(2)", ((4, 6),), codes.CALL_INPUTS),
        BadExample("multihead_attention(2)", ((3, 4),) * 4, ATTENTION_MISMATCH),
        BadExample("multihead_attention(2)", ((4, 6), (4, 6), (4, 6), (5,)), ATTENTION_MISMATCH),
        BadExample("multihead_attention(2, dropout = 2)", ((4, 6),) * 3, codes.CALL_VALUE),
        BadExample("multihead_attention(0)", ((4, 6), (4, 6), (4, 6)), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(T, E), as the query."""
        q, k, v, *mask = inputs
        shown = ", ".join(show_shape(shape) for shape in inputs)
        if {len(shape) for shape in (q, k, v)} != {2}:
            raise ShapeError(
                codes.SHAPE_RANK,
                f"`multihead_attention` needs three values [N, length, features], not {shown}",
            )
        for wrong, message, blame in (
            (q[1] - k[1], f"equal features of query and key, not {q[1]} and {k[1]}", None),
            (q[1] - v[1], f"equal features of query and value, not {q[1]} and {v[1]}", None),
            (k[0] - v[0], f"equal lengths of key and value, not {k[0]} and {v[0]}", None),
            (q[1] % self.heads, f"features that {self.heads} heads can share, not {q[1]}", "heads"),
        ):
            if wrong:
                raise ShapeError(
                    ATTENTION_MISMATCH,
                    f"`multihead_attention` needs {message}",
                    blame=blame,
                    notes=(f"query, key and value are {shown}",),
                )
        if mask and mask[0] != k[:1]:
            raise ShapeError(
                ATTENTION_MISMATCH,
                f"the mask of `multihead_attention` is {show_shape(mask[0])}, and says of each key,"
                f" {show_shape(k[:1])}, whether it is seen",
            )
        return q

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Real numbers; the mask may also be booleans."""
        return ("real", "bool") if index == _MASK else ("real",)

    def given(self, types: tuple[NumberType, ...]) -> Op:
        """The same, without a conversion of a mask that holds booleans already."""
        return _OfBooleans(self.heads, self.dropout) if types[_MASK:] == ("bool",) else self

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """The weights and biases, with PyTorch's initial distributions."""
        wide = inputs[0][1]
        return (
            ParameterSpec("in_proj_weight", (3 * wide, wide), XavierUniform(), "weight"),
            ParameterSpec("in_proj_bias", (3 * wide,), Zeros(), "bias"),
            ParameterSpec(
                "out_proj.weight", (wide, wide), KaimingUniform(math.sqrt(1 / 3)), "weight"
            ),
            ParameterSpec("out_proj.bias", (wide,), Zeros(), "bias"),
        )

    def macs(self, *inputs: Shape) -> int:
        """Those of the four projections, and T S 2 E: the two matrix products."""
        (t, wide), (s, _), *_ = inputs
        return (2 * t + 2 * s) * wide**2 + 2 * t * s * wide

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: each number depends on the whole input."""
        return None

    def draws(self) -> bool:
        """A mask."""
        return self.dropout > 0

    # -- reference

    def _projected(self, run: Evaluation, *x: Array) -> list[Array]:
        """Query, key and value by heads: (N, heads, length, features of a head)."""
        weights = np.split(run.parameters["in_proj_weight"], 3)
        biases = np.split(run.parameters["in_proj_bias"], 3)
        return [
            self._by_heads(a @ w.T + b) for a, w, b in zip(x[:_MASK], weights, biases, strict=True)
        ]

    def _scores(self, run: Evaluation, *x: Array) -> Scores:
        kept: Array | float = 1.0
        if run.training and self.dropout:
            kept = run.masks[run.node.name].reshape(len(x[0]), self.heads, *_lengths(*x))
        return Scores(mask=x[_MASK][:, None, None] if len(x) > _MASK else None, kept=kept)

    def pattern(self, *x: Array) -> Array | None:
        """What the mask shows."""
        return x[_MASK] > 0 if len(x) > _MASK else None

    def _by_heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    @staticmethod
    def _side_by_side(x: Array) -> Array:
        n, _, length, _ = x.shape
        return x.swapaxes(1, 2).reshape(n, length, -1)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula."""
        found = self._side_by_side(attend(self._scores(run, *x), *self._projected(run, *x)))
        y: Array = found @ run.parameters["out_proj.weight"].T + run.parameters["out_proj.bias"]
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The gradients of each step, in reverse."""
        q, k, v = self._projected(run, *x)
        scores = self._scores(run, *x)
        wide = dy.shape[-1]
        found = self._side_by_side(attend(scores, q, k, v)).reshape(-1, wide)
        run.gradients["out_proj.weight"] = dy.reshape(-1, wide).T @ found
        run.gradients["out_proj.bias"] = dy.sum(axis=(0, 1))
        inner = self._by_heads(dy @ run.parameters["out_proj.weight"])
        of_heads = attend_backward(scores, inner, q, k, v)[:3]
        slopes = [self._side_by_side(slope) for slope in of_heads]
        run.gradients["in_proj_weight"] = np.concatenate(
            [
                g.reshape(-1, wide).T @ a.reshape(-1, wide)
                for g, a in zip(slopes, x[:_MASK], strict=True)
            ]
        )
        run.gradients["in_proj_bias"] = np.concatenate([g.sum(axis=(0, 1)) for g in slopes])
        weights = np.split(run.parameters["in_proj_weight"], 3)
        mask = tuple(np.zeros_like(each) for each in x[_MASK:])
        return (*(g @ w for g, w in zip(slopes, weights, strict=True)), *mask)

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """The projections, a transposing copy of each, attention, and the projection behind it."""
        weight, bias = to.parameter("in_proj_weight"), to.parameter("in_proj_bias")
        for third, name in enumerate(INPUTS):
            rows = to.buffer(f"{name}_rows", to.x_shapes[third])
            to.call(
                "attention.project", to.x[third], weight, bias, rows, to.scratch,
                writes=[rows], scratch=to.needs("linear.scratch_size", (rows.shape,)), third=third,
            )  # fmt: skip
            to.saved[name] = self._heads_of(to, rows, name)
        q, k, v = (to.saved[name] for name in INPUTS)
        heads = to.buffer("heads", q.shape)
        mask = None
        if len(to.x) > _MASK:
            mask = to.saved["mask"] = to.buffer("row", (1, *to.x_shapes[_MASK]))
            to.view(mask, to.x[_MASK])
        kept = self._draw(to) if to.training and self.dropout else None
        to.call(
            "attention.forward", q, k, v, None, mask, kept, heads, to.scratch,
            writes=[heads], scratch=self._scratch(to), causal=False,
        )  # fmt: skip
        to.saved["rows"] = self._rows_of(to, heads, "rows")
        to.call(
            "linear.forward", to.saved["rows"], to.parameter("out_proj.weight"),
            to.parameter("out_proj.bias"), to.out, to.scratch,
            writes=[to.out], scratch=to.needs("linear.scratch_size", (to.out.shape,)),
        )  # fmt: skip

    def _draw(self, to: Lowering) -> Buffer:
        """Draw the mask of dropout, (T, S) for each head, one behind the other as the value has two
        axes.
        """
        length, of_keys = to.x_shapes[0][0], to.x_shapes[1][0]
        drawn = to.buffer("mask", (self.heads * length, of_keys))
        to.call("dropout.sample_mask", to.rng, drawn, writes=[drawn], p=self.dropout)
        kept = to.saved["kept"] = to.buffer("kept", (self.heads, length, of_keys))
        to.view(kept, drawn)
        return kept

    def lower_backward(self, to: Lowering) -> None:
        """The gradients of each step, in reverse."""
        rows = to.saved["rows"]
        dweight = to.parameter_gradient("out_proj.weight")
        to.call("linear.backward_weight", rows, to.dy, dweight, writes=[dweight])
        dbias = to.parameter_gradient("out_proj.bias")
        to.call("linear.backward_bias", to.dy, dbias, writes=[dbias])
        drows = to.buffer("drows", rows.shape)
        weight = to.parameter("out_proj.weight")
        to.call("linear.backward_input", to.dy, weight, drows, writes=[drows])
        dheads = self._heads_of(to, drows, "dheads")
        heads = [to.saved[name] for name in INPUTS]
        slopes = [to.buffer(f"d{name}", to.saved[name].shape) for name in INPUTS]
        to.call(
            "attention.backward", *heads, None, to.saved.get("mask"), to.saved.get("kept"), dheads,
            *slopes, None, to.scratch,
            writes=slopes, scratch=self._scratch(to), causal=False,
        )  # fmt: skip
        drows_of = [
            self._rows_of(to, slope, f"d{name}_rows")
            for slope, name in zip(slopes, INPUTS, strict=True)
        ]
        targets = [to.parameter_gradient("in_proj_weight"), to.parameter_gradient("in_proj_bias")]
        to.call(
            "attention.project_backward_parameters",
            *to.x[:_MASK],
            *drows_of,
            *targets,
            writes=targets,
        )
        if any(to.wanted[_MASK:]):
            nothing = to.gradient_buffer(_MASK)
            to.call("reductions.nothing", to.dy, nothing, writes=[nothing], axes=(), order=())
            to.gradient(_MASK, nothing)
        for third, slope in enumerate(drows_of):
            if to.wanted[third]:
                dx = to.gradient_buffer(third)
                to.call(
                    "attention.project_backward_input", slope, to.parameter("in_proj_weight"), dx,
                    writes=[dx], third=third,
                )  # fmt: skip
                to.gradient(third, dx)

    def _heads_of(self, to: Lowering, rows: Buffer, name: str) -> Buffer:
        """Append a copy of (T, E) as (heads, T, E / heads)."""
        length, wide = rows.shape
        split = (length, self.heads, wide // self.heads)
        heads = to.buffer(name, (self.heads, length, wide // self.heads))
        to.call("copies.transpose", rows, heads, writes=[heads], split=split, axes=(1, 0, 2))
        return heads

    @staticmethod
    def _rows_of(to: Lowering, heads: Buffer, name: str) -> Buffer:
        """Append a copy of (heads, T, E / heads) as (T, E)."""
        count, length, wide = heads.shape
        rows = to.buffer(name, (length, count * wide))
        to.call("copies.transpose", heads, rows, writes=[rows], split=heads.shape, axes=(1, 0, 2))
        return rows

    def _scratch(self, to: Lowering) -> Scratch:
        q, k = to.saved["query"].shape, to.saved["key"].shape
        return to.needs("attention.scratch_size", (q, k))

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.MultiheadAttention`, whose weights of attention are not asked for."""
        options: dict[str, object] = {"need_weights": False}
        if len(inputs) > _MASK:
            options = {"key_padding_mask": self._hidden(), **options}
        module = Torch(
            "nn.MultiheadAttention",
            (inputs[0][1], self.heads),
            {"dropout": self.dropout, "batch_first": True},
            inputs=(X(0), X(1), X(2)),
            call_options=options,
            defaults={"dropout": 0.0},
        )
        return Torch(ITEM, (module, 0))

    def _hidden(self) -> object:
        """Where PyTorch hides a key."""
        return Torch("torch.le", (X(_MASK), 0))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Projections, attention of each head, and the last projection."""
        part = "Add(MatMul({0}, Transpose({1}, perm=(1, 0))), {2})"
        last = read.pattern(part.format("x", "c_w", "c_b"))
        heads = None if last is None else read.behind(last.values["x"], "Reshape", "Transpose")
        inner = None if heads is None else heads.inputs[0]
        product = read.behind(inner, "MatMul")
        if product is None:
            return
        value = product.inputs[1]
        apart = (
            None
            if value is None or value.maker is None
            else read.behind(value, "Transpose", "Reshape")
        )
        sizes = None if apart is None else read.sizes(apart.given(1))
        if sizes is None or len(sizes) != 4 or not isinstance(sizes[2], int):
            return
        sources = [cls._source(read, v) for v in cls._operands(read, product)]
        mask = cls._key_mask(read, product.inputs[0])
        inputs = [*sources, *([] if mask is None else [mask])]
        if len(sources) == 3 and all(v is not None and v.shape is not None for v in inputs):
            yield read.form(cls(sizes[2]), *(v for v in inputs if v is not None))

    @staticmethod
    def _operands(read: OnnxReader, product: FileOperator) -> list[FileValue | None]:
        """Return the operands of attention: query, key and value, each with its heads apart."""
        softmax = read.behind(product.inputs[0], "Where", "Softmax")
        scores = None if softmax is None else read.behind(softmax.inputs[0], "Where", "MatMul")
        query = None if scores is None else read.behind(scores.inputs[0], "Div")
        key = None if scores is None else read.behind(scores.inputs[1], "Transpose")
        if query is None or key is None:
            return []
        return [query.inputs[0], key.inputs[0], product.inputs[1]]

    @staticmethod
    def _source(read: OnnxReader, value: FileValue | None) -> FileValue | None:
        """Return what was projected."""
        added = read.behind(value, "Transpose", "Reshape", "Add")
        product = None if added is None else read.behind(added.inputs[0], "MatMul")
        return None if product is None else product.inputs[0]

    @staticmethod
    def _key_mask(read: OnnxReader, shares: FileValue | None) -> FileValue | None:
        """Return the mask of the keys."""
        masked = read.behind(shares, "Where")
        seen = None if masked is None else read.behind(masked.inputs[0], "Greater")
        apart = None if seen is None else read.behind(seen.inputs[0], "Unsqueeze")
        return None if apart is None else apart.inputs[0]

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """Projections, attention of each head, and the last projection."""
        wide = to.shape[-1]
        weights = to.split(to.parameters["in_proj_weight"], 3, axis=0)
        biases = to.split(to.parameters["in_proj_bias"], 3, axis=0)
        q, k, v = (
            self._onnx_heads(to, self._onnx_projected(to, *each), shape)
            for *each, shape in zip(to.x[:3], weights, biases, to.x_shapes[:3], strict=True)
        )
        mask = to("Unsqueeze", to.x[_MASK], to.ints(1, 2)) if len(to.x) > _MASK else None
        found = onnx_attention(to, q, k, v[0], mask=mask)
        joined = to.reshaped(to.transposed(found, (2, 1, 3)), (to.shape[0], wide))
        last = (to.parameters[f"out_proj.{name}"] for name in ("weight", "bias"))
        return self._onnx_projected(to, joined, *last)

    @staticmethod
    def _onnx_projected(
        to: OnnxForm, x: OnnxValue, weight: OnnxValue, bias: OnnxValue
    ) -> OnnxValue:
        return to("Add", to("MatMul", x, to("Transpose", weight, perm=(1, 0))), bias)

    def _onnx_heads(self, to: OnnxForm, x: OnnxValue, shape: Shape) -> tuple[OnnxValue, Shape]:
        """Return (heads, T, E / heads) of (T, E), with its shape."""
        length, wide = shape
        apart = to.reshaped(x, (length, self.heads, wide // self.heads))
        return to.transposed(apart, (2, 1, 3)), (self.heads, length, wide // self.heads)


def _lengths(*x: Array) -> tuple[int, int]:
    return x[0].shape[1], x[1].shape[1]


@record
class _OfBooleans(MultiheadAttention):
    """Multi-head attention with a mask that is declared to hold booleans."""

    def _hidden(self) -> object:
        return Torch("torch.logical_not", (X(_MASK),))
