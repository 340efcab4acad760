"""Ops that put the numbers of an image into another order or shape, and change none."""

from collections.abc import Mapping, Sequence

from netspec.compiler.ir.contract import *


class RearrangingOp(Op):
    """One transposing copy, or a view where nothing moves.

    Subclasses say `tokens`: names for parts of axes, in the order in which they are stored.
    """

    def tokens(self, to: Lowering) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """Name the parts of the axes of the input as stored, those of the value, and their sizes."""
        raise NotImplementedError

    def lower(self, to: Lowering) -> None:
        """One copy."""
        inside, outside, sizes = self.tokens(to)
        move(to, to.x[0], to.out, inside, outside, sizes)

    def lower_backward(self, to: Lowering) -> None:
        """The copy back."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            inside, outside, sizes = self.tokens(to)
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
