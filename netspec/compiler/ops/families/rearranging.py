"""Ops that put the numbers of an image into another order or shape, and change none."""

from collections.abc import Mapping, Sequence

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.storage import order


class RearrangingOp(Op):
    """One transposing copy, or a view where nothing moves.

    Subclasses say `tokens`: names for parts of axes, in the order in which they are stored.
    """

    def tokens(self, x: Shape) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """Name the parts of the axes of the input as stored, those of the value, and their sizes."""
        raise NotImplementedError

    def lower(self, to: Lowering) -> None:
        """One copy."""
        inside, outside, sizes = self.tokens(to.x_shapes[0])
        move(to, to.x[0], to.out, inside, outside, sizes)

    def lower_backward(self, to: Lowering) -> None:
        """The copy back."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            inside, outside, sizes = self.tokens(to.x_shapes[0])
            move(to, to.dy, dx, outside, inside, sizes)
            to.gradient(0, dx)


def move(
    to: Lowering,
    source: Buffer,
    target: Buffer,
    inside: Sequence[str],
    outside: Sequence[str],
    sizes: Mapping[str, int],
) -> None:
    """Make `target` of `source`, whose stored axes have the parts `inside`, by the order `outside`."""
    wide = [token for token in inside if sizes[token] != 1]
    if wide == [token for token in outside if sizes[token] != 1]:
        to.view(target, source)
        return
    to.call(
        "copies.transpose", source, target, writes=[target],
        split=tuple(sizes[token] for token in wide),
        axes=tuple(wide.index(token) for token in outside if token in wide),
    )  # fmt: skip


def as_stored(tokens: Sequence[str]) -> list[str]:
    """Return the names of the axes of an image in the order in which they are stored."""
    return [tokens[axis - 1] for axis in order(len(tokens))]
