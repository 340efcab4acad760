"""The LALR tables of `grammar.lark`, built once and cached.

Lark builds them, which takes many times longer than loading them, so they are kept as JSON in the
user's cache directory. Without a writable cache they are built each time.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

from netspec.compiler.parse.lalr import Tables
from netspec.files.cache_folder import cache_folder
from netspec.files.regular_file import read_regular

_GRAMMAR = Path(__file__).parents[2] / "grammar.lark"
_FORMAT = 4  # of the cached file


def load_tables() -> Tables:
    """Return the tables of the grammar from the cache. The first call fills it."""
    grammar = f"// {_FORMAT}\n{_GRAMMAR.read_text('utf-8')}"
    try:
        path = cache_folder() / f"grammar-{zlib.crc32(grammar.encode()):08x}.json"
    except OSError:
        return Tables(_build(grammar))
    try:
        sum_of_text, _, text = read_regular(path).partition(b"\n")
        if sum_of_text == _checksum(text):
            data = json.loads(text)
            if data["grammar"] == grammar:
                return Tables(data)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, re.error):
        pass  # missing or damaged: build and write it
    data = {"grammar": grammar, **_build(grammar)}
    import tempfile

    try:
        # Machine code is kept there too, for which others must not write to the folder.
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as own:
            partial = Path(own) / path.name
            text = json.dumps(data).encode()
            partial.write_bytes(_checksum(text) + b"\n" + text)
            partial.replace(path)
    except OSError:
        pass  # without a writable cache the next start is only slower
    return Tables(data)


def _checksum(text: bytes) -> bytes:
    """Return a checksum of a cached text, since a file that was changed by hand may still be valid
    JSON.
    """
    return b"%08x" % zlib.crc32(text)


def _build(grammar: str) -> dict[str, Any]:
    """Build the data of `Tables`, in a form that JSON can store."""
    import lark
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    parser = lark.Lark(
        grammar, parser="lalr", lexer="contextual", keep_all_tokens=True, maybe_placeholders=False
    )
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    table = data["parser"]["parser"]
    names = dict(table["tokens"].items())
    rules: list[Any] = []
    numbers: dict[int, int] = {}
    for key, entry in memo.items():
        if entry["__type__"] != "Rule":
            continue
        symbols = [symbol["name"] for symbol in entry["expansion"]]
        spliced = [
            i
            for i, symbol in enumerate(entry["expansion"])
            if symbol["__type__"] == "NonTerminal" and symbol["name"].startswith("_")
        ]
        numbers[key] = len(rules)
        expand = bool(entry["options"]["expand1"])
        rules.append((entry["origin"]["name"], len(symbols), spliced, expand))
    order = {state: i for i, state in enumerate(table["states"])}
    states = [
        {
            names[symbol]: order[argument] if action == 0 else -1 - numbers[argument["@"]]
            for symbol, (action, argument) in entries.items()
        }
        for entries in table["states"].values()
    ]
    terminals = sorted(
        (t for t in parser.terminals if t.pattern is not None),
        key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name),
    )
    words = {t.name: t.pattern.value for t in terminals if t.pattern.type == "str"}
    general = [t for t in terminals if t.pattern.type == "re"]
    (start,) = table["start_states"].values()
    (end,) = table["end_states"].values()

    def owner(terminal: TerminalDef) -> str:
        """Return the general terminal that matches the whole of a keyword, or an empty text."""
        word = words.get(terminal.name)
        fits = (
            other.name
            for other in general
            if word is not None
            and other.priority == terminal.priority
            and re.fullmatch(other.pattern.to_regexp(), word)
        )
        return next(fits, "")

    return {
        "states": states,
        "rules": rules,
        "terminals": [(t.name, t.pattern.to_regexp(), owner(t)) for t in terminals],
        "ignored": list(parser.ignore_tokens),
        "start": order[start],
        "end": order[end],
        "literals": words,
    }
