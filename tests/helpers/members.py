"""The members of a flat vector of parameters, for optimizers."""

from __future__ import annotations

from netspec.runtime.optim.members import Member


def weights_first(decayed: int, size: int) -> tuple[Member, ...]:
    """Return a vector of `size` numbers, of which the first decay, as two members."""
    weights = Member("w", slice(0, decayed), (decayed,))
    return weights, Member("b", slice(decayed, size), (size - decayed,), decay=0.0)
