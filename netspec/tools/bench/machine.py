"""The machine of a measurement, without a name that would identify its owner."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine and its software.

    Attributes:
        processor: the model.
        cores: the number of cores that this process may use.
        vectors: the widest vector instructions, if known.
        system: such as `Linux x86_64`.
        python: the version of Python.
        numpy: the version of NumPy.
        blas: NumPy's BLAS, with the kernels that it chose.
        load: how many processes were running in the last minute, if the system tells.
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
        """Return True if other processes take a share that shows in the times."""
        return self.load is not None and self.load > 0.5 * self.cores


def machine() -> Machine:
    """Describe this machine."""
    import numpy

    from netspec.kernels.parallel import available
    from netspec.runtime.weights.host import processor

    name, vectors = processor()
    return Machine(
        name,
        available(),
        vectors,
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        numpy.__version__,
        _blas(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


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
