"""Where the modules of a structured net lie: labels with dots are containers, made where they begin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from netspec.compiler.torch_backend.naming import (
    is_attribute,
    name_text,
    quote,
    safe_name,
)
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import split_items
from netspec.compiler.torch_backend.structured.flow import is_one_module, modules_of, steps_in
from netspec.compiler.torch_backend.structured.structure import (
    Branch,
    Loop,
    NotStructuredError,
    Placed,
    Step,
    Suite,
    said,
    suites_in,
)
from netspec.records import record

# Attributes of `nn.ModuleDict`, which cannot be keys.
DICT_ATTRIBUTES = frozenset("clear items keys pop update values".split())
# Attributes of `nn.Sequential`, which cannot be names of children.
SEQUENTIAL_ATTRIBUTES = frozenset("append extend insert pop".split())

Prefix = tuple[str, ...]


@dataclass(eq=False)
class Container:
    """A `nn.Sequential` for all labels that begin with `prefix`.

    Attributes:
        target: how the constructor reaches it.
        suite, first, last: the statements that fill it.
        is_numbered: whether it has children whose names begin with a number.
        is_listed: whether it can be written at once: its children are 0, 1, 2, ..., one a statement.
        is_dict: whether it is a `nn.ModuleDict`, whose children are called by themselves.
        is_deep: whether its children are reached as attributes, of which type checkers know nothing.
        is_list: whether it is a `nn.ModuleList`, which has a child for each turn of a loop.
        keys: what the keys of a `nn.ModuleDict` are that has a child for each turn of a loop: words
            or numbers of the list that the loop runs over.
    """

    prefix: Prefix
    target: str
    suite: Suite
    first: int
    last: int
    is_numbered: bool
    is_listed: bool = False
    is_dict: bool = False
    is_list: bool = False
    is_deep: bool = False
    keys: Literal["", "words", "numbers"] = ""

    def is_key(self, name: str) -> bool:
        """Whether a child is one of a `nn.ModuleDict`; those of a whole class may be attributes."""
        return self.is_dict and (bool(self.prefix) or not is_attribute(name))


@record
class Placement:
    """A layer or block in a run: its statement, its path, and the turns of the loops around it.

    `is_read` says whether a result of the run depends on it.
    """

    step: Placed
    path: str
    turns: tuple[int, ...]
    is_read: bool


@record
class _Site:
    """A statement, and the way to it: suites with the place in them, and the loops among them."""

    step: Placed
    way: tuple[tuple[Suite, int], ...]
    loops: tuple[tuple[int, Loop], ...]


class NoChainError(NotStructuredError):
    """A container whose children are not called one after another."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix


