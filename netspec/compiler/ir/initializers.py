"""Initial values of parameters: the rules that a `.net` file can name, and how each draws its
values.

A rule is one class. Its fields are its arguments in the file, and its docstring is its
documentation. Comparison is written once, in the base class, because a dataclass that generates its
own takes three times as long to define.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from netspec.compiler.ir.attributes import WrongValueError, show
from netspec.compiler.ir.long_lists import OfLongLists
from netspec.diagnostics import plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(eq=False, repr=False)
class Initializer:
    """Draws the initial values of one parameter."""

    rule: ClassVar[str]
    # Whether the values are other ones for another seed.
    is_random: ClassVar[bool] = True

    def sample(
        self, rng: np.random.Generator, shape: tuple[int, ...]
    ) -> NDArray[np.float64]:  # pragma: no cover - every rule has its own
        """Return the values, in float64, of a parameter of this shape."""
        raise NotImplementedError

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Return in words why a parameter of this shape cannot have such values; None if it can.

        The words follow those of the parameter and its shape.
        """
        return None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __str__(self) -> str:
        given = [f"{getattr(self, f.name):g}" for f in fields(self)]
        return f"{self.rule}({', '.join(given)})" if given else self.rule


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (out, in, *kernel), counted as PyTorch does."""
    receptive = math.prod(shape[2:])
    if len(shape) < 2:
        return shape[0] if shape else 1, shape[0] if shape else 1
    return shape[1] * receptive, shape[0] * receptive


@dataclass(eq=False, repr=False)
class Zeros(Initializer):
    """All zero."""

    rule = "zeros"
    is_random = False

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return zeros."""
        return _full(shape, 0.0)


@dataclass(eq=False, repr=False)
class Ones(Initializer):
    """All one."""

    rule = "ones"
    is_random = False

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return ones."""
        return _full(shape, 1.0)


@dataclass(eq=False, repr=False)
class Constant(Initializer):
    """All `value`."""

    value: float
    rule = "constant"
    is_random = False

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return an array filled with the value."""
        return _full(shape, self.value)


@dataclass(eq=False, repr=False)
class Normal(Initializer):
    """Gaussian with standard deviation `std` around `mean`."""

    std: float
    mean: float = 0.0
    rule = "normal"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(mean, std^2)."""
        return rng.normal(self.mean, self.std, shape)


@dataclass(eq=False, repr=False)
class NormalRows(Normal):
    """Gaussian, but for one row of zeros: the vectors of an embedding, and that of its padding."""

    zeros: int = 0

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(mean, std^2), and set the row."""
        values = super().sample(rng, shape)
        values[self.zeros] = 0
        return values


@dataclass(eq=False, repr=False)
class TruncatedNormal(Initializer):
    """Gaussian whose values outside two standard deviations are drawn again."""

    std: float
    mean: float = 0.0
    rule = "truncated_normal"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(mean, std^2), within mean +- 2 std."""
        values = rng.standard_normal(shape)
        while (outside := abs(values) > 2).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return values * self.std + self.mean


@dataclass(eq=False, repr=False)
class Uniform(Initializer):
    """Uniform in [low, high)."""

    low: float
    high: float
    rule = "uniform"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(low, high)."""
        return rng.uniform(self.low, self.high, shape)


@dataclass(eq=False, repr=False)
class KaimingNormal(Initializer):
    """Gaussian with std sqrt(2 / fan_in) (He et al. 2015, for ReLU)."""

    gain: float = math.sqrt(2.0)
    rule = "kaiming_normal"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(0, gain^2 / fan_in)."""
        return rng.normal(0.0, self.gain / math.sqrt(fans(shape)[0]), shape)


@dataclass(eq=False, repr=False)
class KaimingFanOut(Initializer):
    """Gaussian with std sqrt(2 / fan_out), as torchvision's ResNets start."""

    gain: float = math.sqrt(2.0)
    rule = "kaiming_fan_out"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(0, gain^2 / fan_out)."""
        return rng.normal(0.0, self.gain / math.sqrt(fans(shape)[1]), shape)


@dataclass(eq=False, repr=False)
class KaimingUniform(Initializer):
    """Uniform with variance gain^2 / fan_in (He et al. 2015); PyTorch's layers use gain sqrt(1/3)."""

    gain: float = math.sqrt(2.0)
    rule = "kaiming_uniform"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(-b, b) with b = gain sqrt(3 / fan_in)."""
        bound = self.gain * math.sqrt(3.0 / fans(shape)[0])
        return rng.uniform(-bound, bound, shape)


@dataclass(eq=False, repr=False)
class XavierNormal(Initializer):
    """Gaussian with variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    gain: float = 1.0
    rule = "xavier_normal"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(0, 2 gain^2 / (fan_in + fan_out))."""
        return rng.normal(0.0, self.gain * math.sqrt(2.0 / sum(fans(shape))), shape)


@dataclass(eq=False, repr=False)
class XavierUniform(Initializer):
    """Uniform with variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    gain: float = 1.0
    rule = "xavier_uniform"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out))."""
        bound = self.gain * math.sqrt(6.0 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


@dataclass(eq=False, repr=False)
class Dirac(Initializer):
    """Filters that hand their input on, as many as there are inputs; others as kaiming_uniform(gain)."""

    gain: float = 0.0
    rule = "dirac"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Refuse what has no inputs."""
        return None if len(shape) > 1 else "and `dirac` is for filters and matrices"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(-b, b), and set row i of the first to 1 at input i, in the middle of the kernel."""
        values = KaimingUniform(self.gain).sample(rng, shape)
        values[: shape[1]] = 0
        middle = tuple(size // 2 for size in shape[2:])
        for i in range(min(shape[:2])):
            values[(i, i, *middle)] = 1
        return values


@dataclass(eq=False, repr=False)
class Values(Initializer):
    """A literal list of numbers in the file, nested like the parameter's shape (filters set by hand)."""

    shape: tuple[int, ...]
    numbers: tuple[float, ...]
    rule = "values"
    is_random = False

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Refuse every shape but that of the list."""
        return None if shape == self.shape else f"and this list {list(self.shape)}"

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the numbers as an array."""
        import numpy as np

        return np.array(self.numbers, dtype=np.float64).reshape(shape)

    def __str__(self) -> str:
        return f"values of shape {list(self.shape)}"


