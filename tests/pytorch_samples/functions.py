"""Functions: elementwise ones, reductions, other shapes, products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from tests.helpers.registrar import registrar
from tests.pytorch_samples.written import InexpressibleError, Written, axis, number

Sample = Any
Writer = Callable[[Written, Sample], str]
WRITERS: dict[str, Writer] = {}

writes = registrar(WRITERS)


def arguments(sample: Sample, *names: str, **defaults: Any) -> list[Any]:
    """The arguments of a sample behind its input, in order, by position or by name."""
    given = dict(zip(names, sample.args, strict=False)) | dict(sample.kwargs)
    for known in (*names, "dtype", "inplace"):
        if known not in names and given.get(known) in (torch.float64, False, None):
            given.pop(known, None)
    if unknown := set(given) - set(names):
        raise InexpressibleError(f"the argument {', '.join(sorted(unknown))}")
    return [given.get(name, defaults.get(name)) for name in names]


def elementwise(call: str, *names: str, **defaults: Any) -> Writer:
    """A function of one value, whose call has the arguments put in."""

    def write(to: Written, s: Sample) -> str:
        values = arguments(s, *names, **defaults)
        shown = dict(zip(names, map(number, values), strict=True))
        return call.format(to.flat(s.input), **shown)

    return write


for name in "abs cos erf exp log neg rsqrt sigmoid sin sqrt square tanh".split():
    WRITERS[name] = elementwise(f"{name}({{}})")
for (
    name
) in "hardsigmoid hardswish mish relu relu6 selu silu softsign elu leaky_relu softplus".split():
    WRITERS[f"nn.functional.{name}"] = elementwise(f"{name}({{}})")
WRITERS["nn.functional.elu"] = elementwise("elu({}, alpha = {alpha})", "alpha", alpha=1.0)
WRITERS["nn.functional.leaky_relu"] = elementwise(
    "leaky_relu({}, slope = {negative_slope})", "negative_slope", negative_slope=0.01
)
WRITERS["nn.functional.softplus"] = elementwise(
    "softplus({}, beta = {beta}, threshold = {threshold})",
    "beta", "threshold", beta=1.0, threshold=20.0,
)  # fmt: skip
WRITERS["nn.functional.hardtanh"] = elementwise(
    "clip({}, low = {min_val}, high = {max_val})", "min_val", "max_val", min_val=-1.0, max_val=1.0
)
WRITERS["nn.functional.logsigmoid"] = elementwise("-softplus(-{})")


@writes("nn.functional.gelu")
def _gelu(to: Written, s: Sample) -> str:
    (kind,) = arguments(s, "approximate", approximate="none")
    return f"gelu({to.flat(s.input)}, approximate = {kind})"


@writes("nn.functional.glu")
def _glu(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim", dim=-1)
    shape, dim = s.input.shape, dim % s.input.ndim
    around = (math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]))
    to.lines.append(f"a, b = split({to.whole(s.input, around)}, 2, axis = 2)")
    return "a * sigmoid(b)"


def arithmetic(formula: str) -> Writer:
    """A formula of two values."""

    def write(to: Written, s: Sample) -> str:
        other, alpha, rounding = arguments(s, "other", "alpha", "rounding_mode", alpha=1)
        if rounding is not None:
            raise InexpressibleError("a quotient that is rounded")
        if not isinstance(other, torch.Tensor):
            raise InexpressibleError("a number in place of a tensor")
        a, b = to.aligned([s.input, other])
        return formula.format(a, b if alpha == 1 else f"{number(alpha)} * {b}")

    return write


WRITERS |= {
    "add": arithmetic("{} + {}"), "sub": arithmetic("{} - {}"), "mul": arithmetic("{} * {}"),
    "div": arithmetic("{} / {}"), "pow": arithmetic("{} ** {}"),
    "maximum": arithmetic("maximum({}, {})"), "minimum": arithmetic("minimum({}, {})"),
}  # fmt: skip


@writes("clamp")
def _clamp(to: Written, s: Sample) -> str:
    low, high = arguments(s, "min", "max")
    given = [bound for bound in (low, high) if bound is not None]
    value, *bounds = to.aligned([s.input, *given])
    if low is not None:
        value = f"maximum({value}, {bounds.pop(0)})"
    return value if high is None else f"minimum({value}, {bounds.pop(0)})"


@writes("where")
def _where(to: Written, s: Sample) -> str:
    condition, other = arguments(s, "condition", "other")
    a, c, b = to.aligned([s.input, condition, other])
    return f"where({c}, {a}, {b})"


# ------------------------------------------------------------------------------------ reductions


def reduction(name: str) -> Writer:
    """A reduction over axes, or over all of them."""

    def write(to: Written, s: Sample) -> str:
        dim, keep, unbiased, correction = arguments(
            s, "dim", "keepdim", "unbiased", "correction", keepdim=False, correction=1
        )
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = int(unbiased) if unbiased is not None else correction
        correction = 1 if correction is None else correction
        value, rank = to.whole(s.input), max(1, s.input.ndim)
        dims = (dim,) if isinstance(dim, int) else tuple(dim or range(rank))
        dims = tuple(d % rank for d in dims)
        more = f", correction = {number(correction)}" if name == "var" else ""
        shown = ", keep = true" if keep or len(dims) == rank else ""
        return f"{name}({value}, {[d + 1 for d in dims]}{more}{shown})"

    return write


WRITERS |= {
    "mean": reduction("mean"), "sum": reduction("sum"), "amax": reduction("max"),
    "amin": reduction("min"), "var": reduction("var"), "logsumexp": reduction("logsumexp"),
}  # fmt: skip


@writes("argmax")
def _argmax(to: Written, s: Sample) -> str:
    dim, _ = arguments(s, "dim", "keepdim")
    if dim is None:
        return f"argmax({to.whole(s.input, (s.input.numel(),))}, 1, keep = true)"
    return f"argmax({to.whole(s.input)}, {axis(dim)}, keep = true)"


@writes("cumsum")
def _cumsum(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim")
    return f"cumsum({to.whole(s.input)}, {axis(dim)})"


@writes("gather")
def _gather(to: Written, s: Sample) -> str:
    dim, index, sparse = arguments(s, "dim", "index", "sparse_grad")
    if sparse:
        raise InexpressibleError("a sparse gradient")
    return f"gather({to.whole(s.input)}, {to.whole(index)}, axis = {axis(dim)})"


# --------------------------------------------------------------------------------- other shapes


@writes("roll")
def _roll(to: Written, s: Sample) -> str:
    shifts, dims = arguments(s, "shifts", "dims")
    if dims is None:
        return f"roll({to.whole(s.input, (s.input.numel(),))}, [{shifts}], [1])"
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    dims = [dims] if isinstance(dims, int) else list(dims)
    return f"roll({to.whole(s.input)}, {shifts}, {[axis(d) for d in dims]})"


@writes("stack")
def _stack(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim", dim=0)
    values = ", ".join(map(to.whole, s.input))
    if len(s.input) == 1:
        return f"unsqueeze({values}, {axis(dim)})"
    return f"stack({values}, axis = {axis(dim)})"


@writes("cat")
def _cat(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim", dim=0)
    rank = max(t.ndim for t in s.input)
    # An empty vector may lie beside anything.
    values = [to.whole(t) for t in s.input if t.ndim == rank]
    return f"concat({', '.join(values)}, axis = {axis(dim)})" if values[1:] else values[0]


@writes("squeeze")
def _squeeze(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim")
    rank, shape = s.input.ndim, s.input.shape
    dims = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    out = [d % rank for d in dims if rank and shape[d] == 1]
    value = to.whole(s.input)
    if not out or len(out) == rank:
        return f"reshape({value}, [-1])"
    return f"squeeze({value}, {[d + 1 for d in out]})"


@writes("unsqueeze")
def _unsqueeze(to: Written, s: Sample) -> str:
    (dim,) = arguments(s, "dim")
    return f"unsqueeze({to.whole(s.input)}, {axis(dim)})"


@writes("expand")
def _expand(to: Written, s: Sample) -> str:
    (sizes,) = arguments(s, "size")
    shape = (1,) * (len(sizes) - s.input.ndim) + tuple(s.input.shape)
    return f"expand({to.whole(s.input, shape or None)}, {list(sizes) or [1]})"


@writes("reshape")
def _reshape(to: Written, s: Sample) -> str:
    (shape,) = arguments(s, "shape")
    return f"reshape({to.whole(s.input)}, {list(shape) or [1]})"


@writes("flatten")
def _flatten(to: Written, s: Sample) -> str:
    start, end = arguments(s, "start_dim", "end_dim", start_dim=0, end_dim=-1)
    if end != -1:
        raise InexpressibleError("axes in the middle")
    return f"flatten({to.whole(s.input) if start == 0 else to.batch(s.input)})"


@writes("permute")
def _permute(to: Written, s: Sample) -> str:
    (dims,) = arguments(s, "dims")
    return f"permute({to.whole(s.input)}, {[d % s.input.ndim + 1 for d in dims] or [1]})"


@writes("transpose")
def _transpose(to: Written, s: Sample) -> str:
    one, two = arguments(s, "dim0", "dim1")
    rank = max(1, s.input.ndim)
    order = list(range(rank))
    order[one % rank], order[two % rank] = two % rank, one % rank
    return f"permute({to.whole(s.input)}, {[d + 1 for d in order]})"


@writes("narrow")
def _narrow(to: Written, s: Sample) -> str:
    dim, start, length = arguments(s, "dim", "start", "length")
    if length == 0:
        raise InexpressibleError("a size of 0")
    start = int(start) % s.input.shape[dim]
    return f"slice({to.whole(s.input)}, {axis(dim)}, {start}, {start + length})"


@writes("nn.functional.pixel_shuffle", "nn.functional.pixel_unshuffle")
def _pixels(to: Written, s: Sample) -> str:
    (name, factor), *_ = s.kwargs.items()
    return (
        f"pixel_{'' if name == 'upscale_factor' else 'un'}shuffle({to.batch(s.input, 3)}, {factor})"
    )


@writes("nn.functional.channel_shuffle")
def _channel_shuffle(to: Written, s: Sample) -> str:
    return f"channel_shuffle({to.batch(s.input)}, {s.args[0]})"


# -------------------------------------------------------------------------------------- products


@writes("matmul", "mm", "bmm")
def _matmul(to: Written, s: Sample) -> str:
    (b,) = arguments(s, "other")
    a = s.input
    rows = (1, *a.shape) if a.ndim == 1 else tuple(a.shape)
    columns = (*b.shape, 1) if b.ndim == 1 else tuple(b.shape)
    batch = torch.broadcast_shapes(rows[:-2], columns[:-2])
    if len(batch) > 2:
        raise InexpressibleError("more than four axes behind the batch")
    values = []
    for tensor, shape in ((a, rows), (b, columns)):
        full = (1,) * (len(batch) + 2 - len(shape)) + shape
        value = to.whole(tensor, full)
        if tuple(full[:-2]) != tuple(batch):
            value = f"expand({value}, {[*batch, -1, -1]})"
        values.append(value)
    return f"matmul({values[0]}, {values[1]})"


@writes("einsum")
def _einsum(to: Written, s: Sample) -> str:
    (equation,) = s.args
    if "..." in equation:
        raise InexpressibleError("an ellipsis in an equation")
    terms, result = equation.split("->")
    batch = next(c for c in "znm" if c not in equation)
    inner = ",".join(batch + term for term in terms.split(","))
    values = ", ".join(to.whole(t) for t in s.input)
    if len(s.input) == 1:
        if len(set(terms)) < len(terms):
            raise InexpressibleError("a diagonal")
        gone = [terms.index(c) + 1 for c in terms if c not in result]
        order = [c for c in terms if c in result or not result]
        total = f"sum({values}, {gone}, keep = {number(not result)})"
        return f"permute({total}, {[order.index(c) + 1 for c in result or terms]})"
    if not result:
        letters = ",".join(dict.fromkeys(terms.replace(",", "")))
        return f'sum(einsum({values}, "{inner}->{batch}{letters}"), 1, keep = true)'
    return f'einsum({values}, "{inner}->{batch}{result}")'


def _softmax(name: str) -> Writer:
    def write(to: Written, s: Sample) -> str:
        (dim,) = arguments(s, "dim")
        return f"{name}({to.whole(s.input)}, axis = {axis(dim)})"

    return write


WRITERS |= {"softmax": _softmax("softmax"), "log_softmax": _softmax("log_softmax")}


@writes("randn_like")
def _randn_like(to: Written, s: Sample) -> str:
    arguments(s)
    to.training = True
    return f"noise({to.flat(s.input)})"
