"""Regular expressions that were written by others, matched within bounds.

Python's matcher can take longer than the age of the universe for a short pattern and a short text,
and nothing in the same process can end it. So a child of limited time and memory matches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

# Thousands of names take some milliseconds. The processor's time is limited to two seconds where
# the system can do that; this is for others, and generous on a busy machine.
SECONDS = 10.0
# Characters of all new names.
_MOST = 1 << 26

_CHILD = f"""
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
except (ImportError, ValueError, OSError):
    pass  # not everywhere
rules, names = json.load(sys.stdin)
rules = [(re.compile(pattern), replacement) for pattern, replacement in rules]
answers, left = [], {_MOST}
for name in names:
    answer = None
    for number, (pattern, replacement) in enumerate(rules):
        found = pattern.fullmatch(name)
        if found is not None:
            answer = number, found.expand(replacement)
            left -= len(answer[1])
            break
    if left < 0:
        sys.exit(1)
    answers.append(answer)
json.dump(answers, sys.stdout)
"""


class MatchingError(Exception):
    """The matching took too long, or too much memory."""


def first_matches(
    rules: Sequence[tuple[str, str]], names: Sequence[str]
) -> list[tuple[int, str] | None]:
    """Return for each name the number of the first pattern that matches it whole, and its new name.

    Args:
        rules: patterns that compile, each with a replacement that its groups fit.
        names: the names.

    Raises:
        MatchingError: after two seconds of processor time or ten in all, and beyond 1 GiB of memory
            or 64 Mi characters.
    """
    import subprocess  # slow to import

    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([list(rules), list(names)]).encode("ascii"),
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise MatchingError from None
    answers = json.loads(done.stdout)
    return [None if answer is None else (answer[0], answer[1]) for answer in answers]
