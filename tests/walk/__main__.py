"""A random walk over the public Python API and the command line.

    python -m tests.walk --seconds 3600 --seed 0
    python -m tests.walk --seed 0 --episode 17        # one episode again

Objects are made, used, trained, copied, pickled, shared, forked, interrupted, saved and dropped in
an order that the seed chooses; inputs are odd in type, size, order and content. Each answer is
compared with the reference interpreter or an undisturbed twin, each rejection must be an ordinary
error, no step may hang, and after ten minutes memory may grow by 5 % at most. A find is printed
with the steps that led to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.walk.walker import Report, walk, walk_episode

ROOT = Path(__file__).parents[2]


# glibc keeps what threads have freed, up to twice the largest array that ever was, in an arena for each
# thread: with fixed thresholds it goes back to the system, and the memory measured is what is in use.
RETURNED = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episode", type=int, help="walk this one alone")
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.episode is not None:
        found = walk_episode(options.seed, options.episode, Report(), options.journal)
        print(found or "nothing was found")
        return found is not None
    if options.journal is not None:
        report = walk(options.seconds, options.seed, options.journal)
        for each in report.finds:
            print(each)
        print(report, flush=True)
        return bool(report.finds)
    # Each walk is a process of its own, so that one that crashes or hangs leaves its journal.
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.txt"
        command = [sys.executable, "-m", "tests.walk", "--seconds", str(options.seconds)]
        command += ["--seed", str(options.seed), "--journal", str(journal)]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | RETURNED, check=False).returncode
        if code not in (0, 1) or (code == 1 and not journal.exists()):
            print(f"the walk ended with {code} in this episode:\n{journal.read_text('utf-8')}")
        return code


if __name__ == "__main__":
    sys.exit(main())
