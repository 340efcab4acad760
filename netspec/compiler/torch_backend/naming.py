"""Names in generated Python: the file's own, except for those that Python or the module itself
needs.
"""

from __future__ import annotations

import keyword
import math
from typing import Any

# Names that generated code reads inside functions. A value or an argument with such a name gets an
# underscore behind it.
_USED = frozenset(
    "F ValueError builtins collections getattr int isinstance float i len module nn range self setattr"
    " sum super torch tuple".split()
)
# Names that the class of a net or a block could hide, and what is written instead.
CLASH = {"F": "torch.nn.functional", "ValueError": "builtins.ValueError"}


def safe_name(name: str) -> str:
    """Return a name that generated code does not use itself. Different names stay different.

    >>> safe_name("class"), safe_name("class_"), safe_name("width")
    ('class_', 'class__', 'width')

    Names that start with two underscores are changed, because Python mangles them in a class.

    >>> safe_name("__a"), safe_name("x__a")
    ('x__a', 'xx__a')
    """
    if name.lstrip("x").startswith("__"):
        name = f"x{name}"
    bare = name.rstrip("_")
    return f"{name}_" if not bare or keyword.iskeyword(bare) or bare in _USED else name


def is_attribute(name: str) -> bool:
    """Whether `self.name` is valid: the name is neither a number nor a keyword."""
    return name.isidentifier() and not keyword.iskeyword(name)


def is_class_name(name: str) -> bool:
    """Whether a name can be that of a class of the generated module."""
    lower = {"torch", "nn", "collections", "builtins"}
    return name.isidentifier() and not keyword.iskeyword(name) and name not in lower


def quote(text: str) -> str:
    """Return a Python literal of printable ASCII, quoted as `ruff format` would.

    >>> print(quote('say "hi"'), quote("it's"))
    'say "hi"' "it's"
    """
    body = text.encode("unicode_escape").decode("ascii")
    if '"' in body and "'" not in body:
        return f"'{body}'"
    if body.count('"') > body.count("'"):
        return "'" + body.replace("'", "\\'") + "'"
    return '"' + body.replace('"', '\\"') + '"'


def number(value: Any) -> str:
    """Return a number, or `None`, as `ruff format` writes it.

    >>> number(1e300), number(0.5), number(float("inf"))
    ('1e300', '0.5', 'float("inf")')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value).replace("e+", "e")


def name_text(part: str) -> str:
    """Return a part of a label as a Python string; what it has in braces is Python.

    >>> name_text("conv"), name_text("{i}"), name_text("layer{i + 1}")
    ('"conv"', 'str(i)', 'f"layer{i + 1}"')
    """
    if part.startswith("{") and part.count("{") == 1 and part.endswith("}"):
        return f"str({part[1:-1]})"
    return f'f"{part}"' if "{" in part else quote(part)


_AXES = {
    1: ("features",),
    2: ("length", "features"),
    3: ("channels", "height", "width"),
    4: ("channels", "depth", "height", "width"),
}


def axis_names(rank: int) -> tuple[str, ...]:
    """Return the names of the axes of a value among a class's arguments."""
    return _AXES.get(rank) or tuple(f"size{axis}" for axis in range(rank))