def _full(shape: tuple[int, ...], value: float) -> NDArray[np.float64]:
    import numpy as np

    return np.full(shape, value)


def draw(
    name: str, shape: tuple[int, ...], initializer: Initializer, seed: int
) -> NDArray[np.float64]:
    """Draw the initial values of a parameter, in float64.

    Each parameter has a random stream of its own, seeded by the seed and its name. So changing one
    layer does not change the initial values of the others, and every backend starts with the same
    values.
    """
    import numpy as np

    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return initializer.sample(rng, shape)


RULES: dict[str, type[Initializer]] = {
    rule.rule: rule
    for rule in (
        Zeros, Ones, Constant, Normal, TruncatedNormal, Uniform, KaimingNormal, KaimingFanOut,
        KaimingUniform, XavierNormal, XavierUniform, Dirac,
    )
}  # fmt: skip

# These arguments measure spread and must not be negative: a sign there is a typing error.
_NOT_NEGATIVE = ("std", "gain")


def make(rule: str, positional: Sequence[object], named: Mapping[str, object]) -> Initializer:
    """Build a rule from the arguments in the file.

    Raises:
        WrongValueError: with words that complete `normal: ...`.
    """
    cls = RULES[rule]
    given = _by_name({f.name: f for f in fields(cls)}, positional, named)
    numbers = {name: _number(name, value) for name, value in given.items()}
    if rule == "uniform" and numbers["low"] > numbers["high"]:
        raise WrongValueError("needs a `low` that is not above its `high`")
    return cls(**numbers)


def _by_name(
    arguments: Mapping[str, Field[object]],
    positional: Sequence[object],
    named: Mapping[str, object],
) -> dict[str, object]:
    if len(positional) > len(arguments):
        raise WrongValueError(f"takes {plural(len(arguments), 'argument')}, not {len(positional)}")
    given = dict(zip(arguments, positional, strict=False))
    for name, value in named.items():
        if name not in arguments:
            raise WrongValueError(f"has no argument `{name}`; it takes {', '.join(arguments)}")
        if name in given:
            raise WrongValueError(f"got `{name}` twice")
        given[name] = value
    for name, f in arguments.items():
        if name not in given and f.default is MISSING:
            raise WrongValueError(f"needs `{name}`")
    return given


def _number(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise WrongValueError(f"needs a number for `{name}`, not {show(value)}")
    if name in _NOT_NEGATIVE and value < 0:
        raise WrongValueError(f"cannot have a negative `{name}`, such as {value}")
    return value if isinstance(value, float) else float(value)


_NUMBERS = frozenset({int, float})
# A block that declares a table is built for each call.
_LITERALS: OfLongLists[Values] = OfLongLists()


def literal(value: object) -> Values:
    """Return the initializer for a nested list of numbers.

    Raises:
        WrongValueError: if the list is ragged, too long or holds something else.
    """
    if (known := _LITERALS.get(value)) is not None:
        return known
    shape: list[int] = []
    level: list[object] = [value]
    while isinstance(level[0], (list, tuple)):
        rows = [item for item in level if isinstance(item, (list, tuple))]
        lengths = set(map(len, rows))
        if len(lengths) != 1 or 0 in lengths or len(rows) < len(level):
            raise WrongValueError("every row of a list of values must have the same length")
        shape.append(lengths.pop())
        level = [item for row in rows for item in row]
    if _NUMBERS.issuperset(map(type, level)):  # nearly always, and there may be thousands
        found = Values(tuple(shape), tuple(map(float, level)))  # type: ignore[arg-type]
        return _LITERALS.keep(value, found) if isinstance(value, tuple) else found
    numbers = []
    for item in level:
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            raise WrongValueError(f"values must be numbers, not {show(item)}")
        numbers.append(float(item))
    return Values(tuple(shape), tuple(numbers))
