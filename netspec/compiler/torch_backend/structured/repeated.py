"""Expressions that a function writes more than once: they become local variables.

A function is written twice. The first time, what it reads and which names it gives values to is noted
down; the second time, repeated expressions are names. Two expressions are one if they read alike and no
name in them got another value in between. Names, attributes, numbers and items are too small to be
named, and so is a single operation that stands there twice.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import statement, unbracketed
from netspec.records import record
from netspec.text.python_tree import parse_expression

# A variable takes a line: it must save as many operations as this.
_SAVED = 2
# As many multiples of one name say more as numbers than by other names.
_LADDER = 3
# Functions of more expressions, longer expressions, and more variables are too much: time grows with
# their product.
_MOST_READ, _LONGEST, _MOST_NAMED = 400, 200, 20
# Names of variables are no longer than this.
_LONGEST_NAME = 24

# Functions of numbers, and those that fail for nothing that they are given here.
_FUNCTIONS = frozenset("abs int len max min round sum".split())
_TOTAL = frozenset("abs len max min sum".split())
# What a number that a module is made with counts, by the beginning of the module's name.
_ROLES = {
    "nn.Conv": "channels", "nn.BatchNorm": "channels", "nn.InstanceNorm": "channels",
    "nn.Linear": "features", "nn.LayerNorm": "features", "nn.RMSNorm": "features",
}  # fmt: skip

NEXT = "next"
"""The role of what the next layers take."""

_Way = tuple[tuple[int, int], ...]
"""The suites around a statement, outer ones first, with the number of the statement in each."""


def role_of(target: str) -> str:
    """What a number that a module is made with counts, in a word; empty for others."""
    return next((role for head, role in _ROLES.items() if target.startswith(head)), "")


@dataclass(eq=False)
class _Read:
    """An expression that is written, and what it is there."""

    way: _Way
    text: str
    role: str


@record
class _Given:
    """Names get values."""

    way: _Way
    names: tuple[str, ...]


@record
class _Turn:
    """The body of a loop or a condition begins, or ends."""

    way: _Way
    is_begin: bool


_Event = _Read | _Given | _Turn


@record
class _Part:
    """A part of an expression that can be named: its place in the text, in bytes.

    `is_sure` says whether it is computed wherever the whole is, `is_total` that it cannot fail.
    """

    text: str
    start: int
    stop: int
    operations: int
    is_sure: bool
    is_total: bool


_Met = tuple[_Read, _Part]


class Repeated:
    """What one function writes.

    Args:
        arguments: the names of its arguments.
    """

    def __init__(self, arguments: Iterable[str]) -> None:
        self.arguments = set(arguments)
        self.taken = set(self.arguments)
        self._events: list[_Event] = []
        self._dropped: set[int] = set()
        self._noted: list[_Event] = []
        self._locals: dict[tuple[int, int], list[tuple[str, _Read]]] = {}
        self._is_planned = False
        self.restart()

    # -- while the function is written

    def restart(self) -> None:
        """The function is written from its beginning on."""
        self._at, self._suites = 0, 0
        self._way: list[tuple[int, int]] = [(0, 0)]
        if not self._is_planned:
            self._events.clear()
            self._dropped.clear()

    def step(self) -> None:
        """A statement begins."""
        suite, at = self._way[-1]
        self._way[-1] = suite, at + 1

    def locals(self, depth: int) -> list[str]:
        """The variables that the statement which has begun needs."""
        left = list(self._locals.get(self._way[-1], ()))
        lines: list[str] = []
        while left:  # first those that others are made of
            names = {name for name, _ in left}
            first = next(each for each in left if names.isdisjoint(words_in(each[1].text)))
            left.remove(first)
            lines += statement(f"{first[0]} = {first[1].text}", depth)
        return lines

    def text(self, text: str, role: str = "") -> str:
        """How an expression is written; `role` says in a word what it is."""
        event = self._next(_Read(tuple(self._way), text, role))
        assert isinstance(event, _Read)
        return event.text

    def gives(self, names: Iterable[str]) -> None:
        """Names get values."""
        self._next(_Given(tuple(self._way), tuple(names)))

    def enter(self) -> None:
        """What follows stands under a loop or a condition."""
        self._next(_Turn(tuple(self._way), is_begin=True))
        self._suites += 1
        self._way.append((self._suites, 0))

    def leave(self) -> None:
        """The body of a loop or a condition is over."""
        self._way.pop()
        self._next(_Turn(tuple(self._way), is_begin=False))

    def mark(self) -> int:
        """A place that `drop` takes."""
        return self._at

    def drop(self, mark: int) -> None:
        """What was noted since is not written."""
        self._dropped.update(range(mark, self._at))

    def _next(self, event: _Event) -> _Event:
        self._at += 1
        if not self._is_planned:
            self._events.append(event)
        return self._events[self._at - 1]

    # -- what is repeated

    def plan(self, taken: Set[str]) -> bool:
        """Name what is repeated, by no name that is taken. Return whether anything is."""
        self._is_planned = True
        self.taken |= taken
        self._noted = [e for at, e in enumerate(self._events) if at not in self._dropped]
        reads = [event for event in self._noted if isinstance(event, _Read)]
        if len(reads) > _MOST_READ:
            return False
        self.taken |= {word for read in reads for word in words_in(read.text)}
        for _ in range(_MOST_NAMED):
            best = self._best()
            if best is None:
                break
            self._name(best)
        return bool(self._locals)

    def _best(self) -> list[_Met] | None:
        """What saves most operations, wherever it stands."""
        found: dict[object, list[_Met]] = {}
        for met, key in self._parts():
            found.setdefault(key, []).append(met)
        ladders = Counter(_base(text) for text in {mets[0][1].text for mets in found.values()})
        best, most = None, _SAVED - 1
        for mets in found.values():
            part = mets[0][1]
            saved = part.operations * (len(mets) - 1)
            base = _base(part.text)
            is_rung = bool(base) and ladders[base] >= _LADDER
            if saved > most and not is_rung and _may_come_first(mets):
                best, most = mets, saved
        return best

    def _parts(self) -> Iterator[tuple[_Met, object]]:
        """What can be named where it stands, and what tells its values apart."""
        versions: dict[str, int] = {}
        count = 0
        opened: list[set[str]] = []
        for at, event in enumerate(self._noted):
            if isinstance(event, _Read):
                for part in _parts_of(event.text):
                    names = sorted(words_in(part.text))
                    yield (event, part), (part.text, *(versions.get(name, 0) for name in names))
                continue
            changed = set[str]()
            if isinstance(event, _Given):
                changed = set(event.names)
            elif event.is_begin:
                opened.append(self._given_under(at))
                changed = opened[-1]
            else:
                changed = opened.pop()
            count += 1
            versions |= dict.fromkeys(changed, count)

    def _given_under(self, at: int) -> set[str]:
        """The names that get values under the loop or the condition that begins there."""
        found: set[str] = set()
        depth = 0
        for event in self._noted[at:]:
            if isinstance(event, _Turn):
                depth += 1 if event.is_begin else -1
                if depth == 0:
                    break
            elif isinstance(event, _Given):
                found |= set(event.names)
        return found

    def _name(self, mets: Sequence[_Met]) -> None:
        text, place = mets[0][1].text, _common(mets)
        name = self._free_name(mets)
        self.taken.add(name)
        parts: dict[_Read, list[_Part]] = {}
        for read, part in mets:
            parts.setdefault(read, []).append(part)
        for read, some in parts.items():
            read.text = _replaced(read.text, some, name)
        # What the variable is made of may be repeated, too.
        made = _Read(place, text, "")
        self._locals.setdefault(place[-1], []).append((name, made))
        self._noted[(at := self._first(place, text)) : at] = [made, _Given(place, (name,))]

    def _first(self, place: _Way, text: str) -> int:
        """Where a statement begins, behind the variables there that an expression reads."""
        depth, words = len(place) - 1, words_in(text)
        here = [at for at, e in enumerate(self._noted) if e.way[depth : depth + 1] == place[-1:]]
        given = {name for name, _ in self._locals[place[-1]]} & words
        behind = [
            at + 1
            for at in here
            if isinstance(e := self._noted[at], _Given) and not given.isdisjoint(e.names)
        ]
        return max(behind[: len(given)], default=here[0])

    # -- names

    def _free_name(self, mets: Sequence[_Met]) -> str:
        names = [safe_name(name) for name in self._names(mets)]
        free = (name for name in names if name not in self.taken)
        name = next(free, "")
        number = 1
        while not name or name in self.taken:
            number += 1
            name = f"{names[0]}{number}"
        return name

    def _names(self, mets: Sequence[_Met]) -> Iterator[str]:
        """What a variable may be called, best names first."""
        text = mets[0][1].text
        roles = Counter(read.role for read, part in mets if read.role and part.text == read.text)
        is_next = roles.pop(NEXT, 0) > 0
        if roles:
            (role, _), *_ = roles.most_common(1)
            if f"in_{role}" in self.arguments:
                yield self._side(role, mets)
            yield role
            words = [word for word in reversed(_words(text)) if len(word) > 1]
            yield from (f"{w}_{role}" for w in words if w not in self.arguments and role not in w)
            yield from (f"{side}_{role}" for side in (["out"] if is_next else []) + ["first"])
            return
        spelled = _spelled(parse_expression(text))
        is_name = spelled.isidentifier() and len(spelled) <= _LONGEST_NAME
        yield spelled if is_name else "number"

    def _side(self, role: str, mets: Sequence[_Met]) -> str:
        """`out_channels` for the last of their kind, `mid_channels` for others."""
        last = [e for e in self._noted if isinstance(e, _Read) and e.role == role][-1]
        return f"{'out' if any(read is last for read, _ in mets) else 'mid'}_{role}"


def _common(mets: Sequence[_Met]) -> _Way:
    """The first statement, of those that follow on one another, around all of these."""
    ways = [read.way for read, _ in mets]
    depth = 0
    while all(len(way) > depth + 1 and way[: depth + 1] == ways[0][: depth + 1] for way in ways):
        if len({way[depth + 1][0] for way in ways}) > 1:
            break
        depth += 1
    first = min(way[depth][1] for way in ways)
    return (*ways[0][:depth], (ways[0][depth][0], first))


def _may_come_first(mets: Sequence[_Met]) -> bool:
    """Whether an expression can be computed where its variable gets its value."""
    read, part = mets[0]
    return part.is_total or (part.is_sure and len(read.way) == len(_common(mets)))


def _replaced(text: str, parts: Sequence[_Part], name: str) -> str:
    """An expression with a name for some of its parts."""
    whole = text.encode()
    for part in sorted(parts, key=lambda part: -part.start):
        start, stop = part.start, part.stop
        while _in_brackets(whole, start, stop):
            start, stop = start - 1, stop + 1
        whole = whole[:start] + name.encode() + whole[stop:]
    return unbracketed(whole.decode())


def _in_brackets(text: bytes, start: int, stop: int) -> bool:
    """Whether brackets that are not those of a call are around a part of a text."""
    is_around = text[start - 1 : start] == b"(" and text[stop : stop + 1] == b")"
    before = text[: max(start - 1, 0)][-1:]
    return is_around and not (before.isalnum() or before in (b"_", b"]", b")"))


# ---------------------------------------------------------------------------- parts of expressions


@lru_cache(maxsize=4096)
def _parts_of(text: str) -> tuple[_Part, ...]:
    """The parts of an expression that can be named."""
    if len(text) > _LONGEST or not any(c in text for c in "*+-/%("):
        return ()
    whole = text.encode()

    def walk(node: ast.AST, *, is_sure: bool) -> Iterator[_Part]:
        if isinstance(node, ast.expr) and _is_number(node):
            assert node.end_col_offset is not None
            start, stop = node.col_offset, node.end_col_offset
            found = whole[start:stop].decode()
            yield _Part(found, start, stop, _operations(node), is_sure, _is_total(node))
        for at, child in enumerate(ast.iter_child_nodes(node)):
            is_first = isinstance(child, ast.expr_context) or not at
            is_always = not isinstance(node, (ast.IfExp, ast.BoolOp)) or is_first
            yield from walk(child, is_sure=is_sure and is_always)

    try:
        return tuple(walk(parse_expression(text), is_sure=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _is_number(node: ast.expr) -> bool:
    """Whether an expression computes a number from others."""
    if not isinstance(node, (ast.BinOp, ast.Call)):
        return False
    parts = list(ast.walk(node))
    names = any(isinstance(part, ast.Name) and part.id != "math" for part in parts)
    calls = [part for part in parts if isinstance(part, ast.Call)]
    return names and all(map(_is_function, calls)) and not any(map(_is_many, parts))


def _is_many(node: ast.AST) -> bool:
    """Whether something is a list or a text, or decides."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (str, bytes))
    kinds = (
        ast.List,
        ast.Tuple,
        ast.Starred,
        ast.JoinedStr,
        ast.IfExp,
        ast.Compare,
        ast.BoolOp,
        ast.Slice,
    )
    return isinstance(node, kinds)


