"""A process of a sweep: `netspec` that ends, with its state saved, when the process that began it has.

A run must not go on, and keep its folder locked, when its sweep was killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from netspec.cli import main


def end_with_the_sweep() -> None:
    """Wait until standard input is closed, as it is however the sweep ends; then stop this process."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_sweep, daemon=True).start()
    sys.exit(main())
