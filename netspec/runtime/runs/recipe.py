"""Recipes: training options for a net in a TOML file beside it, which is checked like a `.net` file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.compiler.parse import decode_source, read_file
from netspec.diagnostics import Diagnostic, Hint, NetspecError, Source, Span, suggest
from netspec.runtime.runs.option_types import problem
from netspec.runtime.runs.options import OPTIONS, Option
from netspec.runtime.runs.toml_spans import TomlSpans, find_excess, find_places
from netspec.text.printable import printable

# The table with arguments of the net.
ARGUMENTS = "set"
# A limit on its size, because a recipe beside a net is read without being asked for.
MAX_LENGTH = 1 << 16
MAX_MISTAKES = 50
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONG_NUMBER = re.compile(r"[0-9][0-9_]{4000,}")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class Recipe:
    """The contents of a recipe.

    Attributes:
        source: Its text.
        values: By names of `OPTIONS`.
        arguments: Arguments of the net, as `--set` gives them.
        places: The positions of keys and values.
    """

    source: Source
    values: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    places: TomlSpans = field(default_factory=TomlSpans)

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.source.name

    def relocated(self, error: NetspecError, name: str) -> NetspecError:
        """Return an error about the value of an option with a span that points at the value."""
        span = self.places.values.get((name,)) or self.places.keys[(name,)]
        return NetspecError([_at(d, span) for d in error.diagnostics])


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        NetspecError: `file/...` if it cannot be read, `recipe/...` with every mistake in it.
    """
    return check_recipe(decode_source(read_file(path, str(path)), str(path)))


def check_recipe(source: Source) -> Recipe:
    """Check the text of a recipe.

    Raises:
        NetspecError: `limit/file-size`, `recipe/syntax`, or all other mistakes, of which only the
            first are reported: `recipe/key`, `recipe/value`.
    """
    content, places = parsed(source)
    known = {name for name, option in OPTIONS.items() if option.recipe}
    refuse(mistakes(content, places, known))
    arguments = {name: as_constant(value) for name, value in content.pop(ARGUMENTS, {}).items()}
    return Recipe(source, content, arguments, places)


def parsed(source: Source) -> tuple[dict[str, Any], TomlSpans]:
    """Return what a TOML text says, and where.

    Raises:
        NetspecError: `limit/file-size`, `recipe/syntax`.
    """
    if len(source.text) > MAX_LENGTH:
        message = f"{source.name} is larger than {MAX_LENGTH // 1024} KiB, the limit of recipes"
        raise NetspecError.simple(codes.LIMIT_FILE_SIZE, message)
    excess = find_excess(source)
    if excess is not None:
        raise NetspecError([Diagnostic(codes.RECIPE_SYNTAX, *excess)])
    try:
        content = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise NetspecError([_syntax(source, str(error))]) from None
    except ValueError:  # Python's limit on the digits of a number
        raise NetspecError([_long_number(source)]) from None
    return content, find_places(source)


def refuse(wrong: Iterator[Diagnostic]) -> None:
    """Raise the first of these mistakes, if there are any.

    Raises:
        NetspecError: with them.
    """
    found = [*islice(wrong, MAX_MISTAKES + 1)]
    if len(found) > MAX_MISTAKES:
        message = f"{MAX_MISTAKES} mistakes: fix these to see any others"
        found[-1] = Diagnostic(codes.LIMIT_ERRORS, message)
    if found:
        raise NetspecError(found)


def mistakes(
    content: Mapping[str, Any], places: TomlSpans, known: Collection[str]
) -> Iterator[Diagnostic]:
    """Yield what is wrong with options and with arguments of a net.

    Args:
        content: what a recipe says.
        places: where it says it.
        known: the options that it may set.
    """
    for name, value in content.items():
        key = places.keys[(name,)]
        if _is_too_large(value):
            message = f"`{name[:60]}` holds a whole number of more than 64 bits"
            span = places.values.get((name,), key)
            yield Diagnostic(codes.RECIPE_VALUE, message, span)
        elif name == ARGUMENTS:
            yield from _wrong_arguments(value, places)
        elif name in known:
            yield from _wrong_value(OPTIONS[name], value, places)
        elif name in OPTIONS:
            yield Diagnostic(
                codes.RECIPE_KEY, f"a recipe cannot set `{name}`", key,
                hints=(Hint(f"give it on the command line: --{name}"),),
            )  # fmt: skip
        else:
            yield _unknown(name, key, known)


def _unknown(name: str, key: Span, known: Collection[str]) -> Diagnostic:
    meant = suggest(name.replace("_", "-"), known)
    if name.replace("_", "-") in known:
        meant = name.replace("_", "-")
    hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(known))}"
    message = f"there is no training option `{name[:60]}`"
    return Diagnostic(codes.RECIPE_KEY, message, key, hints=(Hint(hint),))


