"""The generated PyTorch module: as it is, in channels_last, and with torch.compile."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from netspec.runtime.models.pytorch.input_types import as_declared
from netspec.runtime.models.torch_build import build_module, load_all, with_ties
from netspec.runtime.optim.targets import rows_in_torch
from netspec.tools.bench.workload import LEARNING_RATE, Array, Runner, Workload


def eager(case: Workload) -> Runner:
    """The module as a careful person would have written it."""
    return _runner(case, build(case), tensors(case))


def channels_last(case: Workload) -> Runner:
    """The module with weights and pictures in N, H, W, C; the batch is already stored so."""
    last = torch.channels_last
    module = build(case).to(memory_format=last)
    batch = [x.to(memory_format=last) if x.ndim == 4 else x for x in tensors(case)]
    return _runner(case, module, batch)


def compiled(case: Workload) -> Runner:
    """The module with torch.compile and its default settings."""
    return _runner(case, build(case), tensors(case), torch.compile)


def build(case: Workload) -> Any:
    """Return the module with the case's parameters, mode and number of threads."""
    torch.set_num_threads(case.threads)
    net: Any = case.net
    module = build_module(net, seed=case.seed).train(case.train)
    if case.weights is not None:
        given = {name: torch.as_tensor(array) for name, array in case.start().items()}
        load_all(module, with_ties(case.graph, given))
    return module


def tensors(case: Workload) -> list[Any]:
    """Return the batch as tensors."""
    given = case.inputs().items()
    return [as_declared(case.graph, name, torch.from_numpy(array)) for name, array in given]


def _runner(
    case: Workload, module: Any, batch: list[Any], transform: Callable[[Any], Any] = lambda m: m
) -> Runner:
    """Return a runner. `transform` returns what is called; the parameters remain the module's."""
    called = transform(module)
    version = torch.__version__
    held = [*batch, *module.state_dict().values()]

    def chosen(outputs: Any) -> Any:
        return outputs[case.output] if isinstance(outputs, tuple) else outputs

    if not case.train:

        def infer() -> Any:
            with torch.inference_mode():
                return chosen(called(*batch))

        return Runner(infer, lambda y: {"output": y.numpy()}, version, lambda: _peak(infer, held))

    labels = torch.from_numpy(case.labels())
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = functional.cross_entropy(*rows_in_torch(chosen(called(*batch)), labels))
            loss.backward()
        optimizer.step()
        return loss.detach()

    def result(loss: Any) -> dict[str, Array]:
        values = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
        return {"loss": loss.numpy(), **values}

    return Runner(step, result, version, lambda: _peak(step, held))


def _peak(step: Callable[[], Any], held: list[Any]) -> int:
    """Return the most bytes of tensors during a step: those held before it and those it allocates."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    made: int = max(itertools.accumulate(sizes, initial=0))
    before: int = sum(tensor.nbytes for tensor in held)
    return before + made
