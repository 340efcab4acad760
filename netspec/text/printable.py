"""Makes text of any origin safe to print: characters that a terminal could obey become escapes."""

from __future__ import annotations

import re

_NOT_PLAIN = re.compile(r"\r(?!\n)|[^\r\n\t -~]+")


def printable(text: str) -> str:
    """Return a text for one line: tabs become four spaces, unprintable characters become escapes."""
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
    """Return lines of text: line ends and tabs are kept, other unprintable characters become escapes."""
    return _NOT_PLAIN.sub(lambda found: printable(found.group()), text)


def as_utf8(text: str) -> str:
    """Return a text that UTF-8 can hold: what it cannot (a name that is no text) becomes escapes."""
    return text.encode(errors="backslashreplace").decode()
