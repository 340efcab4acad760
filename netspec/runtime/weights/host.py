"""The machine that a run is on: its processor, its memory, and the installed versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

# The files with a container's memory limit, for versions 2 and 1 of Linux's control groups.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 1 << 62
# GiB of memory that netspec may take, more or less than there are.
MEMORY_VARIABLE = "NETSPEC_MEMORY"


def machine_memory() -> int:
    """Return the most bytes of memory that a process can have: the machine's, its container's, or what
    `ulimit -v` leaves it.

    NETSPEC_MEMORY in the environment, a number of GiB, overrides it. If the system does not tell,
    this is a number beyond any real memory.
    """
    given = _given_bytes()
    if given is not None:
        return given
    found = [_UNKNOWN, *_left_of_addresses()]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in (*_own_limits(), *_LIMITS):
        try:
            text = Path(name).read_text("ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit():  # `max` is no limit
            found.append(int(text))
    return min(size for size in found if size > 0)


def _given_bytes() -> int | None:
    """Return what NETSPEC_MEMORY says; None without it, and where it is no number above 0."""
    try:
        size = float(os.environ[MEMORY_VARIABLE]) * (1 << 30)
        return int(size) if size > 0 else None
    except (KeyError, ValueError, OverflowError):
        return None


def _own_limits() -> list[str]:
    """Yield the files with the limits of this process's group and of the groups above it."""
    try:
        line = Path("/proc/self/cgroup").read_text("ascii").splitlines()[0]
    except (OSError, ValueError, IndexError):
        return []
    group = Path("/sys/fs/cgroup" + line.rpartition(":")[2])
    return [str(folder / "memory.max") for folder in (group, *group.parents)]


def _left_of_addresses() -> list[int]:
    """Return what a limit of this process's addresses leaves; nothing where there is no limit."""
    try:
        import resource  # Windows has none

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (ImportError, OSError, ValueError, IndexError):
        return []
    taken = pages * os.sysconf("SC_PAGE_SIZE")
    return [] if limit == resource.RLIM_INFINITY else [max(1, limit - taken)]


def processor() -> tuple[str, str]:
    """Return the model of the processor, and its widest vector instructions; empty if unknown."""
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


def show_bytes(size: float) -> str:
    """`512 MiB`, `12.3 GiB`."""
    if size >= 1 << 30:
        return f"{size / (1 << 30):.1f} GiB"
    return f"{size / (1 << 20):.0f} MiB"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of the system, Python, and installed packages."""
    found = {"system": platform.platform(), "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
