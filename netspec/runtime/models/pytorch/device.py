"""The device that a module runs on, and the errors that can occur there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name, require
from netspec.runtime.models.numpy_steps import out_of_memory
from netspec.runtime.models.protocols import lost_process
from netspec.runtime.models.pytorch.processes import ProcessGroup

DEVICES = ("auto", "cpu", "cuda")
AMP = ("off", "bf16", "fp16")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Execution:
    """How a module is run.

    Attributes:
        device: The device.
        amp: Autocast to `bf16` or `fp16` (with a gradient scaler), or `off`.
        channels_last: Store pictures and filters with the channels last.
        compiler: The backend of torch.compile, such as `inductor`; None does not compile.
        group: The group of processes that share each batch.
        shares_batch_norm: Batch norm uses the statistics of the images of all processes.
        compile_mode: One of `COMPILE_MODES`, for the compiler `inductor`.
        fused: Whether the optimizer moves all parameters in one kernel; None for on a GPU.
    """

    device: torch.device
    amp: str = "off"
    channels_last: bool = False
    compiler: str | None = None
    group: ProcessGroup = ProcessGroup()
    shares_batch_norm: bool = False
    compile_mode: str = "default"
    fused: bool | None = None

    def __post_init__(self) -> None:
        check_name("kind of mixed precision", self.amp, AMP)
        check_name("mode of torch.compile", self.compile_mode, COMPILE_MODES)

    @property
    def is_fused(self) -> bool:
        """Whether the optimizer moves all parameters in one kernel, where it has one."""
        return self.device.type == "cuda" if self.fused is None else self.fused

    def compiled(self, function: Callable[..., Any]) -> Any:
        """Return a module, or a function of a batch, compiled; each size of a batch by itself.

        CUDA graphs, of the modes other than the default, are recorded for each.
        """
        assert self.compiler is not None
        mode = None if self.compile_mode == "default" else self.compile_mode
        return torch.compile(function, backend=self.compiler, dynamic=False, mode=mode)

    @property
    def half(self) -> torch.dtype | None:
        """The type that autocast computes in; None without autocast."""
        return _HALF.get(self.amp)


def choose_device(name: str, group: ProcessGroup) -> torch.device:
    """Return the device `auto` (a GPU if there is one), `cpu` or `cuda`; each process has its own GPU.

    Raises:
        NetspecError: `train/bad-option` if there is no such GPU.
    """
    check_name("device", name, DEVICES)
    available = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not available):
        return torch.device("cpu")
    built = torch.version.cuda is not None or torch.version.hip is not None
    require(
        available,
        "PyTorch finds no GPU" + ("" if built else ": this PyTorch was built without GPU support"),
        "--device cpu, or auto, which uses a GPU if there is one",
    )
    count = torch.cuda.device_count()
    require(
        group.local_rank < count,
        f"process {group.local_rank} of this machine has no GPU: there are {count}",
        f"torchrun --nproc-per-node={count}",
    )
    device = torch.device("cuda", group.local_rank)
    torch.cuda.set_device(device)
    return device


@contextmanager
def ordinary_errors(batch: int, compiler: str | None) -> Iterator[None]:
    """Context manager: turns no memory, a failing compiler and a lost worker into a NetspecError.

    Raises:
        NetspecError: `train/out-of-memory`, `train/bad-option`, `process/lost`.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise out_of_memory(batch, _first_line(error)) from None
    except RuntimeError as error:
        # The CPU's allocator has no exception class of its own.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise out_of_memory(batch, _first_line(error)) from None
        if "DataLoader worker" in str(error):  # raised by a signal, wherever the process is
            raise lost_process(_first_line(error)) from None
        raised_in = type(error).__module__
        if compiler is None or not raised_in.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise NetspecError.simple(
            codes.TRAIN_BAD_OPTION,
            f"torch.compile failed: {_first_line(error)}",
            "train without --compile; on a CPU it needs a C++ compiler, on a GPU Triton",
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
