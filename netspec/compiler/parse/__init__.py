"""Text to syntax tree. Nothing outside this package knows Lark, which is loaded to build tables only.

What explains a slip is loaded when there is one: most files have none.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path

from netspec import codes
from netspec.compiler.parse.lalr import (
    Parser,
    Token,
    UnexpectedCharacterError,
    UnexpectedTokenError,
)
from netspec.compiler.parse.layout import MAX_NESTING, Layout, TooDeepError, token_span
from netspec.compiler.parse.shipped_nets import did_you_mean
from netspec.compiler.parse.tables import load_tables
from netspec.compiler.parse.tree_builder import LocatedError, TreeBuilder
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, NetspecError, Source
from netspec.files.regular_file import open_below, open_regular

MAX_FILE_BYTES = 1 << 20
MAX_SYNTAX_ERRORS = 10
# Every further error means parsing the rest again: a long file shows fewer of them at once.
MAX_PARSED = 40_000


def parse(source: Source) -> syntax.File:
    """Parse a source.

    Raises:
        NetspecError: with every syntax error that could be found; after each one the statement it
            stands in is skipped and parsing goes on.
    """
    text = source.text
    errors: list[Diagnostic] = []
    while True:
        try:
            tree = _parse_once(source, text)
        except NetspecError as error:
            from netspec.compiler.parse.recovery import without_statement

            (diagnostic,) = error.diagnostics
            errors.append(diagnostic)
            before, text = text, without_statement(text, diagnostic)
            exhausted = len(errors) * len(text) > MAX_PARSED or len(errors) >= MAX_SYNTAX_ERRORS
            if exhausted or text == before or not text.strip():
                raise NetspecError(errors) from None
        else:
            if errors:
                raise NetspecError(errors)
            return tree


def parse_shape(source: Source, start: int, end: int) -> syntax.ListExpr | None:
    """The list that a comment consists of, from its `[` on; None if it is no list."""
    with _LOCK:
        parser, builder, _ = _parser()
        builder.source = source
        try:
            file = parser.parse(source.text, Token("SHAPE", "", start, start, 1), end)
        except (UnexpectedTokenError, UnexpectedCharacterError, TooDeepError, LocatedError):
            return None
    definitions: tuple[object, ...] = file.definitions
    (only,) = definitions if len(definitions) == 1 else (None,)
    return only if isinstance(only, syntax.ListExpr) else None


def read_source(path: str | Path, shown_as: str | None = None, root: Path | None = None) -> Source:
    """Read a `.net` file.

    Args:
        path: Where it is.
        shown_as: What messages call it.
        root: A folder that the file lies below, with no link on the way; nothing else is read.

    Raises:
        NetspecError: if it cannot be read, or is not a text of allowed size.
    """
    name = shown_as or str(path)
    return decode_source(read_file(path, name, root), name)


def read_file(path: str | Path, name: str, root: Path | None = None) -> bytes:
    """The bytes of a file, as far as its size is allowed; see `read_source`.

    Raises:
        NetspecError: if it cannot be read.
    """
    try:
        with (
            open_regular(path) if root is None else open_below(root, Path(path).relative_to(root))
        ) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        help = did_you_mean(Path(path)) if isinstance(error, FileNotFoundError) else None
        message = f"cannot read {name}: {reason}"
        raise NetspecError.simple(codes.FILE_UNREADABLE, message, help) from None


def decode_source(raw: bytes, name: str) -> Source:
    """The text of a `.net` file.

    Raises:
        NetspecError: if it is too large, or is not UTF-8 text.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise NetspecError.simple(
            codes.LIMIT_FILE_SIZE, f"{name} is larger than {MAX_FILE_BYTES // 1024} KiB"
        )
    try:
        return Source(name, raw.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise NetspecError.simple(
            codes.FILE_NOT_TEXT,
            f"{name} is not UTF-8 text: byte 0x{raw[error.start]:02x} on line {line}",
        ) from None


_LOCK = threading.Lock()


def _parse_once(source: Source, text: str) -> syntax.File:
    with _LOCK:
        parser, builder, layout = _parser()
        builder.source = source
        try:
            result = parser.parse(text)
        except TooDeepError as error:
            span = token_span(source, error.token)
            message = f"brackets are nested deeper than {MAX_NESTING}"
            raise NetspecError([Diagnostic(codes.LIMIT_NESTING, message, span)]) from None
        except (UnexpectedTokenError, UnexpectedCharacterError) as error:
            from netspec.compiler.parse.errors import syntax_error

            literals = parser.tables.literals
            raise NetspecError([syntax_error(source, error, layout, literals)]) from None
        except LocatedError as error:
            raise NetspecError([error.diagnostic]) from None
    assert isinstance(result, syntax.File)
    return result


@functools.cache
def _parser() -> tuple[Parser, TreeBuilder, Layout]:
    layout, builder = Layout(), TreeBuilder()
    return Parser(load_tables(), builder, layout), builder, layout
