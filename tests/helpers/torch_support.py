"""Helpers for tests of generated PyTorch modules: the source is run alone, and compared with NumPy."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

import netspec
from netspec.compiler.ir.graph import Graph
from netspec.runtime.models.torch_build import load_all
from netspec.testing.op_examples import (
    Run,
    agreement,
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)
from netspec.tools.agreement.torch_trace import SharedMasks
from tests.helpers.formatted import check_formatted

ALLOWED_IMPORTS = {
    "torch", "torch.nn.functional", "collections", "collections.abc", "builtins", "math", "typing",
}  # fmt: skip


def classes(source: str) -> dict[str, Any]:
    """Run a generated file by itself, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(compile(source, "<generated>", "exec"), namespace)
    return namespace


@lru_cache(maxsize=64)
def source_of(net: netspec.Net) -> str:
    """Return the generated source of a net. It is made once: that takes longer than the checks."""
    return net.source("torch")


def module_of(net: netspec.Net, **arguments: Any) -> nn.Module:
    """Return the generated module, in double precision, with PyTorch's initial values."""
    made: nn.Module = classes(source_of(net))[net.name](**arguments)
    return made.double()


def load(module: nn.Module, parameters: Mapping[str, np.ndarray]) -> nn.Module:
    """Load these parameters, buffers and constants into a module: all of them, and no others."""
    load_all(module, {name: torch.tensor(a) for name, a in parameters.items()})
    return module


@contextmanager
def masks_of(run: Run) -> Iterator[None]:
    """Let PyTorch's dropouts and noise draw what a run of the NumPy program drew."""
    with SharedMasks(torch.tensor(mask) for mask in run.masks.values()) as shared:
        yield
    assert next(shared.masks, None) is None


def run_module(
    module: nn.Module,
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    dy: Mapping[str, np.ndarray],
    *,
    training: bool,
) -> Run:
    """Run one forward and backward pass of a module, in double precision."""
    module.train(training).zero_grad()
    x = {name: torch.tensor(a, requires_grad=True) for name, a in inputs.items()}
    y = module(*x.values())
    outputs = dict(zip(graph.outputs, y if isinstance(y, tuple) else (y,), strict=True))
    read = [name for name, tensor in outputs.items() if tensor.requires_grad]
    slopes = [torch.tensor(dy[name]) for name in read]
    torch.autograd.backward([outputs[name] for name in read], slopes)
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
        for name, p in module.named_parameters()
    }
    held = {**module.state_dict(), **dict(module.named_buffers())}
    return Run(
        {name: tensor.detach().numpy() for name, tensor in outputs.items()},
        gradients,
        {n: (torch.zeros_like(t) if t.grad is None else t.grad).numpy() for n, t in x.items()},
        {name: tensor.detach().numpy().copy() for name, tensor in held.items()},
        {},
    )


def check_equal(net: netspec.Net, *, tol: float = 1e-10, batch: int = 3, **arguments: Any) -> None:
    """Check that the generated module, the NumPy program and the reference agree, in both modes.

    Args:
        net: the net, with whose graph the module is compared.
        arguments: the arguments of the class.
    """
    graph = net.graph
    module = module_of(net, **arguments)
    check_against(module, graph, tol=tol, batch=batch)


def check_against(module: nn.Module, graph: Graph, *, tol: float = 1e-10, batch: int = 3) -> None:
    """Check that a module computes what a graph says, and names its parameters in the same order."""
    assert list(module.state_dict()) == in_tree_order(graph.saved())
    inputs = random_inputs(graph, batch)
    dy = random_output_gradients(graph, batch)
    for training in (True, False):
        parameters = random_parameters(graph)
        load(module, parameters)
        program = run_program(graph, parameters, inputs, dy, training=training)
        with masks_of(program):
            ours = run_module(module, graph, inputs, dy, training=training)
        reference = run_reference(
            graph, random_parameters(graph), inputs, dy, training=training, masks=program.masks
        )
        for name in inputs:  # an input that no output depends on has no gradient there
            for other in (program, reference):
                other.input_gradients.setdefault(name, np.zeros_like(inputs[name]))
        assert_equal_runs(ours, reference, tol, growth=1e3)
        assert_equal_runs(ours, program, tol, growth=1e3)


def in_tree_order(names: Iterable[str]) -> list[str]:
    """Return parameters in the order of modules, in which all below one label are together."""
    tree: dict[str, Any] = {}
    for name in names:
        inner = tree
        for part in name.split("."):
            inner = inner.setdefault(part, {})

    def walk(inner: dict[str, Any], prefix: str) -> Iterator[str]:
        # A module's own parameters come before those of the modules in it.
        own_first = sorted(inner.items(), key=lambda item: bool(item[1]))  # a stable sort
        for part, below in own_first:
            yield from walk(below, f"{prefix}.{part}") if below else [f"{prefix}.{part}"]

    return [name[1:] for name in walk(tree, "")]


def check_text(text: str, sizes: Mapping[str, int] | None = None, **arguments: Any) -> None:
    """Check that the source of a net is formatted, safe and correct.

    Args:
        text: the `.net` file.
        sizes: numbers for its open sizes, with which it is run.
        arguments: the arguments of the net.
    """
    source = netspec.loads(text, **arguments).source("torch")
    check_formatted({"net": source})
    check_imports(source)
    net = netspec.loads(text, **arguments, **(sizes or {}))
    module = classes(source)[net.name]().double()
    check_against(module, net.graph)


def check_imports(source: str) -> None:
    """Check that a generated file imports only PyTorch and the standard library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert {name.name for name in node.names} <= ALLOWED_IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert node.module in ALLOWED_IMPORTS


def same(a: Any, b: Any, tol: float) -> None:
    """Check that two tensors agree, as DESIGN defines it."""
    assert agreement(a.detach().numpy(), b.detach().numpy()) <= tol
