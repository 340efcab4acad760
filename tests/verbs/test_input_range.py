"""Random inputs where a net takes them: behind what it subtracts and divides by, they are near 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.imports.proof import compared
from netspec.testing.op_examples import random_inputs
from netspec.tools.agreement.case import draw_inputs, make_case
from netspec.tools.agreement.input_range import in_range
from netspec.tools.gradcheck.setup import prepare
from tests.helpers.checked_texts import checked_text

STORED = {"mu": np.full((2, 1), 5000.0), "sd": np.full((2, 1), 50.0)}
DECLARED = "    buffer mu: [2, 1] = zeros\n    buffer sd: [2, 1] = ones\n"


VALUES = {
    "variance": "variance = sd * sd + 0.5 -> sqrt",
    "turned": "turned = x -> reshape([6, 2]) -> permute([2, 1])",
    "exp": "exp = x -> exp",
    "conv": "conv = x -> conv(2, 1)",
}


def named(body: str) -> str:
    """The values that a body names and that are computed before."""
    return "".join(f"    {line}\n" for name, line in VALUES.items() if name in body)


def net(body: str) -> Any:
    text = f"net A {{\n    input x: [2, 6]\n{DECLARED}{named(body)}"
    text += f"    output {body} -> flatten -> linear(3)\n}}\n"
    return netspec.loads(text)


@pytest.mark.parametrize(
    ("body", "mean", "std"),
    [
        ("(x - mu) / sd", 5000, 50),
        ("x / 255 - mu / sd", 25500, 255),
        ("(x - mu) / variance", 5000, 50),
        ("turned - mu", 5000, 1),
        ("x * 0.001", 0, 1000),
        ("2 * x / 255 - 1", 127.5, 127.5),
    ],
)
def test_inputs_are_where_the_net_subtracts_and_divides(body: str, mean: float, std: float) -> None:
    graph = net(body).graph
    drawn = random_inputs(graph, 500)
    found = in_range(graph, drawn, STORED)["x"]
    assert found.mean() == pytest.approx(mean, abs=std / 20)
    assert found.std() == pytest.approx(std, rel=0.05)


def test_a_batch_norm_of_the_input_takes_its_running_statistics() -> None:
    graph = netspec.loads("net A { input x: [2, 6]\n output x -> batch_norm -> flatten }").graph
    parameters = dict(make_case(graph, batch=2, seed=0, training=False).parameters)
    parameters["batch_norm1.running_mean"] = np.array([70.0, -30.0])
    found = in_range(graph, random_inputs(graph, 500), parameters)["x"]
    assert found.mean((0, 2)) == pytest.approx([70, -30], abs=3)


@pytest.mark.parametrize(
    "body",
    ["x", "x + 1", "x * 2", "x -> relu", "x * x / sd", "x -> softmax(1)", "conv - mu", "exp - mu"],
)  # fmt: skip
def test_other_inputs_are_standard_normal(body: str) -> None:
    graph = net(body).graph
    drawn = random_inputs(graph, 3)
    parameters = {**make_case(graph, batch=3, seed=0, training=False).parameters, **STORED}
    np.testing.assert_array_equal(in_range(graph, drawn, parameters)["x"], drawn["x"])


def test_a_logarithm_behind_it_gets_positive_numbers() -> None:
    graph = net("(x - mu) / sd -> log").graph
    assert in_range(graph, random_inputs(graph, 9), STORED)["x"].min() > 5000


def test_columns_of_codes_keep_their_whole_numbers() -> None:
    graph = netspec.loads(
        "net A { input x: [3]\n buffer mu: [2] = zeros\n"
        " code = x -> slice(1, 0, stop = 1) -> embedding(5, 4) -> flatten\n"
        " rest = x -> slice(1, 1)\n output concat(rest - mu, code) -> linear(2) }"
    ).graph
    drawn = make_case(graph, batch=2, seed=0, training=False).parameters
    parameters = {**drawn, "mu": np.array([100.0, 300.0])}
    found = in_range(graph, random_inputs(graph, 400), parameters)["x"]
    assert set(found[:, 0]) == {0, 1, 2, 3, 4}
    assert found[:, 1:].mean(0) == pytest.approx([100, 300], abs=0.3)


def test_cases_and_gradient_checks_draw_so() -> None:
    subject = net("(x - mu) / sd")
    state = {**subject.compile().state_dict(), **STORED}
    case = make_case(subject.graph, batch=50, seed=0, training=False, state=state)
    assert case.inputs["x"].mean() == pytest.approx(5000, abs=10)
    model = subject.compile("numpy", dtype="float64")
    model.load_state_dict(state)
    options: dict[str, Any] = {"seed": 0, "loss": None, "start": None, "end": None}
    drawn = prepare(model, None, None, batch=50, **options).inputs["x"]
    assert drawn.mean() == pytest.approx(5000, abs=10)


def test_the_proof_of_an_import_draws_so() -> None:
    text = "net A {\n    input x: [2, 6]\n" + DECLARED + "    output (x - mu) / sd -> sin\n}\n"
    state = {name: array.astype("f") for name, array in STORED.items()}
    given = []

    def model(batch: Any) -> dict[str, Any]:
        given.append(batch["x"])
        return {"output": np.sin((batch["x"] - 5000) / 50)}

    assert compared(checked_text("a", text), state, model).tells_apart
    assert 4900 < np.concatenate(given).mean() < 5100


def test_a_spread_of_ten_tolerances_is_what_an_import_wants() -> None:
    checked = checked_text("n", "net N {\n    input x: [3]\n\n    output x * 0.0001 + 1\n}\n")
    found = compared(checked, {}, lambda batch: {"output": batch["x"] * 1e-4 + 1})
    assert found.tells_apart  # x is drawn larger
    checked = checked_text("n", "net N {\n    input x: [3]\n\n    output sin(x) * 0.0001 + 1\n}\n")
    found = compared(checked, {}, lambda batch: {"output": np.sin(batch["x"]) * 1e-4 + 1})
    assert not found.tells_apart


def test_the_numbers_that_are_drawn_are_those_of_the_seed() -> None:
    graph = net("x").graph
    one, other = (draw_inputs(graph, 4, np.random.default_rng(3))["x"] for _ in range(2))
    np.testing.assert_array_equal(one, other)
