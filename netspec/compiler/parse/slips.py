"""A table of small mistakes that come from other languages, slides and PDFs, and their corrections.

A mistake is looked for where the parser could not continue. The edit corrects all such mistakes of
the line, because one that is left would make the edit look wrong when it is tried.
"""

from __future__ import annotations

import re

from netspec.diagnostics import Edit, Hint, Source, Span, quoted
from netspec.records import record

MAX_LINE = 400  # longer lines are not written by hand
_ARROWS = "→⟶➔➝➞⇒⟹↦➜►▶"
_BLANKS = "\N{NO-BREAK SPACE}\u2002\u2003\u2007\u2009\u200a\u202f\u3000"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_SIGNS = {
    **dict.fromkeys("“”„‟″‘’‚′«»", '"'), **dict.fromkeys("−–—‐‑", "-"), "×": "*", "⋅": "*",
    "·": "*", "∙": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!=",
    **dict.fromkeys(_BLANKS, " "), **dict.fromkeys(_INVISIBLE, ""),
    **{chr(ord(sign) + 0xFEE0): sign for sign in "()[]{},:=+-*/<>."},  # full-width forms
}  # fmt: skip
_ARROW = "an arrow is written `->`"
_OUTPUTS = "each output has a line of its own, and a name: `output scores = ...`"
_NAME = r"([A-Za-z_]\w*)"
# A value in a row of them: its commas stand in brackets.
_ITEM = r"(?>(?:(?!\s+(?:,|#|$))[^,()\[\]#=\"]|\([^()#\"]*\)|\[[^\[\]#\"]*\])+)"
_ASSIGNED = "a value is changed by giving its name anew: {better}"


@record(slots=True)
class Slip:
    """A mistake and its correction.

    In `help`, `{better}` stands for the corrected line and `{new}` for the corrected part.
    """

    pattern: re.Pattern[str]
    replacement: str
    help: str
    certain: bool = True

    def instead(self, match: re.Match[str]) -> str:
        """Return the text that replaces a mistake."""
        return match.expand(self.replacement) if self.replacement else _SIGNS.get(match[0], "")


def _slip(pattern: str, replacement: str, help: str, *, certain: bool = True) -> Slip:
    return Slip(re.compile(pattern), replacement, help, certain)


SLIPS = (
    _slip(r"(?:^|(?<=\s))//\s*(.*?)\s*$", r"# \1", "a comment starts with `#`"),
    _slip(rf"[{_ARROWS}]|[−–—]\s*>|=>|\|>|~>|-\s+>|->>", "->", _ARROW),
    _slip(r"(?<=[\w)\]])\s*\|\s*(?=[A-Za-z_])", " -> ", _ARROW),
    _slip(r"(?<!\s)\s*\^\s*", " ** ", "a power is written `**`"),
    _slip(r"\bin\s+(\w+)\s*\.\.\s*(\w+)", r"in range(\1, \2)", "a loop counts by `range`: {better}"),
    _slip(
        r"(->[ \t]*[A-Za-z_]\w*)[ \t]+(\d+(?:[ \t]*,[ \t]*(?:\w+[ \t]*=[ \t]*)?\w+){0,8})"
        r"(?=\s*(?:->|#|$))", r"\1(\2)",
        "arguments stand in brackets: {better}",
    ),
    _slip(r"\belif\b", "else if", "`elif` is written `else if`"),
    _slip(
        r"^(\s*)([A-Za-z_]\w*)\s*(\*\*|//|[-+*/%])=\s*([\w.]+?)\s*(?=#|$)",
        r"\1\2 = \2 \3 \4", _ASSIGNED,
    ),
    _slip(
        r"^(\s*)([A-Za-z_]\w*)\s*(\*\*|//|[-+*/%])=\s*([^#=][^#]*?)\s*(?=#|$)",
        r"\1\2 = \2 \3 (\4)", _ASSIGNED,
    ),
    _slip(
        r"(?<!\S)(?:let|const|var|val|auto)\s+(?:mut\s+)?([A-Za-z_]\w*)(?=\s*=)", r"\1",
        "a name needs no keyword before it",
    ),
    _slip(
        r"^(\s*)(input|parameter|buffer|constant)\s*:\s*([A-Za-z_]\w*)\s*:?\s*(?=\[)", r"\1\2 \3: ",
        "the name stands before the colon: {better}",
    ),
    _slip(r"^(\s*)(output|return)\s*:\s*(?=\w)", r"\1\2 ", "write it without the colon: {better}"),
    _slip(
        rf"^(\s*)output\s+{_NAME}\s*,\s*{_NAME}(?=\s*(?:#|$))",
        r"\1output \2 = \2\n\1output \3 = \3", _OUTPUTS,
    ),
    _slip(
        rf"^(\s*)output\s+{_NAME}\s*,\s*{_NAME}\s*,\s*{_NAME}(?=\s*(?:#|$))",
        r"\1output \2 = \2\n\1output \3 = \3\n\1output \4 = \4", _OUTPUTS,
    ),
    _slip(
        rf"^(\s*)output\s+({_ITEM})\s*,\s*({_ITEM})(?=\s*(?:#|$))",
        r"\1output a = \2\n\1output b = \3", _OUTPUTS, certain=False,
    ),
    _slip(
        rf"^(\s*)input\s+{_NAME}\s*,\s*{_NAME}\s*:\s*([^#]*?)(?=\s*(?:#|$))",
        r"\1input \2: \4\n\1input \3: \4", "each input has a line of its own",
    ),
    _slip(r":=", "=", "write `=`"),
    _slip(r"(?<![\w.)\]])\.(\d+)", r"0.\1", "a number starts with a digit: `{new}`"),
    _slip(r"(?<![\w.])(\d+)\.(?![\w.{])", r"\1.0", "digits follow a point: `{new}`"),
    _slip(r"'([^'\n\"]*)'", r'"\1"', 'strings are written with double quotes, "like this"'),
    _slip(r"\s*&&\s*", " and ", "write `and`"),
    _slip(r"\s*\|\|\s*", " or ", "write `or`"),
    _slip(r"!(?!=)\s*", "not ", "write `not`"),
    _slip(
        r"(?<=-> )([A-Za-z_][\w.{}]*-[\w.{}]+)(?=:)", r'"\1"',
        "signs in a label stand in quotes: `{new}`",
    ),
    # `z = y -> a if big else y -> b`
    _slip(
        r"^(\s*(?:[A-Za-z_]\w*\s*=|output|return)\s+)(?!\()"
        r"((?>(?:(?!->|\sif\s|#).)*->)(?>(?:(?!\sif\s|#).)+))\s+if\s+"
        r"((?>(?:(?!\selse\s|#).)+))\s+else\s+((?>(?:(?!\s*(?:#|$)).)+))",
        r"\1(\2) if \3 else (\4)", "put each chain in brackets: {better}", certain=False,
    ),
    _slip(
        r"^(\s*[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)+\s*=\s*)(?=[^#(]*,)((?>(?:(?!\s*(?:#|$)).)+))",
        r"\1(\2)", "several values need brackets: {better}", certain=False,
    ),
    _slip(f"[{_BLANKS}]", " ", "write an ordinary space instead"),
    _slip(f"[{_INVISIBLE}]", "", "leave it out: it cannot be seen"),
    _slip(f"[{re.escape(''.join(_SIGNS))}]", "", "write `{new}` instead"),
)  # fmt: skip
_TEXT = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#.*')
_COMMENT = re.compile(r"/\*.*?\*/|/\*.*", re.DOTALL)


