"""The exit codes of the command line."""

from __future__ import annotations

OK, FAILED, WRONG_USE, INTERNAL_ERROR = 0, 1, 2, 70
# 128 plus the number of the signal, as in shells.
HUNG_UP, INTERRUPTED, BROKEN_PIPE, TERMINATED = 129, 130, 141, 143