def _is_function(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in _FUNCTIONS
    value = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(value, ast.Name) and value.id == "math"


def _operations(node: ast.AST) -> int:
    return sum(isinstance(part, (ast.BinOp, ast.Call)) for part in ast.walk(node))


def _is_total(node: ast.AST) -> bool:
    """Whether an expression can be computed for all values of its names."""
    if isinstance(node, ast.BinOp):
        operator = node.op
        if isinstance(operator, (ast.FloorDiv, ast.Div, ast.Mod)) and not (
            isinstance(node.right, ast.Constant) and node.right.value
        ):
            return False
        if isinstance(operator, ast.Pow) and not isinstance(node.left, ast.Constant):
            return False
    if isinstance(node, ast.Call):
        function = node.func
        if not (isinstance(function, ast.Name) and function.id in _TOTAL):
            return False
    if isinstance(node, ast.Subscript) and not isinstance(node.value, ast.Attribute):
        return False
    return all(map(_is_total, ast.iter_child_nodes(node)))


def _base(text: str) -> str:
    """The name of which an expression is a multiple by a number; empty for others."""
    first, operator, last = [*text.split(" "), "", ""][:3]
    return last if first.isdigit() and operator == "*" and text == f"{first} * {last}" else ""


def _words(text: str) -> list[str]:
    """The names in an expression, in order."""
    tree = parse_expression(text)
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [node.id for node in sorted(named, key=lambda node: node.col_offset)]


_MANY = (
    ast.List, ast.Tuple, ast.Starred, ast.JoinedStr, ast.IfExp, ast.Compare, ast.BoolOp, ast.Slice
)  # fmt: skip
_WORDS: dict[type[ast.operator], str] = {
    ast.Mult: "times", ast.Div: "by", ast.FloorDiv: "by", ast.Add: "plus", ast.Sub: "minus",
    ast.Mod: "modulo", ast.Pow: "to",
}  # fmt: skip


def _spelled(node: ast.AST) -> str:
    """A number in words: `heads_times_width`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant):
        return str(node.value).replace(".", "_")
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return f"{_spelled(node.value)}_{_spelled(node.slice)}"
    if isinstance(node, ast.BinOp):
        left, right = _spelled(node.left), _spelled(node.right)
        operator = node.op
        if isinstance(operator, ast.Mult) and left == right:
            return f"{left}_squared"
        if isinstance(operator, ast.Mult) and isinstance(node.left, ast.Constant):
            left, right = right, left
        return f"{left}_{_WORDS[type(operator)]}_{right}" if type(operator) in _WORDS else "number"
    if isinstance(node, ast.Call):
        return "_".join([_spelled(node.func), *map(_spelled, node.args)])
    return "_".join(filter(None, map(_spelled, ast.iter_child_nodes(node))))
