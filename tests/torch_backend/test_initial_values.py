"""A generated module starts with the initial values that the file asks for, drawn by PyTorch."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import netspec  # noqa: E402
from netspec.compiler.ir.initializers import RULES  # noqa: E402
from netspec.compiler.ops import registry  # noqa: E402
from netspec.diagnostics import NetspecError  # noqa: E402
from netspec.runtime.models.numpy_model import draw_parameter  # noqa: E402
from netspec.testing.op_examples import net_of  # noqa: E402
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.torch_support import classes, source_of  # noqa: E402

# Each rule with its defaults, and with other numbers. Gains are below, at and above that of a ReLU.
CALLS = {
    "zeros": ["zeros"],
    "ones": ["ones"],
    "constant": ["constant(0.25)"],
    "normal": ["normal(0.3)", "normal(0.3, mean = 2)", "normal(0)"],
    "truncated_normal": ["truncated_normal(0.3)", "truncated_normal(0.3, mean = -2)"],
    "uniform": ["uniform(-1, 2)"],
    "dirac": ["dirac", "dirac(0.5)", "dirac(3)", "dirac(sqrt(1 / 3))"],
    **{
        name: [name, f"{name}(0.5)", f"{name}(3)", f"{name}(sqrt(1 / 3))", f"{name}(0)"]
        for name in RULES
        if name.startswith(("kaiming", "xavier"))
    },
}

# Every kind of parameter: with two axes and with four, with one axis in a module and in none,
# weights with permuted axes, weights with groups.
NET = """
net Example({arguments}) {{
    init {roles}
    input image: [8, 6, 6]
    output image
        -> conv(60, 3, groups = 2) -> batch_norm
        -> conv_transpose(40, [2, 3], groups = 4) -> group_norm(2)
        -> scale -> layer_norm
        -> flatten -> linear(30) -> scale
}}
"""


def text_of(rule: str, arguments: str = "") -> str:
    """Return the net with a rule for all that may have it."""
    roles = ("weight",) if rule.startswith("dirac") else ("weight", "bias", "scale", "shift")
    return NET.format(roles=", ".join(f"{role} = {rule}" for role in roles), arguments=arguments)


def check_spread(net: netspec.Net, *, seeds: int = 3) -> None:
    """Check that PyTorch's draws of several objects have the centre, spread and ends of NumPy's."""
    made = classes(source_of(net))[net.name]
    torch.manual_seed(0)
    objects = [made() for _ in range(seeds)]
    for name, parameter in net.graph.parameters.items():
        if not parameter.trainable:
            continue
        theirs = np.stack([m.state_dict()[name].double().numpy() for m in objects])
        ours = np.stack([draw_parameter(parameter, seed) for seed in range(seeds)])
        assert theirs.shape == ours.shape
        spread, count = float(ours.std()), theirs.size
        assert theirs.mean() == pytest.approx(ours.mean(), abs=8 * spread / count**0.5 + 1e-6), name
        assert theirs.std() == pytest.approx(spread, rel=6 / count**0.5, abs=1e-6), name
        for end in (np.min, np.max):
            if count > 1000 and spread:
                a, b = ((end(a) - ours.mean()) / spread for a in (ours, theirs))
                assert abs(a - b) < 1.0 + (abs(a) > 2.2), name


def test_every_rule_is_tested():
    assert set(CALLS) == set(RULES)


RULES_TRIED = [call for calls in CALLS.values() for call in calls]
RULES_OF_ARGUMENTS = [
    "normal(a)", "normal(a, mean = b)", "truncated_normal(a, b)", "uniform(-b, b)", "constant(b)",
    "kaiming_normal(a)", "kaiming_uniform(b)", "kaiming_fan_out(a)", "xavier_normal(b)",
    "xavier_uniform(a)", "dirac(a)",
]  # fmt: skip
ARGUMENTS = "a = 0.5, b = 1.5"


@pytest.mark.parametrize("rule", RULES_TRIED)
def test_every_rule_of_every_parameter(rule):
    check_spread(netspec.loads(text_of(rule)))


def test_the_sources_of_all_rules_are_formatted():
    texts = [text_of(rule) for rule in RULES_TRIED]
    texts += [text_of(rule, ARGUMENTS) for rule in RULES_OF_ARGUMENTS]
    check_formatted({f"net{i}": netspec.loads(t).source("torch") for i, t in enumerate(texts)})


@pytest.mark.parametrize("rule", RULES_OF_ARGUMENTS)
def test_rules_of_arguments(rule):
    """Numbers of rules that are arguments stay arguments, unless the file computes with them."""
    text = text_of(rule, ARGUMENTS)
    net = netspec.loads(text)
    check_spread(net)
    made = classes(source_of(net))["Example"]
    if rule == "uniform(-b, b)":
        return  # -b is frozen
    torch.manual_seed(0)
    taken = inspect.signature(made).parameters  # those that the rule reads
    ours = made(**{name: value for name, value in (("a", 0.25), ("b", 0.75)) if name in taken})
    torch.manual_seed(0)
    theirs = classes(netspec.loads(text, a=0.25, b=0.75).source("torch"))["Example"]()
    for key, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[key])


@pytest.mark.parametrize("cls", registry().values(), ids=lambda cls: cls.name)
def test_without_a_rule_layers_start_as_pytorchs(cls):
    """Parameters that no PyTorch module holds start as their op says."""
    for example in cls.examples:
        net = netspec.loads(net_of(example.call, example.inputs))
        if net.graph.parameters:
            check_spread(net, seeds=20)


def test_one_layer_among_others():
    """Layers of one kind with the same rule are initialised in a loop, and the others after it."""
    net = netspec.loads(
        """
        net Example {
            init weight = kaiming_normal, bias = zeros
            input x: [6, 5, 5]
            y = x -> conv(20, 3) -> conv(20, 1, bias = false) -> conv(30, 1, weight = normal(0.01))
            init bias = normal(1)
            output y -> conv(20, 1) -> flatten -> linear(40, weight = xavier_uniform) -> linear(40)
        }
        """
    )
    check_formatted({"net": net.source("torch")})
    check_spread(net)


def test_parts_of_a_module_keep_their_own_values():
    """The module of multi-head attention holds a linear layer, which no rule for others is for."""
    net = netspec.loads(
        """
        net Example {
            input x: [5, 40]
            init bias = constant(1)
            y = x -> linear(40, weight = normal(0.5)) -> linear(40, weight = normal(0.5))
            init bias = zeros
            output (y, y, y) -> multihead_attention(4)
        }
        """
    )
    assert "type(module) is nn.Linear" in net.source("torch")
    check_formatted({"net": net.source("torch")})
    check_spread(net)


def test_values_written_out():
    net = netspec.loads(
        """
        net Example {
            input image: [1, 8, 8]
            edge = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
            output image
                -> conv(2, 3, weight = [[edge], [edge]], bias = [0.1, 1e-30])
                -> scale(weight = [3, -4]) -> conv(1, 1, weight = [[[[2]], [[1e300]]]])
        }
        """
    )
    check_formatted({"net": net.source("torch")})
    torch.set_default_dtype(torch.float64)
    try:
        module = classes(net.source("torch"))["Example"]()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, parameter in net.graph.parameters.items():
        if parameter.initializer.rule == "values":
            values = module.get_parameter(name).detach().numpy()
            np.testing.assert_array_equal(values, draw_parameter(parameter, 0))


def test_a_buffer_behind_a_number_of_a_label_starts_as_the_file_says():
    net = netspec.loads(
        """
        block Places(places, rule) x {
            buffer place: [4] = places
            buffer times: [4] = rule
            return x * times + place
        }
        net Example {
            input x: [4]
            for i in range(2) {
                x = x -> features.{i}: Places([3, 1, 4, i], constant(i + 2))
            }
            output x -> fc: linear(2)
        }
        """
    )
    module = classes(net.source("torch"))["Example"]()
    for i in range(2):
        assert module.get_buffer(f"features.{i}.place").tolist() == [3, 1, 4, i]
        assert module.get_buffer(f"features.{i}.times").tolist() == [i + 2] * 4


def test_a_long_list_of_several_parameters_is_written_once():
    """Swin's table of places, for one, would be most of its module."""
    numbers = ", ".join(f"{i / 8}" for i in range(18))
    net = netspec.loads(f"""
        block Unit(places) x {{
            buffer table: [18] = places
            return x + table
        }}
        net N() {{
            input x: [18]
            output x -> first: Unit([{numbers}]) -> second: Unit([{numbers}])
        }}""")
    source = net.source("torch")
    assert source.count("torch.tensor(") == 1
    model = classes(source)["N"]()
    assert torch.equal(model.first.table, torch.arange(18) / 8)
    assert torch.equal(model.second.table, model.first.table)


