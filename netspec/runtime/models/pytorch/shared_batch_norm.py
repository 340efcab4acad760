"""Batch norm over the images of all processes of a step.

PyTorch's own `nn.SyncBatchNorm` runs on GPUs alone, and counts images that a process without a share
computes so that all take part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from netspec.runtime.models.pytorch.processes import ProcessGroup


class Participation:
    """Whether the images that this process computes in a step count.

    Attributes:
        counts: False for a process that has no share, see `netspec.runtime.data.batches.share`.
    """

    def __init__(self) -> None:
        self.counts = True


class SharedBatchNorm(_BatchNorm):  # type: ignore[misc]  # it has no types
    """A batch norm whose statistics in training are those of all processes together.

    Each process sends the mean, the sum of squares around it and the count of its own values, and
    combines those of all; the gradients of these go back to their process.

    Source: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983).

    Args:
        norm: the batch norm, whose parameters and buffers it shares.
        group: the processes.
        participation: whether the images of this one count.
    """

    def __init__(self, norm: _BatchNorm, group: ProcessGroup, participation: Participation) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats,
            device="meta",
        )  # fmt: skip
        self._parameters.update(norm._parameters)
        self._buffers.update(norm._buffers)
        self.training = norm.training
        self._check_input_dim = norm._check_input_dim
        self._group, self._participation = group, participation

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, ...)."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        values = x if x.dtype == torch.float64 else x.float()
        mean, variance, count = self._statistics(values)
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), count)
        shape = (1, -1, *[1] * (x.dim() - 2))
        scale = torch.rsqrt(variance + self.eps)
        out = (values - mean.view(shape)) * scale.view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean (C,) and the variance (C,) over all processes, and the count of values."""
        over = [0, *range(2, x.dim())]
        counts = float(self._participation.counts)
        mean = x.mean(over)
        squares = (x - mean.view(1, -1, *[1] * (x.dim() - 2))).square().sum(over)
        number = x.new_full((1,), counts * (x.numel() // x.shape[1]))
        own = torch.cat([mean * counts, squares * counts, number])
        every = _Gather.apply(own, self._group)
        means, sums, numbers = every.split([len(mean), len(mean), 1], dim=1)
        total = numbers.sum()
        whole = (numbers * means).sum(0) / total
        around = (numbers * (means - whole).square()).sum(0)
        return whole, (sums.sum(0) + around) / total, total.detach()

    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in PyTorch."""
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class _Gather(torch.autograd.Function):  # type: ignore[misc]  # it has no types
    """From the numbers (F,) of each process to those of all, (P, F)."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return torch.stack(group.each(own.contiguous()))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.total(gradient.clone(memory_format=torch.contiguous_format))[
            ctx.group.rank
        ], None


def share_batch_norms(module: nn.Module, group: ProcessGroup) -> Participation:
    """Put a shared batch norm in the place of each one; returns whether this process's images count."""
    participation = Participation()
    made: dict[nn.Module, nn.Module] = {}
    for parent, name, child in _batch_norms(module):
        made.setdefault(child, SharedBatchNorm(child, group, participation))
        setattr(parent, name, made[child])
    return participation


@contextmanager
def shared_batch_norms(module: nn.Module, group: ProcessGroup) -> Iterator[Participation]:
    """Context manager: the batch norms of a module are shared, and afterwards its own again."""
    places = _batch_norms(module)
    try:
        yield share_batch_norms(module, group)
    finally:
        for parent, name, child in places:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)


def _batch_norms(module: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return the places of the batch norms in a module: the parent, the name, and the norm."""
    return [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent._modules.items()
        if isinstance(child, _BatchNorm)
    ]
