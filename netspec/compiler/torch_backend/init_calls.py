"""Initial values that differ from those of PyTorch's own layers, as calls of `torch.nn.init`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.initializers import Initializer, Values
from netspec.compiler.torch_backend.expressions import literal
from netspec.compiler.torch_backend.naming import number
from netspec.compiler.torch_backend.python_layout import Doc, Group, call, statement
from netspec.compiler.torch_backend.traced_numbers import TracedFloat


@dataclass(frozen=True)
class Owned:
    """A parameter: the class of the module that holds it, its own name and rank."""

    target: str
    name: str
    rank: int


def init_lines(
    rules: Mapping[str, Initializer],
    owners: Mapping[str, Owned],
    reach: Callable[[str], str],
    symbols: Mapping[str, str],
) -> list[str]:
    """The statements at the end of the net's constructor.

    Args:
        rules: by full parameter name, those that are not PyTorch's defaults.
        owners: of all parameters.
        reach: how a parameter is written.
        symbols: the class's arguments by the net's.
    """
    loops: dict[str, list[tuple[str, Initializer, bool]]] = {}
    covered: set[str] = set()
    for target, name in dict.fromkeys((o.target, o.name) for n, o in owners.items() if n in rules):
        all_of_it = [n for n, o in owners.items() if (o.target, o.name) == (target, name)]
        first = rules.get(all_of_it[0])
        same = [n for n in all_of_it if rules.get(n) == first]
        if not target or first is None or isinstance(first, Values) or len(same) < 2:
            continue
        if len(same) < len(all_of_it) and any(n not in rules for n in all_of_it):
            continue
        siblings = [o for o in owners.values() if o.target == target and o.name == "weight"]
        optional = len(all_of_it) < len(siblings)
        loops.setdefault(target, []).append((name, first, optional))
        covered.update(same)
    lines: list[str] = []
    if loops:
        lines += statement("for module in self.modules():", 2)
    for at, (target, wanted) in enumerate(loops.items()):
        lines += statement(f"{'el' if at else ''}if isinstance(module, {target}):", 3)
        for name, rule, optional in wanted:
            depth = 4
            if optional:
                lines += statement(f"if module.{name} is not None:", 4)
                depth = 5
            rank = next(o.rank for o in owners.values() if (o.target, o.name) == (target, name))
            lines += statement(_init(f"module.{name}", rule, rank, symbols), depth)
    drawn = [full for full in rules if full not in covered and not isinstance(rules[full], Values)]
    written = [full for full in rules if isinstance(rules[full], Values)]
    for full in drawn:
        lines += statement(_init(reach(full), rules[full], owners[full].rank, symbols), 2)
    if written:
        lines += statement("with torch.no_grad():", 2)
    for full in written:
        lines += statement(_init(reach(full), rules[full], owners[full].rank, symbols), 3)
    return lines


def _init(tensor: str, rule: Initializer, rank: int, symbols: Mapping[str, str]) -> Doc:
    """One call; `rank` is the parameter's number of axes, on which a fan depends."""
    given = {name: _number(value, symbols) for name, value in vars(rule).items()}
    name = rule.rule
    if isinstance(rule, Values):
        values = _nested(rule.numbers, rule.shape)
        return Group(f"{tensor}.copy_(", (Group("torch.tensor(", (values,)),))
    if name in ("zeros", "ones"):
        return call(f"nn.init.{name}_", tensor)
    if name == "constant":
        return call("nn.init.constant_", tensor, given["value"])
    if name == "uniform":
        return call("nn.init.uniform_", tensor, given["low"], given["high"])
    if name in ("normal", "truncated_normal"):
        mean, std = given["mean"], given["std"]
        options = [f"std={std}"] if mean == "0.0" else [f"mean={mean}", f"std={std}"]
        if name == "normal":
            return call("nn.init.normal_", tensor, *options)
        ends = [f"a={mean} - 2 * {std}", f"b={mean} + 2 * {std}"]
        if mean == "0.0":
            ends = [f"a=-2 * {std}", f"b=2 * {std}"]
        return call("nn.init.trunc_normal_", tensor, *options, *ends)
    if name.startswith("xavier"):
        gain = [] if given["gain"] == "1.0" else [f"gain={given['gain']}"]
        if rank >= 2:
            return call(f"nn.init.{name}_", tensor, *gain)
        spread = f"{given['gain']} / {tensor}.numel() ** 0.5"
        if name == "xavier_normal":
            return call("nn.init.normal_", tensor, f"std={spread}")
        return _uniform(tensor, f"3**0.5 * {spread}")
    return _kaiming(tensor, rule, rank, given["gain"])


def _kaiming(tensor: str, rule: Initializer, rank: int, gain: str) -> Doc:
    uniform = rule.rule == "kaiming_uniform"
    factor = vars(rule)["gain"]
    if (
        rank >= 2
        and not (isinstance(factor, TracedFloat) and factor.outer)
        and 0 < factor <= 2**0.5
    ):
        options = ['mode="fan_out"'] if rule.rule == "kaiming_fan_out" else []
        # The gain is sqrt(2 / (1 + a^2)), where a is the slope of a leaky ReLU.
        slope = math.sqrt(max(2 / factor**2 - 1, 0.0))
        if factor == math.sqrt(2.0):
            options.append('nonlinearity="relu"')
        elif abs(slope - 5**0.5) < 1e-9:
            options.insert(0, "a=5**0.5")
        else:
            options.insert(0, f"a={number(slope)}")
        function = "kaiming_uniform_" if uniform else "kaiming_normal_"
        return call(f"nn.init.{function}", tensor, *options)
    fan = f"{tensor}[0].numel()"
    if rank < 2:
        fan = f"{tensor}.numel()"
    elif rule.rule == "kaiming_fan_out":
        fan = f"{tensor}[:, 0].numel()"
    if uniform:
        return _uniform(tensor, f"{gain} * (3 / {fan}) ** 0.5")
    return call("nn.init.normal_", tensor, f"std={gain} / {fan} ** 0.5")


def _uniform(tensor: str, bound: str) -> Doc:
    return call("nn.init.uniform_", tensor, f"-({bound})", bound)


def _number(value: Any, symbols: Mapping[str, str]) -> str:
    if isinstance(value, TracedFloat) and value.outer:
        return symbols[value.outer]
    return number(float(value)) if isinstance(value, (int, float)) else ""


def _nested(numbers: tuple[float, ...], shape: tuple[int, ...]) -> Doc:
    if len(shape) <= 1:
        return Group("[", tuple(map(literal, numbers)), "]")
    each = len(numbers) // shape[0]
    rows = [numbers[i * each : (i + 1) * each] for i in range(shape[0])]
    return Group("[", tuple(_nested(row, shape[1:]) for row in rows), "]")