def test_the_constructor_of_a_block_gives_its_layers_their_initial_values():
    """Also those of a layer that only some calls have."""
    net = netspec.loads("""
        block Unit(width) x {
            y = x -> main: linear(width, weight = normal(0.5))
            if width == x.features {
                return x + y
            }
            return (x -> side: linear(width, weight = uniform(-1, 1))) + y
        }
        net N {
            input x: [200]
            output x -> a: Unit(200) -> b: Unit(100) -> c: Unit(100) -> head: linear(90)
        }""")
    source = source_of(net)
    assert "isinstance" not in source
    assert source.count("nn.init.normal_(self.main.weight, std=0.5)") == 1
    assert source.count("nn.init.uniform_(self.side.weight, -1.0, 1.0)") == 1
    check_spread(net)


@pytest.mark.parametrize("channels", [4, 6, 9])
def test_dirac_is_that_of_pytorch(channels):
    """Of more filters than inputs the first are, as others set them: `dirac_(weight[:inputs])`."""
    net = netspec.loads(
        f"""net Example {{
            input image: [6, 5, 5]
            output image -> a: conv({channels}, 3, weight = dirac(sqrt(1 / 3)), bias = false)
                -> b: conv({channels}, [3, 4], pad = 1, weight = dirac) -> flatten
                -> c: linear(30, weight = dirac(2))
        }}"""
    )
    check_formatted({"net": net.source("torch")})
    module = classes(net.source("torch"))["Example"]()
    drawn = {p.name: draw_parameter(p, 3) for p in net.graph.parameters.values()}
    for name, init in (("a", nn.init.dirac_), ("b", nn.init.dirac_), ("c", nn.init.eye_)):
        ours, theirs = drawn[f"{name}.weight"], module.get_parameter(f"{name}.weight").detach()
        kept = ours.shape[1]
        expected = init(torch.full(ours.shape, 7.0)[:kept]).numpy()
        np.testing.assert_array_equal(ours[:kept], expected)
        np.testing.assert_array_equal(theirs[:kept].numpy(), expected)
        bound = 0 if name == "b" else (1 if name == "a" else 2 * 3**0.5) / (ours[0].size) ** 0.5
        for others in (ours[kept:], theirs[kept:].numpy()):
            assert np.all(np.abs(others) <= bound)
            assert not others.size or not bound or np.abs(others).max() > 0.9 * bound


def test_dirac_is_for_what_has_inputs():
    with pytest.raises(NetspecError) as caught:
        netspec.loads("net A { input x: [4, 5, 5]\n output x -> conv(4, 3, bias = dirac) }")
    (found,) = caught.value.diagnostics
    assert found.code == "init/shape"
    assert "has the shape [4], and `dirac` is for filters and matrices" in found.message
