"""Random changes of training pictures by their names, with arguments: `random_resized_crop(224)`.

The names and arguments are those of `torchvision.transforms.v2`, in the way of this language.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netspec.runtime.data.augment_draws import KINDS as IN_BATCHES
from netspec.runtime.data.choices import check_name, is_number, require

# What is longer is no change that anybody writes.
_MOST_CHARACTERS = 200
_CALL = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?:\((.*)\)\s*)?", re.DOTALL)
# How often a change of colours may be done, and the largest size of a picture's side.
_MOST_OPS, _MOST_PIXELS = 100, 1 << 14

Value = float | tuple[float, ...]


@dataclass(frozen=True)
class Parameter:
    """An argument of a change.

    Attributes:
        default: Its value if it is left out; None leaves it to the net.
        accepts: Whether it may have a value.
        says: Which values it may have, for messages.
    """

    default: Value | None
    accepts: Callable[[object], bool]
    says: str


@dataclass(frozen=True)
class Change:
    """A random change with its arguments.

    Attributes:
        name: Its name, one of `NAMES`.
        arguments: A value for each of its parameters; None leaves it to the net.
    """

    name: str
    arguments: Mapping[str, Value | None]


@dataclass(frozen=True)
class Changes:
    """The random changes of a training, by when they are made.

    Attributes:
        in_batches: Names of `netspec.runtime.data.augment_draws.KINDS`, of pictures of the net's size.
        of_pictures: Changes by torchvision of each picture as it is decoded, in their order.
        mixes: Changes that blend pictures of a batch; one of them is drawn for each batch.
    """

    in_batches: tuple[str, ...] = ()
    of_pictures: tuple[Change, ...] = ()
    mixes: tuple[Change, ...] = ()


def _number(least: float, most: float) -> Callable[[object], bool]:
    return lambda value: is_number(value) and least <= value <= most  # type: ignore[operator]


def _whole(least: int, most: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _range(least: float, most: float) -> Callable[[object], bool]:
    """Return a check for a pair of rising numbers."""

    def accepts(value: object) -> bool:
        pair = isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value))
        return pair and least <= value[0] <= value[1] <= most  # type: ignore[index]

    return accepts


_SHARE = (_number(0, 1), "a number from 0 to 1")
_RATIO = (_range(1e-3, 1e3), "a pair of rising numbers, such as (0.75, 1.33)")
_PART = (_range(1e-6, 1), "a pair of rising numbers from 0 to 1, such as (0.08, 1)")
_STRENGTH = (_number(0, 100), "a number from 0 on")
_MIX = {"alpha": Parameter(1.0, _number(1e-3, 1e3), "a number above 0")}
OF_PICTURES: dict[str, dict[str, Parameter]] = {
    "random_resized_crop": {
        "size": Parameter(None, _whole(1, _MOST_PIXELS), "a whole number from 1 on"),
        "scale": Parameter((0.08, 1.0), *_PART),
        "ratio": Parameter((3 / 4, 4 / 3), *_RATIO),
    },
    "horizontal_flip": {"p": Parameter(0.5, *_SHARE)},
    "vertical_flip": {"p": Parameter(0.5, *_SHARE)},
    "color_jitter": {
        "brightness": Parameter(0.0, *_STRENGTH),
        "contrast": Parameter(0.0, *_STRENGTH),
        "saturation": Parameter(0.0, *_STRENGTH),
        "hue": Parameter(0.0, _number(0, 0.5), "a number from 0 to 0.5"),
    },
    "rand_augment": {
        "num_ops": Parameter(2, _whole(1, _MOST_OPS), "a whole number from 1 on"),
        "magnitude": Parameter(9, _whole(0, 30), "a whole number from 0 to 30"),
    },
    "trivial_augment": {},
    "random_erasing": {
        "p": Parameter(0.5, *_SHARE),
        "scale": Parameter((0.02, 0.33), *_PART),
        "ratio": Parameter((0.3, 3.3), *_RATIO),
    },
}
MIXES: dict[str, dict[str, Parameter]] = {"mixup": _MIX, "cutmix": _MIX}
_TABLE: dict[str, dict[str, Parameter]] = {
    **{name: {} for name in IN_BATCHES},
    **OF_PICTURES,
    **MIXES,
}
NAMES = tuple(_TABLE)
# What people look for here and is an option, because evaluation and prediction do it, too.
OPTIONS_INSTEAD = {
    "resize": "resize-shorter = 256 resizes all pictures, and takes the middle",
    "center_crop": "resize-shorter = 256 resizes all pictures, and takes the middle",
    "normalize": "mean = [...] and std = [...], or normalize = \"imagenet\"",
}  # fmt: skip


def split_calls(text: str) -> list[str]:
    """Divide a text at its commas outside of parentheses."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth <= 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def parse_change(text: str) -> Change:
    """Read a change such as `horizontal_flip` or `random_resized_crop(224, scale=(0.3, 1))`.

    Raises:
        NetspecError: `train/bad-option` for an unknown name, and for arguments that it does not take.
    """
    found = _CALL.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    require(found is not None, f"a change is a name, perhaps with arguments, not `{text[:60]}`")
    assert found is not None
    name, inside = found[1], found[2] or ""
    if name in OPTIONS_INSTEAD:
        require(False, f"`{name}` is no random change: it is an option", OPTIONS_INSTEAD[name])
    check_name("augmentation", name, NAMES)
    parameters = _TABLE[name]
    arguments: dict[str, Value | None] = {key: p.default for key, p in parameters.items()}
    for key, value in _arguments(name, inside, [*parameters]).items():
        check_name(f"argument of {name}", key, parameters)
        value = tuple(value) if isinstance(value, list) else value
        parameter = parameters[key]
        require(
            parameter.accepts(value), f"{key} of {name} must be {parameter.says}, not {value!r}"
        )
        arguments[key] = value  # type: ignore[assignment]
    return Change(name, arguments)


def _arguments(name: str, inside: str, order: Sequence[str]) -> dict[str, object]:
    """Return the arguments in the parentheses of a call by their names; nothing is executed."""
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        plain = isinstance(call, ast.Call) and all(each.arg for each in call.keywords)
        if not plain:
            raise ValueError
        assert isinstance(call, ast.Call)
        values = [ast.literal_eval(each) for each in call.args]
        named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        require(False, f"the arguments of {name} are not numbers: ({inside})")
        raise
    require(
        len(values) <= len(order) and not {*order[: len(values)]} & {*named},
        f"{name} takes {', '.join(order) or 'no arguments'}, each once",
    )
    return {**dict(zip(order, values, strict=False)), **named}


def parse_augmentation(texts: Sequence[str]) -> Changes:
    """Read the changes of a training.

    Raises:
        NetspecError: `train/bad-option`, see `parse_change`.
    """
    changes = [parse_change(text) for text in texts]
    return Changes(
        tuple(each.name for each in changes if each.name in IN_BATCHES),
        tuple(each for each in changes if each.name in OF_PICTURES),
        tuple(each for each in changes if each.name in MIXES),
    )


def require_none_of_pictures(changes: Sequence[Change]) -> None:
    """Refuse changes that torchvision makes.

    Raises:
        NetspecError: `train/bad-option`, naming them.
    """
    names = ", ".join(each.name for each in changes)
    require(
        not changes,
        f"{names}: for `netspec train torch` only",
        f"here there are {', '.join((*IN_BATCHES, *MIXES))}",
    )
