"""Parts of a file that are C with other names: `net_` and `NET_` stand for those of the net."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


@cache
def _read(template: str) -> str:
    return (FOLDER / f"{template}.c").read_text("utf-8").strip()


def written(template: str, name: str, **parts: str) -> str:
    """Return the text of a template for a net.

    Args:
        template: the name of a file in `templates`, without its ending.
        name: what the functions' names begin with.
        parts: what is put in the place of `@PART`, as it is.
    """
    text = re.sub(r"\bnet_(?=\w)", f"{name}_", _read(template))
    text = re.sub(r"\bNET_(?=\w)", f"{name.upper()}_", text)
    text = _aligned(text, len(name) - len("net"))
    return re.sub(r"@([A-Z]+)", lambda found: parts[found[1]], text)


@cache
def _all() -> str:
    return "\n".join(_read(path.stem) for path in sorted(FOLDER.glob("*.c")))


def functions_of_net() -> frozenset[str]:
    """Return what the functions of the templates are called behind the name of a net."""
    return frozenset(re.findall(r"\bnet_(\w+)(?=\()", _all()))


def constants_of_net() -> frozenset[str]:
    """Return what the constants of the templates are called behind the name of a net."""
    return frozenset(re.findall(r"\bNET_(\w+)", _all()))


def defined() -> frozenset[str]:
    """Return the names of the templates that do not have the net's in front."""
    of_files = re.findall(r"^(?:static .*?|struct )(\w+)(?=\(| \{|\[)", _all(), re.MULTILINE)
    return frozenset(of_files) | frozenset(re.findall(r"^\} (\w+)(?=\[)", _all(), re.MULTILINE))


def _aligned(text: str, more: int) -> str:
    """Return C in which the lines that go on a function's head stand below its first parameter."""
    lines, inside = [], False
    for line in text.splitlines():
        if inside:
            shift = len(line) - len(line.lstrip()) + more
            line = " " * shift + line.lstrip()
        goes_on = line.endswith(",") and (inside or re.match(r"\w+ \w+\(", line) is not None)
        lines.append(line)
        inside = goes_on
    return "\n".join(lines)


def declarations(template: str, name: str) -> list[str]:
    """Return what declares the functions of a template that other files can call."""
    text = written(template, name, **dict.fromkeys(re.findall(r"@([A-Z]+)", _read(template)), ""))
    found = re.finditer(
        rf"((?:^/\*(?:(?!\*/).)*\*/\n)?)^((?:void|int|{name}_real) {name}_\w+\([^)]*\))\n\{{",
        text,
        re.MULTILINE | re.DOTALL,
    )
    return [line for each in found for line in (*f"{each[1]}{each[2]};".splitlines(), "")]
