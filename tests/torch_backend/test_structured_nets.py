"""Nets whose class has the file's loops and conditions: one generated file for all arguments."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.torch_build import module_class  # noqa: E402
from netspec.testing.op_examples import (  # noqa: E402
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
)
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.heavy import some_heavy  # noqa: E402
from tests.helpers.torch_support import check_text, classes, load, same  # noqa: E402

NETWORKS = Path(__file__).parents[2] / "networks"
pytestmark = pytest.mark.usefixtures("one_thread")

# What all settings of a net share, to be small; then ten settings.
SETTINGS: dict[str, tuple[dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "resnet": (
        {"width": 2},
        (
            {}, {"depth": 8}, {"depth": 14}, {"depth": 26}, {"depth": 56, "width": 1},
            {"width": 3}, {"width": 4}, {"classes": 7}, {"depth": 8, "width": 5, "classes": 100},
            {"depth": 32, "classes": 3},
        ),
    ),
    "zoo/resnet50": (
        {"size": 33, "blocks": [1, 1, 1, 1], "classes": 5},
        (
            {}, {"blocks": [1]}, {"blocks": [2, 3]}, {"blocks": [1, 2, 1]}, {"classes": 3},
            {"blocks": [1, 1, 1, 1, 1]}, {"blocks": [2, 1], "classes": 4}, {"size": 40},
            {"blocks": [3]}, {"blocks": [1, 1], "classes": 2, "size": 48},
        ),
    ),
    "zoo/densenet121": (
        {"size": 33, "layers": [2, 1, 1], "classes": 5},
        (
            {}, {"layers": [1]}, {"layers": [2, 3]}, {"layers": [1, 2, 1, 1]}, {"classes": 3},
            {"layers": [4]}, {"layers": [2, 1], "classes": 4}, {"size": 40}, {"layers": [1, 1, 3]},
            {"layers": [3, 2], "classes": 2, "size": 48},
        ),
    ),
    "zoo/mobilenet_v2": (
        {"size": 32, "width": 0.25, "classes": 5, "drop": 0.0},
        (
            {}, {"width": 0.1}, {"width": 0.35}, {"width": 0.5}, {"classes": 3}, {"drop": 0.5},
            {"size": 40}, {"width": 0.05}, {"width": 0.4, "classes": 2}, {"width": 1 / 3},
        ),
    ),
    "zoo/fully_connected": (
        {"hidden": [6, 5], "size": 4},
        (
            {}, {"hidden": []}, {"hidden": [3]}, {"hidden": [4, 3, 2, 5]}, {"norm": True},
            {"drop": 0.5}, {"norm": True, "drop": 0.25, "hidden": [7]}, {"classes": 2},
            {"size": 3, "hidden": [2, 2, 2]}, {"hidden": [9], "norm": True, "classes": 3},
        ),
    ),
}  # fmt: skip
# How many of the settings are tried always; the others are heavy.
ALWAYS = {"zoo/fully_connected": 10}
CASES = [
    pytest.param(
        name,
        {**common, **setting},
        id=f"{name}{number}",
        marks=[pytest.mark.heavy] if number >= ALWAYS.get(name, 4) else [],
    )
    for name, (common, settings) in SETTINGS.items()
    for number, setting in enumerate(settings)
]


@functools.cache
def made(name: str) -> Any:
    """The class that is generated without any arguments."""
    net = netspec.load(NETWORKS / f"{name}.net")
    return classes(net.source("torch"))[net.name]


def given(made: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the class takes."""
    return {n: v for n, v in arguments.items() if n in inspect.signature(made).parameters}


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_one_file_serves_all_arguments(name, arguments):
    """Names, shapes and outputs are those of the net compiled with these arguments."""
    graph = netspec.load(NETWORKS / f"{name}.net", **arguments).graph
    module = made(name)(**given(made(name), arguments)).double()
    ours = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert list(ours.items()) == [(p.name, p.shape) for p in graph.saved().values()]
    parameters, inputs = random_parameters(graph), random_inputs(graph, 2)
    load(module, parameters)
    dy = random_output_gradients(graph, 2)
    run = run_program(graph, parameters, inputs, dy, training=False)
    (image,) = inputs.values()
    (wanted,) = run.outputs.values()
    same(module.eval()(torch.tensor(image)), torch.tensor(wanted), 1e-10)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("resnet", ["depth", "width", "classes"]),
        ("zoo/resnet50", ["classes", "width", "blocks"]),
        ("zoo/densenet121", ["classes", "width", "layers"]),
        ("zoo/mobilenet_v2", ["classes", "width", "drop"]),
        ("zoo/fully_connected", ["hidden", "classes", "size", "norm", "drop"]),
    ],
)
def test_every_argument_is_taken_but_those_that_nothing_reads(name, taken):
    assert list(inspect.signature(made(name)).parameters) == taken


