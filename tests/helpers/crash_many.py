"""Kill as many runs as you like: `python -m tests.helpers.crash_many [COUNT] [SEED]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.helpers.killing import kill_many


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        steps = kill_many(Path(folder), count, seed, print)
    before, other = steps.count(-1), len({*steps})
    print(
        f"{len(steps)} kills, {before} before there was a run, {other} different places: all went on"
    )


if __name__ == "__main__":
    main()
