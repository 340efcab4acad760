"""Breaking text into lines: groups stay on one line if they fit, or break at all of their breaks.

The algebra is Wadler's and Prettier's, with one addition: comments are attached to breaks. A break
with a comment cannot stay on its line, and neither can the groups around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

INDENT = 4


@dataclass(slots=True)
class Comment:
    """A comment, including its `#`.

    Attributes:
        own_line: True if the comment is alone on its line.
        apart: True if an empty line may come before it.
        begins: True if it begins a paragraph: an empty line parts it from the comment before it.
    """

    text: str
    own_line: bool
    apart: bool = True
    begins: bool = False


@dataclass(slots=True)
class Break:
    """A place where a line may end. If the line is not broken here, `flat` is written instead.

    Attributes:
        hard: the line always ends here.
        blank: an empty line follows a hard break.
        paragraph: an empty line also follows if a comment on its own line comes next.
        closing: a closing bracket follows; comments before it belong to what the bracket closes.
    """

    flat: str = " "
    hard: bool = False
    blank: bool = False
    paragraph: bool = False
    closing: bool = False
    comments: list[Comment] = field(default_factory=list)

    def add(self, comments: Iterable[Comment]) -> None:
        """Attach comments that come from somewhere behind this break."""
        for comment in comments:
            # Behind a hard break it would seem to belong to the statement before.
            own_line = comment.own_line or self.hard or bool(self.comments)
            self.comments.append(replace(comment, own_line=own_line))


@dataclass(slots=True)
class IfBroken:
    """Text that depends on the surrounding group: `text` if it is broken, else `flat`."""

    text: str
    flat: str = ""


@dataclass(slots=True)
class Group:
    """Parts that are set on one line if they fit.

    Attributes:
        indent: by how much its own lines are indented.
        is_group: if False this only adds an indentation, and breaks if the surrounding group does.
        loose: it need not break when a group inside it must.
        breaks: something inside it must end a line.
    """

    indent: int = 0
    is_group: bool = True
    loose: bool = False
    breaks: bool = False
    items: list[Doc] = field(default_factory=list)

    @classmethod
    def of(cls, *items: Doc, indent: int = 0, is_group: bool = True, breaks: bool = False) -> Group:
        """Return a group of these items, which breaks if `breaks` is set or if one of the items must."""
        breaks = breaks or any(map(must_break, items))
        return cls(indent, is_group, breaks=breaks, items=list(items))


Doc = str | Break | IfBroken | Group
_Entry = tuple[Doc, int, bool]  # with its indentation, and whether its group is broken


def typeset(document: Group, width: int) -> str:
    """Return the text of a document.

    Breaks outside any inner group are broken; no line ends in a blank.
    """
    out = _Lines()
    stack: list[_Entry] = [(document, 0, True)]
    while stack:
        doc, indent, broken = stack.pop()
        if isinstance(doc, str):
            out.write(doc)
        elif isinstance(doc, IfBroken):
            out.write(doc.text if broken else doc.flat)
        elif isinstance(doc, Break):
            if broken or doc.hard:
                out.end_line(doc, indent)
            else:
                out.write(doc.flat)
        else:
            if doc.is_group:
                broken = _is_forced(doc) or (broken and not _fits(doc, stack, width - out.column))
            inner = indent + doc.indent
            stack.extend((item, inner, broken) for item in reversed(doc.items))
    return "".join(out.parts).strip("\n") + "\n" if "".join(out.parts).strip() else ""


def must_break(doc: Doc) -> bool:
    """Return True if an item ends a line no matter how long lines may be."""
    if isinstance(doc, Group):
        return doc.breaks
    return isinstance(doc, Break) and (doc.hard or bool(doc.comments))


def _is_forced(group: Group) -> bool:
    if group.loose:
        return any(must_break(item) for item in group.items if isinstance(item, Break))
    return group.breaks


class _Lines:
    """The text written so far, and the current column."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.column = 0

    def write(self, text: str) -> None:
        self.parts.append(text)
        self.column += len(text)

    def end_line(self, end: Break, indent: int) -> None:
        comments = list(end.comments)
        if comments and not comments[0].own_line:
            self.parts.append(f"  {comments.pop(0).text}")
        paragraph = end.paragraph and bool(comments) and comments[0].apart
        self.parts.append("\n\n" if end.blank or paragraph else "\n")
        margin = " " * (indent + INDENT if end.closing else indent)
        for at, comment in enumerate(comments):
            self.parts.append("\n" if at and comment.begins else "")
            self.parts.append(f"{margin}{comment.text}\n")
        self.parts.append(" " * indent)
        self.column = indent


def _fits(group: Group, rest: list[_Entry], room: int) -> bool:
    """Return True if the group fits on the line, with what follows up to the next possible break."""
    behind = len(rest)
    todo: list[tuple[Doc, bool]] = [(group, False)]
    while room >= 0:
        if todo:
            doc, may_break = todo.pop()
        elif behind:
            behind -= 1
            doc, _, may_break = rest[behind]
        else:
            return True
        if isinstance(doc, str):
            room -= len(doc)
        elif isinstance(doc, Break):
            if may_break or must_break(doc):
                return True
            room -= len(doc.flat)
        elif isinstance(doc, Group):
            todo.extend((item, may_break) for item in reversed(doc.items))
        else:
            room -= len(doc.text if may_break else doc.flat)
    return False