def test_sizes_of_known_nets():
    with torch.device("meta"):
        for name, arguments in (
            ("resnet", {"depth": 56, "width": 32, "classes": 100}),
            ("zoo/densenet121", {"layers": [6, 12, 48, 32]}),
            ("zoo/fully_connected", {"hidden": [512, 256]}),
        ):
            graph = netspec.load(NETWORKS / f"{name}.net", **arguments).graph
            state = made(name)(**arguments).state_dict()
            shapes = [(key, tuple(value.shape)) for key, value in state.items()]
            assert shapes == [(p.name, p.shape) for p in graph.saved().values()]


def test_an_assert_of_the_net_refuses_arguments():
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2"):
        made("resnet")(depth=21)


@pytest.mark.parametrize("name", some_heavy(SETTINGS, ["zoo/mobilenet_v2"]))
def test_torch_script_compiles_it(name):
    common, _ = SETTINGS[name]
    made = module_class(netspec.load(NETWORKS / f"{name}.net"))  # has a source to read
    module = made(**given(made, common)).eval()
    graph = netspec.load(NETWORKS / f"{name}.net", **common).graph
    (shape,) = graph.inputs.values()
    image = torch.randn(1, *map(int, shape))
    same(torch.jit.script(module)(image), module(image), 1e-6)


# ------------------------------------------------------------------------------ what bodies can do

BODIES = {
    "sizes carried from loop to loop": """
        net N(steps = 3, c = 2, classes = 3) {
            input x: [3, 9, 9]
            for i in range(steps) { x = x -> a{i}: conv(c * (i + 1), 3, pad = 1) -> relu }
            c2 = c + 1
            for i in range(2) { x = x -> b{i}: conv(c2, 1) -> n{i}: batch_norm }
            output x -> global_avg_pool -> linear(classes)
        }""",
    "a name given again": """
        net N(c = 4, deep = 2) {
            input x: [3, 6, 6]
            w = c
            x = x -> first: conv(w, 3)
            w = 2 * w + 1
            for i in range(deep) { x = x -> more{i}: conv(w, 1) }
            output x -> global_avg_pool -> linear(2)
        }""",
    "conditions": """
        net N(wide = false, n = 2) {
            input x: [2, 5, 5]
            if wide { x = x -> big: conv(7, 3) } else if n > 2 { x = x -> mid: conv(5, 3) }
            else { x = x -> small: conv(3, 1) -> relu }
            for i in range(n) { x = x -> s{i}: conv(x.channels + 1, 1) }
            output x -> global_avg_pool -> linear(2)
        }""",
    "numbered layers in loops": """
        block B(c) x { return x + (x -> conv(c, 3, pad = 1)) }
        net N(n = 2, c = 3) {
            input x: [3, 5, 5]
            x = x -> conv(c, 3) -> B(c)
            for i in range(n) { x = x -> conv(2 * c, 1) -> relu -> B(2 * c) }
            output x -> conv(c, 1) -> global_avg_pool -> linear(2)
        }""",
    "containers in containers": """
        net N(stages = [1, 2], c = 2) {
            init weight = normal(0.1), bias = constant(0.5)
            input x: [3, 8, 8]
            x = x -> body.stem: conv(c, 3, pad = 1) -> relu
            for s, count in enumerate(stages) {
                for i in range(count) {
                    x = x -> body.stage{s}.unit{i}.conv: conv(c * 2 ** s, 3, pad = 1)
                        -> body.stage{s}.unit{i}.norm: batch_norm -> relu
                }
                x = x -> body.stage{s}.last: conv(c, 1)
            }
            output x -> global_avg_pool -> head.1: linear(2) -> relu -> head.3: linear(3)
        }""",
    "functions and lists": """
        net N(ratio = 0.5, wide = [4, 6], act = true) {
            input x: [3, 4, 4]
            hidden = []
            for w in wide { hidden = hidden + [max(1, round(w * ratio))] }
            for i, w in enumerate(hidden) { x = x -> c{i}: conv(w, 1) }
            x = x -> dropout(ratio / 4)
            for a, b in zip(reversed(hidden), wide[0:2]) {
                x = x -> d{a + b}: conv(int(sqrt(b * b)), 1, bias = not act)
                if act { x = x -> relu }
            }
            output x -> global_avg_pool -> linear(2)
        }""",
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name):
    text = BODIES[name]
    net = netspec.loads(text)
    source = net.source("torch")
    assert f"class {net.name}(nn.Sequential)" in source, source
    check_text(text)


