"""Channels to pixels and back, for the reference."""

from netspec.compiler.ir.contract import *

PIXELS = Code.error("shape/pixels", "channels or pixels that a factor does not divide")


def up(x: Array, r: int) -> Array:
    """(N, C r r, H, W) becomes (N, C, H r, W r)."""
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels // (r * r), r, r, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, height * r, width * r)


def down(x: Array, r: int) -> Array:
    """(N, C, H r, W r) becomes (N, C r r, H, W)."""
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // r, r, width // r, r)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(n, -1, height // r, width // r)
