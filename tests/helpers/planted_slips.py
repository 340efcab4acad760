"""Plants syntax errors in good files, and counts how many of them one run reports.

    python -m tests.helpers.planted_slips --files 200 --seed 0 [--shown 20]

A file is a good one from which two or three tokens were deleted, each of which alone gives a syntax
error. A slip counts as reported if there is an error on its line. For a bracket or brace, an error
where its partner was opened, or at the first token that is not allowed, counts as well. An error
that reports no slip is a follow-on error.
"""

from __future__ import annotations

import argparse
import functools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.parse import TreeBuilder, parse
from netspec.compiler.parse.lalr import Parser, UnexpectedCharacterError, UnexpectedTokenError
from netspec.compiler.parse.layout import Layout, TooDeepError
from netspec.compiler.parse.tables import load_tables
from netspec.compiler.parse.tree_builder import LocatedError
from netspec.diagnostics import Diagnostic, NetspecError, Source

ROOT = Path(__file__).parents[2]
_LEXEME = re.compile(
    r"(?P<blank>\s+|#[^\n]*)|\"[^\"\n]*\"|[A-Za-z_]\w*|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?"
    r"|->|\*\*|//|[=!<>]=|[^\s]"
)
_PARTNERS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Slip:
    """A token that was deleted.

    Attributes:
        start: its position in the good text.
        token: its text.
        lines: the lines on which an error reports it, counted from 1.
    """

    start: int
    token: str
    lines: frozenset[int]


@dataclass(frozen=True)
class Planted:
    """A good text from which some tokens were deleted."""

    name: str
    text: str
    slips: tuple[Slip, ...]


@dataclass(frozen=True)
class Score:
    """How well one run over a file reports its slips."""

    planted: Planted
    missed: tuple[Slip, ...]
    follow_ons: tuple[Diagnostic, ...]


@functools.cache
def good_files() -> list[tuple[str, str]]:
    """Return the `.net` files of the repository that parse, with their names."""
    found = []
    for folder in ("networks", "docs", "tests"):
        for path in sorted((ROOT / folder).rglob("*.net")):
            text = path.read_text("utf-8", "replace")
            if "bad" not in path.parts and first_refused(text) is None:
                found.append((path.relative_to(ROOT).as_posix(), text))
    return found


def first_refused(text: str) -> int | None:
    """Return the position of the first token that the grammar does not allow; None for a good text."""
    builder, layout = TreeBuilder(), Layout()
    builder.source = Source("planted.net", text)
    try:
        Parser(load_tables(), builder, layout).parse(text)
    except UnexpectedTokenError as error:
        at = error.token.start_pos
        return len(text.rstrip()) if at is None else at
    except UnexpectedCharacterError as error:
        return error.at
    except TooDeepError as error:
        return error.token.start_pos
    except LocatedError as error:
        return error.diagnostic.span.start if error.diagnostic.span is not None else 0
    return None


def planted(rng: random.Random) -> Planted:
    """Return a file with two or three slips."""
    name, text = rng.choice(good_files())
    tokens = [m for m in _LEXEME.finditer(text) if m.lastgroup != "blank"]
    wanted = rng.choice([2, 3])
    chosen: list[re.Match[str]] = []
    slips: list[Slip] = []
    for token in rng.sample(tokens, len(tokens)):
        refused = first_refused(_without(text, [token]))
        if refused is None:
            continue
        chosen.append(token)
        lines = {_line(text, token.start())}
        if token[0] in "()[]{}":
            # A position has the same line in both texts, because no token spans several lines.
            lines.add(_line(_without(text, [token]), refused))
            lines.add(_line(text, _opener(tokens, token)))
        slips.append(Slip(token.start(), token[0], frozenset(lines)))
        if len(slips) == wanted:
            break
    return Planted(name, _without(text, chosen), tuple(slips))


def scored(case: Planted) -> Score:
    """Check a file and match its errors with its slips."""
    result = compile_request(Request(source=Source(case.name, case.text)))
    errors = [d for d in result.errors if d.span is not None]
    pairs = _matched(case.slips, errors)
    missed = tuple(slip for slip in case.slips if slip not in pairs)
    follow_ons = tuple(d for i, d in enumerate(errors) if i not in pairs.values())
    return Score(case, missed, follow_ons)


def scores(files: int, seed: int) -> Iterator[Score]:
    """Yield the scores of this many files."""
    rng = random.Random(seed)
    for _ in range(files):
        yield scored(planted(rng))


def _matched(slips: tuple[Slip, ...], errors: list[Diagnostic]) -> dict[Slip, int]:
    """Match as many slips as possible with an error each.

    Return the index of the error of each slip.
    """
    pairs: dict[Slip, int] = {}

    def place(slip: Slip, seen: set[int]) -> bool:
        for i, error in enumerate(errors):
            assert error.span is not None
            if error.span.line not in slip.lines or i in seen:
                continue
            seen.add(i)
            owner = next((other for other, j in pairs.items() if j == i), None)
            if owner is None or place(owner, seen):
                pairs[slip] = i
                return True
        return False

    for slip in slips:
        place(slip, set())
    return pairs


def _opener(tokens: list[re.Match[str]], closer: re.Match[str]) -> int:
    """Return the position of the bracket that opens a closing one. An opening one is its own."""
    open_ones: list[int] = []
    for token in tokens:
        if token[0] in "([{":
            open_ones.append(token.start())
        elif token[0] in _PARTNERS:
            opener = open_ones.pop()
            if token.start() == closer.start():
                return opener
    return closer.start()


def _without(text: str, tokens: list[re.Match[str]]) -> str:
    for token in sorted(tokens, key=lambda match: -match.start()):
        text = text[: token.start()] + text[token.end() :]
    return text


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def main() -> None:
    """Print the rates, and some of the files whose slips were not reported as they should be."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--shown", type=int, default=0)
    given = options.parse_args()
    found = list(scores(given.files, given.seed))
    slips = sum(len(score.planted.slips) for score in found)
    missed = sum(len(score.missed) for score in found)
    follow_ons = sum(len(score.follow_ons) for score in found)
    errors = slips - missed + follow_ons
    for score in [s for s in found if s.missed or s.follow_ons][: given.shown]:
        print(f"--- {score.planted.name}")
        lines = score.planted.text.split("\n")
        for slip in score.planted.slips:
            word = "missed" if slip in score.missed else "reported"
            for line in sorted(slip.lines):
                print(f"{word} {slip.token!r} {line}: {lines[line - 1]}")
        try:
            parse(Source(score.planted.name, score.planted.text))
        except NetspecError as error:
            for d in error.diagnostics:
                follows = "FOLLOW" if d in score.follow_ons else "ok"
                print(f"  {follows} {d.span.line if d.span else 0}: {d.message} {d.label}")
    print(
        f"{given.files} files: {slips - missed} of {slips} slips reported "
        f"({100 * (slips - missed) / slips:.1f} %), {follow_ons} of {errors} errors follow on "
        f"({100 * follow_ons / max(1, errors):.1f} %)"
    )


if __name__ == "__main__":
    main()
