"""`netspec verify --onnx`, and the peer of `bench` that runs the same model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.onnx_form import OnnxForm
from netspec.runtime.models.onnx_session import OnnxSession
from netspec.tools.bench.peers import PEERS
from netspec.tools.bench.workload import Workload
from tests.conftest import ROOT
from tests.helpers.onnx_support import onnxruntime

SMALL = (
    "net A { input x: [2, 4, 4]\n y = x -> conv(3, 3) -> relu\n output y -> flatten -> linear(3) }"
)


def test_verify_has_a_column_for_the_onnx_model(run: Any, write: Any) -> None:
    finished = run("verify", write(SMALL), "--onnx", "--no-torch")
    assert finished.code == 0, finished.err
    assert finished.out.count("reference | ONNX") == 1  # in evaluation and float32


def test_verify_finds_a_fault_of_the_onnx_model(
    run: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = OnnxForm.__call__

    def without_relu(self: OnnxForm, operator: str, *inputs: Any, **attributes: Any) -> Any:
        return call(self, "Identity" if operator == "Relu" else operator, *inputs, **attributes)

    monkeypatch.setattr(OnnxForm, "__call__", without_relu)
    finished = run("verify", write(SMALL), "--onnx", "--no-torch")
    assert finished.code == 1
    assert "the reference and the ONNX model differ at the output `output`" in finished.err


def test_verify_of_the_onnx_model_needs_single_precision(run: Any, write: Any) -> None:
    finished = run("verify", write(SMALL), "--onnx", "--no-torch", "--dtype", "float64")
    assert "ONNX models compute in float32" in finished.err


def test_the_peer_of_bench_computes_what_the_program_computes() -> None:
    net = netspec.load(ROOT / "networks/lenet.net")
    case = Workload(net, 2, False, 1)
    runner = PEERS["onnxruntime"].load()(case)
    expected = net.compile(seed=case.seed).forward(case.inputs())
    found = runner.result(runner.step())["output"]
    assert np.allclose(found, expected, atol=1e-5)
    assert runner.version == onnxruntime.__version__


def test_a_session_takes_numbers_of_any_type() -> None:
    net = netspec.loads("net A { input x: int[3]\n output x -> embedding(5, 2) }")
    session = OnnxSession(net.graph, net.compile().state_dict())
    (y,) = session(session.fed({"x": np.array([[0.0, 4.0, 1.0]])}))
    assert y.shape == (1, 3, 2)
