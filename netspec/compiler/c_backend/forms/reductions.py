"""Sums, means, variances, largest numbers and running sums, as loops that are written out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netspec.compiler.c_backend.forms.copies import scope
from netspec.compiler.c_backend.kernel_call import KernelCall
from netspec.compiler.c_backend.loops import Axis, merged, nested, place, steps_of


@dataclass(frozen=True)
class _Pass:
    """A pass over the numbers that make one of the result: a variable, and what each does to it.

    `{x}` is a number, `{r}` its place, `{n}` how many there are, and what earlier passes left have
    their names.
    """

    name: str
    start: str
    turn: str
    end: str = ""
    kind: str = "real"


_MOST = _Pass("most", "(real)-INFINITY", "most = larger(most, {x});")
_PASSES: dict[str, tuple[tuple[_Pass, ...], str]] = {
    "total": ((_Pass("sum", "0", "sum += {x};"),), "sum"),
    "mean": ((_Pass("sum", "0", "sum += {x};"),), "sum / {n}"),
    "largest": ((_MOST,), "most"),
    "smallest": ((_Pass("least", "(real)INFINITY", "least = smaller(least, {x});"),), "least"),
    "variance": (
        (
            _Pass("mean", "0", "mean += {x};", "mean /= {n};"),
            _Pass("sum", "0", "sum += ({x} - mean) * ({x} - mean);"),
        ),
        "sum / {less}",
    ),
    "logsumexp": (
        (
            _Pass(
                "most", "(real)-INFINITY", "most = larger(most, {x});",
                "most = most < -{limit} ? -{limit} : most > {limit} ? {limit} : most;",
            ),
            _Pass("sum", "0", "sum += real_exp({x} - most);"),
        ),
        "most + real_log(sum)",
    ),
}  # fmt: skip


def total(call: KernelCall) -> list[str]:
    """Sums."""
    return _reduced(call, "total")


def mean(call: KernelCall) -> list[str]:
    """Means."""
    return _reduced(call, "mean")


def largest(call: KernelCall) -> list[str]:
    """The largest numbers."""
    return _reduced(call, "largest")


def smallest(call: KernelCall) -> list[str]:
    """The smallest numbers."""
    return _reduced(call, "smallest")


def variance(call: KernelCall) -> list[str]:
    """Variances, in two passes."""
    return _reduced(call, "variance")


def logsumexp(call: KernelCall) -> list[str]:
    """The logarithms of sums of exponentials, the largest number being taken out first."""
    return _reduced(call, "logsumexp")


@dataclass(frozen=True)
class _Walk:
    """The axes that are kept, with steps in x and y, and those that are summed over."""

    kept: list[Axis]
    over: list[Axis]


def _walk(call: KernelCall, x: tuple[int, ...], out: tuple[int, ...]) -> _Walk:
    axes, order = [axis - 1 for axis in call.ints("axes")], call.ints("order")
    kept = [axis for axis in range(len(x)) if axis not in axes]
    targets = range(len(x)) if len(out) == len(x) else kept
    # `order` says which axis of the result each of `targets` is.
    written = {axis: steps_of(out)[at - 1] for axis, at in zip(targets, order, strict=True)}
    read = steps_of(x)
    return _Walk(
        merged([Axis(x[axis], (read[axis], written[axis])) for axis in kept]),
        merged([Axis(x[axis], (read[axis],)) for axis in axes]),
    )


def _reduced(call: KernelCall, kind: str) -> list[str]:
    walk = _walk(call, call.shape(0), call.shape(1))
    return _over(call, kind, walk)


def sum_repeated(call: KernelCall) -> list[str]:
    """Sums over the axes along which something was repeated."""
    x, out = call.shape(0), call.shape(1)
    axes = list(zip(x, out, steps_of(x), steps_of(out), strict=True))
    kept = merged([Axis(n, (a, b)) for n, m, a, b in axes if n == m])
    return _over(
        call, "total", _Walk(kept, merged([Axis(n, (a,)) for n, m, a, _ in axes if n != m]))
    )


def total_backward(call: KernelCall) -> list[str]:
    """The gradient, repeated along the axes."""
    return _shared(call, "")


def mean_backward(call: KernelCall) -> list[str]:
    """An equal share of the gradient for each number."""
    return _shared(call, " / (real){n}")


def _shared(call: KernelCall, share: str) -> list[str]:
    walk = _walk(call, call.shape(1), call.shape(0))
    part = share.format(n=math.prod(axis.size for axis in walk.over))

    def body(names: list[str]) -> list[str]:
        return nested(
            walk.over,
            lambda inner: [f"y[{_read(walk, names, inner)}] = x[{_written(walk, names)}]{part};"],
            len(names),
        )

    return scope((call.pointer(0), call.pointer(1)), nested(walk.kept, body))


def _over(call: KernelCall, kind: str, walk: _Walk) -> list[str]:
    passes, result = _PASSES[kind]
    count = math.prod(axis.size for axis in walk.over)
    words = {"n": f"(real){count}", "limit": "(sizeof(real) == 4 ? (real)3e38 : (real)1.7e308)"}
    if kind == "variance":
        words["less"] = f"(real){count - call.whole('correction')}"

    def body(names: list[str]) -> list[str]:
        lines: list[str] = []
        for one in passes:
            turn = nested(
                walk.over,
                lambda inner, one=one: [  # type: ignore[misc]
                    one.turn.format(x=f"x[{_read(walk, names, inner)}]", **words)
                ],
                len(names),
            )
            lines += [f"{one.kind} {one.name} = {one.start};", *turn]
            if one.end:
                lines.append(one.end.format(**words))
        return [*lines, f"y[{_written(walk, names)}] = {result.format(**words)};"]

    return scope((call.pointer(0), call.pointer(1)), nested(walk.kept, body))


def _read(walk: _Walk, names: list[str], inner: list[str]) -> str:
    outer = [(n, axis.steps[0]) for n, axis in zip(names, walk.kept, strict=True)]
    return place([*outer, *((n, axis.steps[0]) for n, axis in zip(inner, walk.over, strict=True))])


def _written(walk: _Walk, names: list[str]) -> str:
    return place([(n, axis.steps[1]) for n, axis in zip(names, walk.kept, strict=True)])


def place_of_largest(call: KernelCall) -> list[str]:
    """The place of the first of the largest numbers, or of the first NaN."""
    walk = _walk(call, call.shape(0), call.shape(1))
    size, step = (walk.over[0].size, walk.over[0].steps[0]) if walk.over else (1, 0)

    def body(names: list[str]) -> list[str]:
        first = (
            _read(walk, names, [])
            if not walk.over
            else place([(n, axis.steps[0]) for n, axis in zip(names, walk.kept, strict=True)])
        )
        value = f"x[{first} + best * {step}]"
        return [
            "int best = 0;",
            f"for (int m = 1; m < {size} && {value} == {value}; m++)",
            f"    if (!(x[{first} + m * {step}] <= {value}))",
            "        best = m;",
            f"y[{_written(walk, names)}] = (real)best;",
        ]

    return scope((call.pointer(0), call.pointer(1)), nested(walk.kept, body))


def running(call: KernelCall) -> list[str]:
    """Sums of all numbers up to each along an axis."""
    x, axis = call.shape(0), call.whole("axis") - 1
    steps = steps_of(x)
    kept = merged([Axis(x[i], (steps[i],)) for i in range(len(x)) if i != axis])

    def body(names: list[str]) -> list[str]:
        terms = [(n, each.steps[0]) for n, each in zip(names, kept, strict=True)]
        at = place([*terms, ("m", steps[axis])])
        return [
            "real sum = 0;",
            f"for (int m = 0; m < {x[axis]}; m++)",
            f"    y[{at}] = sum += x[{at}];",
        ]

    return scope(
        (call.pointer(0), call.pointer(1)),
        ["{", *(f"    {line}" for line in nested(kept, body)), "}"],
    )
