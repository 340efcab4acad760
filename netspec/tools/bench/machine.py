"""What a measurement ran on, without a name that says whose it is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """A machine and its software.

    Attributes:
        processor: its model.
        cores: that this process may use.
        vectors: the widest vector instructions, where they are known.
        system: such as `Linux x86_64`.
        python: its version.
        numpy: its version.
        blas: NumPy's, with the kernels that it chose.
        load: how many processes were running in the last minute, where the system says so.
    """

    processor: str
    cores: int
    vectors: str
    system: str
    python: str
    numpy: str
    blas: str
    load: float | None

    @property
    def is_busy(self) -> bool:
        """Whether others take a share that shows in the times."""
        return self.load is not None and self.load > 0.5 * self.cores


def machine() -> Machine:
    """Where we are."""
    import numpy

    from netspec.kernels.parallel import available

    processor, vectors = _processor()
    return Machine(
        processor,
        available(),
        vectors,
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        numpy.__version__,
        _blas(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _processor() -> tuple[str, str]:
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    except OSError:
        return platform.processor() or "unknown", ""
    flags = facts.get("flags", "").split()
    widest = next((f for f in ("avx512f", "avx2", "avx") if f in flags), "")
    return facts.get("model name", platform.processor() or "unknown"), widest.removesuffix("f")


def _blas() -> str:
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return ", ".join(
        " ".join(
            str(library[key])
            for key in ("internal_api", "version", "architecture")
            if library.get(key)
        )
        for library in found
    )
