"""A lock on a folder that only one process at a time may write to."""

from __future__ import annotations

import errno
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

from netspec import codes
from netspec.diagnostics import NetspecError

# The system's error codes if another process has the lock.
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class FolderLock:
    """Locks a folder against other processes until it is released or the process ends in any way.

    The folder itself is locked, so no lock file is left behind, and the lock is kept if the folder
    is renamed. If the system cannot lock folders (on Windows and some network disks) nothing is
    locked.

    Args:
        path: The folder. If it does not exist, nothing is locked.

    Attributes:
        held: True if it is locked.

    Raises:
        NetspecError: `run/in-use` if it is locked elsewhere, in this process or another.
    """

    def __init__(self, path: Path) -> None:
        self.held = False
        self.release: Callable[[], object] = lambda: None
        if sys.platform == "win32":
            return
        import fcntl

        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        self.release = weakref.finalize(self, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except OSError as error:
            self.release()
            if error.errno in _TAKEN:
                raise NetspecError.simple(
                    codes.RUN_IN_USE,
                    f"{path} is in use: another process is training this run",
                    "wait until it ends, or stop it: it saves its state, and the run can be resumed",
                ) from None
