"""Links of a document of the repository, as links of a page of the site."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_IMAGE = re.compile(r'(<img [^>]*src=")([^"]+)')
_LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s]+)\)")
# The names of lexers, where documents have others.
_LEXERS = {"net": "netspec"}
_FENCE = re.compile(r"^(\s*```)(\w*).*$")


def between(page: str, target: str) -> str:
    """Return the link from a page to another file of the site, both as paths below its root."""
    return os.path.relpath(target, PurePosixPath(page).parent).replace(os.sep, "/")


def rewritten(
    text: str, source: Path, page: str, root: Path, place: Callable[[Path], str | None]
) -> str:
    """Return the text of a document with links that lead where its targets are on the site.

    Args:
        text: the Markdown.
        source: the document's file, below `root`.
        page: its page, as a path below the root of the site.
        root: the repository.
        place: where a file of the repository, below `root`, is on the site; None if it is not.

    Raises:
        ValueError: for a link to a file that does not exist.
    """

    def placed(target: str) -> str | None:
        """Return where a link leads on the site; None if its target is not there."""
        path, mark, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return target
        file = (source.parent / path).resolve()
        if not file.exists():
            raise ValueError(f"{source}: there is no {target}")
        there = place(file.relative_to(root))
        return None if there is None else f"{between(page, there)}{mark}{anchor}"

    def link(found: re.Match[str]) -> str:
        shown, target = found.groups()
        there = placed(target)
        return shown.strip("[]") if there is None else f"{shown}({there})"

    def image(found: re.Match[str]) -> str:
        return f"{found[1]}{placed(found[2])}"

    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        if fence := _FENCE.match(line):
            fenced = not fenced
            # What follows the first word is for the tests.
            lines.append(f"{fence[1]}{_LEXERS.get(fence[2], fence[2])}\n")
        else:
            lines.append(line if fenced else _IMAGE.sub(image, _LINK.sub(link, line)))
    return "".join(lines)
