"""Copies of values and parts of them, as loops over the axes that are left once they are merged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from netspec.compiler.c_backend.kernel_call import KernelCall, c_call
from netspec.compiler.c_backend.loops import Axis, merged, nested, place, steps_of
from netspec.compiler.ir.sizes import Size, typical


def walk(
    call: KernelCall,
    pointers: tuple[str, str],
    axes: Sequence[Axis],
    starts: tuple[int, int] = (0, 0),
) -> list[str]:
    """Return loops that copy from the first pointer to the second; steps of axes are (from, to)."""
    left = merged(axes)
    if _is_transposed(left) and starts == (0, 0):
        (rows, columns), (x, y) = (axis.size for axis in left), pointers
        return c_call("transpose", x, y, rows, columns)
    if len(left) <= 1 and all(axis.steps == (1, 1) for axis in left):
        x, y = (_moved(p, s) for p, s in zip(pointers, starts, strict=True))
        return c_call("copy", x, y, math.prod(axis.size for axis in left))

    def body(names: list[str]) -> list[str]:
        read, written = (
            place([(n, axis.steps[i]) for n, axis in zip(names, left, strict=True)], starts[i])
            for i in (0, 1)
        )
        return [f"y[{written}] = x[{read}];"]

    return scope(pointers, nested(left, body))


def scope(pointers: tuple[str, str], lines: Sequence[str]) -> list[str]:
    """Return lines in which the pointers are called x and y."""
    x, y = pointers
    head = [f"const real *x = {x};", f"real *y = {y};"]
    return ["{", *(f"    {line}" for line in (*head, *lines)), "}"]


def _moved(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset != 0 else pointer


def _is_transposed(axes: Sequence[Axis]) -> bool:
    if len(axes) != 2:
        return False
    (rows, columns) = axes
    return rows.steps == (columns.size, 1) and columns.steps == (1, rows.size)


def _axes(sizes: Sequence[int], read: Sequence[int], written: Sequence[int]) -> list[Axis]:
    return [Axis(n, (a, b)) for n, a, b in zip(sizes, read, written, strict=True)]


def _region(call: KernelCall, whole: tuple[int, ...]) -> tuple[list[int], int]:
    """Return the steps and the start of a region of an array."""
    steps = steps_of(whole)
    start = sum(at * step for at, step in zip(call.ints("start"), steps, strict=True))
    return [step * by for step, by in zip(steps, call.ints("step"), strict=True)], start


def extract(call: KernelCall) -> list[str]:
    """A region of x."""
    x, y = call.shape(0), call.shape(1)
    steps, start = _region(call, x)
    return walk(call, (call.pointer(0), call.pointer(1)), _axes(y, steps, steps_of(y)), (start, 0))


def insert(call: KernelCall) -> list[str]:
    """Into a region of y."""
    x, y = call.shape(0), call.shape(1)
    steps, start = _region(call, y)
    return walk(call, (call.pointer(0), call.pointer(1)), _axes(x, steps_of(x), steps), (0, start))


def embed(call: KernelCall) -> list[str]:
    """Into a region of y, which is a number elsewhere."""
    filled = c_call("fill", call.pointer(1), call.size(1), call.real("value"))
    return [*filled, *insert(call)]


def transpose(call: KernelCall) -> list[str]:
    """Axes in another order."""
    split, order = call.ints("split"), call.ints("axes")
    steps = steps_of(split)
    sizes = [split[axis] for axis in order]
    axes = _axes(sizes, [steps[axis] for axis in order], steps_of(sizes))
    return walk(call, (call.pointer(0), call.pointer(1)), _by_reading(axes))


def _by_reading(axes: Sequence[Axis]) -> list[Axis]:
    """Return the two axes of a matrix in the order in which it is read."""
    left = merged(axes)
    return sorted(left, key=lambda axis: -typical(axis.steps[0])) if len(left) == 2 else left


def to_channels_last(call: KernelCall) -> list[str]:
    """From [channels][...] to [...][channels]."""
    channels, *places = call.shape(0)
    return c_call("transpose", call.pointer(0), call.pointer(1), channels, math.prod(places))


def to_channels_first(call: KernelCall) -> list[str]:
    """From [...][channels] to [channels][...]."""
    *places, channels = call.shape(0)
    return c_call("transpose", call.pointer(0), call.pointer(1), math.prod(places), channels)


def repeat(call: KernelCall) -> list[str]:
    """Along the axes in which x has size 1."""
    x, y = call.shape(0), call.shape(1)
    read = [0 if n == 1 else step for n, step in zip(x, steps_of(x), strict=True)]
    return walk(call, (call.pointer(0), call.pointer(1)), _axes(y, read, steps_of(y)))


def roll(call: KernelCall) -> list[str] | None:
    """Each part that is moved as a whole, one after the other; those of an open size move less far."""
    shape = call.shape(0)
    steps, parts = steps_of(shape), []
    for size, shift in zip(shape, call.ints("shifts"), strict=True):
        if isinstance(size, Size) and abs(shift) > size:
            return None
        at = shift % size if isinstance(size, int) else size + shift if shift < 0 else shift
        halves = [(size - at, 0, at), (at, size - at, 0)]
        parts.append([half for half in halves if half[0] != 0])
    lines = []
    for chosen in itertools.product(*parts):
        sizes = [size for size, _, _ in chosen]
        starts = [
            sum(each[i] * step for each, step in zip(chosen, steps, strict=True)) for i in (1, 2)
        ]
        axes = _axes(sizes, steps, steps)
        lines += walk(call, (call.pointer(0), call.pointer(1)), axes, (starts[0], starts[1]))
    return lines


def join(call: KernelCall) -> list[str]:
    """Both directions, one behind the other."""
    steps, size = call.shape(0)
    sizes = (steps, size)
    lines = []
    for index, start in ((0, 0), (1, size)):
        axes = _axes(sizes, (size, 1), (2 * size, 1))
        lines += walk(call, (call.pointer(index), call.pointer(2)), axes, (0, start))
    return lines


def separate(call: KernelCall) -> list[str]:
    """The two parts of what `join` makes."""
    steps, size = call.shape(1)
    lines = []
    for index, start in ((1, 0), (2, size)):
        axes = _axes((steps, size), (2 * size, 1), (size, 1))
        lines += walk(call, (call.pointer(0), call.pointer(index)), axes, (start, 0))
    return lines


def stack(call: KernelCall) -> list[str]:
    """One behind the other."""
    states, size = range(1, len(call.step.arguments)), call.size(1)
    whole = call.pointer(0)
    return [
        line
        for i, index in enumerate(states)
        for line in c_call("copy", call.pointer(index), _moved(whole, i * size), size)
    ]


def drop(call: KernelCall) -> list[str]:
    """x times columns of a mask."""
    steps, size = call.shape(0)
    columns = call.shape(1)[-1]
    axes = [Axis(steps, (size, columns)), Axis(size, (1, 1))]
    return _scaled(call, axes, call.whole("start"))


def scale_images(call: KernelCall) -> list[str]:
    """x times a mask, which is repeated along the axes in which it has size 1."""
    x, mask = call.shape(0), call.shape(1)
    read = [0 if n == 1 else step for n, step in zip(mask, steps_of(mask), strict=True)]
    return _scaled(call, _axes(x, steps_of(x), read))


def _scaled(call: KernelCall, axes: Sequence[Axis], start: int = 0) -> list[str]:
    left = merged(axes)

    def body(names: list[str]) -> list[str]:
        at, by = (
            place([(n, a.steps[i]) for n, a in zip(names, left, strict=True)]) for i in (0, 1)
        )
        return [f"y[{at}] = x[{at}] * mask[{by}];"]

    mask = f"const real *mask = {_moved(call.pointer(1), start)};"
    return scope((call.pointer(0), call.pointer(2)), [mask, *nested(left, body)])


def choose(call: KernelCall) -> list[str]:
    """The numbers of x at places along an axis."""
    lines = _chosen(call, call.shape(0), call.shape(2), "y[{at}] = x[{chosen}];")
    lines = [f"const real *places = {call.pointer(1)};", *lines]
    return scope((call.pointer(0), call.pointer(2)), lines)


def choose_backward(call: KernelCall) -> list[str]:
    """Added to the numbers that were chosen."""
    lines = _chosen(call, call.shape(2), call.shape(1), "y[{chosen}] += x[{at}];")
    lines = [f"const real *places = {call.pointer(0)};", *lines]
    filled = c_call("fill", call.pointer(2), call.size(2), "0")
    return [*filled, *scope((call.pointer(1), call.pointer(2)), lines)]


def _chosen(call: KernelCall, x: tuple[int, ...], y: tuple[int, ...], does: str) -> list[str]:
    axis = call.whole("axis") - 1
    read = [0 if i == axis else step for i, step in enumerate(steps_of(x))]
    left = merged([Axis(n, (a, b)) for n, a, b in zip(y, read, steps_of(y), strict=True)])

    def body(names: list[str]) -> list[str]:
        fixed, at = (
            place([(n, a.steps[i]) for n, a in zip(names, left, strict=True)]) for i in (0, 1)
        )
        found = f"place(places[{at}], {x[axis]}) * {steps_of(x)[axis]}"
        return [does.format(at=at, chosen=f"{found} + {fixed}")]

    return nested(left, body)


def embedding_backward(call: KernelCall) -> list[str]:
    """The rows' sums over the batch."""
    vocabulary, width = call.shape(2)
    padding = call.option("padding")
    return c_call(
        "embedding_backward", *map(call.pointer, range(3)), call.rows(1, width), vocabulary, width,
        -1 if padding is None else call.whole("padding"),
    )  # fmt: skip


def one_hot(call: KernelCall) -> list[str]:
    """A vector for each place."""
    return c_call("one_hot", call.pointer(0), call.pointer(1), call.size(0), call.shape(1)[-1])


def embedding(call: KernelCall) -> list[str]:
    """A row of the weight for each token."""
    return c_call(
        "embedding", call.pointer(0), call.pointer(1), call.pointer(2), call.size(0), *call.shape(1)
    )


def first_state(call: KernelCall) -> list[str]:
    """The state before the first step: one that is given, or a number."""
    size = math.prod(call.shape(1)[1:])
    if call.has(0):
        return c_call("copy", call.pointer(0), call.pointer(1), size)
    return c_call("fill", call.pointer(1), size, call.real("value"))