def slip_at(source: Source, at: int) -> Hint | None:
    """Return a hint about the mistake at a place where the parser could not continue, or None."""
    start = source.text.rfind("\n", 0, at) + 1
    end = source.text.find("\n", at)
    end = len(source.text) if end < 0 else end
    line = source.text[start:end]
    if len(line) > MAX_LINE:
        return None
    for slip in SLIPS:
        for match in slip.pattern.finditer(line):
            if match.start() <= at - start <= match.end() and not _is_text(line, match.start()):
                better = mended(line)
                words = slip.help.format(better=quoted(better.strip()), new=slip.instead(match))
                return Hint(words, (Edit(Span(source, start, end), better),), slip.certain)
    return None


def mended(line: str) -> str:
    """Return a line with all its mistakes corrected."""
    for slip in SLIPS:
        at = 0
        while (match := slip.pattern.search(line, at)) is not None:
            if _is_text(line, match.start()):
                at = match.end()
                continue
            instead = slip.instead(match)
            line = line[: match.start()] + instead + line[match.end() :]
            at = match.start() + len(instead)
    return line


def _is_text(line: str, at: int) -> bool:
    """Whether a place is inside a string or a comment."""
    return any(found.start() < at < found.end() for found in _TEXT.finditer(line))


def comment_at(source: Source, at: int) -> tuple[Span, Hint] | None:
    """Return the span of the `/* ... */` around a place, and a hint with its lines as comments of
    ours; or None.
    """
    start = source.text.rfind("/*", 0, at + 1)
    found = _COMMENT.match(source.text, start) if start >= 0 else None
    if found is None or found.end() < at or _is_text(*_in_line(source.text, start)):
        return None
    lines = found[0].removesuffix("*/")[2:].split("\n")
    better = "\n".join(f"# {line.strip().removeprefix('* ')}".rstrip() for line in lines)
    behind = source.text[found.end() :].partition("\n")[0].strip()
    better += "\n" if behind else ""
    span = Span(source, *found.span())
    words = "a comment starts with `#`, on each of its lines"
    return span, Hint(words, (Edit(span, better),), stands=True)


def _in_line(text: str, at: int) -> tuple[str, int]:
    """Return the line at a place, and the place's offset in it."""
    start = text.rfind("\n", 0, at) + 1
    return text[start:].partition("\n")[0], at - start
