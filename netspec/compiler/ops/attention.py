"""Scaled dot-product attention."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.attending import (
    ATTENTION_MISMATCH,
    Scores,
    attend,
    attend_backward,
    onnx_attention,
)
from netspec.records import record

_NAMES = ("query", "key", "value", "bias")
_BIAS = 3

# How others write the scores, of a key whose last axes have changed places.
_ONNX_BOTH_SCALED = "MatMul(Mul(q, c_s), Mul(t, c_s))"
_ONNX_SCORES = (
    _ONNX_BOTH_SCALED,
    "Mul(MatMul(q, t), c_s)",
    "Div(MatMul(q, t), c_s)",
    "MatMul(Mul(q, c_s), t)",
    "MatMul(Div(q, c_s), t)",
)
_ONNX_MASKS = ("{}", "Add({}, m)", "Where(m, {}, c_low)", "Where(m, c_low, {})")
# A score below this gets no share in single precision.
_MOST_HIDDEN = -1e4


def _require_usual(call: AtenCall, *, with_mask: bool) -> None:
    """Require PyTorch's usual scale of the scores, and a mask or none.

    Raises:
        NoNetspecFormError: for another call.
    """
    usual = 1 / math.sqrt(call.tensor("query").shape[-1])
    scale = call["scale"]
    is_usual = scale is None or (isinstance(scale, (int, float)) and math.isclose(scale, usual))
    call.require(is_usual, "it has a scale of its own: multiply the query before")
    call.require(call.has("attn_mask") == with_mask, "it has a mask")
    if with_mask and call.tensor("attn_mask").is_lower:
        is_mask = call.tensor("attn_mask").is_bool
        call.require(is_mask, "its lower triangle holds numbers: make it one of booleans")


@register
class Attention(Op):
    """Scaled dot-product attention (Vaswani et al. 2017): `(query, key, value) -> attention`.

    y = p v, p = softmax(q k^T / sqrt(D)) along the keys, for q (T, D), k (S, D), v (S, E), or with the
    heads in front of each. Causal: query t sees the keys 0 to t alone. `(query, key, value, bias)` adds
    bias (T, S) to the scores, one for each head or one for all. A fourth value of booleans is a mask
    instead, false where a key is hidden from a query: (T, S), one for each head or one for all, or (S)
    for all queries, such as the padding of a sequence. A query that sees no key gets zeros. Key and
    value may have fewer heads, each for a group of the query's (Ainslie et al. 2023). With dropout,
    in training y = (m p) v, where m is 0 with that probability, else 1 / (1 - dropout).

    With g = dL/dy, dp = m g v^T and ds = p (dp - sum over the keys of dp p):
        dL/dq = ds k / sqrt(D), dL/dk = ds^T q / sqrt(D), dL/dv = (m p)^T g, dL/dbias = ds
    """

    causal: bool = attribute(Bool(), "hide later keys from each query", False)
    dropout: float = attribute(Real(0, 1), "probability to drop what a query sees of a key", 0.0)
    masked: bool = attribute(
        Bool(), "the fourth value is a mask, true where it is above 0; so are booleans", False
    )

    name = "attention"
    rate = "dropout"
    onnx_ends = ("MatMul",)
    storage = Storage.ANY
    arity = 3
    optional = 1
    moves_axes = True
    aten = (
        AtenForm(
            ("scaled_dot_product_attention",),
            ("query", "key", "value"),
            attributes={"causal": "is_causal", "dropout": "dropout_p"},
            unless=lambda call: _require_usual(call, with_mask=False),
        ),
        AtenForm(
            ("scaled_dot_product_attention",),
            ("query", "key", "value", "attn_mask"),
            attributes={
                "causal": lambda call: call.tensor("attn_mask").is_lower,
                "dropout": "dropout_p",
                "masked": lambda call: call.tensor("attn_mask").is_condition,
            },
            unless=lambda call: _require_usual(call, with_mask=True),
            reads_conditions=True,
            spread="attn_mask",
        ),
    )
    examples = (
        Example("attention", ((4, 3), (5, 3), (5, 2))),
        Example("attention", ((2, 3, 4), (2, 5, 4), (2, 5, 3))),
        Example("attention(causal = true)", ((4, 3), (4, 3), (4, 3))),
        Example("attention(causal = true)", ((2, 5, 3), (2, 3, 3), (2, 3, 1))),
        Example("attention(causal = true)", ((1, 2, 2), (1, 4, 2), (1, 4, 3))),
        Example("attention", ((4, 3), (5, 3), (5, 2), (4, 5))),
        Example("attention", ((2, 3, 4), (2, 5, 4), (2, 5, 3), (2, 3, 5))),
        Example("attention", ((4, 3, 2), (2, 5, 2), (2, 5, 3), (1, 3, 5))),
        Example("attention", ((4, 3, 2), (1, 5, 2), (1, 5, 3), (3, 5))),
        Example("attention(causal = true)", ((6, 3, 2), (3, 3, 2), (3, 3, 4))),
        Example("attention(masked = true)", ((4, 3), (5, 3), (5, 2), (4, 5))),
        Example("attention(masked = true)", ((2, 3, 4), (2, 5, 4), (2, 5, 3), (5,))),
        Example("attention(true, masked = true)", ((4, 3, 2), (2, 5, 2), (2, 5, 3), (1, 3, 5))),
        Example("attention(true, masked = true)", ((4, 3), (4, 3), (4, 2), (4,))),
        Example("attention(masked = true)", ((2, 3, 2), (2, 5, 2), (2, 5, 3), (2, 3, 5))),
        Example("attention(dropout = 0.4)", ((2, 3, 4), (2, 5, 4), (2, 5, 3))),
        Example("attention(true, 0.3, true)", ((4, 3), (4, 3), (4, 2), (4, 4))),
        Example("attention(dropout = 1)", ((4, 3), (5, 3), (5, 2))),
    )
    bad_examples = (
        BadExample("attention", ((4,), (4,), (4,)), codes.SHAPE_RANK),
        BadExample("attention", ((4, 3), (5, 2), (5, 2)), ATTENTION_MISMATCH),
        BadExample("attention", ((4, 3), (5, 3), (4, 3)), ATTENTION_MISMATCH),
        BadExample("attention", ((2, 4, 3), (1, 4, 3), (2, 4, 3)), ATTENTION_MISMATCH),
        BadExample("attention", ((3, 4, 3), (2, 4, 3), (2, 4, 3)), ATTENTION_MISMATCH),
        BadExample("attention", ((4, 3), (5, 3), (5, 2), (5, 4)), ATTENTION_MISMATCH),
        BadExample("attention", ((2, 4, 3), (2, 5, 3), (2, 5, 2), (3, 4, 5)), ATTENTION_MISMATCH),
        BadExample("attention", ((4, 3), (4, 3)), codes.CALL_INPUTS),
        BadExample("attention(causal = 1)", ((4, 3), (4, 3), (4, 3)), codes.CALL_VALUE),
        BadExample("attention(causal = true)", ((4, 3), (4, 3), (4, 3), (4, 4)), codes.CALL_VALUE),
        BadExample("attention(masked = true)", ((4, 3), (4, 3), (4, 3)), codes.CALL_VALUE),
        BadExample("attention(masked = true)", ((4, 3), (5, 3), (5, 2), (4,)), ATTENTION_MISMATCH),
        BadExample(
            "attention(masked = true)", ((4, 3), (5, 3), (5, 2), (5, 4)), ATTENTION_MISMATCH
        ),
        BadExample("attention(dropout = 2)", ((4, 3), (4, 3), (4, 3)), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(T, E), behind the axis of heads if there is one."""
        q, k, v, *bias = inputs
        shown = ", ".join(show_shape(shape) for shape in inputs)
        if len(q) not in (2, 3) or len({len(q), len(k), len(v)}) > 1:
            raise ShapeError(
                codes.SHAPE_RANK,
                "`attention` needs three values [N, length, features] or [N, heads, length,"
                f" features], not {shown}",
            )
        heads = len(q) == 3
        for wrong, what, one, other in (
            (q[-1] - k[-1], "features of query and key", q[-1], k[-1]),
            (k[-2] - v[-2], "lengths of key and value", k[-2], v[-2]),
            (heads and (k[0] - v[0]), "heads of key and value", k[0], v[0]),
        ):
            if wrong:
                raise ShapeError(
                    ATTENTION_MISMATCH,
                    f"`attention` needs equal {what}, not {one} and {other}",
                    notes=(f"query, key and value are {shown}",),
                )
        if heads and not _is_multiple(q[0], k[0]):
            raise ShapeError(
                ATTENTION_MISMATCH,
                f"`attention` shares {k[0]} heads of key and value among {q[0]} of the query:"
                f" {q[0]} is no multiple of {k[0]}",
                notes=(f"query, key and value are {shown}",),
            )
        if bias and self.masked:
            self._require_mask(q, k, bias[0])
        elif bias:
            self._require_bias(q, k, bias[0])
        elif self.masked:
            message = "`masked` says that the fourth value of `attention` is a mask: there is none"
            raise ShapeError(codes.CALL_VALUE, message, blame="masked")
        return (*q[:-1], v[-1])

    @staticmethod
    def _require_mask(q: Shape, k: Shape, mask: Shape) -> None:
        """Refuse a mask that does not fit the scores.

        Raises:
            ShapeError: `shape/attention-mismatch`.
        """
        scores = (*q[:-1], k[-2])
        if mask not in ((k[-2],), scores[-2:], scores, (1, *scores[-2:])):
            several = ", or one of these for each head" if len(q) == 3 else ""
            raise ShapeError(
                ATTENTION_MISMATCH,
                f"the mask of `attention` is {show_shape(mask)}, and must fit the scores,"
                f" {show_shape(scores)}",
                notes=(
                    f"it is {show_shape((k[-2],))}, the keys that all queries see,"
                    f" or {show_shape(scores[-2:])}, those that each sees{several}",
                ),
            )

    def _require_bias(self, q: Shape, k: Shape, bias: Shape) -> None:
        """Refuse a bias that does not fit the scores, and one beside `causal`.

        Raises:
            ShapeError: `shape/attention-mismatch`, `call/value`.
        """
        scores = (*q[:-1], k[-2])
        fit = [scores, scores[-2:], (1, *scores[-2:])] if len(q) == 3 else [scores]
        if bias not in fit:
            raise ShapeError(
                ATTENTION_MISMATCH,
                f"the bias of `attention` is added to the scores, {show_shape(scores)}, and is"
                f" {show_shape(bias)}",
                notes=("its last axes are the length of the query and that of the key",),
            )
        if self.causal:
            raise ShapeError(
                codes.CALL_VALUE,
                "`causal` must be false where a bias is given: the bias can hide later keys",
                blame="causal",
                help="give later keys -1e9 in the bias, `where(distance + 0.5, bias, -1e9)`, where"
                " `distance` is the place of the query less that of the key",
            )

    def macs(self, *inputs: Shape) -> int:
        """T S (D + E) for each head: the two matrix products."""
        q, k, v, *_ = inputs
        return math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: each number depends on the whole input."""
        return None

    def draws(self) -> bool:
        """A mask."""
        return self.dropout > 0

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along the axis of keys. Each query is by itself, unless it is counted which it is."""
        return self.causal or over[1:3] != (None, None) or over[0] != len(inputs[0]) - 1

    def advance(self, to: StepForm) -> str:
        """The new queries, over the keys and values that are held and those that are new.

        Raises:
            NotCausalError: if a query sees later keys, or scores get a bias or a mask.
        """
        q, *rest = to.x_shapes
        axis = len(q) - 1
        if to.over[1:3] == (None, None):
            return to.same()
        if not self.causal:
            raise to.refused("sees later positions: it is not causal")
        if to.over != (axis,) * 3:
            raise to.refused("has a mask, or other axes of positions than those of its queries")
        held = []
        for name, value, shape in zip(_NAMES[1:], to.x[1:], rest, strict=False):
            before = to.hold(name, (*shape[:-2], to.length, shape[-1]), 0.0, axis)
            to.leave(before, value)
            held.append(to("concat", before, value, axis=axis))
        return to("attention", to.x[0], *held, to.seen(), masked=True)

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula."""
        return attend(*self._for_each_head(run, x))

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formulas; what heads share gets the sum of their gradients. A mask has none."""
        scores, *qkv = self._for_each_head(run, x)
        found = attend_backward(scores, dy, *qkv)
        shared = [_shared(dx, value.shape) for dx, value in zip(found[:3], x, strict=False)]
        if len(x) > _BIAS:
            bias = x[_BIAS]
            shared.append(np.zeros_like(bias) if self.masked else _shared(found[3], bias.shape))
        return tuple(shared)

    def _for_each_head(
        self, run: Evaluation, x: tuple[Array, ...]
    ) -> tuple[Scores, Array, Array, Array]:
        """Return what becomes of the scores, and query, key and value with what heads share repeated
        for each of them.
        """
        q, k, v, *given = x
        heads = q.ndim == 4
        if heads:
            group = q.shape[1] // k.shape[1]
            k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        kept = run.masks[run.node.name] if run.training and self.dropout else 1.0
        if not given:
            return Scores(self.causal, kept=kept), q, k, v
        fourth = given[0]
        plane = fourth.shape[-2:] if fourth.ndim > 2 else (1, fourth.shape[-1])
        fourth = fourth.reshape(len(fourth), *((-1,) if heads else ()), *plane)
        if self.masked:
            return Scores(self.causal, mask=fourth, kept=kept), q, k, v
        return Scores(self.causal, bias=fourth, kept=kept), q, k, v

    def pattern(self, *x: Array) -> Array | None:
        """What the mask shows."""
        return x[_BIAS] > 0 if self.masked else None

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """One kernel. Values that are stored as pictures are put in row-major order first, and what
        heads share of key and value is repeated.
        """
        for i, name in enumerate(_NAMES[: len(to.x)]):
            planes = to_planes(to, to.x[i], to.x_layouts[i], to.x_shapes[i], name)
            apart, whole = self._repetition(to, i)
            if whole != apart and i != _BIAS:
                kept = to.buffer(f"{name}_apart", apart)
                to.view(kept, planes)
                planes = to.buffer(f"{name}_of_heads", whole)
                to.call("copies.repeat", kept, planes, writes=[planes])
            elif len(to.x_shapes[i]) == 1:
                row = to.buffer("row", (1, *to.x_shapes[i]))
                to.view(row, planes)
                planes = row
            to.saved[name] = planes
        if to.training and self.dropout:
            self._draw(to)
        heads = not to.layout.is_row_major
        out = to.buffer("planes", to.node.shape) if heads else to.out
        to.call(
            "attention.forward", *self._operands(to), out, to.scratch,
            writes=[out], scratch=self._scratch(to), causal=self.causal,
        )  # fmt: skip
        if heads:
            from_planes(to, out, to.out, to.layout, to.node.shape)

    def _draw(self, to: Lowering) -> None:
        """Draw the mask of dropout, (T, S) for each head, as values of this layout are stored."""
        q, k, *_ = to.x_shapes
        whole = (*q[:-1], k[-2])
        drawn = to.buffer("mask", to.layout.stored(whole))
        to.call("dropout.sample_mask", to.rng, drawn, writes=[drawn], p=self.dropout)
        to.saved["kept"] = to_planes(to, drawn, to.layout, whole, "kept")

    def lower_backward(self, to: Lowering) -> None:
        """One kernel, which computes p again; then sums where heads share something."""
        dy = to_planes(to, to.dy, to.layout, to.node.shape, "dplanes")
        slopes: list[Buffer | None] = [None] * len(_NAMES)
        for i, wanted in enumerate(to.wanted):
            if wanted and not (i == _BIAS and self.masked):
                slopes[i] = self._slope(to, i)
        to.call(
            "attention.backward", *self._operands(to), dy, *slopes, to.scratch,
            writes=slopes, scratch=self._scratch(to), causal=self.causal,
        )  # fmt: skip
        for i, slope in enumerate(slopes):
            if slope is not None:
                self._finish(to, i, slope)
        if self.masked and to.wanted[_BIAS]:
            nothing = to.gradient_buffer(_BIAS)
            to.call("reductions.nothing", to.dy, nothing, writes=[nothing], axes=(), order=())
            to.gradient(_BIAS, nothing)

    def _operands(self, to: Lowering) -> list[Buffer | None]:
        q, k, v, fourth = (to.saved.get(name) for name in _NAMES)
        bias, mask = (None, fourth) if self.masked else (fourth, None)
        return [q, k, v, bias, mask, to.saved.get("kept")]

    def _repetition(self, to: Lowering, i: int) -> tuple[Shape, Shape]:
        """Return the shape of an input with an axis for what is repeated, and the repeated shape."""
        own, q = to.x_shapes[i], to.x_shapes[0]
        if i == 0 or len(q) == 2:
            return own, own
        if i == _BIAS:
            apart = (1, *own) if len(own) == 2 else own
            return (own, own) if apart[0] == q[0] else (apart, (q[0], *own[-2:]))
        if not own[0] - q[0]:  # open sizes are equal, as `_is_multiple` has it
            return own, own
        return (own[0], 1, *own[1:]), (own[0], q[0] // own[0], *own[1:])

    def _slope(self, to: Lowering, i: int) -> Buffer:
        """Return the array for the gradient of an input, for each head and in row-major order."""
        apart, whole = self._repetition(to, i)
        if whole != apart:
            return to.buffer(f"d{_NAMES[i]}_of_heads", whole)
        dx = to.gradient_buffer(i)
        return dx if to.x_layouts[i].is_row_major else to.buffer(f"dplanes{i}", to.x_shapes[i])

    def _finish(self, to: Lowering, i: int, slope: Buffer) -> None:
        """Set the gradient of an input: summed over the heads that share it, in its own order."""
        apart, whole = self._repetition(to, i)
        dx, shape = to.gradient_buffer(i), to.x_shapes[i]
        if whole != apart:
            summed = to.buffer(f"d{_NAMES[i]}_apart", apart)
            to.call("reductions.sum_repeated", slope, summed, writes=[summed])
            slope = dx if to.x_layouts[i].is_row_major else to.buffer(f"dplanes{i}", shape)
            to.view(slope, summed)
        if slope != dx:
            from_planes(to, slope, dx, to.x_layouts[i], shape)
        to.gradient(i, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("attention.scratch_size", (to.x_shapes[0], to.x_shapes[1]))

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Real numbers; the fourth value may also be booleans."""
        return ("real", "bool") if index == _BIAS else ("real",)

    def given(self, types: tuple[NumberType, ...]) -> Op:
        """The same; booleans are a mask."""
        if types[_BIAS:] == ("bool",):
            return _OfBooleans(self.causal, self.dropout, masked=True)
        return self

    def torch(self, *inputs: Shape) -> Torch:
        """`F.scaled_dot_product_attention`."""
        q, k, _, *bias = inputs
        options: dict[str, object] = {}
        if bias and self.masked:
            options["attn_mask"] = self._seen(q, k, bias[0])
        elif bias:
            flat = len(q) == 3 and len(bias[0]) == 2
            options["attn_mask"] = Torch("torch.unsqueeze", (X(_BIAS), 1)) if flat else X(_BIAS)
        options["dropout_p"] = Torch("torch.mul", (TRAINING, self.dropout))
        options["is_causal"] = self.causal and not bias
        if len(q) == 3:
            options["enable_gqa"] = bool(q[0] - k[0])
        return Torch(
            "F.scaled_dot_product_attention", (X(0), X(1), X(2)), options,
            defaults={
                "dropout_p": Torch("torch.mul", (TRAINING, 0.0)),
                "is_causal": False,
                "enable_gqa": False,
            },
        )  # fmt: skip

    def _booleans(self) -> object:
        """The mask as booleans, in PyTorch."""
        return Torch("torch.gt", (X(_BIAS), 0))

    def _seen(self, q: Shape, k: Shape, mask: Shape) -> object:
        """What each query sees, in PyTorch: booleans with the axes of the scores, or 1 of each."""
        seen = self._booleans()
        for _ in range(len(q) - len(mask)):
            seen = Torch("torch.unsqueeze", (seen, 1))
        if not self.causal:
            return seen
        if len(mask) == 1:
            alike = (1,) * (len(q) - 2)
            seen = Torch("torch.broadcast_to", (seen, (BATCH, *alike, q[-2], k[-2])))
        return Torch("torch.tril", (seen,))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Two products with a softmax between them."""
        yield from cls._as_others_write(read)
        shares, value = read.root.inputs
        softmax = read.behind(shares, "Where", "Softmax")
        scores = None if softmax is None else softmax.inputs[0]
        masked = read.behind(scores, "Where")
        causal, mask = False, None
        if masked is not None and masked.operator == "Where":
            causal, mask = cls._from_mask(read, masked.inputs[0])
            scores = masked.inputs[1]
        added = None
        product = None if scores is None else scores.maker
        if product is not None and product.operator == "Add":
            scores, added = product.inputs
            product = None if scores is None else scores.maker
        if product is None or product.operator != "MatMul" or None in product.inputs:
            return
        query = read.behind(product.inputs[0], "Div")
        key = read.behind(product.inputs[1], "Transpose")
        if query is None or key is None:
            return
        q = query.inputs[0]
        extra = mask if mask is not None else added
        held = [cls._ungrouped(v) for v in (key.inputs[0], value)]
        inputs = [q, *held, *([] if extra is None else [extra, *cls._unstretched(extra)][-1:])]
        if all(v is not None and v.shape is not None for v in inputs):
            op = cls(causal=causal, masked=mask is not None)
            yield read.form(op, *(v for v in inputs if v is not None))

    @classmethod
    def _as_others_write(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The scale of the scores before or behind their product, and a mask of stored numbers."""
        for scores in _ONNX_SCORES:
            for masked in _ONNX_MASKS:
                found = read.pattern(f"MatMul(Softmax({masked.format(scores)}), v)")
                if found is not None:
                    yield cls._of_pattern(read, found, is_squared=scores == _ONNX_BOTH_SCALED)

    @classmethod
    def _of_pattern(cls, read: OnnxReader, found: Found, *, is_squared: bool) -> OnnxLayer | None:
        query, turned, value = (found.values[name] for name in ("q", "t", "v"))
        last = turned.maker
        q, scale = query.shape, read.number(found.values["c_s"])
        if q is None or scale is None or last is None or last.operator != "Transpose":
            return None
        axes, rank = last.attributes.ints("perm"), len(q) + 1
        softmax = next(op for op in found.covers if op.operator == "Softmax")
        if axes != (*range(rank - 2), rank - 1, rank - 2):
            return None
        if softmax.attributes.whole("axis") not in (-1, rank - 1):
            return None
        size = q[-1]
        factor = scale * scale if is_squared else scale if scale < 1 else 1 / scale
        if not isinstance(size, int) or not math.isclose(factor, size**-0.5, rel_tol=1e-4):
            return None
        covered = Found(found.values, (*found.covers, last))
        mask = found.values.get("m")
        stored = read.array(mask)
        if mask is not None and (stored is None or not cls._is_causal(read, covered, stored)):
            return None
        op = cls(causal=mask is not None)
        return read.layer(op, query, last.inputs[0], value, found=covered)

    @classmethod
    def _is_causal(cls, read: OnnxReader, found: Found, mask: Array) -> bool:
        """Whether a mask of stored numbers hides later keys."""
        low = read.number(found.values.get("c_low"))
        if low is None:
            return mask.dtype.kind == "f" and cls._hides_later_keys(mask)
        chosen = next(op for op in found.covers if op.operator == "Where")
        is_hidden = chosen.inputs[1] is found.values["c_low"]
        if mask.dtype.kind != "b" or low > _MOST_HIDDEN:
            return False
        return cls._hides_later_keys(~mask if is_hidden else mask)

    @staticmethod
    def _hides_later_keys(mask: Array) -> bool:
        """Whether numbers that are added, or booleans of what is seen, are a lower triangle."""
        if mask.ndim < 2 or mask.size != mask.shape[-1] * mask.shape[-2]:
            return False
        rows = mask.reshape(mask.shape[-2:])
        seen = rows if rows.dtype.kind == "b" else rows == 0
        hidden = ~rows if rows.dtype.kind == "b" else rows < _MOST_HIDDEN
        lower = np.tril(np.ones(rows.shape, bool))
        return bool((seen == lower).all() and (hidden == ~lower).all())

    @staticmethod
    def _from_mask(read: OnnxReader, seen: FileValue | None) -> tuple[bool, FileValue | None]:
        """Return whether later keys are hidden, and the mask, of what a query sees."""
        if seen is None or seen.maker is None:
            return False, None
        if seen.maker.operator == "And":
            mask = read.behind(seen.maker.inputs[0], "Greater")
            return True, None if mask is None else mask.inputs[0]
        inner = seen.maker.inputs[0] if seen.maker.operator == "Greater" else None
        if inner is not None and inner.maker is not None and inner.maker.operator == "Trilu":
            return True, None
        return False, inner

    @staticmethod
    def _ungrouped(value: FileValue | None) -> FileValue | None:
        """Return a key or a value before it was repeated for the heads of a group."""
        at = value
        for operator in ("Reshape", "Expand", "Unsqueeze"):
            if at is None or at.maker is None or at.maker.operator != operator:
                return value
            at = at.maker.inputs[0]
        return at

    @staticmethod
    def _unstretched(value: FileValue) -> list[FileValue]:
        """Return a bias or a mask before it got the axes of the scores."""
        found = []
        at: FileValue | None = value
        while at is not None and at.maker is not None and at.maker.operator == "Unsqueeze":
            at = at.maker.inputs[0]
            if at is not None and at.shape is not None:
                found.append(at)
        return found

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """Two products with a softmax between them."""
        q, k, _, *bias = to.x_shapes
        keys, values = (self._onnx_shared(to, i, q[0]) for i in (1, 2))
        added = to.x[_BIAS] if bias else None
        if added is not None:
            for _ in range(len(q) - len(bias[0])):
                added = to("Unsqueeze", added, to.ints(1))
        bias_or_mask = {"mask" if self.masked else "bias": added}
        return onnx_attention(
            to, (to.x[0], q), (keys, k), values, causal=self.causal, **bias_or_mask
        )

    @staticmethod
    def _onnx_shared(to: OnnxForm, index: int, heads: int) -> OnnxValue:
        """Return a key or a value, repeated for each head of a group."""
        x, shape = to.x[index], to.x_shapes[index]
        if len(shape) == 2 or not heads - shape[0]:
            return x
        held, *rest = shape
        apart = to("Unsqueeze", x, to.ints(2))
        repeated = to("Expand", apart, to.sizes((1, held, heads // held, *rest)))
        return to.reshaped(repeated, (heads, *rest))


@record
class _OfBooleans(Attention):
    """Attention with a mask that is declared to hold booleans."""

    def _booleans(self) -> object:
        return X(_BIAS)


def _is_multiple(many: int, few: int) -> bool:
    """Whether heads can be shared evenly. Numbers that are still open, or 0, must be equal."""
    if not many - few:
        return True
    return isinstance(many, int) and isinstance(few, int) and few > 0 and many % few == 0


def _shared(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Return a gradient for each head as that of what the heads share, by sums over each group."""
    if gradient.shape == shape:
        return gradient
    heads = shape[1] if len(shape) == gradient.ndim else 1
    groups = gradient.reshape(len(gradient), heads, -1, *gradient.shape[-2:])
    summed: Array = groups.sum(axis=2).reshape(shape)
    return summed
