"""Parses text into a syntax tree.

Nothing outside this package knows Lark, which is loaded only to build the tables. The modules that
explain syntax errors are loaded only when there is one: most files have none.
"""

from __future__ import annotations

import codecs
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
from netspec.compiler.parse.layout import Layout, TooDeepError
from netspec.compiler.parse.shipped_nets import did_you_mean
from netspec.compiler.parse.tables import load_tables
from netspec.compiler.parse.tree_builder import LocatedError, TreeBuilder
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, NetspecError, Source, Span
from netspec.files.model_files import is_model, what_to_do
from netspec.files.regular_file import open_below, open_regular

MAX_FILE_BYTES = 1 << 20


def parse(source: Source) -> syntax.File:
    """Parse a source into a syntax tree.

    Raises:
        NetspecError: with every syntax error that could be found; see `recovery`.
    """
    try:
        with _LOCK:
            return _parse(source)
    except (UnexpectedTokenError, UnexpectedCharacterError, TooDeepError, LocatedError) as error:
        from netspec.compiler.parse.recovery import syntax_errors

        raise NetspecError(syntax_errors(source, _parser()[0].tables, error)) from None


def parse_shape(source: Source, start: int, end: int) -> syntax.ListExpr | None:
    """Return the list that a comment consists of, from its `[` on; None if the comment is not a
    list.
    """
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


def parse_hole(source: Source, start: int, end: int) -> syntax.Expr:
    """Return the constant in a brace of a label in quotes, while the file is parsed.

    Raises:
        LocatedError: if it is not one expression.
    """
    parser, builder, _ = _hole_parser()
    builder.source = source
    try:
        file = parser.parse(source.text, Token("TEXT_HOLE", "", start, start, 1), end)
    except (UnexpectedTokenError, UnexpectedCharacterError, TooDeepError):
        message = "a brace in a label holds one constant, such as `{i + 1}`"
        span = Span(source, start, end)
        raise LocatedError(Diagnostic(codes.LABEL_INVALID, message, span)) from None
    (expr,) = file.definitions
    found: syntax.Expr = expr
    return found


def read_source(path: str | Path, shown_as: str | None = None, root: Path | None = None) -> Source:
    """Read a `.net` file.

    Args:
        path: Where it is.
        shown_as: The name of the file in messages.
        root: A folder that must contain the file, with no symbolic link on the way. Otherwise the
            file is not read.

    Raises:
        NetspecError: if it cannot be read, or is not a text of allowed size.
    """
    name = shown_as or str(path)
    return decode_source(read_file(path, name, root), name)


def read_file(path: str | Path, name: str, root: Path | None = None) -> bytes:
    """Return the bytes of a file, up to one more than the allowed size; see `read_source`.

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
    """Decode the text of a `.net` file.

    Raises:
        NetspecError: if it is too large, or is not UTF-8 text; a model's file is neither.
    """
    if is_model(name):
        raise NetspecError.simple(codes.FILE_NOT_TEXT, f"{name} is no .net file", what_to_do(name))
    if len(raw) > MAX_FILE_BYTES:
        raise NetspecError.simple(
            codes.LIMIT_FILE_SIZE, f"{name} is larger than {MAX_FILE_BYTES // 1024} KiB"
        )
    try:
        return Source(name, raw.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            message = f"{name} is UTF-16 text"
            help = "save it as UTF-8; Windows Notepad has that under `Save as`, `Encoding`"
            raise NetspecError.simple(codes.FILE_NOT_TEXT, message, help) from None
        line = raw.count(b"\n", 0, error.start) + 1
        raise NetspecError.simple(
            codes.FILE_NOT_TEXT,
            f"{name} is not UTF-8 text: byte 0x{raw[error.start]:02x} on line {line}",
        ) from None


_LOCK = threading.Lock()


def _parse(source: Source) -> syntax.File:
    """Parse a source, stopping at the first error.

    Raises:
        UnexpectedTokenError, UnexpectedCharacterError, TooDeepError, LocatedError: at the first
            error.
    """
    parser, builder, _ = _parser()
    builder.source = source
    result = parser.parse(source.text)
    assert isinstance(result, syntax.File)
    return result


@functools.cache
def _hole_parser() -> tuple[Parser, TreeBuilder, Layout]:
    """The parser of what stands in a label's braces, while another parses the file."""
    layout, builder = Layout(), TreeBuilder()
    return Parser(load_tables(), builder, layout), builder, layout


@functools.cache
def _parser() -> tuple[Parser, TreeBuilder, Layout]:
    layout, builder = Layout(), TreeBuilder()
    return Parser(load_tables(), builder, layout), builder, layout