class Layout:
    """The containers of a net. Those that are `apart` only hold their children.

    Raises:
        NotStructuredError: if the labels are not those of containers filled one after another.
    """

    def __init__(
        self,
        body: Suite,
        names: set[str],
        *,
        is_chain: bool = True,
        apart: Set[Prefix] = frozenset(),
    ) -> None:
        self.is_chain = is_chain
        self._apart = apart
        self.containers: dict[Prefix, Container] = {}
        self._homes: dict[int, Container] = {}
        self._names = set(names)
        self._counters: dict[str, str] = {}
        self._turns: dict[str, str] = {}
        self._unread = _unread(body)
        self._sites = [s for s in _sites(body, (), ()) if is_chain or s.step.has_module]
        top = [s.step.label[0] for s in self._sites if s.step.label and len(s.step.label) == 1]
        self.root = Container((), "self", body, 0, len(body.steps or ()), _numbers(top))
        self.root.is_dict = not is_chain and _has_keys(self._sites)
        prefixes = {
            site.step.label[:end]: None
            for site in self._sites
            if site.step.label is not None
            for end in range(1, len(site.step.label))
        }
        self._users: dict[Prefix, list[_Site]] = {}
        for site in self._sites:
            label = site.step.label or ()
            for end in range(1, len(label) + 1):
                self._users.setdefault(label[:end], []).append(site)
        for prefix in sorted(prefixes, key=len):
            self.containers[prefix] = self._container(prefix)
        self._begin_before_those_within()
        self._mark_deep()
        self._opened: dict[tuple[int, int], list[Container]] = {}
        for container in self.containers.values():
            begin = id(container.suite), container.first
            self._opened.setdefault(begin, []).append(container)
        self._within = {id(site.step): site for site in self._sites}
        self._fill(body, [self.root])

    @property
    def base(self) -> str:
        """The class of PyTorch that the whole is one of."""
        if self.is_chain:
            return "nn.Sequential"
        return "nn.ModuleDict" if self.root.is_dict else "nn.Module"

    @property
    def names(self) -> set[str]:
        """The names in the body, and those of variables for containers and counts."""
        return set(self._names)

    def opened(self, suite: Suite, at: int) -> list[Container]:
        """The containers that begin at a statement, outer ones first."""
        return self._opened.get((id(suite), at), [])

    def home_of(self, step: Placed) -> Container:
        """The container that a layer is put into."""
        return self._homes[id(step)]

    def is_outside(self, step: Placed) -> bool:
        """Whether a layer lies in no container."""
        return self.home_of(step) is self.root

    def is_chained(self, step: Placed) -> bool:
        """Whether a layer is a part of a chain, which takes the value of the one before."""
        return self.is_chain or not (self.is_outside(step) or self.is_apart(self.home_of(step)))

    def is_apart(self, container: Container) -> bool:
        """Whether the children of a container are called by themselves."""
        return container.prefix in self._apart

    def turned(self, path: Sequence[str]) -> Container | None:
        """The container of a module, if it has one for each turn of a loop."""
        container = self.containers.get(tuple(path[:-1]))
        return container if container and (container.is_list or container.keys) else None

    def reach(self, path: Sequence[str], later: Sequence[str]) -> str:
        """A module, as `forward` writes it.

        Args:
            path: its label, as the constructor writes it.
            later: its label, as `forward` writes it.
        """
        text = "self"
        for depth, part in enumerate(later):
            holder = self.containers.get(tuple(path[:depth])) if depth else self.root
            if holder is not None and holder.is_key(part):
                text += f"[{name_text(part)}]"
            elif holder is not None and (holder.is_list or holder.is_listed):
                text += f"[{part.removeprefix('{').removesuffix('}')}]"
            elif is_attribute(part):
                text += f".{part}"
            else:
                whole = ".".join(later)
                return f"self.get_submodule({f'f{quote(whole)}' if '{' in whole else quote(whole)})"
        return text

    def module_for_turns(self, prefix: Prefix) -> str:
        """The name of the variable of a loop over modules: `block` for those of `self.blocks`."""
        word = "layers" if prefix[-1] == "self" else prefix[-1]
        if word not in self._turns:  # no temporary value's name either
            one = word.removesuffix("s")
            is_taken = re.fullmatch(r"|math|(x|out)\d*", one) is not None
            self._turns[word] = self._free_name(safe_name(f"{one}_" if is_taken else one))
        return self._turns[word]

    def contained(self) -> set[Step]:
        """The statements that fill containers."""
        found: set[Step] = set()
        for container in self.containers.values():
            if self.is_apart(container):
                continue
            steps = container.suite.steps or []
            for step in steps[container.first : container.last + 1]:
                found |= {step, *(s for inner in suites_in(step) for s in steps_in(inner))}
        return found

    # -- where they begin

    def _begin_before_those_within(self) -> None:
        """Let a container begin where one in it does, with a layer without a label before its own."""
        for prefix in sorted(self.containers, key=len, reverse=True):
            inner, outer = self.containers[prefix], self.containers.get(prefix[:-1])
            if outer is not None and outer.suite is inner.suite:
                outer.first = min(outer.first, inner.first)

    def _container(self, prefix: Prefix) -> Container:
        users = self._users[prefix]
        words = {word for part in prefix for word in words_in(" ".join(braced(part)))}
        first = users[0]
        depth = 0
        for level, loop in first.loops:
            if not words.isdisjoint(loop.targets):
                if depth != _outer(first, level) or not _tells_apart(prefix, loop):
                    raise NotStructuredError
                depth = level
        while _shares_case(users, depth):
            depth += 1
        suite = first.way[depth][0]
        if any(len(u.way) <= depth or u.way[depth][0] is not suite for u in users):
            raise NotStructuredError
        places = [u.way[depth][1] for u in users]
        children = [u.step.label[len(prefix)] for u in users if u.step.label]
        target = self._target(prefix)
        begin, end = places[0], max(places)
        steps = suite.steps or []
        gap = steps[max(begin - _index(children[0]), 0) : begin]
        if prefix not in self._apart and len(gap) == _index(children[0]) and all(map(_fills, gap)):
            begin -= len(gap)
        inside = [step for step in steps[begin : end + 1] if isinstance(step, Placed)]
        is_apart = prefix in self._apart
        is_listed = len(inside) == end + 1 - begin and all(
            _fills(step) and not is_apart
            if step.label is None
            else step.label == (*prefix, str(at)) and not (is_apart and not is_one_module(step))
            for at, step in enumerate(inside)
        )
        is_numbered = _numbers(children) and not is_listed
        is_flat = (
            len(prefix) == 1
            and is_attribute(prefix[0])
            and all(u.step.label is None or len(u.step.label) == 2 for u in users)
        )
        is_reached = is_apart and all(map(is_attribute, prefix))
        turns = _turns(users, len(prefix)) if is_reached else ""
        is_list, keys = _counts(turns), _keys(turns)
        is_dict = (
            is_apart
            and not is_listed
            and not is_list
            and DICT_ATTRIBUTES.isdisjoint(children)
            and (is_flat or bool(keys) or _are_keys(children))
        )
        is_deep = (
            is_apart
            and len(prefix) == 1
            and not is_dict
            and not is_list
            and any(map(is_attribute, children))
        )
        return Container(
            prefix,
            target,
            suite,
            begin,
            end,
            is_numbered,
            is_listed,
            is_dict,
            is_list,
            is_deep,
            keys,
        )

    def _mark_deep(self) -> None:
        """Mark the outermost containers through which others are reached."""
        for prefix, container in self.containers.items():
            outer = self.containers[prefix[:1]]
            if container is outer:
                continue
            is_reached = self.is_apart(outer) or not container.is_listed
            is_named = container.target.startswith("self.")
            outer.is_deep |= self.is_apart(container) or (is_named and is_reached)

    def _target(self, prefix: Prefix) -> str:
        if all(map(is_attribute, prefix)):
            return ".".join(("self", *prefix))
        stem = re.sub(r"\{[^{}]*\}|[^A-Za-z_]", "", prefix[-1]).strip("_")
        return self._free_name(safe_name(stem or "part"))

    def counter(self, stem: str) -> str:
        """The name of the variable that counts layers: one that nothing in the file has."""
        if stem not in self._counters:
            self._counters[stem] = self._free_name(f"{stem}_count")
        return self._counters[stem]

    def _free_name(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    # -- what they hold

    def _fill(self, suite: Suite, inside: list[Container]) -> None:
        for at, step in enumerate(suite.steps or ()):
            inside = inside + self.opened(suite, at)
            if isinstance(step, Placed):
                self._homes[id(step)] = self._home(step, inside)
            for inner in suites_in(step):
                self._fill(inner, inside)
            ended = [c for c in inside if c.suite is suite and c.last == at]
            for container in ended:
                going = [c for c in inside[inside.index(container) :] if c not in ended]
                # What goes on after the chain around it has ended is no part of that.
                if going and not self.is_apart(container):
                    raise self._no_chain(container)
            inside = [c for c in inside if c not in ended]

    def _home(self, step: Placed, inside: Sequence[Container]) -> Container:
        """The container that a layer is put into, of those that are open."""
        is_here = id(step) in self._within
        chain = next(c for c in reversed(inside) if not self.is_apart(c))
        if step.label is None:
            if is_here and step.held and chain is not self.root:
                raise self._no_chain(chain)
            return chain
        home = self.containers.get(step.label[:-1], self.root)
        if not is_here:
            return inside[-1]
        if home not in inside:
            raise NotStructuredError
        for container in inside:
            end = len(container.prefix)
            if not self.is_apart(container) and step.label[:end] != container.prefix:
                raise self._no_chain(container)
        if chain is not self.root and home is not chain and not self.is_apart(home):
            raise self._no_chain(chain)
        return home

    def _no_chain(self, container: Container) -> NotStructuredError:
        return NotStructuredError() if self.is_chain else NoChainError(container.prefix)

    # -- whether names come out as they must

    def check(self, placements: Sequence[Placement]) -> None:
        """Compare what the constructor will name with what a run has named.

        Raises:
            NotStructuredError: where they differ.
        """
        self._require_no_number(placements)
        self._require_read(placements)
        self._require_order(placements)
        counts: dict[str, int] = {}
        children: dict[tuple[object, ...], set[str]] = {}
        made: dict[tuple[object, ...], str] = {}
        for placement in placements:
            step, path = placement.step, placement.path
            if step.label is None and step.held:
                counts[step.kind] = counts.get(step.kind, 0) + 1
            site = self._within.get(id(step))
            if site is None:
                continue
            home = self.home_of(step)
            within = [level for level, _ in site.loops if level <= _level(home, site)]
            key = (home.prefix, placement.turns[: len(within)])
            names = children.setdefault(key, set())
            if step.label is None and not step.held:
                for _ in range(
                    len(modules_of(step)) if home is not self.root or self.is_chain else 1
                ):
                    names.add(f"{step.kind if home.is_numbered else ''}{len(names)}")
                continue
            if step.label is None and path != f"{step.kind}{counts[step.kind]}":
                raise NotStructuredError
            above, _, last = path.rpartition(".")
            if made.setdefault(key, above) != above or last in names:
                raise NotStructuredError
            is_sequential = self.is_chain if home is self.root else not self.is_apart(home)
            hidden = SEQUENTIAL_ATTRIBUTES if is_sequential else DICT_ATTRIBUTES
            if last in hidden and (is_sequential or home.is_dict):
                raise NotStructuredError
            names.add(last)
        if len(set(made.values())) != len(made):
            raise NotStructuredError

    def _require_order(self, placements: Sequence[Placement]) -> None:
        """Check that no container begins before a layer beside it that comes first: the names of the
        parameters are in the order in which modules are made.
        """
        met: set[Prefix] = set()
        before: dict[int, _Site] = {}
        for placement in placements:
            site = self._within.get(id(placement.step))
            if site is None or not placement.is_read:
                continue
            label = site.step.label or ()
            for prefix in (label[:end] for end in range(1, len(label))):
                is_new = prefix not in met and not any(map(braced, prefix))
                met.add(prefix)
                if is_new and any(self._is_behind(each, prefix) for each in before.values()):
                    raise NotStructuredError
            before[id(site.step)] = site

    def _is_behind(self, site: _Site, prefix: Prefix) -> bool:
        """Whether a layer is made behind a container, which begins beside it."""
        container = self.containers[prefix]
        is_beside = self.home_of(site.step) is self.containers.get(prefix[:-1], self.root)
        return is_beside and any(
            suite is container.suite and at >= container.first for suite, at in site.way
        )

    def _require_read(self, placements: Sequence[Placement]) -> None:
        """Check that a module is written if a result of the run depends on it, and only then."""
        for placement in placements:
            step, is_written = placement.step, id(placement.step) in self._within
            is_known = is_written or step in self._unread
            if step.has_module and is_known and is_written != placement.is_read:
                raise NotStructuredError

    def _require_no_number(self, placements: Sequence[Placement]) -> None:
        """Check that no label out of a word is the number of a layer that the file gives no name."""
        kinds = {s.step.kind for s in self._sites if s.step.label is None and not s.step.held}
        numbered = re.compile(rf"({'|'.join(kinds)})_*\d+")
        worded = (p for p in placements if p.step.label and p.step.label[0].startswith("{"))
        if kinds and any(numbered.fullmatch(p.path.partition(".")[0]) for p in worded):
            raise NotStructuredError


def _tells_apart(prefix: Prefix, loop: Loop) -> bool:
    """Whether a prefix is another in each turn of a loop, whatever it runs over."""
    text = said(loop.iterable).name
    lists = split_items(text[4:-1]) if text.startswith("zip(") else [text]
    if text.startswith("[["):
        rows = [split_items(row[1:-1]) for row in split_items(text[1:-1])]
        lists = [f"[{', '.join(column)}]" for column in zip(*rows, strict=False)]
    distinct = [name for name, items in zip(loop.targets, lists, strict=False) if _differ(items)]
    turn = re.compile(rf"([1-9]\d* \* )?({'|'.join(distinct)})( \+ \d+)?")
    parts = [part for text in prefix for part in braced(text)]
    return bool(distinct) and any(map(turn.fullmatch, parts))


def _differ(items: str) -> bool:
    """Whether the items of a list differ, whatever the arguments are."""
    if items.startswith(("range(", "enumerate(")):
        return True
    numbers = re.fullmatch(r"\[(\d+(?:, \d+)*)\]", items)
    listed = numbers[1].split(", ") if numbers is not None else []
    return bool(listed) and len(set(listed)) == len(listed)


def _shares_case(users: Sequence[_Site], depth: int) -> bool:
    """Whether what fills a container all stands in one case of a condition."""
    if any(len(user.way) <= depth + 1 for user in users):
        return False
    suite, at = users[0].way[depth]
    inner = users[0].way[depth + 1][0]
    is_case = isinstance((suite.steps or [])[at], Branch)
    return is_case and all(user.way[depth + 1][0] is inner for user in users)


def _turns(users: Sequence[_Site], depth: int) -> str:
    """What the loop runs over that makes one module in each turn, with the item as its name."""
    if len(users) != 1 or len(users[0].loops) != 1 or users[0].step.is_array:
        return ""
    (site,), ((level, loop),) = users, users[0].loops
    if len(site.way) != level + 1 or site.step.label is None:
        return ""
    if site.step.label[depth:] != (f"{{{loop.targets[0]}}}",):
        return ""
    return str(said(loop.iterable).name)


def _counts(iterable: str) -> bool:
    """Whether a loop counts its turns, from 0 on. One that runs backwards, `range(n)[::-1]`, does not."""
    if not iterable.endswith(")"):
        return False
    return iterable.startswith("enumerate(") or (
        iterable.startswith("range(") and len(split_items(iterable[len("range(") : -1])) == 1
    )


def _keys(iterable: str) -> Literal["", "words", "numbers"]:
    """What the items of a list are, if it is written out and they can be keys of modules."""
    if not iterable.startswith("["):
        return ""
    items = split_items(iterable[1:-1])
    if len(set(items)) != len(items):
        return ""
    if all(map(str.isdigit, items)):
        return "numbers"
    words = [item[1:-1] for item in items]
    are_words = all(map(is_attribute, words)) and list(map(quote, words)) == items
    return "words" if are_words and DICT_ATTRIBUTES.isdisjoint(words) else ""


def _has_keys(sites: Sequence[_Site]) -> bool:
    """Whether a class has layers, and no containers, with numbers for names."""
    labels = [site.step.label for site in sites if site.step.label]
    keys = [label for label in labels if not is_attribute(label[0])]
    first = [label[0] for label in labels]
    is_plain = DICT_ATTRIBUTES.isdisjoint(first) and not any("{" in name for name in first)
    return bool(keys) and is_plain and all(len(label) == 1 for label in keys)


def _are_keys(children: Sequence[str]) -> bool:
    """Whether these names are constants, of which some are no attributes."""
    return not all(map(is_attribute, children)) and not any("{" in child for child in children)


def _index(child: str) -> int:
    """The number that a child's name is; 0 for another name."""
    return int(child) if child.isdigit() else 0


def _fills(step: Step) -> bool:
    """Whether a statement gives one module without keys, which can be a child of any name."""
    return (
        isinstance(step, Placed)
        and step.label is None
        and not step.held
        and not step.again
        and is_one_module(step)
    )


def _numbers(children: Sequence[str]) -> bool:
    """Whether one of these names may be a number."""
    return any(child[0] in "{0123456789" for child in children)


def _level(home: Container, site: _Site) -> int:
    return next(level for level, (suite, _) in enumerate(site.way) if suite is home.suite)


def _outer(site: _Site, level: int) -> int:
    """The suite in which the loop around this one has its body; 0 without one."""
    return max((other for other, _ in site.loops if other < level), default=0)


def _sites(
    suite: Suite, way: tuple[tuple[Suite, int], ...], loops: tuple[tuple[int, Loop], ...]
) -> Iterator[_Site]:
    for at, step in enumerate(suite.steps or ()):
        here = (*way, (suite, at))
        if isinstance(step, Placed):
            yield _Site(step, here, loops)
        for inner in suites_in(step):
            deeper = (*loops, (len(here), step)) if isinstance(step, Loop) else loops
            yield from _sites(inner, here, deeper)


def _unread(suite: Suite) -> set[Step]:
    """The statements that are not written."""
    inner = (_unread(each) for step in suite.recorded or () for each in suites_in(step))
    return set(suite.unread).union(*inner)


def change_braced(text: str, change: Callable[[str], str]) -> str:
    """The text of an f-string with other expressions."""
    return re.sub(r"\{([^{}]*)\}", lambda match: f"{{{change(match[1])}}}", text)


def braced(text: str) -> list[str]:
    """The expressions in the text of an f-string."""
    return re.findall(r"\{([^{}]*)\}", text)
