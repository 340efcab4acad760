"""The processes of one run: alone, or those that torchrun started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.models.protocols import lost_process

# What is in the message of a connection that broke.
_BROKEN = ("gloo", "Connection", "connection")


@dataclass(frozen=True)
class ProcessGroup:
    """A process among `size`: its number `rank`, and `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place; all of them must ask for it."""
        if self.size > 1:
            with let_go(values):
                dist.all_reduce(values)
        return values

    def each(self, values: Tensor) -> list[Tensor]:
        """The values of every process, by its number; all of them must ask for it."""
        if self.size == 1:
            return [values]
        found = [torch.empty_like(values) for _ in range(self.size)]
        with let_go(values, *found):
            dist.all_gather(found, values)
        return found

    def follow_first(self, module: nn.Module) -> None:
        """Give every process the buffers of the first."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """The others begin when the first process is through: it may have to download something."""
        if self.size > 1 and self.rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.rank == 0:
            dist.barrier()


@contextmanager
def let_go(*tensors: Tensor) -> Iterator[None]:
    """Wait, at the end, until the communication's threads have let go of the tensors.

    Gloo's threads drop a tensor a moment after all have its value. Where Python has dropped it
    before, the last one to do so needs the interpreter's lock; at the end of the process that lock
    is never given again, and the process would be aborted.
    """
    before = [tensor._use_count() for tensor in tensors]
    yield
    deadline = time.monotonic() + 1
    for tensor, count in zip(tensors, before, strict=True):
        while tensor._use_count() > count and time.monotonic() < deadline:
            time.sleep(0)


def from_environment() -> ProcessGroup:
    """What torchrun says in the environment; one process without it.

    Raises:
        NetspecError: `train/bad-option` where this is no sound answer.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in names):
        return ProcessGroup()
    try:
        return ProcessGroup(*(int(os.environ[name]) for name in names))
    except ValueError:
        raise NetspecError.simple(
            codes.TRAIN_BAD_OPTION, f"{', '.join(names)} in the environment are not whole numbers"
        ) from None


@contextmanager
def joined(group: ProcessGroup, device: torch.device) -> Iterator[None]:
    """Be part of the group: NCCL between GPUs, gloo between CPUs.

    Raises:
        NetspecError: `process/lost` where the others cannot be reached.
    """
    if group.size == 1:
        yield
        return
    gpu = device if device.type == "cuda" else None
    with ordinary_loss():
        dist.init_process_group("gloo" if gpu is None else "nccl", device_id=gpu)
        try:
            yield
        except BaseException:
            # NCCL would first wait for the others, who may be gone; the process ends anyway.
            if gpu is None:
                dist.destroy_process_group()
            raise
        # The first process saves while the others are through: nobody hangs up on it.
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def ordinary_loss() -> Iterator[None]:
    """A connection that breaks, for another process has ended, is an ordinary error.

    Raises:
        NetspecError: `process/lost`.
    """
    try:
        yield
    except RuntimeError as error:
        # NCCL has errors of its own; gloo raises a bare RuntimeError that names its source file.
        text = str(error).strip()
        if not isinstance(error, dist.DistError) and not any(w in text for w in _BROKEN):
            raise
        raise lost_process((text or type(error).__name__).splitlines()[0][:200]) from None
