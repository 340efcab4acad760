"""The LALR tables of `grammar.lark`, built once and kept.

They take ten times longer to build than to load, so they are kept as JSON in the user's cache
directory under the grammar's hash; without a writable one they are built each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from netspec.compiler.parse.layout import Layout

_GRAMMAR = Path(__file__).parents[2] / "grammar.lark"
_FORMAT = 2  # of the cached file


def load_parser(**options: Any) -> lark.Lark:
    """A parser with the given `postlex` and `transformer`."""
    grammar = _GRAMMAR.read_text("utf-8")
    data, memo = _cached_tables(grammar)
    parser: lark.Lark = lark.Lark._load_from_dict(data, memo, **options)  # type: ignore[no-untyped-call]
    return parser


def _cached_tables(grammar: str) -> tuple[dict[str, Any], dict[int, Any]]:
    """The tables of the grammar from the cache, which is filled at the first call."""
    from platformdirs import user_cache_dir

    key = hashlib.sha256(f"{_FORMAT} {lark.__version__}\n{grammar}".encode()).hexdigest()[:16]
    path = Path(user_cache_dir("netspec")) / f"grammar-{key}.json"
    try:
        data, memo = _from_json(path.read_bytes())
        return data, memo
    except (OSError, ValueError, TypeError):
        pass  # not there yet, or damaged: build and write it
    tables = json.dumps(_build(grammar), default=sorted)  # its sets
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(tables, "utf-8")
        partial.replace(path)
    except OSError:
        pass  # no writable cache: only slower
    data, memo = _from_json(tables)
    return data, memo


def _build(grammar: str) -> tuple[dict[str, Any], dict[int, Any]]:
    parser = lark.Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        postlex=_AlwaysAccept(),
        keep_all_tokens=True,
        maybe_placeholders=False,
    )
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    data["options"]["postlex"] = None  # an object; given anew when the tables are loaded
    return data, memo


class _AlwaysAccept:
    """Stands in for the layout while tables are built: Lark asks it for these terminals only."""

    always_accept = Layout.always_accept


def _from_json(raw: bytes | str) -> Any:
    """Lark's tables; JSON wrote their numeric keys as strings."""
    return json.loads(raw, object_pairs_hook=_with_numbers)


def _with_numbers(pairs: list[tuple[str, Any]]) -> dict[str | int, Any]:
    return {int(key) if key.isdecimal() else key: value for key, value in pairs}
