"""What the command line's exit codes mean."""

from __future__ import annotations

OK, FAILED, WRONG_USE, INTERNAL_ERROR = 0, 1, 2, 70
# 128 and the number of the signal, as shells have it.
HUNG_UP, INTERRUPTED, BROKEN_PIPE, TERMINATED = 129, 130, 141, 143
