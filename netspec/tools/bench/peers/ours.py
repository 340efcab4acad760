"""netspec's own programs, of NumPy and as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.runtime.engine import threads
from netspec.runtime.engine.native.c_compiler import this_compiler
from netspec.runtime.models.engines import Engine, NativeEngine, NumpyEngine
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import SoftmaxCrossEntropy
from netspec.runtime.optim.optimizers import SGD
from netspec.tools.bench.workload import LEARNING_RATE, Array, Runner, Workload

VERSION = f"NumPy {np.__version__}"


def prepare(case: Workload) -> Runner:
    """Return a runner of a model on a batch."""
    return _prepared(case, NumpyEngine(), VERSION)


def native(case: Workload) -> Runner:
    """Return a runner of a model that is machine code."""
    return _prepared(case, NativeEngine(), this_compiler().version)


def _prepared(case: Workload, engine: Engine, version: str) -> Runner:
    threads.limit(case.threads)
    model = Model(case.graph, seed=case.seed, engine=engine)
    if case.weights is not None:
        model.load_state_dict(case.weights)
    predictor = model.predictor()
    inputs = case.inputs()
    x: Any = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    if not case.train:
        return Runner(lambda: predictor(x), lambda y: {"output": _chosen(y, case)}, version)
    labels, loss = case.labels(), SoftmaxCrossEntropy()
    optimizer = SGD(model.flat_parameters, model.flat_gradients, model.members)

    def step() -> float:
        value = model.gradients_(x, labels, loss=loss)
        optimizer.step(LEARNING_RATE)
        return value

    def result(value: Any) -> dict[str, Array]:
        return {"loss": np.asarray(value), **model.state_dict()}

    return Runner(step, result, version)


def _chosen(outputs: Any, case: Workload) -> Array:
    chosen: Array = list(outputs.values())[case.output] if isinstance(outputs, dict) else outputs
    return chosen
