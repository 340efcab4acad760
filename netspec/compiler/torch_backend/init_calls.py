"""Writes initial values that differ from those of PyTorch's own layers, as calls of
`torch.nn.init`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.initializers import Dirac, Initializer, KaimingUniform, Ones, Values
from netspec.compiler.torch_backend.expressions import literal
from netspec.compiler.torch_backend.naming import is_attribute, number, quote
from netspec.compiler.torch_backend.python_layout import Doc, Group, call, statement
from netspec.compiler.torch_backend.symbolic_numbers import SymbolicFloat
from netspec.records import record

# Lists of no more numbers are written again for each parameter.
SHORT = 16


def chosen_rules(graph: Graph) -> dict[str, Initializer]:
    """Return the initial values that differ from those of the PyTorch module, by parameter."""
    rules: dict[str, Initializer] = {}
    seen: set[str] = set()  # of layers that share one the first makes it
    for node in graph.nodes:
        shapes = graph.shapes_into(node)
        module = node.op.torch(*shapes).module
        if module is not None and module.defines is not None:
            inner = chosen_rules(module.defines.graph)
            rules |= {name: rule for name, rule in inner.items() if name not in seen}
            seen |= set(module.defines.graph.parameters)
            continue
        held = module is not None
        for spec in node.op.parameters(*shapes):
            parameter = graph.parameters[node.parameters[spec.name]]
            if parameter.name in seen:
                continue
            seen.add(parameter.name)
            # A parameter that no module holds is created as ones.
            default = spec.initializer if held else Ones()
            if parameter.initializer != default:
                rules[parameter.name] = parameter.initializer
    return rules


@record
class Owned:
    """A parameter: the class of the module that holds it, its own name and its rank, and whether it
    is a buffer.

    The name of a parameter that a part of the module holds has a dot, as in `out_proj.weight`.
    """

    target: str
    name: str
    rank: int
    is_buffer: bool = False


def list_lines(lists: Mapping[str, Values]) -> list[str]:
    """The statements that set parameters, by their expressions, to lists of numbers.

    A long list that several of them have is written once, and copied from the first.
    """
    lines = statement("with torch.no_grad():", 2) if lists else []
    first: dict[Values, str] = {}
    for tensor, rule in lists.items():
        known = first.setdefault(rule, tensor)
        is_copy = known != tensor and len(rule.numbers) > SHORT
        lines += statement(call(f"{tensor}.copy_", known) if is_copy else _list(tensor, rule), 3)
    return lines


@record
class Fill:
    """A parameter that is filled alike in all modules of a class.

    `optional` says that some of these modules lack it, and `exact` that subclasses are left alone:
    PyTorch makes parts of modules of them, which have other initial values.
    """

    name: str
    rule: Initializer
    rank: int
    optional: bool
    exact: bool = False


def fills_of(
    rules: Mapping[str, Initializer], owners: Mapping[str, Owned]
) -> tuple[dict[str, list[Fill]], set[str]]:
    """Return the parameters that a loop over the modules can fill, by module class, and the names
    of all parameters that this covers.
    """
    has_parts = any("." in owned.name for owned in owners.values())
    loops: dict[str, list[Fill]] = {}
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
        fill = Fill(name, first, owners[all_of_it[0]].rank, optional, has_parts)
        loops.setdefault(target, []).append(fill)
        covered.update(same)
    return loops, covered


def fill_lines(loops: Mapping[str, list[Fill]], symbols: Mapping[str, str]) -> list[str]:
    """A loop over all modules, which fills those of these classes."""
    lines = statement("for module in self.modules():", 2) if loops else []
    for at, (target, fills) in enumerate(loops.items()):
        exact = any(fill.exact for fill in fills)
        test = f"type(module) is {target}" if exact else f"isinstance(module, {target})"
        lines += statement(f"{'el' if at else ''}if {test}:", 3)
        for fill in fills:
            # PyTorch's own types say that a bias may be None.
            asks = fill.optional or fill.name == "bias"
            if asks:
                lines += statement(f"if module.{fill.name} is not None:", 4)
            for filled in init_docs(f"module.{fill.name}", fill.rule, fill.rank, symbols):
                lines += statement(filled, 5 if asks else 4)
    return lines


def parameter_text(owner: str, path: str, owned: Owned) -> str:
    """The expression for a parameter of an object; braces in its path are numbers of the class.

    What type checkers do not take for a parameter is looked up: those of containers, and biases of
    convolutions, which can be None in PyTorch's own types.
    """
    target = owned.target
    parts = path.split(".")
    is_typed = parts[-1] != "bias" or not target.startswith("nn.Conv")
    if all(map(is_attribute, parts)) and len(parts) <= (2 if target else 1) and is_typed:
        return f"{owner}.{path}"
    kind = "buffer" if owned.is_buffer else "parameter"
    return f"{owner}.get_{kind}({'f' if '{' in path else ''}{quote(path)})"


def init_docs(tensor: str, rule: Initializer, rank: int, symbols: Mapping[str, str]) -> list[Doc]:
    """Return the calls of init functions that draw the values of a rule, one behind the other.

    `rank` is the number of axes, on which the fans depend.
    """
    if not isinstance(rule, Dirac):
        return [_init(tensor, rule, rank, symbols)]
    function = f"nn.init.{'dirac_' if rank > 2 else 'eye_'}"
    if not rule.gain and not (isinstance(rule.gain, SymbolicFloat) and rule.gain.outer):
        return [call(function, tensor)]
    some = Group(f"{tensor}[", (f": {tensor}.shape[1]",), "]", grouping=True)
    return [_init(tensor, KaimingUniform(rule.gain), rank, symbols), call(function, some)]


def _init(tensor: str, rule: Initializer, rank: int, symbols: Mapping[str, str]) -> Doc:
    name = rule.rule
    if isinstance(rule, Values):
        return _list(tensor, rule)
    given = {name: _number(value, symbols) for name, value in vars(rule).items()}
    if name in ("zeros", "ones", "constant", "uniform"):
        return call(f"nn.init.{name}_", tensor, *given.values())
    if name in ("normal", "truncated_normal"):
        return _normal(tensor, name, given["mean"], given["std"])
    if name.startswith("xavier"):
        return _xavier(tensor, name, rank, given["gain"])
    return _kaiming(tensor, rule, rank, given["gain"])


def _list(tensor: str, rule: Values) -> Doc:
    values = _nested(rule.numbers, rule.shape)
    return Group(f"{tensor}.copy_(", (Group("torch.tensor(", (values,)),))


def _normal(tensor: str, name: str, mean: str, std: str) -> Doc:
    is_centred = mean == "0.0"
    options = [f"std={std}"] if is_centred else [f"mean={mean}", f"std={std}"]
    if name == "normal":
        return call("nn.init.normal_", tensor, *options)
    ends = [f"a={mean} - 2 * {std}", f"b={mean} + 2 * {std}"]
    if is_centred:
        ends = [f"a=-2 * {std}", f"b=2 * {std}"]
    return call("nn.init.trunc_normal_", tensor, *options, *ends)


def _xavier(tensor: str, name: str, rank: int, gain: str) -> Doc:
    if rank >= 2:
        return call(f"nn.init.{name}_", tensor, *([] if gain == "1.0" else [f"gain={gain}"]))
    spread = f"{gain} / {tensor}.numel() ** 0.5"
    if name == "xavier_normal":
        return call("nn.init.normal_", tensor, f"std={spread}")
    return _uniform(tensor, f"3**0.5 * {spread}")


def _kaiming(tensor: str, rule: Initializer, rank: int, gain: str) -> Doc:
    uniform = rule.rule == "kaiming_uniform"
    factor = vars(rule)["gain"]
    if (
        rank >= 2
        and not (isinstance(factor, SymbolicFloat) and factor.outer)
        and 0 < factor <= 2**0.5
    ):
        options = ['mode="fan_out"'] if rule.rule == "kaiming_fan_out" else []
        # PyTorch's gain is sqrt(2 / (1 + a^2)), where a is the slope of a leaky ReLU.
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
    return call("nn.init.uniform_", tensor, Group("-(", (bound,), grouping=True), bound)


def _number(value: Any, symbols: Mapping[str, str]) -> str:
    if isinstance(value, SymbolicFloat) and value.outer:
        return symbols[value.outer]
    return number(float(value)) if isinstance(value, (int, float)) else ""


def _nested(numbers: tuple[float, ...], shape: tuple[int, ...]) -> Doc:
    if len(shape) <= 1:
        return Group("[", tuple(map(literal, numbers)), "]")
    each = len(numbers) // shape[0]
    rows = [numbers[i * each : (i + 1) * each] for i in range(shape[0])]
    return Group("[", tuple(_nested(row, shape[1:]) for row in rows), "]")
