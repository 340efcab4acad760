"""Sums, means, variances, largest numbers and running sums, as loops that are written out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from netspec.compiler.c_backend.forms.copies import scope
from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.c_backend.loops import Axis, merged, nested, place, steps_of
from netspec.records import record


@record
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


@record
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


def shared(call: KernelCall) -> list[str]:
    """The gradient of a largest or smallest number, shared by those that are equal to it."""
    same = _Pass("same", "0", "same += {x} == value[{w}];")
    return _spread(call, "same_as", (same,), "{x} == value[{w}] ? dy[{w}] / same : 0", value=True)


def logsumexp_backward(call: KernelCall) -> list[str]:
    """dx = dy * exp(x - y)."""
    return _spread(call, "share", (), "dy[{w}] * real_exp({x} - value[{w}])", value=True)


def variance_backward(call: KernelCall) -> list[str]:
    """dx = dy * 2 (x - mean) / (count - correction)."""
    (mean, _), _ = _PASSES["variance"]
    return _spread(call, "variance", (mean,), "dy[{w}] * 2 * ({x} - mean) / {less}", value=False)


def nothing(call: KernelCall) -> list[str]:
    """0 for each number."""
    return c_call("fill", call.pointer(1), call.size(1), "0")


def _spread(
    call: KernelCall, kind: str, passes: tuple[_Pass, ...], result: str, *, value: bool
) -> list[str]:
    """Return loops that give each number of x a gradient, from x, dy and perhaps the reduced value."""
    walk = _walk(call, call.shape(0), call.shape(1))
    words = _words(call, kind, walk)

    def body(names: list[str]) -> list[str]:
        words["w"] = _written(walk, names)

        def turn(inner: list[str]) -> list[str]:
            at = _read(walk, names, inner)
            return [f"y[{at}] = {result.format(x=f'x[{at}]', **words)};"]

        return [
            *(line for one in passes for line in _passed(one, walk, names, words)),
            *nested(walk.over, turn, len(names)),
        ]

    last = 3 if value else 2
    given = [f"const real *value = {call.pointer(1)};"] if value else []
    given.append(f"const real *dy = {call.pointer(last - 1)};")
    return scope((call.pointer(0), call.pointer(last)), [*given, *nested(walk.kept, body)])


def _words(call: KernelCall, kind: str, walk: _Walk) -> dict[str, str]:
    """Return what the texts of passes call numbers that are known."""
    count = math.prod(axis.size for axis in walk.over)
    words = {"n": f"(real){count}", "limit": "(sizeof(real) == 4 ? (real)3e38 : (real)1.7e308)"}
    if kind == "variance":
        words["less"] = f"(real){count - call.whole('correction')}"
    return words


def _passed(one: _Pass, walk: _Walk, names: list[str], words: Mapping[str, str]) -> list[str]:
    """Return the lines of a pass over the numbers that make one of the result."""

    def turn(inner: list[str]) -> list[str]:
        return [one.turn.format(x=f"x[{_read(walk, names, inner)}]", **words)]

    lines = [f"{one.kind} {one.name} = {one.start};", *nested(walk.over, turn, len(names))]
    return [*lines, one.end.format(**words)] if one.end else lines


def _over(call: KernelCall, kind: str, walk: _Walk) -> list[str]:
    passes, result = _PASSES[kind]
    words = _words(call, kind, walk)

    def body(names: list[str]) -> list[str]:
        lines = [line for one in passes for line in _passed(one, walk, names, words)]
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
    return _running(call, "for (int m = 0; m < {size}; m++)")


def running_backward(call: KernelCall) -> list[str]:
    """Sums of all gradients from each on along an axis."""
    return _running(call, "for (int m = {size} - 1; m >= 0; m--)")


def _running(call: KernelCall, head: str) -> list[str]:
    x, axis = call.shape(0), call.whole("axis") - 1
    steps = steps_of(x)
    kept = merged([Axis(x[i], (steps[i],)) for i in range(len(x)) if i != axis])

    def body(names: list[str]) -> list[str]:
        terms = [(n, each.steps[0]) for n, each in zip(names, kept, strict=True)]
        at = place([*terms, ("m", steps[axis])])
        return ["real sum = 0;", head.format(size=x[axis]), f"    y[{at}] = sum += x[{at}];"]

    return scope(
        (call.pointer(0), call.pointer(1)),
        ["{", *(f"    {line}" for line in nested(kept, body)), "}"],
    )
