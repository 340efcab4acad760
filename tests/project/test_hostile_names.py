"""Whatever the parts of a net are called, every target is a program that computes the same.

What C makes of them is in `tests/c_backend/test_names.py`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend.model import OnnxOptions, onnx_model
from netspec.export import standalone_source
from netspec.testing.op_examples import agreement, random_inputs
from tests.helpers import hostile_names

SEED = 1
Arrays = Mapping[str, np.ndarray]


def of_torch(net: netspec.Net, state: Arrays, inputs: Arrays) -> list[np.ndarray]:
    """Return what the PyTorch module computes."""
    torch = pytest.importorskip("torch")
    from tests.helpers.torch_support import classes

    module = classes(net.source("torch"))[net.name]().eval()
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    with torch.no_grad():
        found = module(*(torch.tensor(inputs[name]) for name in net.graph.inputs))
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


def of_standalone(net: netspec.Net, state: Arrays, inputs: Arrays) -> list[np.ndarray]:
    """Return what the file that needs NumPy alone computes."""
    module = types.ModuleType("generated")
    sys.modules[module.__name__] = module  # where its dataclasses look for it
    exec(compile(standalone_source(net.graph, training=False), "<generated>", "exec"), vars(module))
    program = getattr(module, net.name)(seed=SEED)
    given = [inputs[name] for name in net.graph.inputs]
    found = program.forward(inputs if len(given) > 1 else given[0])
    return [found[name] for name in net.graph.outputs] if isinstance(found, dict) else [found]


def of_onnx(net: netspec.Net, state: Arrays, inputs: Arrays) -> list[np.ndarray]:
    """Return what onnxruntime computes of the model with functions; both are checked."""
    pytest.importorskip("onnxruntime")
    from tests.helpers.onnx_support import check_model, run_session, session

    for functions in (False, True):
        model = onnx_model(net.graph, state, OnnxOptions(functions=functions))
        check_model(model.proto)
    found = run_session(session(model.content()), inputs)
    return [found[name] for name in net.graph.outputs]


TARGETS = {"torch": of_torch, "standalone": of_standalone, "onnx": of_onnx}
BLOCK = "block Inner(inner) {0} {{ {0} = {0} -> q.{0}: conv(inner, 1)\n return {0} -> relu }}\n"


def texts() -> dict[str, str]:
    """Return nets in which every name is in every place, one that blocks have, and names of nets."""
    found = {f"names {number}": text for number, text in enumerate(hostile_names.nets())}
    found |= {f"net {name}": hostile_names.named(name) for name in hostile_names.NETS}
    for name in hostile_names.LONG:
        net = hostile_names.named("A").replace("-> batch_norm", "-> Inner(2) -> a: Inner(2)")
        found[f"a block's {name[:9]}{name[-1]}"] = BLOCK.format(name) + net
    return found


# Every how many nets are tried where time matters; all of them are among the heavy tests. Names in
# PyTorch modules have tests of their own, of every way to give one.
EVERY = {"torch": 12, "standalone": 6, "onnx": 2}
CASES = [
    *EVERY.items(), *(pytest.param(target, 1, marks=pytest.mark.heavy) for target in TARGETS)
]  # fmt: skip


@pytest.mark.parametrize(("target", "every"), CASES)
def test_a_net_with_any_names_computes_the_same_in_every_target(target: str, every: int) -> None:
    compared = 0
    for about, text in list(texts().items())[::every]:
        net = netspec.loads(text)
        model = net.compile("numpy", seed=SEED)
        inputs = {name: x.astype("f4") for name, x in random_inputs(net.graph, 2).items()}
        expected = model.forward(inputs)
        values = list(expected.values()) if isinstance(expected, dict) else [expected]
        found = TARGETS[target](net, model.state_dict(), inputs)
        assert len(found) == len(values) == len(net.graph.outputs), about
        for one, other in zip(values, found, strict=True):
            assert agreement(one, other) <= 1e-4, about
            compared += 1
    assert compared > len(hostile_names.NAMES) // (2 * every)
