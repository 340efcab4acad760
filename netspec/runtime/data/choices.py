"""Choices by name with options: look-up with suggestions, and checks of options."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from netspec import codes
from netspec.diagnostics import Code, NetspecError, suggest

T = TypeVar("T")

BAD_OPTION = codes.TRAIN_BAD_OPTION


def check_name(what: str, name: str, known: Iterable[str], code: Code = BAD_OPTION) -> None:
    """Check that `name` is one of `known`.

    Args:
        what: What kind of thing it names, for the message ("optimizer").
        name: What the user wrote.
        known: The valid names, in the order in which to list them.
        code: The code of the error.

    Raises:
        NetspecError: With the valid names, and the one that was probably meant.
    """
    known = list(known)
    if name not in known:
        meant = meant_by(str(name), known)
        raise NetspecError.simple(
            code,
            f"there is no {what} `{name}`; there are {', '.join(known)}",
            f"did you mean `{meant}`?" if meant else None,
        )


# Names in other frameworks for what is here.
_ELSEWHERE = {
    "crossentropy": "softmax", "crossentropyloss": "softmax", "ce": "softmax", "nll": "softmax",
    "categoricalcrossentropy": "softmax", "hinge": "svm", "multimargin": "svm", "mseloss": "mse",
    "smoothl1": "smooth-l1", "smoothl1loss": "smooth-l1",
    "learningrate": "lr", "stepsize": "lr", "weightdecay": "l2",
    "fp32": "float32", "float": "float32", "fp64": "float64", "double": "float64", "gpu": "cuda",
    "multistep": "multi-step", "steplr": "step", "cosineannealing": "cosine",
}  # fmt: skip


def meant_by(name: str, known: Sequence[str]) -> str | None:
    """Return the word that was probably meant by an unknown one."""
    plain = name.lower().replace("_", "").replace("-", "")
    elsewhere = _ELSEWHERE.get(plain)
    return elsewhere if elsewhere in known else suggest(name, known)


def make(
    what: str,
    table: Mapping[str, Callable[..., T]],
    name: str,
    *arguments: object,
    options: Mapping[str, object] | None = None,
) -> T:
    """Return `table[name](*arguments, **options)`, where options are keyword-only parameters.

    Raises:
        NetspecError: `train/bad-option` for a name or an option that does not exist.
    """
    check_name(what, name, table)
    factory = table[name]
    if not options:
        return factory(*arguments)
    known = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for option in options:
        if not known:
            raise NetspecError.simple(
                BAD_OPTION, f"the {what} {name} has no options; `{option}` is given"
            )
        check_name(f"{what} option of {name}", option, known)
    return factory(*arguments, **options)


def is_number(value: object) -> bool:
    """Return True if `value` is a finite number of Python or NumPy, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def require(condition: bool, message: str, help: str | None = None) -> None:
    """Raise `train/bad-option` with `message` unless `condition` holds.

    Raises:
        NetspecError: See above.
    """
    if not condition:
        raise NetspecError.simple(BAD_OPTION, message, help)


def kind_of(value: object) -> str:
    """Return the type of a value as messages say it, such as `an ndarray`."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' or name.startswith('nd') else 'a'} {name}"
