"""Text from anywhere for a terminal: what it could take as a command is written as an escape."""

from __future__ import annotations

import re

_NOT_PLAIN = re.compile(r"\r(?!\n)|[^\r\n\t -~]+")


def printable(text: str) -> str:
    """A text for one line: tabs as four spaces, and all that cannot be printed as an escape."""
    if text.isascii() and text.isprintable():
        return text
    out = []
    for char in text:
        if char == "\t":
            out.append("    ")
        elif char.isprintable() or char == " ":
            out.append(char)
        else:
            out.append(char.encode("unicode_escape", "backslashreplace").decode("ascii"))
    return "".join(out)


def printable_lines(text: str) -> str:
    """Lines of text: their ends and tabs stay, all else that cannot be printed is an escape."""
    return _NOT_PLAIN.sub(lambda found: printable(found.group()), text)