# A value of one turn is read behind the loop, whose own value has other sizes by then.
PUT_ASIDE = {
    "in a turn": ("", "if stage == 1 { kept = x }", "kept -> aux: conv(classes, 1)"),
    "its size alone": (
        "", "if stage == 1 { kept = x }", "image -> conv(kept.channels, 1) -> aux: conv(classes, 1)",
    ),
    "into a block": ("", "if stage == 1 { kept = x }", "kept -> aux: Unit(3, 1)"),
    "twice as wide": (
        "", "if stage == 1 { kept = x -> conv(2 * x.channels, 1) }", "kept -> aux: conv(classes, 1)",
    ),
    "joined": ("", "if stage == 1 { kept = concat(x, x) }", "kept -> aux: conv(classes, 1)"),
    "in a list": ("all = []", "all = all + [x]", "all[1] -> aux: conv(classes, 1)"),
    "from the turn before": (
        "last = x", "if stage == 2 { kept = last }\nlast = x", "kept -> aux: conv(classes, 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUT_ASIDE)
def test_a_value_put_aside_in_a_turn(name):
    before, inside, after = PUT_ASIDE[name]
    check_text(f"""
        block Unit(channels, stride) x {{
            main = x -> conv(4 * channels, 3, stride, pad = 1)
            skip = x
            if x.channels != 4 * channels {{ skip = x -> conv(4 * channels, 1, stride) }}
            return relu(main + skip)
        }}
        net N(classes = 5, size = 8, blocks = [1, 1, 1]) {{
            input image: [3, size, size]
            x = image -> conv(8, 3, pad = 1)
            {before}
            for stage, stride in [[0, 1], [1, 2], [2, 1]] {{
                for i in range(blocks[stage]) {{
                    x = x -> layer{{stage}}.{{i}}: Unit(2 * 2 ** stage, stride if i == 0 else 1)
                }}
                {inside}
            }}
            output x -> global_avg_pool -> linear(classes)
            output aux = {after} -> global_avg_pool
        }}""")


def test_volumes_go_through_loops():
    check_text("""
        net N(n = 2) {
            input x: [2, 3, 4, 5]
            for i in range(n) { x = x -> c{i}: conv(x.channels + 1, 3, pad = 1) -> relu }
            output x -> global_avg_pool -> linear(2)
        }""")


def test_bodies_with_other_arguments():
    for text, arguments in (
        (BODIES["sizes carried from loop to loop"], {"steps": 0, "c": 5}),
        (BODIES["sizes carried from loop to loop"], {"steps": 5}),
        (BODIES["a name given again"], {"deep": 0}),
        (BODIES["conditions"], {"wide": True, "n": 4}),
        (BODIES["conditions"], {"n": 3}),
        (BODIES["numbered layers in loops"], {"n": 4, "c": 3}),
        (BODIES["containers in containers"], {"stages": [2, 1, 3], "c": 3}),
        (NO_CHAINS["a value that is read twice"], {"n": 4}),
        (NO_CHAINS["a size that forward would need"], {"n": 3}),
        (NO_CHAINS["initial values of one layer and of a block"], {"n": 3}),
    ):
        graph = netspec.loads(text, **arguments).graph
        net = netspec.loads(text)
        module = classes(net.source("torch"))[net.name](**arguments)
        shapes = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
        assert shapes == [(p.name, p.shape) for p in graph.saved().values()]


NO_CHAINS = {
    "a value that is read twice": """
        net N(n = 2) {
            input x: [3, 5, 5]
            for i in range(n) { x = x + (x -> c{i}: conv(3, 1)) }
            output x -> global_avg_pool
        }""",
    "a size that forward would need": """
        net N(n = 2) {
            input x: [4, 6, 6]
            for i in range(n) {
                x = x -> reshape([x.channels, x.height * x.width, 1]) -> c{i}: conv(4, 1)
            }
            output x -> global_avg_pool
        }""",
    "a label that stays the same in a container that does not": """
        net N(n = 2) {
            input x: [4, 6, 6]
            for i in range(n) { for j in range(2) { x = x -> a{j}.c{i}: conv(4, 1) } }
            output x -> global_avg_pool
        }""",
    "initial values of one layer and of a block": """
        block B x { return x + (x -> c: conv(x.channels, 3, pad = 1, weight = constant(0.5))) }
        net N(n = 2) {
            input x: [4, 6, 6]
            y = x -> first: conv(4, 1) -> other: conv(4, 1, weight = normal(0.1))
            for i in range(n) { y = y -> b{i}: B }
            output x + y -> global_avg_pool
        }""",
}


@pytest.mark.parametrize("name", NO_CHAINS)
def test_what_is_no_chain_has_a_forward(name):
    net = netspec.loads(NO_CHAINS[name])
    assert f"class {net.name}(nn.Module)" in net.source("torch")
    check_text(NO_CHAINS[name])


def test_the_sources_are_formatted():
    check_formatted(
        {f"net{at}": netspec.loads(t).source("torch")
         for at, t in enumerate(BODIES.values())}
    )  # fmt: skip


def test_an_open_size_in_a_block_is_read_from_its_input() -> None:
    """`forward` computes with sizes of its tensors: the size that the net leaves open has no name."""
    net = netspec.loads(
        "block Heads x {\n return x -> reshape([-1, 2, 3]) -> permute([2, 1, 3])\n}\n"
        "net A {\n input x: [T, 6]\n output x -> Heads\n}"
    )
    source = net.source("torch")
    assert "torch.reshape(x, (x.shape[0], -1, 2, 3))" in source
    model = net.compile("torch")
    assert all(model.forward(np.zeros((2, n, 6))).shape == (2, 2, n, 3) for n in (1, 4))
