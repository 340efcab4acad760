"""Links definitions of several modules into one file: gives them unique names and a valid order."""

from __future__ import annotations

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from netspec.export.source_units import NameUse, SourceModule, Target, Unit, modules_used

WIDTH = 100


class Names:
    """The name of each definition in the file.

    A definition keeps its name if no other has the same one and it is never used with its module's
    name. Otherwise the module's name is prepended: `conv.forward` becomes `conv_forward`.

    Attributes:
        net: the name of the net's class.
    """

    def __init__(self, units: Sequence[Unit], taken: Collection[str], net: str) -> None:
        counts = Counter(name for unit in units for name in unit.names)
        dotted = {use.target for unit in units for use in unit.uses if use.dotted}
        known = {*keyword.kwlist, *dir(builtins), *taken}
        for unit in units:
            known |= {alias or name or module for module, name, alias in unit.imports}
        reserved = known.union({net}, *(unit.local for unit in units))
        targets = [(unit.module, name) for unit in units for name in unit.names]
        changed = {t for t in targets if counts[t[1]] > 1 or t[1] in reserved or t in dotted}
        # A definition that has such a name already gives way to it: `conv_forward`.
        made = {_prefixed(*target) for target in changed}
        changed |= {target for target in targets if target[1] in made}
        self._names: dict[Target, str] = {}
        for target in targets:
            new = _prefixed(*target) if target in changed else target[1]
            while target in changed and new in reserved:
                new += "_"
            self._names[target] = new
        chosen = Counter(self._names.values())
        assert max(chosen.values()) == 1, [name for name, n in chosen.items() if n > 1]
        assert not reserved & {n for t, n in self._names.items() if n != t[1]}
        # Underscores prevent the net's class from hiding another name that the file uses.
        self.net = net
        while self.net in known or self.net in chosen:
            self.net += "_"

    def __getitem__(self, target: Target) -> str:
        return self._names[target]


def _prefixed(module: str, name: str) -> str:
    last = module.rpartition(".")[2]
    private, bare = ("_", name[1:]) if name.startswith("_") else ("", name)
    if bare.isupper():
        return f"{private}{last.upper()}_{bare}"
    if bare[0].isupper():
        return private + "".join(part.capitalize() for part in last.split("_")) + bare
    return f"{private}{last}_{bare}"


def renamed(unit: Unit, names: Names) -> str:
    """Return a unit's text with every definition under its name in the file."""
    lines = [line.encode() for line in unit.text.split("\n")]
    by_line: dict[int, list[NameUse]] = {}
    for use in sorted(unit.uses, key=lambda use: (use.line, use.start)):
        by_line.setdefault(use.line, []).append(use)
    for number, uses in by_line.items():
        line, at, parts = lines[number], 0, list[bytes]()
        for use in uses:
            parts += [line[at : use.start], names[use.target].encode()]
            at = use.stop
        lines[number] = b"".join(parts) + line[at:]
    text = b"\n".join(lines).decode()
    for name in unit.names:
        new = names[unit.module, name]
        if new != name:
            # The syntax tree has no node for the name in `def` and `class`, nor for the names in
            # `global`.
            text = re.sub(rf"^(def|class) {name}\b", rf"\1 {new}", text, flags=re.MULTILINE)
    targets = dict.fromkeys(use.target for use in unit.uses) if "global " in text else ()
    for target in targets:
        old, new = target[1], names[target]
        if old != new and f"global {old}" in text:
            text = re.sub(rf"\bglobal {old}\b", f"global {new}", text)
    return _SIGNATURE.sub(_wrapped, text)


_SIGNATURE = re.compile(r"^( *)(def \w+\()(.+)(\)(?: -> .+)?:)$", re.MULTILINE)


def _wrapped(found: re.Match[str]) -> str:
    """Return a signature, with its arguments on a separate line if a longer name made it too long."""
    indent, start, arguments, end = found.groups()
    if len(found[0]) <= WIDTH:
        return found[0]
    return f"{indent}{start}\n{indent}    {arguments}\n{indent}{end}"


def sections(modules: Sequence[SourceModule], units: Sequence[Unit], names: Names) -> Iterator[str]:
    """Yield each module's section of the file: its docstring, then its definitions in order."""
    for made in modules:
        own = sorted((u for u in units if u.module == made.name), key=lambda unit: unit.line)
        if not own:
            continue
        title = f"# {'-' * (WIDTH - 3 - len(made.name))} {made.name}"
        doc = [f"# {line}".rstrip() for line in made.doc.splitlines()]
        yield "\n".join([title, "#", *doc])
        yield from _spaced(own, names, made.wrap)


def _has_moved(unit: Unit, names: Names) -> bool:
    """Whether lines of a unit no longer stand as they did, because a name in them has changed."""
    head = unit.text.partition("\n")[0]
    if head.startswith("def ") and not head.endswith(":"):
        return True
    return any(use.stop - use.start != len(names[use.target]) for use in unit.uses)


def _spaced(
    units: Sequence[Unit], names: Names, wrap: Callable[[str], str] | None
) -> Iterator[str]:
    """Yield texts; constants that were together stay together."""
    group: list[str] = []
    last: Unit | None = None
    for unit in units:
        text = renamed(unit, names)
        if wrap is not None and _has_moved(unit, names):
            text = wrap(text)
        short = not re.match(r"(@|def |class )", re.sub(r"^(#.*\n)*", "", text))
        near = last is not None and unit.line <= last.line + last.text.count("\n") + 2
        if group and not (short and near):
            yield "\n".join(group)
            group = []
        group.append(text)
        last = unit if short else None
    if group:
        yield "\n".join(group)


def in_order(modules: Sequence[SourceModule]) -> list[SourceModule]:
    """Sort modules so that each comes after those whose definitions it uses, in the file or not: the
    order of two is the same in all files.
    """
    by_name = {made.name: made for made in modules}
    done: dict[str, SourceModule] = {}

    def visit(made: SourceModule) -> None:
        if made.name in done:
            return
        for name in sorted((modules_used(made) & by_name.keys()) - {made.name}):
            visit(by_name[name])
        done[made.name] = made

    for made in modules:
        visit(made)
    return list(done.values())


def imports(needed: Collection[tuple[str, str, str]]) -> tuple[list[str], list[str]]:
    """Return the import lines of the standard library and of NumPy, sorted like ruff does."""
    lines: tuple[list[str], list[str]] = ([], [])
    plain = {(module, alias) for module, name, alias in needed if not name}
    members: dict[str, set[str]] = {}
    for module, name, alias in needed:
        if name:
            members.setdefault(module, set()).add(f"{name} as {alias}" if alias else name)
    for module, alias in sorted(plain):
        text = f"import {module} as {alias}" if alias else f"import {module}"
        lines[module.partition(".")[0] == "numpy"].append(text)
    for module in sorted(members):
        listed = ", ".join(sorted(members[module], key=_order))
        lines[module.partition(".")[0] == "numpy"].append(f"from {module} import {listed}")
    return lines


def _order(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, like isort."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)
