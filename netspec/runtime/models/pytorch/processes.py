"""The processes of one run: a single one, or those started by torchrun."""

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

# Words in the messages of broken connections.
_BROKEN = ("gloo", "Connection", "connection")


@dataclass(frozen=True)
class ProcessGroup:
    """One of `size` processes, with its number `rank`, and `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, computed in place; all processes must call this."""
        if self.size > 1:
            with let_go(values):
                dist.all_reduce(values)
        return values

    def each(self, values: Tensor) -> list[Tensor]:
        """Return the values of every process, in the order of ranks; all processes must call this."""
        if self.size == 1:
            return [values]
        found = [torch.empty_like(values) for _ in range(self.size)]
        with let_go(values, *found):
            dist.all_gather(found, values)
        return found

    def follow_first(self, module: nn.Module) -> None:
        """Copy the buffers of the first process to all others."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Context manager: the first process goes first, because it may have to download something."""
        if self.size > 1 and self.rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.rank == 0:
            dist.barrier()


@contextmanager
def let_go(*tensors: Tensor) -> Iterator[None]:
    """Context manager: at the end, wait until the communication's threads have released the tensors.

    Gloo's threads release a tensor shortly after all processes have its value. If Python has
    released it before, the thread that does so last needs the interpreter's lock. At the end of the
    process that lock is never available again, and the process would be aborted.
    """
    before = [tensor._use_count() for tensor in tensors]
    yield
    deadline = time.monotonic() + 1
    for tensor, count in zip(tensors, before, strict=True):
        while tensor._use_count() > count and time.monotonic() < deadline:
            time.sleep(0)


def from_environment() -> ProcessGroup:
    """Return the process as described by torchrun's environment variables; a single one without them.

    Raises:
        NetspecError: `train/bad-option` if they are not valid.
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


def current_group() -> ProcessGroup:
    """Return the process in the group that some engine has formed; a single one without."""
    if not dist.is_available() or not dist.is_initialized():
        return ProcessGroup()
    return ProcessGroup(
        dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0"))
    )


def _own_store() -> dist.Store:
    """Return the store in which processes find each other, without what those before a restart left.

    torchrun's store outlives them, and PyTorch would connect to the addresses of processes that are gone.
    """
    store, _, _ = next(dist.rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"netspec/attempt-{attempt}", store)


@contextmanager
def joined(group: ProcessGroup, device: torch.device) -> Iterator[None]:
    """Context manager: join the group, with NCCL between GPUs and gloo between CPUs.

    Raises:
        NetspecError: `process/lost` if the others cannot be reached.
    """
    if group.size == 1:
        yield
        return
    gpu = device if device.type == "cuda" else None
    with ordinary_loss():
        dist.init_process_group(
            "gloo" if gpu is None else "nccl",
            store=_own_store(), rank=group.rank, world_size=group.size, device_id=gpu,
        )  # fmt: skip
        try:
            yield
        except BaseException:
            # NCCL would first wait for the others, which may be gone; the process ends anyway.
            if gpu is None:
                dist.destroy_process_group()
            raise
        # The first process saves after the others are done; none may close its connection before.
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def ordinary_loss() -> Iterator[None]:
    """Context manager: turns a connection broken by another process's end into a NetspecError.

    Raises:
        NetspecError: `process/lost`.
    """
    try:
        yield
    except RuntimeError as error:
        # NCCL raises its own errors; gloo raises a plain RuntimeError that names its source file.
        text = str(error).strip()
        if not isinstance(error, dist.DistError) and not any(w in text for w in _BROKEN):
            raise
        raise lost_process((text or type(error).__name__).splitlines()[0][:200]) from None