def _wrong_value(option: Option, value: Any, places: TomlSpans) -> Iterator[Diagnostic]:
    path = (option.name,)
    wrong = problem(option.kind, value)
    if wrong is None:
        try:
            if option.check is not None:
                option.check(value)
        except NetspecError as error:
            span = places.values.get(path, places.keys[path])
            yield from (_at(d, span) for d in error.diagnostics)
        return
    label, suggestion = wrong
    span = places.values.get(path, places.keys[path])
    if isinstance(value, list):  # the item at fault
        bad = (i for i, item in enumerate(value) if problem(option.kind, [item]))
        span = places.values.get((*path, next(bad, 0)), span)
    if isinstance(value, dict):
        names = (name for name, item in value.items() if problem(option.kind, {name: item}))
        inside = (*path, next(names, ""))
        span = places.values.get(inside, places.keys.get(inside, span))
    message = f"`{option.name}` must be {option.kind.describe()}"
    hints = (Hint(suggestion),) if suggestion else ()
    yield Diagnostic(codes.RECIPE_VALUE, message, span, label, hints=hints)


def _wrong_arguments(value: Any, places: TomlSpans) -> Iterator[Diagnostic]:
    if not isinstance(value, dict):
        message = f"`{ARGUMENTS}` is a table of arguments of the net"
        hints = (Hint(f"write [{ARGUMENTS}], and under it a line for each, such as depth = 56"),)
        span = places.values.get((ARGUMENTS,), places.keys[(ARGUMENTS,)])
        yield Diagnostic(codes.RECIPE_VALUE, message, span, hints=hints)
        return
    for name, item in value.items():
        if not is_constant(item):
            message = f"`{name}` must be a number, a bool, a string or a list of these"
            path = (ARGUMENTS, name)
            span = places.values.get(path, places.keys[path])
            yield Diagnostic(codes.RECIPE_VALUE, message, span)


def _is_too_large(value: Any) -> bool:
    """Return True if it contains an integer beyond TOML's range; some could not even be printed."""
    if isinstance(value, list | dict):
        return any(map(_is_too_large, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and value.bit_length() > 64


def is_constant(value: object) -> bool:
    """Whether a value of TOML or JSON is a constant of the language; `none` is JSON's alone."""
    if isinstance(value, list):
        return all(map(is_constant, value))
    return value is None or isinstance(value, bool | int | float | str)


def as_constant(value: Any) -> Any:
    """Convert a value from TOML or JSON to a constant of the language."""
    return tuple(map(as_constant, value)) if isinstance(value, list) else value


def _syntax(source: Source, text: str) -> Diagnostic:
    """Return the single error that `tomllib` found, with its position."""
    found = _PLACE.search(text)
    offset = len(source.text)
    if found is not None and found[1]:
        before = source.text.split("\n")[: int(found[1]) - 1]
        offset = sum(len(line) + 1 for line in before) + int(found[2]) - 1
    offset = min(offset, len(source.text))
    message = _PLACE.sub("", text)
    span = Span(source, offset, min(offset + 1, len(source.text)))
    hints = (Hint("a recipe is TOML: one `name = value` a line, texts in quotes"),)
    return Diagnostic(codes.RECIPE_SYNTAX, message, span, hints=hints)


def _long_number(source: Source) -> Diagnostic:
    found = _LONG_NUMBER.search(source.text)
    span = Span(source, found.start(), found.end()) if found else None
    return Diagnostic(codes.RECIPE_SYNTAX, "this number has too many digits", span)


def _at(diagnostic: Diagnostic, span: Span) -> Diagnostic:
    """Return a diagnostic about a value with the span of the value."""
    return Diagnostic(
        codes.RECIPE_VALUE, diagnostic.message, span, notes=diagnostic.notes,
        hints=diagnostic.hints,
    )  # fmt: skip


def recipe_text(values: Mapping[str, Any], arguments: Mapping[str, Any], about: str = "") -> str:
    """Return a recipe as TOML: those of `values` that a recipe may have, with a comment at the top."""
    lines = [f"# {printable(line)}" for line in about.splitlines()]
    tables = {ARGUMENTS: arguments} if arguments else {}
    for name, option in OPTIONS.items():
        value = values.get(name)
        if option.recipe and isinstance(value, Mapping):
            tables[name] = value
        elif option.recipe and value is not None and value != ():
            lines.append(_line(name, value))
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [_line(key, value) for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def before_lines(before: Mapping[str, Any]) -> list[str]:
    """Return what options were before a run was resumed with others, for the comment of its recipe.

    Args:
        before: See `Facts.before`.
    """
    return [
        f"Until step {step}, in epoch {changed['epoch']}: "
        + ", ".join(
            f"{name} = {'nothing' if value is None else _toml(value)}"
            for name, value in changed["options"].items()
        )
        for step, changed in before.items()
    ]


def _line(name: str, value: Any) -> str:
    text = f"{name if _BARE.fullmatch(name) else _toml(name)} = {_toml(value)}"
    # TOML does not allow these characters, which stand for bytes in file names that are not UTF-8.
    return text if _is_unicode(value) else f"# not UTF-8: {text}"


def _is_unicode(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_unicode, value))
    return not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else _escape(c) for c in escaped) + '"'
    return repr(value)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"
